"""The variables of the dashboards, and the runs that they select."""

from __future__ import annotations

from typing import Literal

from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.models import dashboard

from evalgauge import metrics as m
from evalgauge_dashboards.options import Options
from evalgauge_dashboards.panels import DATASOURCE
from evalgauge_dashboards.promql import Expression, Variable, select

RUN = Variable("run")
RUNS = Variable("run", many=True)
BENCHMARKS = Variable("benchmark", many=True)
MODELS = Variable("model", many=True)
ONE = {"run_id": RUN}
"""The one run that a dashboard shows, as matchers of a selection."""
SELECTED = {"run_id": RUNS, "benchmark": BENCHMARKS, "model": MODELS}
"""The runs that a dashboard shows, as matchers: with All runs selected, those of the benchmarks and models."""

AnyVariable = builder.QueryVariable | builder.DatasourceVariable | builder.TextBoxVariable


def selected_runs(*carried: str, window: str | None = None) -> Expression:
    """Select the exposed runs that the variables name.

    Args:
        *carried: Labels of the run's info that the result carries beside ``run_id``.
        window: Also select runs that were exposed at any time in this window.

    Returns:
        One series with the value 1 for each run.
    """
    info = select(m.RUN_INFO, **SELECTED)
    return (info.over("last_over_time", window) if window else info).max("run_id", *carried)


def newest_runs() -> Expression:
    """Order the runs of the selected benchmarks and models: running ones first, then the newest first."""
    known = select(m.RUN_INFO, benchmark=BENCHMARKS, model=MODELS).max("run_id")
    started = select(m.RUN_START).max("run_id").or_(known * 0)
    running = select(m.RUN_STATE, state="running").max("run_id").or_(known * 0)
    return (started + running * 1e11).where(known, on=("run_id",)).sort(descending=True)


RunChoice = Literal["none", "one", "many"]
"""How many runs a dashboard shows: all that are running, one, or any number."""


def build_variables(runs: RunChoice, options: Options, *, one_benchmark: bool = False) -> list[AnyVariable]:
    """Build the variables of a dashboard.

    Args:
        runs: How many runs may be selected.
        options: What the dashboard is built for.
        one_benchmark: Whether only one benchmark may be selected, because its runs are compared.
    """
    benchmark = _query_variable("benchmark", "Benchmark", f"label_values({m.RUN_INFO.name}, benchmark)")
    model = _query_variable("model", "Model", f'label_values({m.RUN_INFO.name}{{benchmark=~"$benchmark"}}, model)')
    variables: list[AnyVariable] = [
        _datasource_variable(options.datasource_uid),
        benchmark if one_benchmark else _include_all(benchmark),
        _include_all(model),
    ]
    if runs != "none":
        variables.append(_run_variable(many=runs == "many"))
    return [*variables, _exporter_variable(options.exporter_url.rstrip("/"))]


def _run_variable(many: bool) -> builder.QueryVariable:
    run = (
        # Grafana knows the function by a pattern that stops at the end of a line
        _query_variable("run", "Run", f"query_result({' '.join(newest_runs().text.split())})")
        .regex('/run_id="([^"]+)"/')
        .sort(dashboard.VariableSort.DISABLED)
        .description("Running runs first, then the newest first.")
    )
    return run.multi(True).include_all(True).all_value(".+") if many else run


def _exporter_variable(exporter_url: str) -> builder.TextBoxVariable:
    exporter = builder.TextBoxVariable("exporter").label("Exporter").default_value(exporter_url)
    exporter.current(dashboard.VariableOption(text=exporter_url, value=exporter_url))
    exporter.description("Where your browser finds the exporter: links to replays start with it.")
    return exporter.hide(dashboard.VariableHide.IN_CONTROLS_MENU)


def _datasource_variable(uid: str) -> builder.DatasourceVariable:
    variable = builder.DatasourceVariable("datasource").label("Data source").type("prometheus")
    return variable.current(dashboard.VariableOption(text=uid, value=uid))


def _query_variable(name: str, title: str, text: str) -> builder.QueryVariable:
    variable = builder.QueryVariable(name).label(title).datasource(DATASOURCE).definition(text)
    variable.query({"query": text, "refId": name}).refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.sort(dashboard.VariableSort.ALPHABETICAL_ASC)


def _include_all(variable: builder.QueryVariable) -> builder.QueryVariable:
    # .* and not .+: also runs that report no benchmark or model
    return variable.multi(True).include_all(True).all_value(".*")
