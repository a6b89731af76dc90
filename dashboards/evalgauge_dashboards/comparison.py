"""The Comparison dashboard: which run or model is better, where, and is it significant?"""

from __future__ import annotations

from typing import Literal

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as q
from evalgauge_dashboards.dashboard import COMPARISON, Row, build_dashboard
from evalgauge_dashboards.options import EXPORTER_URL
from evalgauge_dashboards.panels import Column, Panel, PanelSpec, Query
from evalgauge_dashboards.promql import Expression, select, vector
from evalgauge_dashboards.run_table import RUN_LINKS, run_columns
from evalgauge_dashboards.variables import RUNS, SELECTED, selected_runs

SHOWN_RUNS = 8
"""Rows of the table of runs by domain, and lines over time: the newest of the selected runs."""
VERDICTS = {
    "better": "success",
    "worse": "failure",
    "no significant difference": "interrupted",
    "too few tasks": "pending",
}
"""The exporter's verdicts, each with the meaning whose colour it has."""
COSTED = f"without runs in which more than {q.UNCOSTED_LIMIT:.0%} of the calls have no known cost"
BETTER, WORSE, UNDECIDED, TOO_FEW = range(1, 5)


def build(exporter_url: str = EXPORTER_URL) -> dashboard.Dashboard:
    """Build the dashboard; its links to replays start with ``exporter_url``."""
    rows = [
        Row("Against the baseline", [*_verdicts(), _differences()]),
        Row("Models", _models()),
        Row("By domain", _where()),
        Row("Over time", _trends()),
        Row("Runs", [_runs()]),
    ]
    text = "Runs and models side by side: which is better, where, whether significantly, and how it changes over time."
    return build_dashboard(COMPARISON, text, rows, many_runs=True, exporter_url=exporter_url)


def _sum_by_model(by_run: Expression) -> Expression:
    """Sum over the selected runs of each model."""
    return by_run.combine("*", selected_runs("model"), on=("run_id",), carry=("model",)).sum("model")


def select_difference(bound: Literal["estimate", "low", "high"] = "estimate") -> Expression:
    """Select each selected run's success rate minus its baseline's, over the tasks measured in both."""
    delta = select(m.COMPARISON_SUCCESS_DELTA, bound=bound, run_id=RUNS).max("run_id")
    return delta.where(selected_runs(), on=("run_id",))


def select_p_value() -> Expression:
    """Select each selected run's p-value: exact for a finished run, anytime-valid for a running one."""
    exact = select(m.COMPARISON_P_VALUE, kind="exact", run_id=RUNS).max("run_id")
    anytime = select(m.COMPARISON_P_VALUE, kind="anytime", run_id=RUNS).max("run_id")
    return exact.unless(q.running_runs(), on=("run_id",)).or_(anytime)


def compute_verdict() -> Expression:
    """Compute the place in `VERDICTS`, from 1, for each selected run that has a baseline."""
    delta, certain = select_difference(), select_p_value() < 0.05
    enough = q.tasks("run_id", status=m.MEASURED_OUTCOMES, **SELECTED) >= q.MIN_PAIRS
    too_few = delta.unless(enough, on=("run_id",)) * 0 + TOO_FEW
    better = (delta > 0).where(certain, on=("run_id",)) * 0 + BETTER
    worse = (delta < 0).where(certain, on=("run_id",)) * 0 + WORSE
    return too_few.or_(better).or_(worse).or_(delta * 0 + UNDECIDED)


def _verdicts() -> list[Panel]:
    def how_many(runs: Expression) -> Expression:
        return runs.count().or_(vector(0).where(compute_verdict().count(), on=()))

    better, worse, undecided = (
        compute_verdict().equals(BETTER),
        compute_verdict().equals(WORSE),
        compute_verdict() >= UNDECIDED,
    )
    named = [
        (3, "Better", better, "Runs significantly better than their baseline (p < 0.05, paired by task).", "success"),
        (4, "Worse", worse, "Runs significantly worse than their baseline (p < 0.05, paired by task).", "failure"),
        (
            5,
            "Undecided",
            undecided,
            f"Runs without a significant difference, or with fewer than {q.MIN_PAIRS} measured tasks.",
            "bound",
        ),
    ]
    return [
        p.stat(
            PanelSpec(1, "Runs", "Selected runs.", p.COUNT, "no runs", 4, 4),
            [Query(selected_runs().count())],
            decimals=0,
        ),
        p.stat(
            PanelSpec(2, "Models", "Models of the selected runs.", p.COUNT, "no runs", 4, 4),
            [Query(select(m.RUN_INFO, **SELECTED).max("model").count())],
            decimals=0,
        ),
        *(
            p.stat(
                PanelSpec(number, title, text, p.COUNT, "no run has a baseline", 4, 4),
                [Query(how_many(runs))],
                decimals=0,
                colour_of=meaning,
            )
            for number, title, runs, text, meaning in named
        ),
        p.stat(
            PanelSpec(
                6,
                "Lowest cost per success",
                f"Of the selected models: known cost divided by successes, {COSTED}.",
                p.DOLLARS,
                "no success or no cost yet",
                4,
                4,
            ),
            [Query((-1 * (-1 * _cost_per_success()).topk(1)), "{{model}}")],
            decimals=3,
            colour_of="llm",
            text="value_and_name",
        ),
    ]


def _keep_costed(by_run: Expression) -> Expression:
    """Keep the runs whose cost is known well enough to be compared with others."""
    share = q.uncosted_share("run_id", run_id=RUNS)
    known = q.cost("run_id", run_id=RUNS).unless(share > q.UNCOSTED_LIMIT, on=("run_id",))
    return by_run.where(known, on=("run_id",))


def _cost_per_success() -> Expression:
    successes = _sum_by_model(_keep_costed(q.tasks("run_id", status="success", **SELECTED)))
    return _sum_by_model(_keep_costed(q.cost("run_id", run_id=RUNS))) / (successes > 0)


def _differences() -> Panel:
    points = {"unit": p.RATIO, "decimals": 1, "custom.width": 110}
    return p.table(
        PanelSpec(
            20,
            "Difference to the baseline",
            "Success rate minus the baseline's over the tasks measured in both, in percentage points, with its 95 % "
            "interval, worst first. The p-value is that of McNemar's exact test for a finished run, and for a running "
            "run an anytime-valid one, which may be read as often as one likes.",
            p.NONE,
            "no run has a baseline: set one in [baselines] of the exporter's configuration",
            24,
            9,
        ),
        "run_id",
        [
            Column("Run", "run_id", RUN_LINKS),
            Column("Baseline", "baseline_run_id"),
            Column(
                "Verdict",
                Query(compute_verdict(), ref="verdict"),
                p.style_mapped(p.map_words(VERDICTS)) | {"custom.width": 220},
            ),
            Column("Difference", Query(select_difference(), ref="estimate"), points),
            Column("At least", Query(select_difference("low"), ref="low"), points),
            Column("At most", Query(select_difference("high"), ref="high"), points),
            Column(
                "p-value",
                Query(select_p_value(), ref="p"),
                {"decimals": 4, "mappings": p.map_below(0.0001, "< 0.0001"), "custom.width": 90},
            ),
            Column(
                "Measured",
                Query(q.tasks("run_id", status=m.MEASURED_OUTCOMES, **SELECTED), ref="measured"),
                {"custom.width": 100},
            ),
        ],
        rows=select(m.COMPARISON_SUCCESS_DELTA, bound="estimate", run_id=RUNS)
        .max("run_id", "baseline_run_id")
        .where(selected_runs(), on=("run_id",)),
        sort=("Difference", False),
    )


def _models() -> list[Panel]:
    rates = q.success_rate("benchmark", "model", "run_id", **SELECTED)
    spread = (rates.max("benchmark", "model") - rates.min("benchmark", "model")).where(
        rates.count("benchmark", "model") > 1, on=("benchmark", "model")
    )
    tokens = select(m.RUN_TOKENS, run_id=RUNS).sum("run_id")
    steps = q.recorded_steps("run_id", run_id=RUNS)
    finished = q.tasks("model", status=m.OUTCOMES, **SELECTED) > 0
    return [
        p.bar_gauge(
            PanelSpec(
                10, "Success by model", "All measured attempts of its runs.", p.RATIO, "nothing measured yet", 8, 7
            ),
            [Query(q.success_rate("model", **SELECTED).sort(descending=True), "{{model}}")],
            decimals=0,
            maximum=1,
            colour_of="success",
        ),
        p.bar_gauge(
            PanelSpec(
                11,
                "Cost per success",
                f"Includes the cost of failed attempts; {COSTED}.",
                p.DOLLARS,
                "no success or no cost yet",
                8,
                7,
            ),
            [Query(_cost_per_success().sort(), "{{model}}")],
            decimals=3,
            colour_of="llm",
        ),
        p.bar_gauge(
            PanelSpec(
                14,
                "Spread between runs of one model",
                "Highest minus lowest success rate of its runs on a benchmark: a smaller difference between two models "
                "may be the variation of one model between its own runs.",
                p.RATIO,
                "no model has two runs",
                8,
                7,
            ),
            [Query(spread.sort(descending=True), "{{model}} on {{benchmark}}")],
            decimals=0,
            colour_of="bound",
        ),
        p.bar_gauge(
            PanelSpec(12, "Tokens per attempt", "The sum over all kinds.", p.COUNT, "no tokens reported", 12, 6),
            [Query((_sum_by_model(tokens) / finished).sort(), "{{model}}")],
            decimals=1,
        ),
        p.bar_gauge(
            PanelSpec(
                13,
                "Steps per attempt",
                "Recorded steps without the terminal one.",
                p.COUNT,
                "no steps recorded",
                12,
                6,
            ),
            [Query((_sum_by_model(steps) / finished).sort(), "{{model}}")],
            decimals=1,
        ),
    ]


def _group_to_matrix(column: str, row: str, value: str = "Value") -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(
        id_val="groupingToMatrix",
        options={"columnField": column, "rowField": row, "valueField": value, "emptyValue": "null"},
    )


def _rename_field(old: str, new: str) -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(id_val="organize", options={"renameByName": {old: new}})


def _newest() -> Expression:
    started = select(m.RUN_START, run_id=RUNS).max("run_id")
    return started.where(selected_runs(), on=("run_id",)).topk(SHOWN_RUNS)


def _where() -> list[Panel]:
    by_run = q.success_rate("domain", "run_id", **SELECTED).where(_newest(), on=("run_id",))
    return [
        p.matrix(
            PanelSpec(
                30,
                "Success by domain and model",
                "All measured attempts of the selected runs.",
                p.RATIO,
                "nothing measured yet",
                24,
                13,
            ),
            [Query(q.success_rate("domain", "model", **SELECTED))],
            # names of domains are longer than a column is wide, and there are more domains than models
            [_group_to_matrix("model", "domain"), _rename_field("domain\\model", "Domain")],
            names=300,
            sort="Domain",
        ),
        p.matrix(
            PanelSpec(
                31,
                "Success by domain and run",
                f"The newest {SHOWN_RUNS} of the selected runs.",
                p.RATIO,
                "nothing measured yet",
                24,
                10,
            ),
            [Query(by_run)],
            [_group_to_matrix("domain", "run_id"), _rename_field("run_id\\domain", "Run")],
            names=360,
        ),
    ]


def _place_at_start(value: Expression) -> tuple[list[Query], list[dashboard.DataTransformerConfig]]:
    """Build queries and transformations that place one value of each run at its start, as a series for each model."""
    started = select(m.RUN_START, run_id=RUNS).max("run_id") * 1000
    placed = started.combine("*", selected_runs("model"), on=("run_id",), carry=("model",))
    time, name = "Value #started", "Started"

    def as_time(field: str) -> dashboard.DataTransformerConfig:
        conversions = [{"targetField": field, "destinationType": "time"}]
        return dashboard.DataTransformerConfig(id_val="convertFieldType", options={"conversions": conversions})

    return [Query(placed, ref="started"), Query(value, ref="shown")], [
        # outer: a model without a value is a series all the same, so the others have the colours they have elsewhere
        dashboard.DataTransformerConfig(id_val="joinByField", options={"byField": "run_id", "mode": "outer"}),
        _group_to_matrix("model", time, "Value #shown"),
        _rename_field(f"{time}\\model", name),
        as_time(name),
        dashboard.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": name}]}),
    ]


def _trends() -> list[Panel]:
    success, success_steps = _place_at_start(q.success_rate("run_id", **SELECTED))
    cost = q.cost("run_id") / (q.tasks("run_id", status="success", **SELECTED) > 0)
    money, money_steps = _place_at_start(_keep_costed(cost))
    running = _newest().where(q.running_runs(), on=("run_id",))
    live = q.success_rate("run_id", **SELECTED).where(running, on=("run_id",))
    return [
        p.trend(
            PanelSpec(
                40,
                "Success rate of runs by start time",
                "One point for each run.",
                p.RATIO,
                "nothing measured in the last 30 days",
                8,
                9,
            ),
            success,
            success_steps,
            maximum=1,
        ),
        p.trend(
            PanelSpec(
                41,
                "Cost per success of runs by start time",
                f"One point for each run; {COSTED}.",
                p.DOLLARS,
                "no cost or no success in the last 30 days",
                8,
                9,
            ),
            money,
            money_steps,
            decimals=3,
        ),
        p.timeseries(
            PanelSpec(
                42,
                "Success rate of running runs",
                f"The running ones of the newest {SHOWN_RUNS} selected runs.",
                p.RATIO,
                "no run was running in this time range, or nothing was measured",
                8,
                9,
            ),
            [Query(live, "{{run_id}}")],
            maximum=1,
        ),
    ]


def _runs() -> Panel:
    return p.table(
        PanelSpec(50, "Selected runs", "Newest first.", p.NONE, "no runs", 24, 12),
        "run_id",
        run_columns(),
        rows=select(m.RUN_INFO, **SELECTED).max("run_id", "benchmark", "model", "source"),
        sort=("Started", True),
    )
