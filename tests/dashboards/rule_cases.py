"""Situations of evaluation nights: what an alert sees, when, and what it must say then."""

from __future__ import annotations

import dataclasses

from evalgauge import metrics as m
from tests.dashboards.rule_series import (
    MACHINE,
    Series,
    baseline,
    calls,
    compared,
    compared_in,
    cost,
    exporter,
    finished,
    info,
    machine,
    run,
    scored,
    scraped_from,
    series,
    source,
    tasks,
    timed,
    worked,
    worker,
)


@dataclasses.dataclass(frozen=True)
class Firing:
    """One alert that must fire: the labels beside its severity and component, and its summary."""

    labels: dict[str, str]
    summary: str


@dataclasses.dataclass(frozen=True)
class Case:
    """One situation; ``firing`` is everything that the alert must say at ``at``, nothing where it must be quiet."""

    alert: str
    what: str
    series: tuple[Series, ...]
    at: int
    """Minutes."""
    firing: tuple[Firing, ...] = ()


RUN = {"run_id": "new", "benchmark": "waa", "model": "m"}
PAIR = RUN | {"baseline_run_id": "base"}
CALL = {"run_id": "new", "benchmark": "waa", "provider": "x"}
FAST, SLOW = "EvalInfrastructureErrorsFast", "EvalInfrastructureErrorsSlow"
MEASURED_20 = tasks("new", success=8, failure=10, agent_error=2)
POOL = tasks("new", success="0+1x19 20x600", infrastructure_error="0x19 80x600", pending="80x19 0x600")
"""Twenty tasks in twenty minutes, then all machines die and every task that is left ends at once."""


def regression(delta: float, p: float, name: str = "new", base: str = "base") -> tuple[Series, ...]:
    return (*run(name, "running"), *compared(name, delta, p, base=base))


def budget(usd: float) -> Series:
    return series(m.RUN_BUDGET, usd, run_id="new")


def projected(usd: object) -> tuple[Series, ...]:
    done = tasks("new", success=20, failure=4, running=2, pending=74)
    return (*run("new", "running"), *done, series(m.RUN_PROJECTED_COST, usd, run_id="new"))


def errors(share: str, window: str) -> tuple[Firing, ...]:
    text = f"{share} of the attempts of run new ended as infrastructure or evaluation error in the last {window}."
    return (Firing(RUN, text),)


def regressed(points: str) -> Firing:
    return Firing(
        PAIR,
        f"Run new succeeds less often than its baseline base: {points} of the tasks measured in both, significant "
        "and larger than the noise.",
    )


REGRESSIONS = (
    Case(
        "EvalSuccessRegression",
        "a significant and large difference fires",
        (*regression(-0.2, 0.01), *baseline(70, 140), *MEASURED_20),
        10,
        (regressed("-20%"),),
    ),
    Case(
        "EvalSuccessRegression",
        "another run of the model that began since has another baseline",
        (
            *regression(-0.2, 0.01),
            *baseline(70, 140),
            *MEASURED_20,
            *regression(0.0, 1, name="newer", base="other"),
            *baseline(100, 140, name="other"),
        ),
        10,
        (regressed("-20%"),),
    ),
    Case(
        "EvalSuccessRegression",
        "it has just finished",
        (*finished("new", 9), *compared("new", -0.2, 0.01), *baseline(70, 140), *MEASURED_20),
        10,
        (regressed("-20%"),),
    ),
    Case(
        "EvalSuccessRegression",
        "19 measured tasks are too few, whatever else finished",
        (
            *regression(-0.2, 0.01),
            *baseline(70, 140),
            *tasks("new", success=8, failure=10, agent_error=1, infrastructure_error=30),
        ),
        10,
    ),
    Case(
        "EvalSuccessRegression",
        "the exact p-value alone is not asked: it may not be looked at each minute",
        (*regression(-0.2, 0.05), *baseline(70, 140), *tasks("new", success=20)),
        10,
    ),
    Case(
        "EvalSuccessRegression",
        "a difference within the baseline's standard error of 4.2 points is noise",
        (*regression(-0.042, 0.001), *baseline(70, 140), *tasks("new", success=20)),
        10,
    ),
    Case(
        "EvalSuccessRegression",
        "a difference just beyond it is not",
        (*regression(-0.043, 0.001), *baseline(70, 140), *tasks("new", success=20)),
        10,
        (regressed("-4.3%"),),
    ),
    Case(
        "EvalSuccessRegression",
        "two points are the floor where the baseline hardly fails",
        (*regression(-0.019, 0.001), *baseline(9990, 10000), *tasks("new", success=20)),
        10,
    ),
    Case(
        "EvalSuccessRegression",
        "a run that equals its baseline",
        (*regression(0.0, 1), *baseline(70, 140), *tasks("new", success=10, failure=10)),
        10,
    ),
    Case(
        "EvalSuccessRegression",
        "an improvement is no regression",
        (*regression(0.2, 0.001), *baseline(70, 140), *tasks("new", success=20)),
        10,
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
        10,
    ),
    Case(
        "EvalScoreRegression",
        "partial scores fell and the success rate did not",
        (*finished("new", 5), *scored("new", -0.1, 0.05), *MEASURED_20),
        10,
        (
            Firing(
                PAIR,
                "Run new scores lower than its baseline base: -0.1 on average over the tasks measured in both.",
            ),
        ),
    ),
    Case(
        "EvalScoreRegression",
        "the interval of a running run may not be looked at each minute",
        (*run("new", "running"), *scored("new", -0.1, 0.05), *MEASURED_20),
        10,
    ),
    Case(
        "EvalScoreRegression",
        "an interval that holds 0",
        (*finished("new", 5), *scored("new", -0.1, 0.11), *MEASURED_20),
        10,
    ),
    Case(
        "EvalScoreRegression",
        "scores that are success and failure say no more than the success",
        (*finished("new", 5), *scored("new", -0.1, 0.05), *compared("new", -0.1, 0.2), *MEASURED_20),
        10,
    ),
    Case(
        "EvalScoreRegression",
        "the success fell significantly too, which has an alert of its own",
        (
            *finished("new", 5),
            *scored("new", -0.1, 0.05),
            *compared("new", -0.2, 0.01),
            *baseline(70, 140),
            *MEASURED_20,
        ),
        10,
    ),
    Case(
        "EvalScoreRegression",
        "the success fell by a little, which may be chance",
        (
            *finished("new", 5),
            *scored("new", -0.1, 0.05),
            *compared("new", -0.05, 0.3),
            *baseline(70, 140),
            *MEASURED_20,
        ),
        10,
        (
            Firing(
                PAIR,
                "Run new scores lower than its baseline base: -0.1 on average over the tasks measured in both.",
            ),
        ),
    ),
    Case(
        "EvalDomainCollapse",
        "a domain lost two thirds of the tasks that its baseline solves",
        (*run("new", "running"), *compared_in("new", "chrome", -0.67, 0.01), *compared_in("new", "vlc", 0.0, 1)),
        10,
        (
            Firing(
                PAIR | {"domain": "chrome"},
                "Run new fails in chrome where its baseline base did not: -67% of the tasks measured in both.",
            ),
        ),
    ),
    Case(
        "EvalDomainCollapse",
        "the first tasks of a domain are its hard ones, for the baseline too",
        (*run("new", "running"), *compared_in("new", "chrome", 0.0, 1), *tasks("new", failure=9)),
        10,
    ),
    Case(
        "EvalDomainCollapse",
        "a large difference of few tasks may be chance",
        (*run("new", "running"), *compared_in("new", "chrome", -0.5, 0.06)),
        10,
    ),
    Case(
        "EvalBaselineMissing",
        "a baseline that was deleted, and one that is there",
        (
            *run("new", "running"),
            *run("other", "running"),
            series(m.RUN_BASELINE_INFO, 1, run_id="new", baseline_run_id="base", state="missing"),
            series(m.RUN_BASELINE_INFO, 1, run_id="other", baseline_run_id="new", state="found"),
        ),
        10,
        (Firing(PAIR, "The baseline base of run new does not exist: nothing is compared."),),
    ),
    Case(
        "EvalBaselineMissing",
        "every baseline is there",
        (
            *run("new", "running"),
            series(m.RUN_BASELINE_INFO, 1, run_id="new", baseline_run_id="base", state="found"),
        ),
        10,
    ),
)

PROGRESS = (
    Case(
        "EvalRunStalled",
        "the exporter says stalled",
        run("new", "stalled", progress=0),
        12,
        (Firing(RUN, "Run new has made no progress for 12m 0s."),),
    ),
    Case("EvalRunStalled", "a run that was killed yesterday is history", run("new", "stalled", progress=-86400), 12),
    Case(
        "EvalRunStalled",
        "heartbeats for an hour and no event",
        run("new", "running", progress=0),
        62,
        (Firing(RUN, "Run new has made no progress for 1h 2m 0s."),),
    ),
    Case("EvalRunStalled", "a task may take an hour", run("new", "running", progress=0), 60),
    Case("EvalRunStalled", "a finished run is not stalled", run("new", "completed", progress=0), 90),
    Case(
        "EvalRunIncomplete",
        "the pool died and the run completed",
        (*finished("new", 20), *POOL),
        25,
        (Firing(RUN, "Run new has completed without measuring 80% of its tasks."),),
    ),
    Case(
        "EvalRunIncomplete",
        "the run ended before it began with most of its tasks",
        (*finished("new", 20), *tasks("new", success=20, pending=134)),
        25,
        (Firing(RUN, "Run new has completed without measuring 87.01% of its tasks."),),
    ),
    Case(
        "EvalRunIncomplete",
        "two of ten tasks ended as errors",
        (*finished("new", 20), *tasks("new", success=8, infrastructure_error=2)),
        25,
    ),
    Case(
        "EvalRunIncomplete",
        "two of two tasks ended as errors",
        (*finished("new", 3), *tasks("new", evaluation_error=2)),
        8,
        (Firing(RUN, "Run new has completed without measuring 100% of its tasks."),),
    ),
    Case(
        "EvalRunIncomplete",
        "a run that somebody stopped",
        (*finished("new", 20, "aborted"), *tasks("new", success=20, pending=134)),
        25,
    ),
    Case(
        "EvalRunIncomplete",
        "a run that is running has tasks ahead of it",
        (*run("new", "running"), *tasks("new", success=20, pending=134)),
        25,
    ),
)

ERRORS = (
    Case(
        FAST,
        "a third of the attempts, in the last hour and the last ten minutes",
        (*run("new", "running"), *tasks("new", success="0+2x600", infrastructure_error="0+1x600", pending=500)),
        70,
        errors("33.33%", "hour"),
    ),
    Case(
        FAST,
        "the scorer fails on every task",
        (*run("new", "running"), *tasks("new", evaluation_error="0+1x600", pending=500)),
        20,
        errors("100%", "hour"),
    ),
    Case(FAST, "the pool dies and the run completes at once", (*finished("new", 20), *POOL), 24, errors("80%", "hour")),
    Case(
        FAST,
        "a run that is there with all its errors at its first scrape",
        (
            info("new"),
            series(m.RUN_STATE, "_x5 1x600", run_id="new", state="completed"),
            series(m.RUN_LAST_PROGRESS, "_x5 300x600", run_id="new"),
            *tasks("new", success="_x5 0x600", infrastructure_error="_x5 30x600"),
        ),
        9,
        errors("100%", "hour"),
    ),
    Case(
        FAST,
        "of sixty attempts the first that end are three that fail at once",
        (*finished("new", 60), *tasks("new", infrastructure_error="0 3x600", running=60, pending=600)),
        7,
    ),
    Case(
        FAST,
        "a quarter does not burn fast",
        (*run("new", "running"), *tasks("new", success="0+3x600", infrastructure_error="0+1x600")),
        70,
    ),
    Case(
        FAST,
        "none in the last ten minutes, and ten minutes of grace",
        (*run("new", "running"), *tasks("new", success="0+2x600", infrastructure_error="0+1x50 50x550")),
        75,
    ),
    Case(
        FAST,
        "two errors are too few to speak of a share",
        (*run("new", "running"), *tasks("new", success="0x600", infrastructure_error="0x55 1x4 2x600")),
        62,
    ),
    Case(
        FAST,
        "a run that finished two hours ago burns nothing",
        (*run("new", "completed", progress=-3600), *tasks("new", success=10, infrastructure_error=10)),
        70,
    ),
    Case(
        SLOW,
        "a quarter for hours",
        (*run("new", "running"), *tasks("new", success="0+3x600", infrastructure_error="0+1x600")),
        420,
        errors("25%", "six hours"),
    ),
    Case(
        SLOW,
        "one in ten is under six times the objective",
        (*run("new", "running"), *tasks("new", success="0+9x600", infrastructure_error="0+1x600")),
        420,
    ),
    Case(
        "EvalAgentErrors",
        "the key expires two hours after the start: every attempt ends as agent error",
        (
            *run("new", "running"),
            *tasks("new", success="0+1x119 120x600", agent_error="0x119 0+1x25 25x600", pending=9),
        ),
        147,
        (Firing(RUN, "89.29% of the attempts of run new ended as agent error in the last 30 minutes."),),
    ),
    Case(
        "EvalAgentErrors",
        "every attempt of a run without calls in its log",
        (*run("new", "running"), *tasks("new", agent_error="0+1x600", pending=100)),
        10,
        (Firing(RUN, "100% of the attempts of run new ended as agent error in the last 30 minutes."),),
    ),
    Case(
        "EvalAgentErrors",
        "one in three attempts crashes the agent",
        (*run("new", "running"), *tasks("new", success="0+2x600", agent_error="0+1x600")),
        70,
    ),
    Case(
        "EvalAgentErrors",
        "the first four",
        (*run("new", "running"), *tasks("new", agent_error="0x2 4x600", pending=100)),
        10,
    ),
    Case(
        "EvalModelCallsFailing",
        "an expired key: every call fails",
        (
            *run("new", "running"),
            *calls("new", "a", error="0+3x600", unknown="0+3x600"),
            *calls("new", "b", ok="0+3x600"),
        ),
        10,
        (Firing(CALL | {"model": "a"}, "100% of the calls of run new to x/a failed in the last 15 minutes."),),
    ),
    Case(
        "EvalModelCallsFailing",
        "every call fails and the run ends at once",
        (*finished("new", 3), *calls("new", "a", error="0x2 30x600")),
        7,
        (Firing(CALL | {"model": "a"}, "100% of the calls of run new to x/a failed in the last 15 minutes."),),
    ),
    Case(
        "EvalModelCallsFailing",
        "one in five fails",
        (*run("new", "running"), *calls("new", "a", ok="0+4x600", error="0+1x600")),
        30,
    ),
    Case(
        "EvalModelCallsFailing",
        "the first three calls",
        (*run("new", "running"), *calls("new", "a", error="0x2 3x600")),
        10,
    ),
    Case(
        "EvalModelCallRetries",
        "half of the calls are retried",
        (*run("new", "running"), *calls("new", "a", ok="0+5x600", retry="0+5x600")),
        70,
        (Firing(CALL | {"model": "a"}, "50% of the calls of run new to x/a failed or were retried in the last hour."),),
    ),
    Case(
        "EvalModelCallRetries",
        "one retry in ten calls, all night",
        (*run("new", "running"), *calls("new", "a", ok="0+9x600", retry="0+1x600", unknown="0+1x600")),
        300,
    ),
    Case(
        "EvalModelCallRetries",
        "an hour after an outage of the exporter nothing has begun: the retries of the first minutes are long ago",
        (*run("new", "running"), *calls("new", "a", ok="0+5x99 _x40 700+5x600", retry="1000x99 _x40 1000x600")),
        205,
    ),
    Case(
        "EvalModelCallsSlow",
        "the provider needs ten times as long since twenty minutes ago",
        (*run("new", "running"), *timed("new", "0+10x60 600+3x600", "0+30x60 1800+90x600")),
        80,
        (
            Firing(
                CALL | {"model": "a"},
                "Calls of run new to x/a now take 30s on average, more than 4 times what they took before.",
            ),
        ),
    ),
    Case(
        "EvalModelCallsSlow",
        "three times as long: the contexts have grown",
        (*run("new", "running"), *timed("new", "0+10x60 600+10x600", "0+30x60 1800+90x600")),
        90,
    ),
    Case(
        "EvalModelCallsSlow",
        "a few calls at the start say nothing of what is usual",
        (*run("new", "running"), *timed("new", "0+1x15 15+10x600", "0+1x15 15+90x600")),
        29,
    ),
    Case(
        "EvalModelCallsSlow",
        "calls that took no time, of a cache, make none slow that take four seconds",
        (*run("new", "running"), *timed("new", "0+10x60 600+10x600", "0x60 40+40x600")),
        80,
    ),
)

COSTS = (
    Case(
        "EvalOverBudget",
        "more than the budget",
        (*run("new", "running"), cost("new", 30), budget(25)),
        5,
        (Firing(RUN, "Run new has used 120% of its budget."),),
    ),
    Case("EvalOverBudget", "exactly the budget", (*run("new", "running"), cost("new", 25), budget(25)), 5),
    Case(
        "EvalOverBudget",
        "a run that has just finished",
        (*finished("new", 4), cost("new", 30), budget(25)),
        5,
        (Firing(RUN, "Run new has used 120% of its budget."),),
    ),
    Case(
        "EvalOverBudget",
        "a run that finished an hour ago raises nothing",
        (*run("new", "completed", progress="0x600"), cost("new", 30), budget(25)),
        61,
    ),
    Case("EvalOverBudget", "no budget", (*run("new", "running"), cost("new", 1000)), 5),
    Case(
        "EvalProjectedOverBudget",
        "a third more than the budget is expected",
        (*projected(40), budget(30)),
        15,
        (Firing(RUN, "Run new will have used 133.3% of its budget at the end."),),
    ),
    Case("EvalProjectedOverBudget", "on budget", (*projected(40), budget(40)), 15),
    Case(
        "EvalProjectedOverBudget",
        "the first three of a hundred say nothing",
        (
            *run("new", "running"),
            *tasks("new", success=3, running=2, pending=95),
            series(m.RUN_PROJECTED_COST, 200, run_id="new"),
            budget(20),
        ),
        15,
    ),
    Case("EvalProjectedOverBudget", "not yet ten minutes", (*projected(40), budget(30)), 9),
    Case(
        "EvalProjectedOverBudget",
        "an estimate that fell below the budget for five minutes is the same message still",
        (*projected("40x20 29x600"), budget(30)),
        25,
        (Firing(RUN, "Run new will have used 133.3% of its budget at the end."),),
    ),
    Case(
        "EvalProjectedOverBudget",
        "an estimate that stays below ends the alert",
        (*projected("40x20 29x600"), budget(30)),
        32,
    ),
    Case(
        "EvalSpendSpike",
        "a dollar an hour for two hours, then sixty",
        (*run("new", "running"), cost("new", "0+0.0166666667x120 3+1x480")),
        145,
        (Firing(RUN, "Run new now costs 60.00 dollars per hour, more than 3 times what it usually does."),),
    ),
    Case("EvalSpendSpike", "steady", (*run("new", "running"), cost("new", "0+1x600")), 145),
    Case("EvalSpendSpike", "cents", (*run("new", "running"), cost("new", "0+0.0001x120 0.012+0.015x480")), 145),
    Case(
        "EvalSpendSpike",
        "too young for a usual rate",
        (*run("new", "running"), cost("new", "0x8 1+1x600")),
        29,
    ),
    Case(
        "EvalSpendSpike",
        "a run that is resumed after a pause of four hours",
        (*run("new", "running"), cost("new", "0+0.5x60 30x240 30+0.5x300")),
        330,
    ),
    Case(
        "EvalUnpricedCalls",
        "calls without a price, and calls that succeeded without tokens",
        (
            *run("new", "running"),
            *calls("new", "a", ok=100, unpriced=100),
            *calls("new", "b", ok=98, error=2, unpriced=1, unknown=5),
            *calls("new", "c", ok=100),
        ),
        10,
        tuple(
            Firing(
                CALL | {"model": model},
                f"{share} of the calls of run new to x/{model} have no known cost: no price is known, or they reported "
                "no tokens.",
            )
            for model, share in (("a", "100%"), ("b", "4%"))
        ),
    ),
    Case(
        "EvalUnpricedCalls",
        "calls that were refused or retried, all night",
        (*run("new", "running"), *calls("new", "a", ok="0+9x600", retry="0+1x600", error="0+1x600", unknown="0+2x600")),
        300,
    ),
    Case(
        "EvalUnpricedCalls",
        "the first call of a model that has no price",
        (*run("new", "running"), *calls("new", "a", ok=1, unpriced=1)),
        10,
        (
            Firing(
                CALL | {"model": "a"},
                "100% of the calls of run new to x/a have no known cost: no price is known, or they reported "
                "no tokens.",
            ),
        ),
    ),
    Case("EvalUnpricedCalls", "every call has its price", (*run("new", "running"), *calls("new", "a", ok=7)), 10),
)


def pool(*errors: object, others: object = "0+1x600") -> tuple[Series, ...]:
    """A run of three workers, of which the first ones have these errors beside no other outcome."""
    return (
        *run("new", "running"),
        *(one for number, count in enumerate(errors) for one in worked(f"w{number}", infrastructure_error=count)),
        *(one for number in range(len(errors), 3) for one in worked(f"w{number}", success=others)),
    )


MACHINES = (
    Case(
        "EvalWorkerFailing",
        "one machine of three fails each attempt, four times as often as the others finish one",
        pool("0+4x600"),
        30,
        (
            Firing(
                RUN | {"worker_id": "w0"},
                "100% of the attempts on worker w0 of run new ended as infrastructure or evaluation error in the last "
                "hour.",
            ),
        ),
    ),
    Case(
        "EvalWorkerFailing", "all machines fail: the run has an alert for that", pool("0+4x600", "0+4x600", "4x600"), 30
    ),
    Case("EvalWorkerFailing", "its first two attempts", pool("0x5 2x600"), 30),
    Case("EvalWorkerFailing", "it was repaired", (*pool("5x600"), *worked("w0", success="0x9 0+1x600")), 30),
    Case(
        "EvalWorkerLost",
        "one of two",
        (*run("new", "running"), *worker("new", "w1", "busy"), *worker("new", "w2", "lost")),
        5,
        (Firing(RUN | {"worker_id": "w2"}, "Worker w2 of run new is lost."),),
    ),
    Case(
        "EvalWorkerLost",
        "a stalled run has an alert of its own",
        (*run("new", "stalled"), *worker("new", "w2", "lost")),
        5,
    ),
    Case(
        "EvalMachineIdle",
        "a run uses two machines and gives one of them nothing to do",
        (*machine("vm-1", "running", runs=1, busy=1), *machine("vm-2", "running", runs=1)),
        35,
        (
            Firing(
                {"vm": "vm-2", "resource_group": "eval-rg", "provider": "azure"},
                "Machine vm-2 (eval-rg) has had no task for 30m and is billed.",
            ),
        ),
    ),
    Case("EvalMachineIdle", "not yet half an hour", machine("vm-2", "running", runs=1), 29),
    Case("EvalMachineIdle", "it had a task in between", machine("vm-2", "running", runs=1, busy="0x20 1 0x100"), 35),
    Case("EvalMachineIdle", "deallocated costs nothing", machine("vm-2", "deallocated", runs=1), 35),
    Case(
        "EvalMachineWithoutRun",
        "one runs, one was stopped but not deallocated, one costs nothing, one is in use, one is somebody else's",
        (
            *machine("vm-1", "running", runs="1x2 0x600"),
            *machine("vm-2", "stopped", runs="1x2 0x600"),
            *machine("vm-3", "deallocated", runs="1x2 0x600"),
            *machine("vm-4", "running", runs=1, busy=1),
            *machine("database", "running", runs=0),
        ),
        40,
        tuple(
            Firing(
                {"vm": vm, "resource_group": "eval-rg", "provider": "azure"},
                f"Machine {vm} (eval-rg) is billed and no run has used it for 30m.",
            )
            for vm in ("vm-1", "vm-2")
        ),
    ),
    Case("EvalMachineWithoutRun", "not yet half an hour", machine("vm-1", "running", runs="1x2 0x600"), 31),
    Case(
        "EvalMachineWithoutRun",
        "a run that has no task for it uses it all the same",
        machine("vm-1", "running", runs=1),
        35,
    ),
    Case(
        "EvalMachineWithoutRun",
        "a machine of the subscription that never served a run",
        machine("database", "running", runs=0),
        60,
    ),
    Case(
        "EvalMachineInterrupted",
        "a spot machine that a run uses is taken back in two minutes, and one that nobody uses",
        (
            *machine("vm-1", "running", runs=1, busy=1),
            series(m.VM_INTERRUPTION, "_x8 720x600", **MACHINE, vm="vm-1"),
            *machine("vm-2", "running", runs=0),
            series(m.VM_INTERRUPTION, "_x8 720x600", **MACHINE, vm="vm-2"),
        ),
        10,
        (
            Firing(
                {"vm": "vm-1", "resource_group": "eval-rg", "provider": "azure"},
                "azure takes back machine vm-1 (eval-rg), which a run uses.",
            ),
        ),
    ),
    Case(
        "EvalMachineInterrupted",
        "it was taken back two hours ago",
        (*machine("vm-1", "running", runs=1), series(m.VM_INTERRUPTION, "0x600", **MACHINE, vm="vm-1")),
        120,
    ),
    Case(
        "EvalProbeFailing",
        "one target of two does not answer",
        (
            series(m.PROBE_SUCCESS, 0, target="vm-1:5000", kind="waa"),
            series(m.PROBE_SUCCESS, 1, target="vm-2:5000", kind="waa"),
            *machine("vm-1", "running", runs=1),
        ),
        10,
        (Firing({"target": "vm-1:5000", "kind": "waa"}, "vm-1:5000 does not answer its waa probe."),),
    ),
    Case(
        "EvalProbeFailing",
        "its machine was deallocated on purpose",
        (series(m.PROBE_SUCCESS, 0, target="vm-1", kind="waa"), *machine("vm-1", "deallocated", runs=0)),
        10,
    ),
    Case(
        "EvalProbeFailing",
        "it answered again",
        (series(m.PROBE_SUCCESS, "0x3 1x20", target="vm-1:5000", kind="waa"),),
        10,
    ),
)

DOWN = "Prometheus cannot scrape the evalgauge exporter{}: the dashboards are out of date."
LOST_BY_ANY = series(m.SOURCE_ERRORS, "_x10 40x600", source="runlog", reason="lost_by_writer")


def lost(name: str, events: object) -> Series:
    return series(m.RUN_LOST_EVENTS, events, run_id=name)


EXPORTERS = (
    Case(
        "EvalEventsLost",
        "the results disk is full",
        (*run("new", "running"), lost("new", "_x10 40x600"), LOST_BY_ANY),
        12,
        (Firing(RUN, "Run new has lost 40 events: they could not be written to the log."),),
    ),
    Case(
        "EvalEventsLost",
        "an exporter of an earlier version does not say of which run",
        (LOST_BY_ANY,),
        12,
        (Firing({"source": "runlog"}, "Runs have lost 40 events: they could not be written to the log."),),
    ),
    Case("EvalEventsLost", "two hours ago", (*run("new", "running"), lost("new", "_x10 40x600"), LOST_BY_ANY), 140),
    Case(
        "EvalEventsLost",
        "a run of yesterday is there at the first scrape of a new exporter",
        (*run("new", "completed", progress="-80000x600"), lost("new", "_x10 40x600"), LOST_BY_ANY),
        12,
    ),
    Case(
        "EvalEventsLost",
        "lines that could not be read are something else",
        (series(m.SOURCE_ERRORS, "0x5 3x600", source="runlog", reason="bad_line"),),
        12,
    ),
    Case(
        "EvalSourceStale",
        "one fails, one has not answered for long, prices are from today",
        (*source("openadapt", up=0), *source("azure_vm", last=0), *source("prices", last=0), *source("probe")),
        50,
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
        50,
        tuple(
            Firing({"source": name}, f"Source {name} cannot be read or is out of date.") for name in ("probe", "runlog")
        ),
    ),
    Case("EvalSourceStale", "a folder in which nothing happens is no failure", source("runlog", last=0), 540),
    Case(
        "EvalExporterDown",
        "the scrape of one of two fails",
        (*exporter("1x5 0x60"), *exporter("1x60", instance="other:9909")),
        16,
        (Firing({"job": "evalgauge", "instance": "exporter:9909"}, DOWN.format(" exporter:9909")),),
    ),
    Case(
        "EvalExporterDown",
        "it crashes and starts again every other minute",
        exporter("1x5 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0"),
        18,
        (Firing({"job": "evalgauge", "instance": "exporter:9909"}, DOWN.format(" exporter:9909")),),
    ),
    Case(
        "EvalExporterDown",
        "it is down under another name of the job",
        exporter("1x5 0x60", job="bench"),
        16,
        (
            Firing({"job": "bench", "instance": "exporter:9909"}, DOWN.format(" exporter:9909")),
            Firing({"job": "evalgauge"}, DOWN.format("")),
        ),
    ),
    Case("EvalExporterDown", "it is up under another name of the job", exporter("1x60", job="bench"), 16),
    Case(
        "EvalExporterDown",
        "it has never been reached",
        exporter("0x60"),
        5,
        (Firing({"job": "evalgauge", "instance": "exporter:9909"}, DOWN.format(" exporter:9909")),),
    ),
    Case(
        "EvalExporterDown",
        "nobody scrapes it at all",
        (('up{job="other",instance="x"}', "1x60"),),
        5,
        (Firing({"job": "evalgauge"}, DOWN.format("")),),
    ),
    Case("EvalExporterDown", "one scrape was missed", exporter("1x5 0 1x20"), 8),
    Case("EvalExporterDown", "a restart took three minutes", exporter("1x5 0x2 1x20"), 11),
    Case(
        "EvalExporterDown",
        "a new pod has taken the place of one that died",
        (*exporter("1x5 0x2 stale _x60"), *exporter("_x7 1x60", instance="new:9909")),
        12,
    ),
)

CASES = (*REGRESSIONS, *PROGRESS, *ERRORS, *COSTS, *MACHINES, *EXPORTERS)
