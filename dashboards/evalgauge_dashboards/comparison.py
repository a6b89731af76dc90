"""The Comparison board: which run or model is better, where, and is it significant?"""

from __future__ import annotations

from typing import Literal

from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards import panels as p
from evalgauge_dashboards import queries as measure
from evalgauge_dashboards.dashboard import COMPARISON, EXPORTER_URL, RUNS, Row, board
from evalgauge_dashboards.panels import About, Column, Panel, Query
from evalgauge_dashboards.promql import Expression, select, vector
from evalgauge_dashboards.run_variables import CHOSEN, RUN_LINKS, chosen, run_columns

SHOWN_RUNS = 8
"""Rows of the table of runs by domain, and lines over time: the newest of the chosen runs."""
VERDICTS = {
    "better": "success",
    "worse": "failure",
    "no significant difference": "interrupted",
    "too few tasks": "pending",
}
"""The exporter's verdicts, each with the meaning whose colour it has."""
COSTED = f"without runs of which more than {measure.UNCOSTED_LIMIT:.0%} of the calls are in no cost"
BETTER, WORSE, UNDECIDED, TOO_FEW = range(1, 5)


def build(exporter_url: str = EXPORTER_URL) -> dashboard.Dashboard:
    """The board, ready to be encoded; its links to replays start with ``exporter_url``."""
    rows = [
        Row("Against the baseline", [*_verdicts(), _differences()]),
        Row("Models", _models()),
        Row("Where", _where()),
        Row("Over time", _trends()),
        Row("Runs", [_runs()]),
    ]
    text = "Runs and models side by side: which is better, where, whether by more than chance, and how it changes."
    return board(COMPARISON, text, rows, many_runs=True, exporter_url=exporter_url)


def _of_model(by_run: Expression) -> Expression:
    """The sum over a model's chosen runs."""
    return by_run.combine("*", chosen("model"), on=("run_id",), carry=("model",)).sum("model")


def difference(bound: Literal["estimate", "low", "high"] = "estimate") -> Expression:
    """Success rate minus the baseline's over the tasks that both measured, of the chosen runs."""
    delta = select(m.COMPARISON_SUCCESS_DELTA, bound=bound, run_id=RUNS).max("run_id")
    return delta.where(chosen(), on=("run_id",))


def p_value() -> Expression:
    """The exact test's for runs that ended, the one that may be looked at again and again for those that go on."""
    exact = select(m.COMPARISON_P_VALUE, kind="exact", run_id=RUNS).max("run_id")
    anytime = select(m.COMPARISON_P_VALUE, kind="anytime", run_id=RUNS).max("run_id")
    return exact.unless(measure.running(), on=("run_id",)).or_(anytime)


def verdict() -> Expression:
    """The place in `VERDICTS`, from 1, for each chosen run that has a baseline."""
    delta, certain = difference(), p_value() < 0.05
    enough = measure.tasks("run_id", status=m.MEASURED_OUTCOMES, **CHOSEN) >= measure.MIN_PAIRS
    too_few = delta.unless(enough, on=("run_id",)) * 0 + TOO_FEW
    better = (delta > 0).where(certain, on=("run_id",)) * 0 + BETTER
    worse = (delta < 0).where(certain, on=("run_id",)) * 0 + WORSE
    return too_few.or_(better).or_(worse).or_(delta * 0 + UNDECIDED)


def _verdicts() -> list[Panel]:
    def how_many(runs: Expression) -> Expression:
        return runs.count().or_(vector(0).where(verdict().count(), on=()))

    better, worse, open_still = verdict().is_(BETTER), verdict().is_(WORSE), verdict() >= UNDECIDED
    named = [
        (3, "Better", better, "Runs significantly better than their baseline (p < 0.05, paired by task).", "success"),
        (4, "Worse", worse, "Runs significantly worse than their baseline (p < 0.05, paired by task).", "failure"),
        (
            5,
            "Too close to call",
            open_still,
            f"Runs whose difference may be chance, or that measured fewer than {measure.MIN_PAIRS} tasks.",
            "bound",
        ),
    ]
    return [
        p.stat(
            About(1, "Runs", "Runs that are chosen.", p.COUNT, "no runs", 4, 4), [Query(chosen().count())], decimals=0
        ),
        p.stat(
            About(2, "Models", "Models of the chosen runs.", p.COUNT, "no runs", 4, 4),
            [Query(select(m.RUN_INFO, **CHOSEN).max("model").count())],
            decimals=0,
        ),
        *(
            p.stat(
                About(number, title, text, p.COUNT, "no run has a baseline", 4, 4),
                [Query(how_many(runs))],
                decimals=0,
                colour_of=meaning,
            )
            for number, title, runs, text, meaning in named
        ),
        p.stat(
            About(
                6,
                "Lowest cost per success",
                f"Of the chosen models: what is known of the cost over the successes, {COSTED}.",
                p.DOLLARS,
                "no success or no cost yet",
                4,
                4,
            ),
            [Query((-1 * (-1 * _cost_per_success()).top(1)), "{{model}}")],
            decimals=3,
            colour_of="llm",
            text="value_and_name",
        ),
    ]


def _costed(by_run: Expression) -> Expression:
    """Of the chosen runs those whose cost is known well enough to be set beside others'."""
    share = measure.uncosted_share("run_id", run_id=RUNS)
    known = measure.cost("run_id", run_id=RUNS).unless(share > measure.UNCOSTED_LIMIT, on=("run_id",))
    return by_run.where(known, on=("run_id",))


def _cost_per_success() -> Expression:
    successes = _of_model(_costed(measure.tasks("run_id", status="success", **CHOSEN)))
    return _of_model(_costed(measure.cost("run_id", run_id=RUNS))) / (successes > 0)


def _differences() -> Panel:
    points = {"unit": p.RATIO, "decimals": 1, "custom.width": 110}
    return p.table(
        About(
            20,
            "Difference to the baseline",
            "Success rate minus the baseline's over the tasks that both measured, in percentage points, with its "
            "95 % interval, worst first. The p-value is McNemar's exact one for a run that ended, and one that may be "
            "looked at again and again for a run that goes on.",
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
                Query(verdict(), ref="verdict"),
                p.mapped(p.worded(VERDICTS)) | {"custom.width": 220},
            ),
            Column("Difference", Query(difference(), ref="estimate"), points),
            Column("At least", Query(difference("low"), ref="low"), points),
            Column("At most", Query(difference("high"), ref="high"), points),
            Column(
                "p-value",
                Query(p_value(), ref="p"),
                {"decimals": 4, "mappings": p.under(0.0001, "< 0.0001"), "custom.width": 90},
            ),
            Column(
                "Measured",
                Query(measure.tasks("run_id", status=m.MEASURED_OUTCOMES, **CHOSEN), ref="measured"),
                {"custom.width": 100},
            ),
        ],
        rows=select(m.COMPARISON_SUCCESS_DELTA, bound="estimate", run_id=RUNS)
        .max("run_id", "baseline_run_id")
        .where(chosen(), on=("run_id",)),
        sort=("Difference", False),
    )


def _models() -> list[Panel]:
    rates = measure.success_rate("benchmark", "model", "run_id", **CHOSEN)
    spread = (rates.max("benchmark", "model") - rates.min("benchmark", "model")).where(
        rates.count("benchmark", "model") > 1, on=("benchmark", "model")
    )
    tokens = select(m.RUN_TOKENS, run_id=RUNS).sum("run_id")
    steps = measure.recorded_steps("run_id", run_id=RUNS)
    finished = measure.tasks("model", status=m.OUTCOMES, **CHOSEN) > 0
    return [
        p.bars(
            About(10, "Success by model", "All measured attempts of its runs.", p.RATIO, "nothing measured yet", 8, 7),
            [Query(measure.success_rate("model", **CHOSEN).sorted(descending=True), "{{model}}")],
            decimals=0,
            maximum=1,
            colour_of="success",
        ),
        p.bars(
            About(
                11,
                "Cost per success",
                f"Failed attempts are paid for too; {COSTED}.",
                p.DOLLARS,
                "no success or no cost yet",
                8,
                7,
            ),
            [Query(_cost_per_success().sorted(), "{{model}}")],
            decimals=3,
            colour_of="llm",
        ),
        p.bars(
            About(
                14,
                "Spread between runs of one model",
                "Highest minus lowest success rate of its runs on a benchmark: a difference smaller than this is "
                "what the same model does to itself.",
                p.RATIO,
                "no model was run twice",
                8,
                7,
            ),
            [Query(spread.sorted(descending=True), "{{model}} on {{benchmark}}")],
            decimals=0,
            colour_of="bound",
        ),
        p.bars(
            About(12, "Tokens an attempt", "All kinds together.", p.COUNT, "no tokens reported", 12, 6),
            [Query((_of_model(tokens) / finished).sorted(), "{{model}}")],
            decimals=1,
        ),
        p.bars(
            About(
                13,
                "Steps an attempt",
                "Recorded steps, the terminal one left out.",
                p.COUNT,
                "no steps recorded",
                12,
                6,
            ),
            [Query((_of_model(steps) / finished).sorted(), "{{model}}")],
            decimals=1,
        ),
    ]


def _matrix(column: str, row: str, value: str = "Value") -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(
        id_val="groupingToMatrix",
        options={"columnField": column, "rowField": row, "valueField": value, "emptyValue": "null"},
    )


def _renamed(old: str, new: str) -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(id_val="organize", options={"renameByName": {old: new}})


def _newest() -> Expression:
    started = select(m.RUN_START, run_id=RUNS).max("run_id")
    return started.where(chosen(), on=("run_id",)).top(SHOWN_RUNS)


def _where() -> list[Panel]:
    by_run = measure.success_rate("domain", "run_id", **CHOSEN).where(_newest(), on=("run_id",))
    return [
        p.matrix(
            About(
                30,
                "Success by domain and model",
                "All measured attempts of the chosen runs.",
                p.RATIO,
                "nothing measured yet",
                24,
                13,
            ),
            [Query(measure.success_rate("domain", "model", **CHOSEN))],
            # names of domains are longer than a column is wide, and there are more domains than models
            [_matrix("model", "domain"), _renamed("domain\\model", "Domain")],
            names=300,
            sort="Domain",
        ),
        p.matrix(
            About(
                31,
                "Success by domain and run",
                f"The newest {SHOWN_RUNS} of the chosen runs.",
                p.RATIO,
                "nothing measured yet",
                24,
                10,
            ),
            [Query(by_run)],
            [_matrix("domain", "run_id"), _renamed("run_id\\domain", "Run")],
            names=360,
        ),
    ]


def _by_start(value: Expression) -> tuple[list[Query], list[dashboard.DataTransformerConfig]]:
    """Queries and transformations that place one value of each run at the run's start, a series for each model."""
    started = select(m.RUN_START, run_id=RUNS).max("run_id") * 1000
    placed = started.combine("*", chosen("model"), on=("run_id",), carry=("model",))
    time, name = "Value #started", "Started"

    def as_time(field: str) -> dashboard.DataTransformerConfig:
        conversions = [{"targetField": field, "destinationType": "time"}]
        return dashboard.DataTransformerConfig(id_val="convertFieldType", options={"conversions": conversions})

    return [Query(placed, ref="started"), Query(value, ref="shown")], [
        # outer: a model without a value is a series all the same, so the others have the colours they have elsewhere
        dashboard.DataTransformerConfig(id_val="joinByField", options={"byField": "run_id", "mode": "outer"}),
        _matrix("model", time, "Value #shown"),
        _renamed(f"{time}\\model", name),
        as_time(name),
        dashboard.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": name}]}),
    ]


def _trends() -> list[Panel]:
    success, success_steps = _by_start(measure.success_rate("run_id", **CHOSEN))
    cost = measure.cost("run_id") / (measure.tasks("run_id", status="success", **CHOSEN) > 0)
    money, money_steps = _by_start(_costed(cost))
    going = _newest().where(measure.running(), on=("run_id",))
    live = measure.success_rate("run_id", **CHOSEN).where(going, on=("run_id",))
    return [
        p.trend(
            About(
                40,
                "Success rate of runs by when they started",
                "A point a run.",
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
            About(
                41,
                "Cost per success of runs by when they started",
                f"A point a run; {COSTED}.",
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
            About(
                42,
                "Success rate while runs go on",
                f"The chosen runs that go on, of the newest {SHOWN_RUNS}.",
                p.RATIO,
                "no run went on in this time, or nothing was measured",
                8,
                9,
            ),
            [Query(live, "{{run_id}}")],
            maximum=1,
        ),
    ]


def _runs() -> Panel:
    return p.table(
        About(50, "Chosen runs", "Newest first.", p.NONE, "no runs", 24, 12),
        "run_id",
        run_columns(),
        rows=select(m.RUN_INFO, **CHOSEN).max("run_id", "benchmark", "model", "source"),
        sort=("Started", True),
    )
