"""The table of runs that two boards have."""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as measure
from evalgauge_dashboards.dashboard import BENCHMARKS, COURSE, MODELS, REPLAY, RUNS, THIS_RUN
from evalgauge_dashboards.panels import Column, Query
from evalgauge_dashboards.promql import Expression, select

RUN_LINKS = {"links": [p.link("Evaluation board", THIS_RUN), p.link("Replay", REPLAY, new_tab=True)]}
"""From a run's name to its board and its replay."""
CHOSEN = {"run_id": RUNS, "benchmark": BENCHMARKS, "model": MODELS}
"""The runs that a board shows, as matchers of a selection: with all runs chosen, those of the other two choices."""
BEFORE, AFTER = 60, 120
"""Seconds around a run that its course shows: until its end was scraped."""


def chosen(*carried: str, window: str | None = None) -> Expression:
    """1 for each chosen run that is exposed (in the window), with what is known of it."""
    info = select(m.RUN_INFO, **CHOSEN)
    return (info.over("last_over_time", window) if window else info).max("run_id", *carried)


def run_columns() -> list[Column]:
    """The columns that a table of runs has, whatever board it is on."""
    where = {"benchmark": BENCHMARKS, "model": MODELS}
    started, ended = select(m.RUN_START).max("run_id"), select(m.RUN_LAST_PROGRESS).max("run_id")
    links = [RUN_LINKS["links"][0], p.link("Evaluation board over the time it ran", COURSE), RUN_LINKS["links"][1]]
    return [
        Column(
            "Run",
            "run_id",
            {"links": links},
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
            Query(started * 1000, ref="started"),
            {"unit": p.TIME, "custom.width": 150},
        ),
        Column("from", Query(((started - BEFORE) * 1000).floor(), ref="from"), p.HIDDEN),
        Column("to", Query(((ended + AFTER) * 1000).floor(), ref="to"), p.HIDDEN),
    ]
