"""Write the runs of a bad night, for looking at dashboards and pages: ``python scripts/night.py RESULTS``.

Each run is one thing that goes wrong, or that makes a page look different: a pool that dies, a key that expires, calls
without a price, partial scores, repeats, a killed runner, a budget that is used up. The same seed gives the same runs,
relative to now. Serve them with ``evalgauge serve RESULTS``.
"""

from __future__ import annotations

import argparse
import heapq
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

from evalgauge.normalize import llm_events
from evalgauge.runlog import EVENTS_FOLDER, LogWriter

BENCHMARK, OTHER_BENCHMARK = "waa", "osworld"
MODEL, OTHER_MODEL, UNPRICED_MODEL = "claude-sonnet-4-5", "claude-haiku-4-5", "in-house-agent-7b"
DOMAINS = ("chrome", "file_explorer", "libreoffice_calc", "libreoffice_writer", "microsoft_paint", "notepad", "vs_code")
LONG_DOMAINS = ("multi-application workflows with spreadsheets and browsers", "café & <b>naïve</b> réglages", "os")
MINUTE, HOUR = 60.0, 3600.0
SIZE, RATE = "Standard_D4ds_v5", 0.226
SEED = 7

Event = tuple[float, str, dict[str, Any]]
Result = tuple[str, float | None]
"""Outcome and score."""
Decide = Callable[[Random, float], Result]
"""The result of an attempt, from chance and the share of the run's attempts that began before it."""


def usual(chance: Random, skill: float = 0.5) -> Result:
    """Return what an ordinary attempt comes to."""
    roll = chance.random()
    if roll < 0.03:
        return "infrastructure_error", None
    if roll < 0.06:
        return "agent_error", 0.0
    solved = chance.random() < skill
    return ("success", 1.0) if solved else ("failure", 0.0)


def skilled(skill: float) -> Decide:
    """Return an ordinary run's results at a success rate."""
    return lambda chance, _: usual(chance, skill)


def dead_pool(chance: Random, share: float) -> Result:
    """Every machine is gone after 60 % of the attempts."""
    return usual(chance) if share < 0.6 else ("infrastructure_error", None)


def expired_key(chance: Random, share: float) -> Result:
    """Every model call fails after a tenth of the attempts."""
    return usual(chance) if share < 0.1 else ("agent_error", 0.0)


def partial(chance: Random, _: float) -> Result:
    """Most attempts reach a part of the goal."""
    score = round(min(1.0, max(0.0, chance.gauss(0.62, 0.25))), 2)
    return ("success" if score == 1 else "failure"), score


class NightRun(NamedTuple):
    """One run of the night."""

    run_id: str
    result: Decide = skilled(0.5)
    model: str | None = MODEL
    benchmark: str = BENCHMARK
    began: float = 1.5
    """Hours before now."""
    tasks: int = 60
    attempts: int = 1
    workers: int = 4
    minutes: float = 6.0
    """Median duration of an attempt."""
    until: float | None = None
    """Hours before now at which the runner was killed or stopped; None while it is running or until all is done."""
    end: Literal["completed", "aborted", "killed"] = "completed"
    baseline: str | None = None
    budget_usd: float | None = None
    domains: tuple[str, ...] = DOMAINS
    usage: bool = True
    """Whether model calls report their tokens."""
    calls_fail: bool = False
    """Whether the model calls of an agent error fail, as with an expired key."""
    seed: int = SEED


NIGHT = (
    NightRun("healthy", skilled(0.55), baseline="last-week", budget_usd=25),
    NightRun("last-week", skilled(0.5), began=168, minutes=4),
    NightRun("regression", skilled(0.25), began=2.5, tasks=90, baseline="last-week", workers=3, budget_usd=25),
    NightRun("dead-pool", dead_pool, began=2, minutes=5, workers=8, baseline="last-week"),
    NightRun("expired-key", expired_key, began=1, minutes=2, workers=6, calls_fail=True, baseline="last-week"),
    NightRun("unpriced", skilled(0.4), model=UNPRICED_MODEL, began=1.2, budget_usd=10),
    NightRun("no-usage", skilled(0.45), model="gpt-5-mini", began=1.1, usage=False),
    NightRun("partial-scores", partial, model=OTHER_MODEL, benchmark=OTHER_BENCHMARK, began=2),
    NightRun("repeats", skilled(0.45), attempts=3, tasks=25, began=1.4, workers=6, baseline="last-week"),
    NightRun("killed", began=5, until=3.5, end="killed", model=OTHER_MODEL),
    NightRun("stopped-by-hand", began=4, until=3.2, end="aborted", model=OTHER_MODEL),
    NightRun(
        "over-budget", skilled(0.5), began=2.2, tasks=90, budget_usd=1.5, model="claude-opus-4-5", baseline="gone"
    ),
    NightRun("just-started", began=0.02, model="claude-opus-4-5", minutes=12),
    NightRun("sixty-workers", skilled(0.48), began=0.8, tasks=900, workers=60, benchmark=OTHER_BENCHMARK),
    NightRun(
        "a-very-long-run-id.of-a-study.with-many-parts.2026-11-28T02-15-00.réglages&<b>x<b>",
        skilled(0.5),
        model="organisation/some-fine-tuned-model-with-a-long-name-32b-instruct",
        began=1.3,
        domains=LONG_DOMAINS,
    ),
    NightRun("no-model", model=None, began=6, minutes=2, tasks=20),
)


def events(run: NightRun, now: float) -> Iterator[Event]:
    """Yield a run's events up to ``now``, in Unix seconds, worker by worker."""
    chance = Random(f"{run.seed} {run.run_id}")
    began = now - run.began * HOUR
    stop = now if run.until is None else now - run.until * HOUR
    planned = [
        {"task_id": f"{domain}-{number:03}", "domain": domain, "instruction": f"Task {number} of {domain}"}
        for number in range(1, run.tasks + 1)
        for domain in [run.domains[number % len(run.domains)]]
    ]
    started = {"run_id": run.run_id, "benchmark": run.benchmark, "model": run.model, "tasks": planned}
    limits = {"attempts": run.attempts, "budget_usd": run.budget_usd, "baseline_run_id": run.baseline}
    yield began, "run_started", started | limits | {"agent": "demo", "tags": {"suite": "nightly"}}
    names = [f"worker-{number:02}" for number in range(1, run.workers + 1)]
    for name in names:
        machine = {"vm": f"vm-{run.run_id[:12]}-{name[7:]}", "vm_size": SIZE, "provider": "azure"}
        yield began + 1, "worker_state", {"worker_id": name, "state": "idle", "hourly_rate_usd": RATE} | machine
    free = [(began + 5 + number, name) for number, name in enumerate(names)]
    heapq.heapify(free)
    todo = [(task, attempt) for task in planned for attempt in range(1, run.attempts + 1)]
    for number, (task, attempt) in enumerate(todo):
        at, worker = heapq.heappop(free)
        if at >= stop:
            break
        ids = {"task_id": task["task_id"], "attempt": attempt, "worker_id": worker}
        share = number / len(todo)
        outcome, score = run.result(chance, share)
        lost = outcome == "infrastructure_error"
        seconds = 20.0 if lost else chance.lognormvariate(0, 0.4) * run.minutes * MINUTE
        yield at, "task_started", ids | {"domain": task["domain"], "max_steps": 15}
        steps = 1 if lost else chance.randrange(4, 16)
        failing = run.calls_fail and outcome == "agent_error" and share > 0.1
        for step in range(steps):
            then = at + (step + 1) / (steps + 1) * seconds
            if then >= stop:
                break
            for call in calls(run, chance, failing):
                yield then, "llm_call", ids | call
            action = {"type": chance.choice(("click", "click", "type", "key", "scroll"))}
            about = {"think_seconds": 4.2, "env_seconds": 1.4, "first_action_correct": step == 0 or None}
            yield then + 0.1, "step", ids | {"step_idx": step, "action": action} | about
        ended = at + seconds
        if ended < stop:
            error = None if outcome in ("success", "failure") else f"{outcome} as planned"
            finished = {"outcome": outcome, "score": score, "steps": steps, "duration_seconds": seconds}
            yield ended, "task_finished", ids | finished | {"error": error}
        heapq.heappush(free, (ended + 3, worker))
    else:
        last = max(at for at, _ in free)
        if last < stop:
            yield last + 1, "run_finished", {"status": "completed"}
            return
    if run.end == "aborted":
        yield stop, "run_finished", {"status": "aborted"}
    elif run.until is None:
        yield now - 1, "heartbeat", {"worker_id": None}


def calls(run: NightRun, chance: Random, failing: bool) -> Iterator[dict[str, Any]]:
    """Yield the model calls of a step."""
    provider = "in-house" if run.model in (None, UNPRICED_MODEL) else "openai" if "gpt" in run.model else "anthropic"
    about: dict[str, Any] = {"provider": provider, "model": run.model or "unknown"}
    seconds = {"duration_seconds": round(chance.lognormvariate(1.2, 0.5), 2)}
    if failing:
        yield from llm_events(about | {"status": "error", "usage": {"input_tokens": 0, "output_tokens": 0}})
        return
    if chance.random() < 0.04:
        yield from llm_events(about | {"status": "retry", "usage": {"input_tokens": 0, "output_tokens": 0}})
    usage = {
        "input_tokens": chance.randrange(200, 900),
        "cache_read_input_tokens": chance.randrange(2000, 9000),
        "cache_creation_input_tokens": chance.randrange(300, 1500),
        "output_tokens": chance.randrange(60, 400),
    }
    yield from llm_events(about | seconds | {"status": "ok", "usage": usage if run.usage else None})


def write_night(results: Path, now: float, runs: tuple[NightRun, ...] = NIGHT) -> None:
    """Write the logs of the runs.

    Args:
        results: Results folder.
        now: Unix seconds; nothing happens later.
        runs: The runs.
    """
    for run in runs:
        writer = LogWriter(results / run.run_id / EVENTS_FOLDER / "night.jsonl")
        for at, kind, fields in sorted(events(run, now), key=lambda event: event[0]):
            writer.write(kind, {"ts": at, **fields})
        writer.close()


def main() -> None:
    """Write the night into the folder of the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("results", type=Path)
    write_night(parser.parse_args().results, time.time())


if __name__ == "__main__":
    main()
