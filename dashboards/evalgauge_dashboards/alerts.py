"""The alerts: one table, rendered as Grafana-managed rules and as Prometheus rules, which promtool tests.

Templates use Prometheus' syntax (``{{ $labels.run_id }}``, ``{{ $value | humanize }}``), which the rendering for
Grafana translates. The limits are in `thresholds`, what to do about an alert is in ``docs/runbooks.md``.

Every expression uses `queries.held`: a failed scrape ends every series at once, and would otherwise end every alert
and restart its pending period. No alert needs a recording rule: over 50 runs the slowest takes a fraction of a second
once a minute, and Grafana's copy of it would never fire on a Prometheus that has not loaded the rules. The one
recording rule shows that they are loaded: a dashboard can distinguish "no alert fires" from "no alert is evaluated".
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
from evalgauge_dashboards import thresholds
from evalgauge_dashboards.dashboard import COMPARISON, EVALUATION, FLEET
from evalgauge_dashboards.errors import TemplateError
from evalgauge_dashboards.options import Options
from evalgauge_dashboards.promql import (
    NOW,
    RULES_LOADED,
    UP,
    Expression,
    LabelMatch,
    add_matchers,
    scalar,
    select,
    vector,
)
from evalgauge_dashboards.queries import MACHINE, held

GROUP = "evalgauge"
INTERVAL = "1m"
BY_RUN = ("run_id",)
PAIR = ("run_id", "baseline_run_id")
CALL = ("run_id", "provider", "model")
WORKER = ("run_id", "worker_id")
ERRORS = ("infrastructure_error", "evaluation_error")
"""Outcomes that cost money and measure nothing."""

Severity = Literal["critical", "warning", "info"]
"""critical: money or machine time is being lost now, so page someone; warning: look at it today; info: sent once."""
Component = Literal["run", "cost", "machine", "monitoring"]


@dataclasses.dataclass(frozen=True)
class Alert:
    """One alert: it fires for each series that its expression returns for as long as ``pending``."""

    name: str
    expression: Expression
    pending: str
    severity: Severity
    component: Component
    summary: str
    """One sentence that fits a phone's screen, as a template."""
    description: str
    """What it means for the reader and the first thing to look at, as a template."""
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

    @property
    def labels(self) -> dict[str, str]:
        """The labels to route on; those of its series come beside them."""
        return {"severity": self.severity, "component": self.component}

    def annotations(self, options: Options) -> dict[str, str]:
        """Return its texts and links, as templates of Prometheus."""
        dashboard, panel = self.panel
        grafana, exporter = options.grafana_url.rstrip("/"), options.exporter_url.rstrip("/")
        texts = {"summary": self.summary, "description": self.description}
        if "run_id" in (self.expression.labels or ()):
            query = "{{ $labels.run_id | urlquery }}"
            # urlquery writes a space as +, which in a path is a plus
            path = '{{ reReplaceAll "[+]" "%20" (urlquery $labels.run_id) }}'
            texts["dashboard_url"] = f"{grafana}/d/{dashboard}?var-run={query}&viewPanel={panel}"
            texts["live_url"] = f"{exporter}/?run={query}"
            texts["replay_url"] = f"{exporter}/replay/{path}/"
        else:
            texts["dashboard_url"] = f"{grafana}/d/{dashboard}?viewPanel={panel}"
        return texts | {"runbook_url": options.runbook_url(self.anchor)}

    def to_prometheus(self, options: Options) -> dict[str, object]:
        """Render it as a rule of Prometheus."""
        return {
            "alert": self.name,
            "expr": add_matchers(self.expression.text, options.selector),
            "for": self.pending,
            **({"keep_firing_for": self.keep_firing} if self.keep_firing else {}),
            "labels": self.labels,
            "annotations": self.annotations(options),
        }

    def to_grafana(self, options: Options) -> dict[str, Any]:
        """Render it as a rule of Grafana's file provisioning.

        Three nodes keep PromQL's meaning: the query, 1 for each series it returned whatever its value, and a
        threshold on that. A series that vanished keeps firing as long as in Prometheus, in numbers of evaluations:
        Grafana's ``keepFiringFor`` is only for a series that is there and no longer over the threshold.
        """
        here = DataSourceRef(type_val="__expr__", uid="__expr__")
        there = chain.TypeMath().ref_id("there").datasource(here)
        there = there.expression("is_number($query) || is_nan($query) || is_inf($query)")
        over = chain.ExprTypeThresholdConditionsEvaluator().type("gt").params([0])
        firing = chain.TypeThreshold().ref_id("firing").datasource(here).expression("there")
        firing = firing.conditions([chain.ExprTypeThresholdConditions().evaluator(over)])
        expression = add_matchers(self.expression.text, options.selector)
        query = prometheus.Dataquery().ref_id("query").expr(expression).instant()
        dashboard, panel = self.panel
        at_once = RelativeTimeRange(0, 0)
        annotations = {name: _translate_template(text) for name, text in self.annotations(options).items()}
        rule = (
            grafana.Rule(self.name)
            .uid(self.anchor)
            .rule_group(GROUP)
            .condition("firing")
            .for_val(self.pending)
            .no_data_state("OK")
            .exec_err_state(self.exec_error_state)
            .labels(self.labels)
            .annotations(annotations | {"__dashboardUid__": dashboard, "__panelId__": str(panel)})
            .with_query(
                grafana.Query("query")
                .datasource_uid(options.datasource_uid)
                .relative_time_range(RelativeTimeRange(600, 0))
                .model(query)
            )
            .with_query(grafana.Query("there").datasource_uid("__expr__").relative_time_range(at_once).model(there))
            .with_query(grafana.Query("firing").datasource_uid("__expr__").relative_time_range(at_once).model(firing))
        )
        encoded: dict[str, Any] = json.loads(JSONEncoder().encode(rule.build()))
        encoded["labels"] = {key: value.replace("$", "$$") for key, value in encoded["labels"].items()}
        keep = {"keepFiringFor": self.keep_firing} if self.keep_firing else {}
        return {
            **{key: encoded[key] for key in _PROVISIONED},
            **keep,
            "missing_series_evals_to_resolve": _minutes(self.keep_firing) if self.keep_firing else 1,
            "dashboardUid": dashboard,
            "panelId": panel,
        }


_PROVISIONED = ("uid", "title", "condition", "data", "noDataState", "execErrState", "for", "annotations", "labels")


def _minutes(duration: str) -> int:
    """Return the evaluations that a duration such as ``10m`` lasts, at one each `INTERVAL`."""
    assert duration.endswith("m")
    return int(duration.removesuffix("m"))


def _translate_template(template: str) -> str:
    """Translate a template for Grafana, where ``$value`` is a string of all values and the number has another name.

    Raises:
        TemplateError: If the template holds ``${``, after which Grafana expects the name of an environment variable.
    """
    if "${" in template:
        raise TemplateError(f"Grafana would put an environment variable in: {template}")
    return template.replace("$value", "$values.query.Value")


def _label_by_run(expression: Expression) -> Expression:
    """Add the benchmark and the model of the run, to route on; a model that the expression itself has stays."""
    carried = tuple(label for label in ("benchmark", "model") if label not in (expression.labels or ()))
    # a run whose model became known in the last minutes has two infos
    info = held.value(m.RUN_INFO, "run_id", *carried).topk(1, "run_id")
    return expression.combine("*", info, on=BY_RUN, carry=carried)


def _regression() -> Expression:
    delta = held.value(m.COMPARISON_SUCCESS_DELTA, *PAIR, bound="estimate")
    significant = held.value(m.COMPARISON_P_VALUE, *PAIR, kind="anytime") < thresholds.REGRESSION_P
    success = held.value(m.BASELINE_SUCCESS_TASKS, "baseline_run_id")
    measured = held.value(m.BASELINE_MEASURED_TASKS, "baseline_run_id")
    rate = success / measured
    noise = (rate * (1 - rate) / measured).sqrt().clamp_min(thresholds.REGRESSION_FLOOR)
    enough = held.tasks("run_id", status=m.MEASURED_OUTCOMES) >= thresholds.REGRESSION_SAMPLE
    return (
        delta.combine("<", 0 - noise, on=("baseline_run_id",))
        .where(significant, on=PAIR)
        .where(enough, on=BY_RUN)
        .where(held.recent_runs(thresholds.RECENT), on=BY_RUN)
    )


def _score_regression() -> Expression:
    # the interval is of a fixed sample: it is read once, when the run has finished
    high = held.value(m.COMPARISON_SCORE_DELTA, *PAIR, bound="high") < 0
    estimate = held.value(m.COMPARISON_SCORE_DELTA, *PAIR, bound="estimate")
    # scores that say no more than success or failure would be a second test of the same, and a second message
    beyond = estimate - held.value(m.COMPARISON_SUCCESS_DELTA, *PAIR, bound="estimate")
    same = (beyond < thresholds.SAME_DELTA) > -thresholds.SAME_DELTA
    enough = held.tasks("run_id", status=m.MEASURED_OUTCOMES) >= thresholds.REGRESSION_SAMPLE
    return (
        estimate.where(high, on=PAIR)
        .unless(same, on=PAIR)
        .unless(_regression(), on=PAIR)
        .where(enough, on=BY_RUN)
        .where(held.value(m.RUN_STATE, "run_id", state="completed").equals(1), on=BY_RUN)
        .where(held.recent_runs(thresholds.RECENT), on=BY_RUN)
    )


def _domain_collapse() -> Expression:
    domain = (*PAIR, "domain")
    delta = held.value(m.COMPARISON_DOMAIN_DELTA, *domain, bound="estimate") < -thresholds.DOMAIN_DROP
    significant = held.value(m.COMPARISON_DOMAIN_P_VALUE, *domain, kind="anytime") < thresholds.REGRESSION_P
    return delta.where(significant, on=domain).where(held.recent_runs(thresholds.RECENT), on=BY_RUN)


def _baseline_missing() -> Expression:
    missing = held.value(m.RUN_BASELINE_INFO, *PAIR, state="missing").equals(1)
    return missing.where(held.recent_runs(thresholds.RECENT), on=BY_RUN)


def _stalled() -> Expression:
    stalled = held.value(m.RUN_STATE, "run_id", state="stalled").equals(1)
    silent = held.seconds_since_progress().where(stalled, on=BY_RUN) < thresholds.RECENT
    hung = held.seconds_since_progress().where(held.running_runs(), on=BY_RUN) > thresholds.NO_PROGRESS
    return silent.or_(hung)


def _incomplete() -> Expression:
    unmeasured = tuple(status for status in m.TASK_STATUSES if status not in m.MEASURED_OUTCOMES)
    missed = held.tasks("run_id", status=unmeasured)
    return (
        (missed / held.tasks("run_id") > thresholds.INCOMPLETE_SHARE)
        .where((missed >= thresholds.BURN_SAMPLE).or_(missed.combine("==", held.tasks("run_id"))), on=BY_RUN)
        .where(held.value(m.RUN_STATE, "run_id", state="completed").equals(1), on=BY_RUN)
        .where(held.recent_runs(thresholds.RECENT), on=BY_RUN)
    )


def _share_of_attempts(window: str, status: LabelMatch) -> Expression:
    """The share of a status among the attempts that finished in the window."""
    finished = held.growth(m.RUN_TASKS, window, "run_id", status=m.OUTCOMES) > 0
    return held.growth(m.RUN_TASKS, window, "run_id", status=status) / finished


def _burn(factor: float, long: str, short: str) -> Expression:
    burning = factor * scalar(thresholds.INFRASTRUCTURE_OBJECTIVE)
    errors = held.growth(m.RUN_TASKS, long, "run_id", status=ERRORS)
    # what ends first is what fails at once: until the others end, a running attempt counts as half of one
    attempts = held.growth(m.RUN_TASKS, long, "run_id", status=m.OUTCOMES) + 0.5 * held.tasks(
        "run_id", status="running"
    )
    return (
        (_share_of_attempts(long, ERRORS) > burning)
        .where(_share_of_attempts(short, ERRORS) > burning, on=BY_RUN)
        .where(errors / attempts > burning, on=BY_RUN)
        .where(errors >= thresholds.BURN_SAMPLE, on=BY_RUN)
        # also where it ended the run: a dead pool finishes every task at once
        .where(held.recent_runs(thresholds.JUST_FINISHED), on=BY_RUN)
    )


def _agent_errors() -> Expression:
    enough = held.growth(m.RUN_TASKS, "30m", "run_id", status="agent_error") >= thresholds.AGENT_ERROR_SAMPLE
    return (
        (_share_of_attempts("30m", "agent_error") > thresholds.AGENT_ERROR_SHARE)
        .where(enough, on=BY_RUN)
        .where(held.recent_runs(thresholds.JUST_FINISHED), on=BY_RUN)
    )


def _call_share(window: str, share: float, sample: int, *status: str) -> Expression:
    calls = held.growth(m.RUN_LLM_REQUESTS, window, *CALL)
    return (
        (held.growth(m.RUN_LLM_REQUESTS, window, *CALL, status=status) / (calls > 0) > share)
        .where(calls >= sample, on=CALL)
        .where(held.recent_runs(thresholds.JUST_FINISHED), on=BY_RUN)
    )


def _slow_calls() -> Expression:
    duration = m.RUN_LLM_DURATION
    calls = held.growth(duration, "15m", *CALL, part="count")
    seconds = held.growth(duration, "15m", *CALL, part="sum")
    calls_before = held.part(duration, "count", *CALL) - calls
    usual = (held.part(duration, "sum", *CALL) - seconds) / (calls_before >= thresholds.SLOW_SAMPLE)
    mean = seconds / (calls >= thresholds.SLOW_SAMPLE) >= thresholds.SLOW_SECONDS
    return (mean > usual * thresholds.SLOW_FACTOR).where(held.running_runs(), on=BY_RUN)


def _over_budget() -> Expression:
    budget = held.value(m.RUN_BUDGET, "run_id")
    over = held.cost("run_id") / budget > thresholds.BUDGET_SHARE
    return over.where(held.running_runs().or_(held.recent_runs(thresholds.JUST_FINISHED)), on=BY_RUN)


def _projected_over_budget() -> Expression:
    budget = held.value(m.RUN_BUDGET, "run_id")
    credible = held.work_share("run_id") >= thresholds.PROJECTION_WORK
    return (
        (held.projected_cost("run_id") / budget > thresholds.BUDGET_SHARE)
        .where(credible, on=BY_RUN)
        .where(held.running_runs(), on=BY_RUN)
    )


def _spend_spike() -> Expression:
    now = held.spend_per_hour("run_id")
    # over the times at which it cost anything: a pause before a resumption is no sign of thrift
    spending = now > 0
    usual = spending.subquery("avg_over_time", "6h", "5m")
    known = spending.subquery("count_over_time", "6h", "5m") >= thresholds.SPIKE_SAMPLES
    return (
        (now > usual * thresholds.SPIKE_FACTOR)
        .where(now > thresholds.SPIKE_USD_PER_HOUR, on=BY_RUN)
        .where(known, on=BY_RUN)
        .where(held.running_runs(), on=BY_RUN)
    )


def _unpriced_calls() -> Expression:
    unpriced = held.total(m.RUN_UNPRICED_REQUESTS, *CALL)
    # a call that failed has no usage to report
    failed = held.total(m.RUN_LLM_REQUESTS, *CALL, status=("error", "retry"))
    silent = (held.total(m.RUN_UNKNOWN_USAGE_REQUESTS, *CALL) - failed).clamp_min(0)
    share = (unpriced + silent) / (held.total(m.RUN_LLM_REQUESTS, *CALL) > 0)
    return (
        (share > thresholds.UNCOSTED_SHARE)
        .where((unpriced > 0).or_(silent >= thresholds.SILENT_SAMPLE), on=CALL)
        .where(held.recent_runs(thresholds.RECENT), on=BY_RUN)
    )


def _worker_lost() -> Expression:
    lost = held.value(m.WORKER_STATE, "run_id", "worker_id", state="lost").equals(1)
    return lost.where(held.running_runs(), on=BY_RUN)


def _worker_failing() -> Expression:
    errors = held.growth(m.WORKER_TASKS, "1h", *WORKER, outcome=ERRORS)
    finished = held.growth(m.WORKER_TASKS, "1h", *WORKER)
    # both differences to the run's sums are negative
    of_others = errors.combine("-", errors.sum(*BY_RUN), on=BY_RUN) / (
        finished.combine("-", finished.sum(*BY_RUN), on=BY_RUN) < 0
    )
    return (
        (errors / (finished > 0) > thresholds.WORKER_ERROR_SHARE)
        .where(errors >= thresholds.BURN_SAMPLE, on=WORKER)
        # a failure of the whole run is no worker's fault, and has an alert of its own
        .where(of_others < thresholds.OTHERS_ERROR_SHARE, on=WORKER)
        .where(held.running_runs(), on=BY_RUN)
    )


def _machine_without_run() -> Expression:
    # a machine that never served a run is somebody else's
    served = select(m.VM_RUNS).over("max_over_time", thresholds.SERVED_WITHIN).max(*MACHINE) > 0
    return held.unused_machines().where(served, on=MACHINE)


def _machine_interrupted() -> Expression:
    ends = held.value(m.VM_INTERRUPTION, *MACHINE)
    used = held.value(m.VM_RUNS, *MACHINE) > 0
    # the time at which it ends, as long as that is news
    return (ends > NOW - thresholds.JUST_FINISHED).where(used, on=MACHINE)


def _probe_failing() -> Expression:
    failing = held.value(m.PROBE_SUCCESS, "target", "kind").equals(0)
    # a probe has the name of its machine, alone or in front of a port or a path
    machine = failing.derive_label("vm", "target", "([^:/]+)(?:[:/].*)?")
    off = held.value(m.VM_POWER_STATE, "vm", state=("stopping", "stopped", "deallocating", "deallocated")).equals(1)
    return machine.unless(off, on=("vm",)).max("target", "kind")


def _events_lost() -> Expression:
    lost = held.growth(m.RUN_LOST_EVENTS, "1h", "run_id") > 0
    # an exporter of an earlier version does not say of which run
    total = held.growth(m.SOURCE_ERRORS, "1h", "source", reason="lost_by_writer") > 0
    unnamed = total.unless(held.select(m.RUN_LOST_EVENTS).count(), on=())
    return _label_by_run(lost.where(held.recent_runs(thresholds.JUST_FINISHED), on=BY_RUN)).or_(unnamed)


def _source_stale() -> Expression:
    # several exporters read independently of each other: the worst one counts
    failing = held.select(m.SOURCE_UP).min("source").equals(0)
    polled = ("azure_vm", "azure_ml", "aws_ec2", "cloud", "probe")
    age = NOW - held.select(m.SOURCE_LAST_SUCCESS, source=polled).min("source")
    prices = NOW - held.select(m.SOURCE_LAST_SUCCESS, source="prices").min("source")
    return failing.or_(age > thresholds.SOURCE_AGE).or_(prices > thresholds.PRICES_AGE)


def _exporter_down(job: str) -> Expression:
    target = ("job", "instance")
    # one that answers now and then, because it crashes and starts again, is down too; one that is no target is not
    answers = select(UP).over("avg_over_time", "10m").max(*target) < thresholds.EXPORTER_ANSWERS
    answers = answers.where(select(UP).max(*target), on=target)
    exporter = select(m.BUILD_INFO).over("last_over_time", "1d").targets()
    configured = select(UP, job=job).max(*target)
    none = select(UP, job=job).absent(job=job).unless(held.select(m.BUILD_INFO).count(), on=())
    return answers.where(exporter.or_(configured), on=target).or_(none)


def list_alerts(job: str = "evalgauge") -> tuple[Alert, ...]:
    """List every alert in reading order: runs, cost, machines, the monitoring itself.

    Args:
        job: The name of the exporter's scrape job.
    """
    return (
        Alert(
            "EvalSuccessRegression",
            _label_by_run(_regression()),
            "2m",
            "warning",
            "run",
            "Run {{ $labels.run_id }} succeeds less often than its baseline {{ $labels.baseline_run_id }}: "
            "{{ $value | humanizePercentage }} of the tasks measured in both, significant and larger than the noise.",
            "The p-value is anytime-valid, so the verdict holds however often it is read. Rule out the environment, "
            "then "
            "compare the tasks that only the baseline solved.",
            (COMPARISON, 20),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalScoreRegression",
            _label_by_run(_score_regression()),
            "2m",
            "warning",
            "run",
            "Run {{ $labels.run_id }} scores lower than its baseline {{ $labels.baseline_run_id }}: "
            '{{ $value | printf "%.3g" }} on average over the tasks measured in both.',
            "The whole 95 % interval of the paired difference is below 0. Partial scores can fall while the success "
            "rate "
            "does not.",
            (COMPARISON, 20),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalDomainCollapse",
            _label_by_run(_domain_collapse()),
            "2m",
            "warning",
            "run",
            "Run {{ $labels.run_id }} fails in {{ $labels.domain }} where its baseline {{ $labels.baseline_run_id }} "
            "did "
            "not: {{ $value | humanizePercentage }} of the tasks measured in both.",
            "Failures of one domain that look alike are mostly caused by its environment: an application that was not "
            "installed, a login that expired.",
            (EVALUATION, 20),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalBaselineMissing",
            _label_by_run(_baseline_missing()),
            "5m",
            "info",
            "run",
            "The baseline {{ $labels.baseline_run_id }} of run {{ $labels.run_id }} does not exist: nothing is "
            "compared.",
            "Correct the run's baseline or [baselines] in the configuration, or put the baseline run into the results.",
            (COMPARISON, 20),
        ),
        Alert(
            "EvalRunStalled",
            _label_by_run(_stalled()),
            "1m",
            "critical",
            "run",
            "Run {{ $labels.run_id }} has made no progress for {{ $value | humanizeDuration }}.",
            "Its process is gone or hangs; its machines are still billed.",
            (EVALUATION, 1),
        ),
        Alert(
            "EvalRunIncomplete",
            _label_by_run(_incomplete()),
            "2m",
            "warning",
            "run",
            "Run {{ $labels.run_id }} has completed without measuring {{ $value | humanizePercentage }} of its tasks.",
            "Its tasks ended as errors, were interrupted or never started: a pool that died, or a set-up that "
            "failed. Its "
            "rates are over the other tasks only.",
            (EVALUATION, 21),
        ),
        Alert(
            "EvalInfrastructureErrorsFast",
            _label_by_run(_burn(thresholds.FAST_BURN, "1h", "10m")),
            "2m",
            "critical",
            "run",
            "{{ $value | humanizePercentage }} of the attempts of run {{ $labels.run_id }} ended as infrastructure or "
            "evaluation error in the last hour.",
            "These attempts cost money and measure nothing. Pause the run if all workers are affected, else remove the "
            "affected one.",
            (EVALUATION, 14),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalInfrastructureErrorsSlow",
            _label_by_run(_burn(thresholds.SLOW_BURN, "6h", "30m")),
            "10m",
            "warning",
            "run",
            "{{ $value | humanizePercentage }} of the attempts of run {{ $labels.run_id }} ended as infrastructure or "
            "evaluation error in the last six hours.",
            "A slow leak: memory, disk, or the set-up of one domain.",
            (EVALUATION, 14),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalAgentErrors",
            _label_by_run(_agent_errors()),
            "2m",
            "critical",
            "run",
            "{{ $value | humanizePercentage }} of the attempts of run {{ $labels.run_id }} ended as agent error in the "
            "last 30 minutes.",
            "Nearly every attempt fails in the agent's own code or calls: an expired key, a quota, a broken release. "
            "They "
            "count as measured, so the success rate falls.",
            (EVALUATION, 14),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalModelCallsFailing",
            _label_by_run(_call_share("15m", thresholds.FAILING_SHARE, thresholds.FAILING_SAMPLE, "error")),
            "2m",
            "critical",
            "run",
            "{{ $value | humanizePercentage }} of the calls of run {{ $labels.run_id }} to {{ $labels.provider }}/"
            "{{ $labels.model }} failed in the last 15 minutes.",
            "An expired key, an exhausted quota or an outage of the provider.",
            (EVALUATION, 32),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalModelCallRetries",
            _label_by_run(_call_share("1h", thresholds.RETRY_SHARE, thresholds.RETRY_SAMPLE, "error", "retry")),
            "10m",
            "warning",
            "run",
            "{{ $value | humanizePercentage }} of the calls of run {{ $labels.run_id }} to {{ $labels.provider }}/"
            "{{ $labels.model }} failed or were retried in the last hour.",
            "The run is slower and, where discarded answers are billed, dearer than it need be: lower the concurrency.",
            (EVALUATION, 32),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalModelCallsSlow",
            _label_by_run(_slow_calls()),
            "5m",
            "warning",
            "run",
            "Calls of run {{ $labels.run_id }} to {{ $labels.provider }}/{{ $labels.model }} now take "
            f"{{{{ $value | humanizeDuration }}}} on average, more than {thresholds.SLOW_FACTOR:g} times what they "
            "took before.",
            "The provider is overloaded, or the prompts have grown. The run ends later, its machines are billed for "
            "longer, and tasks with a time limit fail.",
            (EVALUATION, 34),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalOverBudget",
            _label_by_run(_over_budget()),
            "0m",
            "critical",
            "cost",
            "Run {{ $labels.run_id }} has used {{ $value | humanizePercentage }} of its budget.",
            "evalgauge stops nothing: stop the run, or raise its budget.",
            (EVALUATION, 9),
        ),
        Alert(
            "EvalProjectedOverBudget",
            _label_by_run(_projected_over_budget()),
            "10m",
            "warning",
            "cost",
            "Run {{ $labels.run_id }} will have used {{ $value | humanizePercentage }} of its budget at the end.",
            "If the remaining tasks cost as much as the finished ones. Fewer tasks, fewer attempts or a smaller step "
            "limit "
            "keep it within its budget.",
            (EVALUATION, 8),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalSpendSpike",
            _label_by_run(_spend_spike()),
            "10m",
            "warning",
            "cost",
            'Run {{ $labels.run_id }} now costs {{ $value | printf "%.2f" }} dollars per hour, more than '
            f"{thresholds.SPIKE_FACTOR:g} times what it usually does.",
            "Retries, an agent in a loop, a cache that is no longer read, or machines that were added.",
            (EVALUATION, 11),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalUnpricedCalls",
            _label_by_run(_unpriced_calls()),
            "5m",
            "info",
            "cost",
            "{{ $value | humanizePercentage }} of the calls of run {{ $labels.run_id }} to {{ $labels.provider }}/"
            "{{ $labels.model }} have no known cost: no price is known, or they reported no tokens.",
            "The shown cost is a lower bound, and budget alerts come too late. Add a price to the overrides: past "
            "calls "
            "are then priced too.",
            (EVALUATION, 12),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalWorkerLost",
            _label_by_run(_worker_lost()),
            "2m",
            "warning",
            "machine",
            "Worker {{ $labels.worker_id }} of run {{ $labels.run_id }} is lost.",
            "It has sent no event and no heartbeat for the stall time. Its attempt counts as interrupted.",
            (FLEET, 10),
        ),
        Alert(
            "EvalWorkerFailing",
            _label_by_run(_worker_failing()),
            "2m",
            "warning",
            "machine",
            "{{ $value | humanizePercentage }} of the attempts on worker {{ $labels.worker_id }} of run "
            "{{ $labels.run_id }} ended as infrastructure or evaluation error in the last hour.",
            "The other workers are well: it is this one's machine. A worker that fails at once takes task after task: "
            "remove it.",
            (FLEET, 13),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalMachineIdle",
            held.idle_machines(),
            thresholds.IDLE_FOR,
            "warning",
            "machine",
            "Machine {{ $labels.vm }} ({{ $labels.resource_group }}) has had no task for "
            f"{thresholds.IDLE_FOR} and is billed.",
            "A running run uses it. If no tasks are left for it, deallocate it; a stopped machine is still billed.",
            (FLEET, 20),
        ),
        Alert(
            "EvalMachineWithoutRun",
            _machine_without_run(),
            thresholds.IDLE_FOR,
            "critical",
            "machine",
            "Machine {{ $labels.vm }} ({{ $labels.resource_group }}) is billed and no run has used it for "
            f"{thresholds.IDLE_FOR}.",
            "It has served a run before. Somebody may be logged in: ask, then deallocate it.",
            (FLEET, 20),
        ),
        Alert(
            "EvalMachineInterrupted",
            _machine_interrupted(),
            "0m",
            "warning",
            "machine",
            "{{ $labels.provider }} takes back machine {{ $labels.vm }} ({{ $labels.resource_group }}), which a run "
            "uses.",
            "Its attempts end as infrastructure errors. Start another machine, and run the attempts again afterwards.",
            (FLEET, 20),
        ),
        Alert(
            "EvalProbeFailing",
            _probe_failing(),
            "5m",
            "warning",
            "machine",
            "{{ $labels.target }} does not answer its {{ $labels.kind }} probe.",
            "Its machine is not switched off, so tasks that are sent to it end as infrastructure errors.",
            (FLEET, 30),
        ),
        Alert(
            "EvalEventsLost",
            _events_lost(),
            "0m",
            "warning",
            "monitoring",
            "{{ if $labels.run_id }}Run {{ $labels.run_id }} has{{ else }}Runs have{{ end }} lost "
            '{{ $value | printf "%.0f" }} events: they could not be written to the log.',
            "Its counts, costs and rates are too low. Mostly the results disk is full or not writable.",
            (FLEET, 40),
            keep_firing=thresholds.KEEP_FIRING,
        ),
        Alert(
            "EvalSourceStale",
            _source_stale(),
            "15m",
            "warning",
            "monitoring",
            "Source {{ $labels.source }} cannot be read or is out of date.",
            "evalgauge doctor tries each configured part and reports what to fix.",
            (FLEET, 40),
        ),
        Alert(
            "EvalExporterDown",
            _exporter_down(job),
            "2m",
            "critical",
            "monitoring",
            "Prometheus cannot scrape the evalgauge exporter{{ if $labels.instance }} {{ $labels.instance }}{{ end }}: "
            "the dashboards are out of date.",
            "No other alert can be evaluated meanwhile. The runs are not affected: the exporter reads their logs "
            "when it "
            "is back.",
            (FLEET, 42),
            exec_error_state="Alerting",
        ),
    )


def build_provisioning(options: Options) -> dict[str, object]:
    """Build the file that Grafana's alert provisioning reads."""
    rules = [alert.to_grafana(options) for alert in list_alerts(options.job)]
    group = {"orgId": 1, "name": GROUP, "folder": options.folder, "interval": INTERVAL, "rules": rules}
    return {"apiVersion": 1, "groups": [group]}


def build_rules(options: Options) -> dict[str, object]:
    """Build the groups of Prometheus' rules."""
    alerts = list_alerts(options.job)
    # its presence shows a dashboard that Prometheus evaluates the alerts
    loaded = {"record": RULES_LOADED.name, "expr": vector(len(alerts)).text}
    rules = [loaded, *(alert.to_prometheus(options) for alert in alerts)]
    return {"groups": [{"name": GROUP, "interval": INTERVAL, "rules": rules}]}
