"""Makes model calls under OpenTelemetry's own instrumentation, with and without ``capture``; see test_llm.

Run by the Python of an environment that has the clients and the instrumentation: ``python span_calls.py RESULTS``.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from evalgauge import track_run
from evalgauge.integrations import llm

model_server: Any = importlib.import_module("model_server")
anthropic: Any = importlib.import_module("anthropic")
openai: Any = importlib.import_module("openai")
INSTRUMENTED = {"openai": "OpenAIInstrumentor", "anthropic": "AnthropicInstrumentor"}

ASKED: list[dict[str, str]] = [{"role": "user", "content": "x"}]


def calls(url: str) -> None:
    """Six calls that are answered."""
    claude: dict[str, Any] = {"model": "claude-of-the-test", "max_tokens": 9, "messages": ASKED}
    gpt: dict[str, Any] = {"model": "gpt-5.1", "messages": ASKED}

    async def later() -> None:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
            await client.chat.completions.create(**gpt)

    with anthropic.Anthropic(base_url=url, api_key="k") as client:
        client.messages.create(**claude)
        list(client.messages.create(**claude, stream=True))
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        client.chat.completions.create(**gpt)
        list(client.chat.completions.create(**gpt, stream=True, stream_options={"include_usage": True}))
        client.responses.create(model="gpt-5.1", input="x")
    asyncio.run(later())


def main(results: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(llm.GenAiSpans())  # type: ignore[arg-type]
    trace.set_tracer_provider(provider)
    for package, name in INSTRUMENTED.items():
        module = importlib.import_module(f"opentelemetry.instrumentation.genai.{package}")
        getattr(module, name)().instrument(tracer_provider=provider)
    with model_server.model_server() as url, track_run(results, benchmark="b", model="m", run_id="spans") as run:
        with run.task("spans alone") as task:
            calls(url)
            task.finish(success=True)
        with llm.capture(), run.task("spans and capture") as task:
            with trace.get_tracer("agent").start_as_current_span("invoke_agent me"):
                calls(url)
            task.finish(success=True)


if __name__ == "__main__":
    main(sys.argv[1])
