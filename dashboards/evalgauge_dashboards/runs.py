"""The table of runs that two boards have."""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge_dashboards import measures as measure
from evalgauge_dashboards import panels as p
from evalgauge_dashboards.board import BENCHMARKS, MODELS, REPLAY, THIS_RUN
from evalgauge_dashboards.panels import Column, Query
from evalgauge_dashboards.promql import select

RUN_LINKS = {"links": [p.link("Evaluation board", THIS_RUN), p.link("Replay", REPLAY, new_tab=True)]}
"""From a run's name to its board and its replay."""


def run_columns() -> list[Column]:
    """The columns that a table of runs has, whatever board it is on."""
    where = {"benchmark": BENCHMARKS, "model": MODELS}
    return [
        Column(
            "Run",
            "run_id",
            RUN_LINKS,
        ),
        Column("Benchmark", "benchmark", {"custom.width": 120}),
        Column("Model", "model", {"custom.width": 190}),
        Column("Read as", "source", {"custom.width": 90}),
        Column(
            "State",
            Query(measure.state_number(m.RUN_STATE, "run_id"), ref="state"),
            p.mapped(p.numbered(m.RUN_STATES)) | {"custom.width": 120},
        ),
        Column("Tasks", Query(measure.tasks("run_id", **where), ref="tasks"), {"custom.width": 70}),
        Column(
            "Success rate",
            Query(measure.success_rate("run_id", **where), ref="rate"),
            p.RATIO_CELL | p.of_colour("success") | {"custom.width": 200},
        ),
        Column(
            "All",
            Query(measure.success_rate_all("run_id", **where), ref="all"),
            {"unit": p.RATIO, "decimals": 0, "custom.width": 70},
        ),
        Column(
            "Cost",
            Query(measure.cost("run_id"), ref="cost"),
            {"unit": p.DOLLARS, "decimals": 2, "custom.width": 90},
        ),
        Column(
            "Started",
            Query(select(m.RUN_START).max("run_id") * 1000, ref="started"),
            {"unit": p.TIME, "custom.width": 150},
        ),
    ]
