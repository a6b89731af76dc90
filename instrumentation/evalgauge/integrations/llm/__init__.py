"""Model calls counted without a change to the code that makes them.

    from evalgauge.integrations import llm

    with llm.capture():
        ...  # each call is recorded for the task in whose ``with`` block it is made

``capture`` counts at the clients of Anthropic and OpenAI; ``GenAiSpans`` counts the calls of everything that
OpenTelemetry instruments. A call that both see is counted once.
"""

from evalgauge.integrations.llm.genai_spans import GenAiSpans
from evalgauge.integrations.llm.wrapping import Capture, capture

__all__ = ["Capture", "GenAiSpans", "capture"]
