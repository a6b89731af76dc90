"""The Comparison dashboard: which run or model is better on a benchmark, where, and is it significant?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries
from evalgauge_dashboards.dashboard import COMPARISON, Row, build_dashboard
from evalgauge_dashboards.options import Options
from evalgauge_dashboards.panels import Column, Panel, PanelSpec, Query
from evalgauge_dashboards.promql import RANGE, Expression, select, vector
from evalgauge_dashboards.queries import Bound
from evalgauge_dashboards.queries import shown as q
from evalgauge_dashboards.run_table import NAME_WIDTH, RUN_LINKS, run_columns, run_rows
from evalgauge_dashboards.variables import RUNS, SELECTED, selected_runs
from evalgauge_dashboards.verdicts import (
    BETTER,
    UNDECIDED,
    VERDICTS,
    WORSE,
    compute_verdict,
    select_difference,
    select_p_value,
    select_score_difference,
)

SHOWN_RUNS = 8
"""Rows of the table of runs by domain, and lines over time: the newest of the selected runs."""
COSTED = f"without runs in which more than {queries.UNCOSTED_LIMIT:.0%} of the calls have no known cost"
HISTORY_STEP = "1h"
"""A run that Prometheus knew for a shorter time is not found in the past."""


def build(options: Options) -> dashboard.Dashboard:
    """Build the dashboard; its links lead where ``options`` say."""
    rows = [
        Row("Against the baseline", [*_verdicts(), _differences()]),
        Row("Models", [_leaderboard(), *_models()]),
        Row("By domain", _where()),
        Row("Over time", _trends()),
        Row("Runs", [_runs()]),
    ]
    text = "Runs and models on one benchmark: which is better, where, whether significantly, and how that changes."
    return build_dashboard(COMPARISON, text, rows, runs="many", options=options)


def _of_selected(by_run: Expression) -> Expression:
    """Keep the selected runs."""
    return by_run.where(selected_runs(), on=("run_id",))


def _with_model(by_run: Expression) -> Expression:
    """Add the model of each selected run."""
    return by_run.combine("*", selected_runs("model").topk(1, "run_id"), on=("run_id",), carry=("model",))


def _verdict() -> Expression:
    return _of_selected(compute_verdict(run_id=RUNS))


def _verdicts() -> list[Panel]:
    def how_many(runs: Expression) -> Expression:
        return runs.count().or_(vector(0).where(_verdict().count(), on=()))

    verdict = _verdict()
    named = [
        (
            3,
            "Better",
            verdict.equals(BETTER),
            "Runs significantly better than their baseline (p < 0.05, paired by task).",
            "success",
        ),
        (
            4,
            "Worse",
            verdict.equals(WORSE),
            "Runs significantly worse than their baseline (p < 0.05, paired by task).",
            "failure",
        ),
        (
            5,
            "Undecided",
            verdict >= UNDECIDED,
            f"Runs without a significant difference, or with fewer than {queries.MIN_PAIRS} measured tasks.",
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
                "Best cost",
                f"The lowest cost per success of the selected models: known cost divided by successes, {COSTED}.",
                p.DOLLARS,
                "no success or no cost yet",
                4,
                4,
            ),
            [Query(_cost_per_success().bottomk(1), "{{model}}")],
            decimals=3,
            colour_of="llm",
            text="value_and_name",
        ),
    ]


def _keep_costed(by_run: Expression) -> Expression:
    """Keep the runs whose cost is known well enough to be compared with others."""
    share = q.uncosted_share("run_id", run_id=RUNS)
    known = q.cost("run_id", run_id=RUNS).unless(share > queries.UNCOSTED_LIMIT, on=("run_id",))
    return by_run.where(known, on=("run_id",))


def _cost_per(status: tuple[str, ...] | str) -> Expression:
    attempts = _with_model(_keep_costed(q.tasks("run_id", status=status, **SELECTED))).sum("model")
    return _with_model(_keep_costed(q.cost("run_id", run_id=RUNS))).sum("model") / (attempts > 0)


def _cost_per_success() -> Expression:
    return _cost_per("success")


def _differences() -> Panel:
    points = {"unit": p.RATIO, "decimals": 1, "custom.width": 95}
    score = {"decimals": 3, "custom.width": 95}
    return p.table(
        PanelSpec(
            20,
            "Difference to the baseline",
            "Success rate, and mean score, minus the baseline's over the tasks measured in both, with the 95 % "
            "interval, "
            "worst first. The p-value is that of McNemar's exact test for a finished run, and for a running run an "
            "anytime-valid one, which may be read as often as one likes.",
            p.NONE,
            "no run has a baseline: set one in [baselines] of the exporter's configuration",
            24,
            9,
        ),
        "run_id",
        [
            Column("Run", "run_id", RUN_LINKS | {"custom.minWidth": NAME_WIDTH}),
            Column("Baseline", "baseline_run_id", {"custom.minWidth": NAME_WIDTH}),
            Column(
                "Verdict",
                Query(compute_verdict(run_id=RUNS), ref="verdict"),
                p.style_mapped(p.map_words(VERDICTS)) | {"custom.width": 205},
            ),
            Column("Difference", Query(select_difference(run_id=RUNS), ref="estimate"), points),
            Column("At least", Query(select_difference("low", run_id=RUNS), ref="low"), points),
            Column("At most", Query(select_difference("high", run_id=RUNS), ref="high"), points),
            Column(
                "p-value",
                Query(select_p_value(run_id=RUNS), ref="p"),
                {"decimals": 4, "mappings": p.map_below(0.0001, "< 0.0001"), "custom.width": 90},
            ),
            Column("Score", Query(select_score_difference(run_id=RUNS), ref="score"), score),
            Column("At least ", Query(select_score_difference("low", run_id=RUNS), ref="score_low"), score),
            Column("At most ", Query(select_score_difference("high", run_id=RUNS), ref="score_high"), score),
            Column(
                "Measured",
                Query(q.tasks("run_id", status=m.MEASURED_OUTCOMES, **SELECTED), ref="measured"),
                {"custom.width": 90},
            ),
        ],
        rows=_of_selected(
            select(m.COMPARISON_SUCCESS_DELTA, bound="estimate", run_id=RUNS).max("run_id", "baseline_run_id")
        ),
        sort=("Difference", False),
    )


def _model_rate(bound: Bound) -> Expression:
    """The mean over a model's runs; of the bounds too, as runs of the same tasks are not independent."""
    return _with_model(q.rate(bound, "run_id", run_id=RUNS)).avg("model")


def _leaderboard() -> Panel:
    rate = {"unit": p.RATIO, "decimals": 0, "custom.width": 80}
    dollars = {"unit": p.DOLLARS, "decimals": 3, "custom.width": 120}
    finished = q.tasks("model", status=m.OUTCOMES, **SELECTED) > 0
    return p.table(
        PanelSpec(
            15,
            "Leaderboard",
            "The mean success rate of each model's runs, with the mean of their intervals (runs of the same tasks "
            "are not "
            f"independent, so it does not shrink with their number); costs {COSTED}.",
            p.NONE,
            "nothing measured yet",
            24,
            8,
        ),
        "model",
        [
            Column("Model", "model", {"custom.minWidth": 150}),
            Column("Runs", Query(selected_runs("model").count("model"), ref="runs"), {"custom.width": 60}),
            Column(
                "Success rate",
                Query(_model_rate("estimate"), ref="rate"),
                p.RATIO_CELL | p.colour_series("success") | {"custom.width": 160},
            ),
            Column("From", Query(_model_rate("low"), ref="low"), rate),
            Column("To", Query(_model_rate("high"), ref="high"), rate),
            Column("Score", Query(q.mean_score("model", **SELECTED), ref="score"), {"decimals": 2, "custom.width": 70}),
            Column("Per success", Query(_cost_per_success(), ref="success"), dollars),
            Column("Per attempt", Query(_cost_per(m.OUTCOMES), ref="attempt"), dollars),
            Column(
                "Tokens",
                Query(
                    (_with_model(q.total(m.RUN_TOKENS, "run_id", run_id=RUNS)).sum("model") > 0) / finished,
                    ref="tokens",
                ),
                {"unit": p.COUNT, "decimals": 1, "custom.width": 130},
            ),
            Column(
                "Steps",
                Query(_with_model(q.recorded_steps("run_id", run_id=RUNS)).sum("model") / finished, ref="steps"),
                {"decimals": 1, "custom.width": 125},
            ),
        ],
        rows=select(m.RUN_INFO, **SELECTED).max("model"),
        sort=("Success rate", True),
    )


def _models() -> list[Panel]:
    rates = _with_model(q.rate("estimate", "run_id", run_id=RUNS))
    spread = (rates.max("model") - rates.min("model")).where(rates.count("model") > 1, on=("model",))
    measured = _model_rate("estimate")
    return [
        p.scatter(
            PanelSpec(
                11,
                "Success rate against cost per attempt",
                "A point for each model; up and to the left is better. A model with another one above and to the "
                "left of it "
                f"is worth its money to nobody; {COSTED}.",
                p.RATIO,
                "nothing measured yet, or no cost known",
                14,
                9,
            ),
            [Query(_cost_per(m.OUTCOMES), ref="cost"), Query(measured, ref="rate")],
            [
                dashboard.DataTransformerConfig(id_val="joinByField", options={"byField": "model", "mode": "inner"}),
                dashboard.DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": {"Time": True, "Time 1": True, "Time 2": True},
                        "indexByName": {"model": 0, "Value #cost": 1, "Value #rate": 2},
                        "renameByName": {"Value #cost": "Cost per attempt", "Value #rate": "Success rate"},
                    },
                ),
                dashboard.DataTransformerConfig(
                    id_val="partitionByValues", options={"fields": ["model"], "keepFields": False}
                ),
            ],
            overrides={"Cost per attempt": {"unit": p.DOLLARS, "min": 0}, "Success rate": {"min": 0, "max": 1}},
        ),
        p.bar_gauge(
            PanelSpec(
                14,
                "Spread between runs of one model",
                "Highest minus lowest success rate of its runs: a smaller difference between two models may be the "
                "variation "
                "of one model between its own runs.",
                p.RATIO,
                "no model has two runs",
                10,
                9,
            ),
            [Query(spread.sort(descending=True), "{{model}}")],
            decimals=0,
            maximum=1,
            colour_of="bound",
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
    return _of_selected(select(m.RUN_START, run_id=RUNS).max("run_id")).topk(SHOWN_RUNS)


def _where() -> list[Panel]:
    by_run = q.domain_rate("estimate", "domain", "run_id", run_id=RUNS)
    by_model = by_run.combine("*", selected_runs("model").topk(1, "run_id"), on=("run_id",), carry=("model",))
    return [
        p.matrix(
            PanelSpec(
                30,
                "Success by domain and model",
                "The mean over the selected runs of each model.",
                p.RATIO,
                "nothing measured yet",
                24,
                13,
            ),
            [Query(by_model.avg("domain", "model"))],
            # names of domains are longer than a column is wide, and there are more domains than models
            [_group_to_matrix("model", "domain"), _rename_field("domain\\model", "Domain")],
            names=220,
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
                12,
            ),
            [Query(by_run.where(_newest(), on=("run_id",)))],
            [_group_to_matrix("run_id", "domain"), _rename_field("domain\\run_id", "Domain")],
            names=220,
            sort="Domain",
        ),
    ]


def _ever(expression: Expression) -> Expression:
    """The value now, and the last one in the time range of runs that are no longer exposed."""
    return expression.or_(expression.subquery("last_over_time", RANGE, HISTORY_STEP))


def _place_at_start(value: Expression) -> tuple[list[Query], list[dashboard.DataTransformerConfig]]:
    """Build queries and transformations that place one value of each run at its start, as a series for each model."""
    runs = _ever(select(m.RUN_INFO, **SELECTED).max("run_id", "model")).topk(1, "run_id")
    started = _ever(select(m.RUN_START, run_id=RUNS).max("run_id")) * 1000
    placed = started.combine("*", runs, on=("run_id",), carry=("model",))
    time, name = "Value #started", "Started"

    def as_time(field: str) -> dashboard.DataTransformerConfig:
        conversions = [{"targetField": field, "destinationType": "time"}]
        return dashboard.DataTransformerConfig(id_val="convertFieldType", options={"conversions": conversions})

    return [Query(placed, ref="started"), Query(_ever(value).where(runs, on=("run_id",)), ref="shown")], [
        # outer: a model without a value is a series all the same, so the others have the colours they have elsewhere
        dashboard.DataTransformerConfig(id_val="joinByField", options={"byField": "run_id", "mode": "outer"}),
        _group_to_matrix("model", time, "Value #shown"),
        _rename_field(f"{time}\\model", name),
        as_time(name),
        dashboard.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": name}]}),
    ]


def _trends() -> list[Panel]:
    success, success_steps = _place_at_start(q.rate("estimate", "run_id", run_id=RUNS))
    cost = q.cost("run_id", run_id=RUNS) / (q.tasks("run_id", status="success", run_id=RUNS) > 0)
    money, money_steps = _place_at_start(_keep_costed(cost))
    live = _of_selected(q.rate("estimate", "run_id", run_id=RUNS))
    running = _newest().where(q.running_runs(), on=("run_id",))
    return [
        p.trend(
            PanelSpec(
                40,
                "Success rate by start time",
                "One point for each run of the last 90 days, whether it is still exposed or not.",
                p.RATIO,
                "nothing measured in the last 90 days",
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
                "Cost per success by start time",
                f"One point for each run of the last 90 days; {COSTED}.",
                p.DOLLARS,
                "no cost or no success in the last 90 days",
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
                f"The running ones of the newest {SHOWN_RUNS} selected runs; provisional.",
                p.RATIO,
                "no run was running in this time range, or nothing was measured",
                8,
                9,
            ),
            [Query(live.where(running, on=("run_id",)), "{{run_id}}")],
            maximum=1,
        ),
    ]


def _runs() -> Panel:
    return p.table(
        PanelSpec(50, "Selected runs", "Newest first.", p.NONE, "no runs", 24, 12),
        "run_id",
        run_columns(),
        rows=run_rows(**SELECTED),
        sort=("Started", True),
    )
