"""Dashboards, alerts and rules as code, all from the metric catalogue.

>>> from pathlib import Path
>>> from evalgauge_dashboards.build import build
>>> paths = build(Path("generated"))  # doctest: +SKIP

`promql` builds expressions that cannot name what does not exist, `measures` says what is measured, `board` and
`panels` what a board looks like, `evaluation`, `comparison` and `fleet` are the boards, `alerts` is the table of
alerts and `thresholds` their limits.
"""
