"""The columns and links of a table of runs."""

from __future__ import annotations

from collections.abc import Sequence

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards.dashboard import EVALUATION
from evalgauge_dashboards.panels import Column, Query
from evalgauge_dashboards.promql import Expression, LabelMatch, select
from evalgauge_dashboards.queries import shown as q
from evalgauge_dashboards.variables import BENCHMARKS, MODELS
from evalgauge_dashboards.verdicts import SHORT_VERDICTS, compute_verdict, select_difference

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
NAME_WIDTH = 230
"""Pixels of a run's name: most names differ in their last letters."""
WHERE: dict[str, LabelMatch] = {"benchmark": BENCHMARKS, "model": MODELS}
RATIO_COLUMN: p.Properties = {"unit": p.RATIO, "decimals": 0, "custom.width": 55}


def link_columns() -> list[Column]:
    """Build the run's name with its links, and the hidden columns that a link reads."""
    started, ended = select(m.RUN_START).max("run_id"), select(m.RUN_LAST_PROGRESS).max("run_id")
    dashboard, replay = RUN_LINKS["links"]
    while_running = p.build_link("Evaluation dashboard over the time the run took", THIS_RUN_WHILE_RUNNING)
    return [
        Column("Run", "run_id", {"links": [dashboard, while_running, replay], "custom.minWidth": NAME_WIDTH}),
        Column("from", Query(((started - SECONDS_BEFORE) * 1000).floor(), ref="from"), p.HIDDEN),
        Column("to", Query(((ended + SECONDS_AFTER) * 1000).floor(), ref="to"), p.HIDDEN),
    ]


def state_column() -> Column:
    """Build the column of the run's state."""
    options = p.style_mapped(p.map_states(m.RUN_STATES)) | {"custom.width": 100}
    return Column("State", Query(q.state_number(m.RUN_STATE, "run_id"), ref="state"), options)


def rate_columns() -> list[Column]:
    """Build the columns of the success rate with its interval, and of the rate over all finished attempts."""
    return [
        Column(
            "Success rate",
            Query(q.rate("estimate", "run_id"), ref="rate"),
            p.RATIO_CELL | p.colour_series("success") | {"custom.width": 115},
        ),
        Column("From", Query(q.rate("low", "run_id"), ref="low"), RATIO_COLUMN),
        Column("To", Query(q.rate("high", "run_id"), ref="high"), RATIO_COLUMN),
    ]


def baseline_columns() -> list[Column]:
    """Build the columns of the difference to the baseline and its verdict."""
    return [
        Column(
            "Difference",
            Query(select_difference(), ref="delta"),
            {"unit": p.RATIO, "decimals": 1, "custom.width": 85},
        ),
        Column(
            "Verdict",
            Query(compute_verdict(), ref="verdict"),
            p.style_mapped(p.map_words(SHORT_VERDICTS)) | {"custom.width": 105},
        ),
    ]


def score_column() -> Column:
    """Build the column of the mean score."""
    return Column("Score", Query(q.mean_score("run_id"), ref="score"), {"decimals": 2, "custom.width": 60})


def cost_columns() -> list[Column]:
    """Build the columns of the known cost and of what is not in it."""
    return [
        Column("Cost", Query(q.cost("run_id"), ref="cost"), {"unit": p.DOLLARS, "decimals": 2, "custom.width": 75}),
        Column(
            "Unknown",
            Query(q.uncosted_share("run_id"), ref="unknown"),
            {
                "unit": p.RATIO,
                "decimals": 0,
                "custom.width": 80,
                **p.colour_cell((None, "neutral"), (0.005, "warning")),
            },
        ),
    ]


def run_columns(extra: Sequence[Column] = ()) -> list[Column]:
    """Build the columns that every table of finished and running runs has, with ``extra`` ones behind the rate."""
    started = select(m.RUN_START).max("run_id")
    name, *hidden = link_columns()
    return [
        name,
        Column("Benchmark", "benchmark", {"custom.width": 110}),
        Column("Model", "model", {"custom.minWidth": 140}),
        Column("Format", "source", {"custom.width": 85}),
        state_column(),
        Column("Tasks", Query(q.distinct_tasks("run_id"), ref="tasks"), {"custom.width": 65}),
        Column("Attempts", Query(q.tasks("run_id", **WHERE), ref="attempts"), {"custom.width": 80}),
        *rate_columns(),
        Column("All", Query(q.success_rate_all("run_id", **WHERE), ref="all"), RATIO_COLUMN),
        *extra,
        score_column(),
        *cost_columns(),
        Column("Started", Query(started * 1000, ref="started"), {"unit": p.TIME, "custom.width": 140}),
        *hidden,
    ]


def run_rows(*where_labels: str, **where: LabelMatch) -> Expression:
    """Select the rows of a table of runs."""
    return select(m.RUN_INFO, **(where or WHERE)).max("run_id", *(where_labels or ("benchmark", "model", "source")))
