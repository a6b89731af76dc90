"""The columns and links of a table of runs."""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as q
from evalgauge_dashboards.dashboard import EVALUATION
from evalgauge_dashboards.panels import Column, Query
from evalgauge_dashboards.promql import select
from evalgauge_dashboards.variables import BENCHMARKS, MODELS

REPLAY = "${exporter}/replay/${__value.text:percentencode}/"
"""The replay of the run whose id the clicked cell holds."""
THIS_RUN = f"/d/{EVALUATION}?var-run=${{__value.text:percentencode}}&${{datasource:queryparam}}&${{__url_time_range}}"
"""The Evaluation dashboard of the run whose id the clicked cell holds."""
THIS_RUN_WHILE_RUNNING = (
    f"/d/{EVALUATION}?var-run=${{__value.text:percentencode}}&${{datasource:queryparam}}"
    "&from=${__data.fields.from.numeric}&to=${__data.fields.to.numeric}"
)
"""The same over the time that the hidden columns ``from`` and ``to`` of the clicked row hold (Unix milliseconds)."""
SECONDS_BEFORE, SECONDS_AFTER = 60, 120
"""Seconds before and after a run that its link shows: until its end was scraped."""

RUN_LINKS = {"links": [p.build_link("Evaluation dashboard", THIS_RUN), p.build_link("Replay", REPLAY, new_tab=True)]}
"""From a run's name to its dashboard and its replay."""


def run_columns() -> list[Column]:
    """Build the columns that every table of runs has."""
    where = {"benchmark": BENCHMARKS, "model": MODELS}
    started, ended = select(m.RUN_START).max("run_id"), select(m.RUN_LAST_PROGRESS).max("run_id")
    dashboard, replay = RUN_LINKS["links"]
    while_running = p.build_link("Evaluation dashboard over the time the run took", THIS_RUN_WHILE_RUNNING)
    return [
        Column("Run", "run_id", {"links": [dashboard, while_running, replay]}),
        Column("Benchmark", "benchmark", {"custom.width": 120}),
        Column("Model", "model", {"custom.width": 190}),
        Column("Format", "source", {"custom.width": 90}),
        Column(
            "State",
            Query(q.state_number(m.RUN_STATE, "run_id"), ref="state"),
            p.style_mapped(p.map_states(m.RUN_STATES)) | {"custom.width": 120},
        ),
        Column("Tasks", Query(q.tasks("run_id", **where), ref="tasks"), {"custom.width": 70}),
        Column(
            "Success rate",
            Query(q.success_rate("run_id", **where), ref="rate"),
            p.RATIO_CELL | p.colour_series("success") | {"custom.width": 200},
        ),
        Column(
            "All",
            Query(q.success_rate_all("run_id", **where), ref="all"),
            {"unit": p.RATIO, "decimals": 0, "custom.width": 70},
        ),
        Column(
            "Cost",
            Query(q.cost("run_id"), ref="cost"),
            {"unit": p.DOLLARS, "decimals": 2, "custom.width": 90},
        ),
        Column(
            "Started",
            Query(started * 1000, ref="started"),
            {"unit": p.TIME, "custom.width": 150},
        ),
        Column("from", Query(((started - SECONDS_BEFORE) * 1000).floor(), ref="from"), p.HIDDEN),
        Column("to", Query(((ended + SECONDS_AFTER) * 1000).floor(), ref="to"), p.HIDDEN),
    ]
