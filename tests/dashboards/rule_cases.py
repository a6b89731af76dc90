"""Cases for promtool: what an alert sees, when, and what it must say then."""

from __future__ import annotations

import dataclasses

from evalgauge import metrics as m
from tests.dashboards.rule_series import (
    LONG,
    Series,
    baseline,
    calls,
    compared,
    cost,
    machine,
    run,
    scraped_from,
    series,
    source,
    tasks,
    worker,
)


@dataclasses.dataclass(frozen=True)
class Firing:
    """One alert that must fire: the labels beside its name and severity, and its summary."""

    labels: dict[str, str]
    summary: str


@dataclasses.dataclass(frozen=True)
class Case:
    """One situation; ``firing`` is everything that the alert must say at ``at``, nothing where it must be quiet."""

    alert: str
    what: str
    series: tuple[Series, ...]
    at: str
    firing: tuple[Firing, ...] = ()


PAIR = {"run_id": "new", "baseline_run_id": "base"}
REGRESSION = (*run("new", "running"), *compared("new", -0.2, 0.01), *baseline(70, 140))
FAST, SLOW = "EvalInfrastructureErrorsFast", "EvalInfrastructureErrorsSlow"
HEALTHY_BASE = (*run("base", "completed"), *tasks("base", success=12, failure=1))

CASES = (
    Case(
        "EvalSuccessRegression",
        "a significant and large difference fires",
        (*REGRESSION, *tasks("new", success=8, failure=10, agent_error=2)),
        "10m",
        (
            Firing(
                PAIR,
                "Run new succeeds less often than its baseline base: -20% over the tasks measured in both, "
                "significant and larger than the noise.",
            ),
        ),
    ),
    Case(
        "EvalSuccessRegression",
        "19 measured tasks are too few, whatever else finished",
        (*REGRESSION, *tasks("new", success=8, failure=10, agent_error=1, infrastructure_error=30)),
        "10m",
    ),
    Case(
        "EvalSuccessRegression",
        "the exact p-value alone is not asked: it may not be looked at each minute",
        (*run("new", "running"), *compared("new", -0.2, 0.05), *baseline(70, 140), *tasks("new", success=20)),
        "10m",
    ),
    Case(
        "EvalSuccessRegression",
        "a difference within the baseline's standard error of 4.2 points is noise",
        (*run("new", "running"), *compared("new", -0.042, 0.001), *baseline(70, 140), *tasks("new", success=20)),
        "10m",
    ),
    Case(
        "EvalSuccessRegression",
        "a difference just beyond it is not",
        (*run("new", "running"), *compared("new", -0.043, 0.001), *baseline(70, 140), *tasks("new", success=20)),
        "10m",
        (
            Firing(
                PAIR,
                "Run new succeeds less often than its baseline base: -4.3% over the tasks measured in both, "
                "significant and larger than the noise.",
            ),
        ),
    ),
    Case(
        "EvalSuccessRegression",
        "two points are the floor where the baseline hardly fails",
        (*run("new", "running"), *compared("new", -0.019, 0.001), *baseline(9990, 10000), *tasks("new", success=20)),
        "10m",
    ),
    Case(
        "EvalSuccessRegression",
        "an improvement is no regression",
        (*run("new", "running"), *compared("new", 0.2, 0.001), *baseline(70, 140), *tasks("new", success=20)),
        "10m",
    ),
    Case(
        "EvalSuccessRegression",
        "a run that ended the day before is history",
        (
            *run("new", "completed", progress="-90000x600"),
            *compared("new", -0.2, 0.01),
            *baseline(70, 140),
            *tasks("new", success=20),
        ),
        "10m",
    ),
    Case(
        "EvalDomainCollapse",
        "none of nine where the baseline had twelve of thirteen",
        (*HEALTHY_BASE, *run("new", "running"), *compared("new", -0.1, 0.5), *tasks("new", failure=9)),
        "10m",
        (
            Firing(
                PAIR | {"domain": "chrome"},
                "Run new fails in chrome where its baseline did not: at best 42.44% of the tasks succeed.",
            ),
        ),
    ),
    Case(
        "EvalDomainCollapse",
        "two exporters name different baselines for a run",
        (
            *HEALTHY_BASE,
            *run("new", "running"),
            *(scraped_from("a", one) for one in compared("new", -0.1, 0.5)),
            *(scraped_from("b", one) for one in compared("new", 0.1, 0.5, base="other")),
            *tasks("new", failure=9),
        ),
        "10m",
        (
            Firing(
                PAIR | {"domain": "chrome"},
                "Run new fails in chrome where its baseline did not: at best 42.44% of the tasks succeed.",
            ),
        ),
    ),
    Case(
        "EvalDomainCollapse",
        "four of nine may be chance",
        (*HEALTHY_BASE, *run("new", "running"), *compared("new", -0.1, 0.5), *tasks("new", success=4, failure=5)),
        "10m",
    ),
    Case(
        "EvalDomainCollapse",
        "errors that measure nothing are no failures",
        (
            *HEALTHY_BASE,
            *run("new", "running"),
            *compared("new", -0.1, 0.5),
            *tasks("new", failure=4, infrastructure_error=20),
        ),
        "10m",
    ),
    Case(
        "EvalDomainCollapse",
        "without a baseline there is nothing to fall from",
        (*HEALTHY_BASE, *run("new", "running"), *tasks("new", failure=9)),
        "10m",
    ),
    Case(
        "EvalRunStalled",
        "the exporter says stalled",
        run("new", "stalled", progress=0),
        "12m",
        (Firing({"run_id": "new"}, "Run new has made no progress for 12m 0s."),),
    ),
    Case("EvalRunStalled", "a run that was killed yesterday is history", run("new", "stalled", progress=-86400), "12m"),
    Case(
        "EvalRunStalled",
        "heartbeats for an hour and no event",
        run("new", "running", progress=0),
        "62m",
        (Firing({"run_id": "new"}, "Run new has made no progress for 1h 2m 0s."),),
    ),
    Case("EvalRunStalled", "a task may take an hour", run("new", "running", progress=0), "60m"),
    Case("EvalRunStalled", "a finished run is not stalled", run("new", "completed", progress=0), "90m"),
    Case(
        FAST,
        "a third of the attempts, in the last hour and the last ten minutes",
        (*run("new", "running"), *tasks("new", success="0+2x600", infrastructure_error="0+1x600", pending=500)),
        "70m",
        (
            Firing(
                {"run_id": "new"},
                "33.33% of the attempts of run new ended as infrastructure error in the last hour.",
            ),
        ),
    ),
    Case(
        FAST,
        "a quarter does not burn fast",
        (*run("new", "running"), *tasks("new", success="0+3x600", infrastructure_error="0+1x600")),
        "70m",
    ),
    Case(
        FAST,
        "none in the last ten minutes",
        (*run("new", "running"), *tasks("new", success="0+2x600", infrastructure_error="0+1x50 50x550")),
        "66m",
    ),
    Case(
        FAST,
        "two errors are too few to speak of a share",
        (*run("new", "running"), *tasks("new", success="0x600", infrastructure_error="0x55 1x4 2x600")),
        "62m",
    ),
    Case(
        FAST,
        "a finished run burns nothing",
        (*run("new", "completed"), *tasks("new", success="0+2x600", infrastructure_error="0+1x600")),
        "70m",
    ),
    Case(
        SLOW,
        "a quarter for hours",
        (*run("new", "running"), *tasks("new", success="0+3x600", infrastructure_error="0+1x600")),
        "7h",
        (
            Firing(
                {"run_id": "new"},
                "25% of the attempts of run new ended as infrastructure error in the last six hours.",
            ),
        ),
    ),
    Case(
        SLOW,
        "one in ten is under six times the objective",
        (*run("new", "running"), *tasks("new", success="0+9x600", infrastructure_error="0+1x600")),
        "7h",
    ),
    Case(
        "EvalOverBudget",
        "more than the budget",
        (*run("new", "running"), cost("new", 30), series(m.RUN_BUDGET, 25, run_id="new")),
        "5m",
        (Firing({"run_id": "new"}, "Run new has used 120% of its budget."),),
    ),
    Case(
        "EvalOverBudget",
        "exactly the budget",
        (*run("new", "running"), cost("new", 25), series(m.RUN_BUDGET, 25, run_id="new")),
        "5m",
    ),
    Case(
        "EvalOverBudget",
        "a run that ended a minute ago",
        (*run("new", "completed", progress="0x600"), cost("new", 30), series(m.RUN_BUDGET, 25, run_id="new")),
        "1m",
        (Firing({"run_id": "new"}, "Run new has used 120% of its budget."),),
    ),
    Case(
        "EvalOverBudget",
        "a run that finished an hour ago raises nothing",
        (*run("new", "completed", progress="0x600"), cost("new", 30), series(m.RUN_BUDGET, 25, run_id="new")),
        "61m",
    ),
    Case(
        "EvalOverBudget",
        "two exporters of one run do not double its cost",
        (
            *run("new", "running"),
            scraped_from("a", cost("new", 20)),
            scraped_from("b", cost("new", 20)),
            series(m.RUN_BUDGET, 25, run_id="new"),
        ),
        "5m",
    ),
    Case("EvalOverBudget", "no budget", (*run("new", "running"), cost("new", 1000)), "5m"),
    Case(
        "EvalProjectedOverBudget",
        "a third more than the budget is expected",
        (
            *run("new", "running"),
            *tasks("new", success=20, failure=4, running=2, pending=74),
            series(m.RUN_PROJECTED_COST, 40, run_id="new"),
            series(m.RUN_BUDGET, 30, run_id="new"),
        ),
        "15m",
        (Firing({"run_id": "new"}, "Run new will have used 133.3% of its budget at the end."),),
    ),
    Case(
        "EvalProjectedOverBudget",
        "on budget",
        (
            *run("new", "running"),
            *tasks("new", success=20, failure=4, running=2, pending=74),
            series(m.RUN_PROJECTED_COST, 40, run_id="new"),
            series(m.RUN_BUDGET, 40, run_id="new"),
        ),
        "15m",
    ),
    Case(
        "EvalProjectedOverBudget",
        "the first three of a hundred say nothing",
        (
            *run("new", "running"),
            *tasks("new", success=3, running=2, pending=95),
            series(m.RUN_PROJECTED_COST, 200, run_id="new"),
            series(m.RUN_BUDGET, 20, run_id="new"),
        ),
        "15m",
    ),
    Case(
        "EvalProjectedOverBudget",
        "not yet ten minutes",
        (
            *run("new", "running"),
            *tasks("new", success=20, failure=4, running=2, pending=74),
            series(m.RUN_PROJECTED_COST, 40, run_id="new"),
            series(m.RUN_BUDGET, 30, run_id="new"),
        ),
        "9m",
    ),
    Case(
        "EvalProjectedOverBudget",
        "an estimate that fell below the budget for five minutes is the same message still",
        (
            *run("new", "running"),
            *tasks("new", success=20, failure=4, running=2, pending=74),
            series(m.RUN_PROJECTED_COST, "40x20 29x600", run_id="new"),
            series(m.RUN_BUDGET, 30, run_id="new"),
        ),
        "25m",
        (Firing({"run_id": "new"}, "Run new will have used 133.3% of its budget at the end."),),
    ),
    Case(
        "EvalProjectedOverBudget",
        "an estimate that stays below ends the alert",
        (
            *run("new", "running"),
            *tasks("new", success=20, failure=4, running=2, pending=74),
            series(m.RUN_PROJECTED_COST, "40x20 29x600", run_id="new"),
            series(m.RUN_BUDGET, 30, run_id="new"),
        ),
        "32m",
    ),
    Case(
        "EvalSpendSpike",
        "a dollar an hour for two hours, then sixty",
        (*run("new", "running"), cost("new", "0+0.0166666667x120 3+1x480")),
        "145m",
        (
            Firing(
                {"run_id": "new"},
                "Run new now costs 60 dollars per hour, more than 3 times its average.",
            ),
        ),
    ),
    Case("EvalSpendSpike", "steady", (*run("new", "running"), cost("new", "0+1x600")), "145m"),
    Case(
        "EvalSpendSpike",
        "cents",
        (*run("new", "running"), cost("new", "0+0.0001x120 0.012+0.015x480")),
        "145m",
    ),
    Case("EvalSpendSpike", "too young for an average", (*run("new", "running"), cost("new", "0x15 1+1x600")), "29m"),
    Case(
        "EvalUnpricedCalls",
        "calls without a price, and calls without tokens",
        (
            *run("new", "running"),
            *calls("new", "a", ok=100, unpriced=100),
            *calls("new", "b", ok=98, error=2, unpriced=1, unknown=2),
            *calls("new", "c", ok=100),
        ),
        "10m",
        tuple(
            Firing(
                {"run_id": "new", "provider": "x", "model": model},
                f"{share} of the calls of run new to x/{model} have no known cost: no price is known, or they "
                "reported no tokens.",
            )
            for model, share in (("a", "100%"), ("b", "3%"))
        ),
    ),
    Case(
        "EvalUnpricedCalls",
        "one call in a hundred failed and reported no tokens",
        (*run("new", "running"), *calls("new", "a", ok=99, error=1, unknown=1)),
        "10m",
    ),
    Case(
        "EvalUnpricedCalls",
        "one of the first fifty calls failed and reported no tokens",
        (*run("new", "running"), *calls("new", "a", ok=49, error=1, unknown=1)),
        "10m",
    ),
    Case(
        "EvalUnpricedCalls",
        "the first call of a model that has no price",
        (*run("new", "running"), *calls("new", "a", ok=1, unpriced=1)),
        "10m",
        (
            Firing(
                {"run_id": "new", "provider": "x", "model": "a"},
                "100% of the calls of run new to x/a have no known cost: no price is known, or they reported no "
                "tokens.",
            ),
        ),
    ),
    Case(
        "EvalUnpricedCalls",
        "every call has its price",
        (*run("new", "running"), *calls("new", "a", ok=7)),
        "10m",
    ),
    Case(
        "EvalWorkerLost",
        "one of two",
        (*run("new", "running"), *worker("new", "w1", "busy"), *worker("new", "w2", "lost")),
        "5m",
        (Firing({"run_id": "new", "worker_id": "w2"}, "Worker w2 of run new is lost."),),
    ),
    Case(
        "EvalWorkerLost",
        "a stalled run has an alert of its own",
        (*run("new", "stalled"), *worker("new", "w2", "lost")),
        "5m",
    ),
    Case(
        "EvalMachineIdle",
        "a run uses two machines and gives one of them nothing to do",
        (*machine("vm-1", "running", runs=1, busy=1), *machine("vm-2", "running", runs=1)),
        "35m",
        (
            Firing(
                {"vm": "vm-2", "resource_group": "eval-rg"},
                "Machine vm-2 (eval-rg) has had no task for 30m and is billed.",
            ),
        ),
    ),
    Case("EvalMachineIdle", "not yet half an hour", machine("vm-2", "running", runs=1), "29m"),
    Case(
        "EvalMachineIdle",
        "it had a task in between",
        machine("vm-2", "running", runs=1, busy="0x20 1 0x100"),
        "35m",
    ),
    Case("EvalMachineIdle", "deallocated costs nothing", machine("vm-2", "deallocated", runs=1), "35m"),
    Case(
        "EvalMachineWithoutRun",
        "one runs, one was stopped but not deallocated, one costs nothing, one is in use",
        (
            *machine("vm-1", "running", runs=0),
            *machine("vm-2", "stopped", runs=0),
            *machine("vm-3", "deallocated", runs=0),
            *machine("vm-4", "running", runs=1, busy=1),
        ),
        "35m",
        tuple(
            Firing(
                {"vm": vm, "resource_group": "eval-rg"},
                f"Machine {vm} (eval-rg) is billed and no run has used it for 30m.",
            )
            for vm in ("vm-1", "vm-2")
        ),
    ),
    Case("EvalMachineWithoutRun", "not yet half an hour", machine("vm-1", "running", runs=0), "29m"),
    Case(
        "EvalMachineWithoutRun",
        "a run that has no task for it uses it all the same",
        machine("vm-1", "running", runs=1),
        "35m",
    ),
    Case(
        "EvalProbeFailing",
        "one target of two is silent",
        (
            series(m.PROBE_SUCCESS, 0, target="vm-1:5000", kind="waa"),
            series(m.PROBE_SUCCESS, 1, target="vm-2:5000", kind="waa"),
        ),
        "10m",
        (Firing({"target": "vm-1:5000", "kind": "waa"}, "vm-1:5000 does not answer its waa probe."),),
    ),
    Case(
        "EvalProbeFailing",
        "it answered again",
        (series(m.PROBE_SUCCESS, "0x3 1x20", target="vm-1:5000", kind="waa"),),
        "10m",
    ),
    Case(
        "EvalSourceStale",
        "one fails, one has not answered for long, prices are from today",
        (*source("openadapt", up=0), *source("azure_vm", last=0), *source("prices", last=0), *source("probe")),
        "50m",
        tuple(
            Firing({"source": name}, f"Source {name} cannot be read or is out of date.")
            for name in ("azure_vm", "openadapt")
        ),
    ),
    Case(
        "EvalSourceStale",
        "one of two exporters cannot read its folder, one of two probers is stuck",
        (
            *(scraped_from("a", one) for one in (*source("runlog"), *source("probe"))),
            *(scraped_from("b", one) for one in (*source("runlog", up=0), *source("probe", last=0))),
        ),
        "50m",
        tuple(
            Firing({"source": name}, f"Source {name} cannot be read or is out of date.") for name in ("probe", "runlog")
        ),
    ),
    Case("EvalSourceStale", "a folder in which nothing happens is no failure", source("runlog", last=0), "9h"),
    Case(
        "EvalExporterDown",
        "the scrape of one of two fails",
        (
            ('up{job="evalgauge",instance="exporter:9909"}', f"0{LONG}"),
            ('up{job="evalgauge",instance="other:9909"}', f"1{LONG}"),
        ),
        "5m",
        (
            Firing(
                {"job": "evalgauge", "instance": "exporter:9909"},
                "Prometheus cannot scrape the evalgauge exporter exporter:9909: the dashboards are out of date.",
            ),
        ),
    ),
    Case(
        "EvalExporterDown",
        "nobody scrapes it at all",
        (('up{job="other",instance="x"}', f"1{LONG}"),),
        "5m",
        (
            Firing(
                {"job": "evalgauge"},
                "Prometheus cannot scrape the evalgauge exporter: the dashboards are out of date.",
            ),
        ),
    ),
    Case(
        "EvalExporterDown",
        "one scrape was missed",
        (('up{job="evalgauge",instance="exporter:9909"}', "1x5 0 1x20"),),
        "8m",
    ),
)
