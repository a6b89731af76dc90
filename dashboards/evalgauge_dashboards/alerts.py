"""The alerts: one table, rendered as Grafana-managed rules and as Prometheus rules, which promtool tests.

Templates use Prometheus' syntax (``{{ $labels.run_id }}``, ``{{ $value | humanize }}``), which the rendering for
Grafana translates. The limits are in `thresholds`, what to do about an alert is in ``docs/runbooks.md``.

No alert needs a recording rule: over 50 runs the slowest takes a fraction of a second once a minute, and Grafana's
copy of it would never fire on a Prometheus that has not loaded the rules. The one recording rule shows that they are
loaded, so that a dashboard can distinguish "no alert fires" from "no alert is evaluated".
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
from evalgauge_dashboards import queries as q
from evalgauge_dashboards import thresholds
from evalgauge_dashboards.errors import TemplateError
from evalgauge_dashboards.promql import NOW, RULES_LOADED, UP, Expression, scalar, select, vector

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
    """critical: money or machine time is being lost now, so page someone; warning: look at it today."""
    summary: str
    """One sentence that fits a phone's screen, as a template."""
    panel: tuple[str, int]
    """The uid of the dashboard and the id of the panel that show it."""
    keep_firing: str | None = None
    """How long it keeps firing after its expression returns nothing, for a value that goes up and down."""
    exec_error_state: Literal["KeepLast", "Alerting"] = "KeepLast"
    """Grafana's state for it while Prometheus does not answer: the last one, or, for one alert only, firing. With
    Grafana's own default a restart of Prometheus would send a message for each rule."""

    @property
    def anchor(self) -> str:
        """The anchor of its section in the runbooks."""
        return self.name.lower()

    def runbook_url(self, docs_url: str) -> str:
        """Return the address of its section in the runbooks."""
        return f"{docs_url.rstrip('/')}/runbooks.md#{self.anchor}"

    def to_prometheus(self, docs_url: str) -> dict[str, object]:
        """Render it as a rule of Prometheus."""
        return {
            "alert": self.name,
            "expr": self.expression.text,
            "for": self.pending,
            **({"keep_firing_for": self.keep_firing} if self.keep_firing else {}),
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook_url": self.runbook_url(docs_url)},
        }

    def to_grafana(self, docs_url: str) -> dict[str, Any]:
        """Render it as a rule of Grafana's file provisioning.

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
        dashboard, panel = self.panel
        at_once = RelativeTimeRange(0, 0)
        rule = (
            grafana.Rule(self.name)
            .uid(self.anchor)
            .folder_uid(FOLDER)
            .rule_group(GROUP)
            .condition("firing")
            .for_val(self.pending)
            .no_data_state("OK")
            .exec_err_state(self.exec_error_state)
            .labels({"severity": self.severity})
            .annotations(
                {
                    "summary": _translate_template(self.summary),
                    "runbook_url": self.runbook_url(docs_url),
                    "__dashboardUid__": dashboard,
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
        keep = {"keepFiringFor": self.keep_firing} if self.keep_firing else {}
        return {key: encoded[key] for key in _PROVISIONED} | keep | {"dashboardUid": dashboard, "panelId": panel}


_PROVISIONED = ("uid", "title", "condition", "data", "noDataState", "execErrState", "for", "annotations", "labels")


def _translate_template(template: str) -> str:
    """Translate a template for Grafana, where ``$value`` is a string of all values and the number has another name.

    Raises:
        TemplateError: If the template holds ``${``, after which Grafana expects the name of an environment variable.
    """
    if "${" in template:
        raise TemplateError(f"Grafana would put an environment variable in: {template}")
    return template.replace("$value", "$values.query.Value")


def _regression() -> Expression:
    pair = ("run_id", "baseline_run_id")
    delta = select(m.COMPARISON_SUCCESS_DELTA, bound="estimate").max(*pair)
    surprising = select(m.COMPARISON_P_VALUE, kind="anytime").max(*pair) < thresholds.REGRESSION_P
    success = select(m.BASELINE_SUCCESS_TASKS).max("baseline_run_id")
    measured = select(m.BASELINE_MEASURED_TASKS).max("baseline_run_id")
    rate = success / measured
    noise = (rate * (1 - rate) / measured).sqrt().clamp_min(thresholds.REGRESSION_FLOOR)
    enough = q.tasks("run_id", status=m.MEASURED_OUTCOMES) >= thresholds.REGRESSION_SAMPLE
    return (
        delta.combine("<", 0 - noise, on=("baseline_run_id",))
        .where(surprising, on=pair)
        .where(enough, on=BY_RUN)
        .where(q.recent_runs(thresholds.RECENT), on=BY_RUN)
    )


def _domain_collapse() -> Expression:
    domain = ("run_id", "domain")
    enough = q.tasks(*domain, status=m.MEASURED_OUTCOMES) >= thresholds.DOMAIN_SAMPLE
    high = q.success_bound("high", q.Z_99, *domain).where(enough, on=domain)
    low = q.success_bound("low", q.Z_99, *domain).where(enough, on=domain)
    delta = select(m.COMPARISON_SUCCESS_DELTA, bound="estimate").max("run_id", "baseline_run_id")
    # exporters with different configurations may expose two baselines: the better one is compared with
    compared = (-1 * delta).topk(1, "run_id") * 0 + 1
    return (
        high.combine("*", compared, on=BY_RUN, carry=("baseline_run_id",))
        .combine("<", low.rename_label("run_id", "baseline_run_id"), on=("baseline_run_id", "domain"))
        .where(q.recent_runs(thresholds.RECENT), on=BY_RUN)
    )


def _over_budget() -> Expression:
    budget = select(m.RUN_BUDGET).max("run_id")
    over = q.cost("run_id") / budget > thresholds.BUDGET_SHARE
    return over.where(q.running_runs().or_(q.recent_runs(thresholds.BUDGET_NEWS)), on=BY_RUN)


def _projected_over_budget() -> Expression:
    budget = select(m.RUN_BUDGET).max("run_id")
    credible = q.work_share("run_id") >= thresholds.PROJECTION_WORK
    return (
        (q.projected_cost("run_id") / budget > thresholds.BUDGET_SHARE)
        .where(credible, on=BY_RUN)
        .where(q.running_runs(), on=BY_RUN)
    )


def _spend_spike() -> Expression:
    age = NOW - select(m.RUN_START).max("run_id")
    average = q.cost("run_id") / (age > thresholds.SPIKE_AGE) * 3600
    now = q.spend_per_hour("run_id")
    return (
        (now > average * thresholds.SPIKE_FACTOR)
        .where(now > thresholds.SPIKE_USD_PER_HOUR, on=BY_RUN)
        .where(q.running_runs(), on=BY_RUN)
    )


def _unpriced_calls() -> Expression:
    call = ("run_id", "provider", "model")
    share = q.uncosted_share(*call)
    unpriced = select(m.RUN_UNPRICED_REQUESTS).max(*call) > 0
    silent = select(m.RUN_UNKNOWN_USAGE_REQUESTS).max(*call) >= thresholds.SILENT_SAMPLE
    return (
        (share > thresholds.UNCOSTED_SHARE)
        .where(unpriced.or_(silent), on=call)
        .where(q.recent_runs(thresholds.RECENT), on=BY_RUN)
    )


def _stalled() -> Expression:
    stalled = select(m.RUN_STATE, state="stalled").max("run_id").equals(1)
    silent = q.seconds_since_progress().where(stalled, on=BY_RUN) < thresholds.RECENT
    hung = q.seconds_since_progress().where(q.running_runs(), on=BY_RUN) > thresholds.NO_PROGRESS
    return silent.or_(hung)


def _burn(factor: float, long: str, short: str) -> Expression:
    def ended(window: str, status: str | tuple[str, ...]) -> Expression:
        # a gauge that is there from the start with 0, so the first error counts; a counter born at 1 would not
        return select(m.RUN_TASKS, status=status).over("delta", window).sum("run_id")

    def share(window: str) -> Expression:
        return ended(window, "infrastructure_error") / (ended(window, m.OUTCOMES) > 0)

    burning = factor * scalar(thresholds.INFRASTRUCTURE_OBJECTIVE)
    return (
        (share(long) > burning)
        .where(share(short) > burning, on=BY_RUN)
        .where(ended(long, "infrastructure_error") >= thresholds.BURN_SAMPLE, on=BY_RUN)
        .where(q.running_runs(), on=BY_RUN)
    )


def _worker_lost() -> Expression:
    lost = select(m.WORKER_STATE, state="lost").max("run_id", "worker_id").equals(1)
    return lost.where(q.running_runs(), on=BY_RUN)


def _exporter_down() -> Expression:
    up = select(UP, job=JOB)
    return up.max("job", "instance").equals(0).or_(up.absent(job=JOB))


def _source_stale() -> Expression:
    # several exporters read independently of each other: the worst one counts
    failing = select(m.SOURCE_UP).min("source").equals(0)
    age = NOW - select(m.SOURCE_LAST_SUCCESS, source=("azure_vm", "azure_ml", "probe")).min("source")
    prices = NOW - select(m.SOURCE_LAST_SUCCESS, source="prices").min("source")
    return failing.or_(age > thresholds.SOURCE_AGE).or_(prices > thresholds.PRICES_AGE)


def list_alerts() -> tuple[Alert, ...]:
    """List every alert in reading order: health, cost, machines, the monitoring itself."""
    return (
        Alert(
            "EvalSuccessRegression",
            _regression(),
            "2m",
            "warning",
            "Run {{ $labels.run_id }} succeeds less often than its baseline {{ $labels.baseline_run_id }}: "
            "{{ $value | humanizePercentage }} over the tasks measured in both, significant and larger than the noise.",
            ("evalgauge-comparison", 20),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalDomainCollapse",
            _domain_collapse(),
            "2m",
            "warning",
            "Run {{ $labels.run_id }} fails in {{ $labels.domain }} where its baseline did not: at best "
            "{{ $value | humanizePercentage }} of the tasks succeed.",
            ("evalgauge-evaluation", 20),
            keep_firing=thresholds.KEEP_FIRING,
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
            _burn(thresholds.FAST_BURN, "1h", "10m"),
            "2m",
            "critical",
            "{{ $value | humanizePercentage }} of the attempts of run {{ $labels.run_id }} ended as infrastructure "
            "error in the last hour.",
            ("evalgauge-evaluation", 14),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalInfrastructureErrorsSlow",
            _burn(thresholds.SLOW_BURN, "6h", "30m"),
            "10m",
            "warning",
            "{{ $value | humanizePercentage }} of the attempts of run {{ $labels.run_id }} ended as infrastructure "
            "error in the last six hours.",
            ("evalgauge-evaluation", 14),
            keep_firing=thresholds.KEEP_FIRING,
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
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalSpendSpike",
            _spend_spike(),
            "10m",
            "warning",
            "Run {{ $labels.run_id }} now costs {{ $value | humanize }} dollars per hour, more than "
            f"{thresholds.SPIKE_FACTOR:g} times its average.",
            ("evalgauge-evaluation", 11),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalUnpricedCalls",
            _unpriced_calls(),
            "5m",
            "warning",
            "{{ $value | humanizePercentage }} of the calls of run {{ $labels.run_id }} to {{ $labels.provider }}/"
            "{{ $labels.model }} have no known cost: no price is known, or they reported no tokens.",
            ("evalgauge-evaluation", 12),
            keep_firing=thresholds.KEEP_FIRING,
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
            q.idle_machines(),
            thresholds.IDLE_FOR,
            "warning",
            "Machine {{ $labels.vm }} ({{ $labels.resource_group }}) has had no task for "
            f"{thresholds.IDLE_FOR} and is billed.",
            ("evalgauge-fleet", 20),
        ),
        Alert(
            "EvalMachineWithoutRun",
            q.unused_machines(),
            thresholds.IDLE_FOR,
            "critical",
            "Machine {{ $labels.vm }} ({{ $labels.resource_group }}) is billed and no run has used it for "
            f"{thresholds.IDLE_FOR}.",
            ("evalgauge-fleet", 20),
        ),
        Alert(
            "EvalProbeFailing",
            select(m.PROBE_SUCCESS).max("target", "kind").equals(0),
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
            "the dashboards are out of date.",
            ("evalgauge-fleet", 42),
            exec_error_state="Alerting",
        ),
    )


def build_provisioning(docs_url: str) -> dict[str, object]:
    """Build the file that Grafana's alert provisioning reads."""
    rules = [alert.to_grafana(docs_url) for alert in list_alerts()]
    return {
        "apiVersion": 1,
        "groups": [{"orgId": 1, "name": GROUP, "folder": FOLDER, "interval": INTERVAL, "rules": rules}],
    }


def build_recording_rule() -> dict[str, object]:
    """Build the recording rule whose presence shows a dashboard that Prometheus evaluates the alerts."""
    return {"record": RULES_LOADED.name, "expr": vector(len(list_alerts())).text}
