"""The alerts: one table, written as Grafana-managed rules and as Prometheus rules, so that promtool can test it.

Templates use Prometheus' words (``{{ $labels.run_id }}``, ``{{ $value | humanize }}``), which Grafana's rendering
translates. Where something fires is in `thresholds`, what to do then in ``docs/runbooks.md``.

No alert needs a recording rule: over 50 runs the slowest takes a fraction of a second once a minute, and Grafana's
copy of it would be silent on a Prometheus that has not loaded the rules. The one recording rule says that they are
loaded, so that a board can tell "none fires" from "nobody looks".
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

from grafana_foundation_sdk.builders import alerting as grafana
from grafana_foundation_sdk.builders import expr as chain
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.alerting import RelativeTimeRange
from grafana_foundation_sdk.models.common import DataSourceRef

from evalgauge import metrics as m
from evalgauge_dashboards import queries as measure
from evalgauge_dashboards import thresholds as limit
from evalgauge_dashboards.promql import NOW, RULES_LOADED, UP, Expression, number, select, vector

JOB = "evalgauge"
"""The scrape job of the exporter in prometheus.yml."""
DATASOURCE_UID = "prometheus"
GROUP = "evalgauge"
FOLDER = "evalgauge"
INTERVAL = "1m"

BY_RUN = ("run_id",)


@dataclasses.dataclass(frozen=True)
class Alert:
    """One alert: it fires for each series that its expression returns for as long as ``pending``."""

    name: str
    expression: Expression
    pending: str
    severity: Literal["warning", "critical"]
    """critical: money or machine time is being lost now, so someone is woken; warning: look at it today."""
    summary: str
    """One sentence for a phone's screen, as a template."""
    panel: tuple[str, int]
    """The uid of the board and the id of the panel that show it."""
    hold: str | None = None
    """How long it fires on once its expression returns nothing, where that number goes up and down."""
    unanswered: Literal["KeepLast", "Alerting"] = "KeepLast"
    """What Grafana takes it for where Prometheus does not answer: what it was, or, of the one alert that says so,
    firing. With Grafana's own default a restart of Prometheus would send a message for each rule."""

    @property
    def anchor(self) -> str:
        """The heading of its section in the runbooks."""
        return self.name.lower()

    def runbook(self, docs_url: str) -> str:
        """The address of its section."""
        return f"{docs_url.rstrip('/')}/runbooks.md#{self.anchor}"

    def prometheus(self, docs_url: str) -> dict[str, object]:
        """As a rule of Prometheus."""
        return {
            "alert": self.name,
            "expr": self.expression.text,
            "for": self.pending,
            **({"keep_firing_for": self.hold} if self.hold else {}),
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook_url": self.runbook(docs_url)},
        }

    def grafana(self, docs_url: str) -> dict[str, Any]:
        """As a rule of Grafana's file provisioning.

        Three nodes keep PromQL's meaning: the query, 1 for each series it returned whatever its value, and a
        threshold on that.
        """
        here = DataSourceRef(type_val="__expr__", uid="__expr__")
        there = chain.TypeMath().ref_id("there").datasource(here)
        there = there.expression("is_number($query) || is_nan($query) || is_inf($query)")
        over = chain.ExprTypeThresholdConditionsEvaluator().type("gt").params([0])
        firing = chain.TypeThreshold().ref_id("firing").datasource(here).expression("there")
        firing = firing.conditions([chain.ExprTypeThresholdConditions().evaluator(over)])
        query = prometheus.Dataquery().ref_id("query").expr(self.expression.text).instant()
        board, panel = self.panel
        at_once = RelativeTimeRange(0, 0)
        rule = (
            grafana.Rule(self.name)
            .uid(self.anchor)
            .folder_uid(FOLDER)
            .rule_group(GROUP)
            .condition("firing")
            .for_val(self.pending)
            .no_data_state("OK")
            .exec_err_state(self.unanswered)
            .labels({"severity": self.severity})
            .annotations(
                {
                    "summary": _for_grafana(self.summary),
                    "runbook_url": self.runbook(docs_url),
                    "__dashboardUid__": board,
                    "__panelId__": str(panel),
                }
            )
            .with_query(
                grafana.Query("query")
                .datasource_uid(DATASOURCE_UID)
                .relative_time_range(RelativeTimeRange(600, 0))
                .model(query)
            )
            .with_query(grafana.Query("there").datasource_uid("__expr__").relative_time_range(at_once).model(there))
            .with_query(grafana.Query("firing").datasource_uid("__expr__").relative_time_range(at_once).model(firing))
        )
        encoded: dict[str, Any] = json.loads(JSONEncoder().encode(rule.build()))
        encoded["labels"] = {key: value.replace("$", "$$") for key, value in encoded["labels"].items()}
        held = {"keepFiringFor": self.hold} if self.hold else {}
        return {key: encoded[key] for key in _PROVISIONED} | held | {"dashboardUid": board, "panelId": panel}


_PROVISIONED = ("uid", "title", "condition", "data", "noDataState", "execErrState", "for", "annotations", "labels")


def _for_grafana(template: str) -> str:
    """``$value`` is a string of all values in Grafana; the query's own number has another name there.

    Raises:
        ValueError: where the template holds ``${``, after which Grafana expects the name of an environment variable.
    """
    if "${" in template:
        raise ValueError(f"Grafana would put an environment variable in: {template}")
    return template.replace("$value", "$values.query.Value")


def _regression() -> Expression:
    pair = ("run_id", "baseline_run_id")
    delta = select(m.COMPARISON_SUCCESS_DELTA, bound="estimate").max(*pair)
    surprising = select(m.COMPARISON_P_VALUE, kind="anytime").max(*pair) < limit.REGRESSION_P
    success = select(m.BASELINE_SUCCESS_TASKS).max("baseline_run_id")
    measured = select(m.BASELINE_MEASURED_TASKS).max("baseline_run_id")
    rate = success / measured
    noise = (rate * (1 - rate) / measured).sqrt().at_least(limit.REGRESSION_FLOOR)
    enough = measure.tasks("run_id", status=m.MEASURED_OUTCOMES) >= limit.REGRESSION_SAMPLE
    return (
        delta.combine("<", 0 - noise, on=("baseline_run_id",))
        .where(surprising, on=pair)
        .where(enough, on=BY_RUN)
        .where(measure.recent(limit.RECENT), on=BY_RUN)
    )


def _domain_collapse() -> Expression:
    domain = ("run_id", "domain")
    enough = measure.tasks(*domain, status=m.MEASURED_OUTCOMES) >= limit.DOMAIN_SAMPLE
    high = measure.success_bound("high", measure.Z_99, *domain).where(enough, on=domain)
    low = measure.success_bound("low", measure.Z_99, *domain).where(enough, on=domain)
    delta = select(m.COMPARISON_SUCCESS_DELTA, bound="estimate").max("run_id", "baseline_run_id")
    # exporters that are configured differently may name two baselines: the one that did better is the measure
    compared = (-1 * delta).top(1, "run_id") * 0 + 1
    return (
        high.combine("*", compared, on=BY_RUN, carry=("baseline_run_id",))
        .combine("<", low.renamed("run_id", "baseline_run_id"), on=("baseline_run_id", "domain"))
        .where(measure.recent(limit.RECENT), on=BY_RUN)
    )


def _over_budget() -> Expression:
    budget = select(m.RUN_BUDGET).max("run_id")
    over = measure.cost("run_id") / budget > limit.BUDGET_SHARE
    return over.where(measure.running().or_(measure.recent(limit.BUDGET_NEWS)), on=BY_RUN)


def _projected_over_budget() -> Expression:
    budget = select(m.RUN_BUDGET).max("run_id")
    credible = measure.work_share("run_id") >= limit.PROJECTION_WORK
    return (
        (measure.projected_cost("run_id") / budget > limit.BUDGET_SHARE)
        .where(credible, on=BY_RUN)
        .where(measure.running(), on=BY_RUN)
    )


def _spend_spike() -> Expression:
    age = NOW - select(m.RUN_START).max("run_id")
    average = measure.cost("run_id") / (age > limit.SPIKE_AGE) * 3600
    now = measure.spend_per_hour("run_id")
    return (
        (now > average * limit.SPIKE_FACTOR)
        .where(now > limit.SPIKE_USD_PER_HOUR, on=BY_RUN)
        .where(measure.running(), on=BY_RUN)
    )


def _not_in_the_total() -> Expression:
    call = ("run_id", "provider", "model")
    share = measure.uncosted_share(*call)
    unpriced = select(m.RUN_UNPRICED_REQUESTS).max(*call) > 0
    silent = select(m.RUN_UNKNOWN_USAGE_REQUESTS).max(*call) >= limit.SILENT_SAMPLE
    return (
        (share > limit.UNCOSTED_SHARE)
        .where(unpriced.or_(silent), on=call)
        .where(measure.recent(limit.RECENT), on=BY_RUN)
    )


def _stalled() -> Expression:
    stalled = select(m.RUN_STATE, state="stalled").max("run_id").is_(1)
    silent = measure.since_progress().where(stalled, on=BY_RUN) < limit.RECENT
    hung = measure.since_progress().where(measure.running(), on=BY_RUN) > limit.NO_PROGRESS
    return silent.or_(hung)


def _burn(factor: float, long: str, short: str) -> Expression:
    def ended(window: str, status: str | tuple[str, ...]) -> Expression:
        # a gauge that is there from the start with 0, so the first error counts; a counter born at 1 would not
        return select(m.RUN_TASKS, status=status).over("delta", window).sum("run_id")

    def share(window: str) -> Expression:
        return ended(window, "infrastructure_error") / (ended(window, m.OUTCOMES) > 0)

    burning = factor * number(limit.INFRASTRUCTURE_OBJECTIVE)
    return (
        (share(long) > burning)
        .where(share(short) > burning, on=BY_RUN)
        .where(ended(long, "infrastructure_error") >= limit.BURN_SAMPLE, on=BY_RUN)
        .where(measure.running(), on=BY_RUN)
    )


def _worker_lost() -> Expression:
    lost = select(m.WORKER_STATE, state="lost").max("run_id", "worker_id").is_(1)
    return lost.where(measure.running(), on=BY_RUN)


def _exporter_down() -> Expression:
    up = select(UP, job=JOB)
    return up.max("job", "instance").is_(0).or_(up.absent(job=JOB))


def _source_stale() -> Expression:
    # of several exporters each reads for itself: the one that fares worst counts
    failing = select(m.SOURCE_UP).min("source").is_(0)
    age = NOW - select(m.SOURCE_LAST_SUCCESS, source=("azure_vm", "azure_ml", "probe")).min("source")
    prices = NOW - select(m.SOURCE_LAST_SUCCESS, source="prices").min("source")
    return failing.or_(age > limit.SOURCE_AGE).or_(prices > limit.PRICES_AGE)


def table() -> tuple[Alert, ...]:
    """Every alert, in the order of reading: health, cost, machines, the observability itself."""
    return (
        Alert(
            "EvalSuccessRegression",
            _regression(),
            "2m",
            "warning",
            "Run {{ $labels.run_id }} succeeds less often than its baseline {{ $labels.baseline_run_id }}: "
            "{{ $value | humanizePercentage }} of the tasks of both, significant and larger than the noise.",
            ("evalgauge-comparison", 20),
            hold=limit.HOLD,
        ),
        Alert(
            "EvalDomainCollapse",
            _domain_collapse(),
            "2m",
            "warning",
            "Run {{ $labels.run_id }} fails in {{ $labels.domain }} where its baseline did not: at best "
            "{{ $value | humanizePercentage }} of the tasks succeed.",
            ("evalgauge-evaluation", 20),
            hold=limit.HOLD,
        ),
        Alert(
            "EvalRunStalled",
            _stalled(),
            "1m",
            "critical",
            "Run {{ $labels.run_id }} has made no progress for {{ $value | humanizeDuration }}.",
            ("evalgauge-evaluation", 1),
        ),
        Alert(
            "EvalInfrastructureErrorsFast",
            _burn(limit.FAST_BURN, "1h", "10m"),
            "2m",
            "critical",
            "{{ $value | humanizePercentage }} of the attempts of run {{ $labels.run_id }} ended as infrastructure "
            "error in the last hour.",
            ("evalgauge-evaluation", 14),
            hold=limit.HOLD,
        ),
        Alert(
            "EvalInfrastructureErrorsSlow",
            _burn(limit.SLOW_BURN, "6h", "30m"),
            "10m",
            "warning",
            "{{ $value | humanizePercentage }} of the attempts of run {{ $labels.run_id }} ended as infrastructure "
            "error in the last six hours.",
            ("evalgauge-evaluation", 14),
            hold=limit.HOLD,
        ),
        Alert(
            "EvalOverBudget",
            _over_budget(),
            "0m",
            "critical",
            "Run {{ $labels.run_id }} has used {{ $value | humanizePercentage }} of its budget.",
            ("evalgauge-evaluation", 9),
        ),
        Alert(
            "EvalProjectedOverBudget",
            _projected_over_budget(),
            "10m",
            "warning",
            "Run {{ $labels.run_id }} will have used {{ $value | humanizePercentage }} of its budget at the end.",
            ("evalgauge-evaluation", 8),
            hold=limit.HOLD,
        ),
        Alert(
            "EvalSpendSpike",
            _spend_spike(),
            "10m",
            "warning",
            "Run {{ $labels.run_id }} now spends {{ $value | humanize }} dollars an hour, more than "
            f"{limit.SPIKE_FACTOR:g} times its average.",
            ("evalgauge-evaluation", 11),
            hold=limit.HOLD,
        ),
        Alert(
            "EvalUnpricedCalls",
            _not_in_the_total(),
            "5m",
            "warning",
            "{{ $value | humanizePercentage }} of the calls of run {{ $labels.run_id }} to {{ $labels.provider }}/"
            "{{ $labels.model }} are in no cost: no price is known, or they reported no tokens.",
            ("evalgauge-evaluation", 12),
            hold=limit.HOLD,
        ),
        Alert(
            "EvalWorkerLost",
            _worker_lost(),
            "2m",
            "warning",
            "Worker {{ $labels.worker_id }} of run {{ $labels.run_id }} is lost.",
            ("evalgauge-fleet", 10),
        ),
        Alert(
            "EvalMachineIdle",
            measure.idle_machines(),
            limit.IDLE_FOR,
            "warning",
            "Machine {{ $labels.vm }} ({{ $labels.resource_group }}) has had no task for "
            f"{limit.IDLE_FOR} and bills.",
            ("evalgauge-fleet", 20),
        ),
        Alert(
            "EvalMachineWithoutRun",
            measure.unused_machines(),
            limit.IDLE_FOR,
            "critical",
            "Machine {{ $labels.vm }} ({{ $labels.resource_group }}) bills and no run has used it for "
            f"{limit.IDLE_FOR}.",
            ("evalgauge-fleet", 20),
        ),
        Alert(
            "EvalProbeFailing",
            select(m.PROBE_SUCCESS).max("target", "kind").is_(0),
            "5m",
            "warning",
            "{{ $labels.target }} does not answer its {{ $labels.kind }} probe.",
            ("evalgauge-fleet", 30),
        ),
        Alert(
            "EvalSourceStale",
            _source_stale(),
            "15m",
            "warning",
            "Source {{ $labels.source }} cannot be read or is out of date.",
            ("evalgauge-fleet", 40),
        ),
        Alert(
            "EvalExporterDown",
            _exporter_down(),
            "3m",
            "critical",
            "Prometheus cannot scrape the evalgauge exporter{{ if $labels.instance }} {{ $labels.instance }}{{ end }}: "
            "the boards show the past.",
            ("evalgauge-fleet", 42),
            unanswered="Alerting",
        ),
    )


def provisioning(docs_url: str) -> dict[str, object]:
    """The file that Grafana's alert provisioning reads."""
    rules = [alert.grafana(docs_url) for alert in table()]
    return {
        "apiVersion": 1,
        "groups": [{"orgId": 1, "name": GROUP, "folder": FOLDER, "interval": INTERVAL, "rules": rules}],
    }


def rules_loaded() -> dict[str, object]:
    """The recording rule by which a board knows that Prometheus judges the alerts."""
    return {"record": RULES_LOADED.name, "expr": vector(len(table())).text}
