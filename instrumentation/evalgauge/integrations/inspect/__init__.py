"""Inspect AI: a hook that records evaluations while they run.

Inspect finds the hook, ``evalgauge.integrations.inspect.hooks``, by its entry point. This package imports nothing of
Inspect: the exporter, which reads Inspect's logs, shares its modules.
"""
