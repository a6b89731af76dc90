"""Harbor: a plugin that records a job while it runs.

    harbor run --plugin evalgauge -d terminal-bench@2.0 -a terminus-2 -m anthropic/claude-sonnet-4-5

Harbor finds the plugin by its entry point; nothing of Harbor is imported.
"""

from evalgauge.integrations.harbor.plugin import EvalgaugePlugin

__all__ = ["EvalgaugePlugin"]
