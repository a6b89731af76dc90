"""Bytes that a page left open receives in an hour: whole frames, and patches.

A run is folded event by event with a clock of its own, and a frame is built as often as the live page asks for one.
What is sent depends on the events alone, so minutes of the run's time stand for the hour.
"""

from __future__ import annotations

import gzip
import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks.rows import Row, quantile
from evalgauge.events import Event, decode
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.state.run import RunState, State
from evalgauge_exporter.views.snapshot import snapshot
from evalgauge_exporter.web.patches import find_patch, mark_clocks

START = 1_795_000_000.0
TASK_SECONDS, STEP_SECONDS = 60.0, 5.0


def rows() -> Iterator[Row]:
    """A run of 150 tasks with four workers, one of 10,000 tasks with a hundred; half of the tasks are finished."""
    yield from _measure(tasks=150, workers=4, interval=0.2, minutes=5)
    yield from _measure(tasks=10_000, workers=100, interval=1.0, minutes=2)


def generate_events(tasks: int, workers: int, from_task: int) -> Iterator[Event]:
    """Yield the events of a run from a task on: each worker takes the next task, a step and a model call at a time."""
    chance, numbers = random.Random(1), itertools.count(1)

    def event(ts: float, kind: str, **fields: Any) -> Event:
        return decode({"v": 1, "seq": next(numbers), "ts": ts, "type": kind, **fields}, "w")

    free = [START + TASK_SECONDS * worker / workers for worker in range(workers)]
    events: list[Event] = []
    for number in range(from_task, tasks):
        worker = min(range(workers), key=free.__getitem__)
        at, end = free[worker], free[worker] + TASK_SECONDS * chance.uniform(0.5, 1.5)
        free[worker] = end
        ids = {"task_id": f"task-{number}", "worker_id": f"vm-{worker:03d}"}
        events.append(
            event(at, "task_started", **ids, max_steps=15, instruction="open the document and change the title")
        )
        for step in range(int((end - at) / STEP_SECONDS)):
            then = at + STEP_SECONDS * (step + chance.random())
            usage = {"input_tokens": 2000 + step, "cache_read_tokens": 500, "output_tokens": 150}
            events.append(event(then, "llm_call", **ids, provider="anthropic", model="claude-sonnet-4-5", **usage))
            events.append(event(then, "step", **ids, action="click", reasoning="I click on it."))
        outcome = chance.choice(("success", "failure", "success", "agent_error"))
        events.append(event(end, "task_finished", **ids, outcome=outcome, score=1.0, duration_seconds=end - at))
    yield from sorted(events, key=lambda one: one.ts)


def _measure(*, tasks: int, workers: int, interval: float, minutes: float) -> Iterator[Row]:
    state = State()
    run = state.runs["r"] = RunState("r", "runlog")
    analysis = RunAnalysis(state, stall_after=600.0)
    planned = [{"task_id": f"task-{n}", "domain": f"domain-{n % 12}"} for n in range(tasks)]
    begun = {"v": 1, "seq": 0, "ts": START, "type": "run_started", "run_id": "r", "benchmark": "waa", "model": "m"}
    run.apply(decode(begun | {"tasks": planned}, "w"))
    for number in range(tasks // 2):
        ended = {"task_id": f"task-{number}", "outcome": "success", "score": 1.0, "duration_seconds": TASK_SECONDS}
        run.apply(decode({"v": 1, "seq": number + 1, "ts": START, "type": "task_finished", **ended}, "v"))
    analysis.renew(run)
    analysis.is_renewed = True
    events = generate_events(tasks, workers, tasks // 2)
    following = next(events)
    whole = patched = zipped = 0
    took: list[float] = []
    before: dict[str, Any] | None = None
    begin = START + 2 * TASK_SECONDS
    for turn in range(round(minutes * 60 / interval)):
        now, changed = begin + turn * interval, False
        while following.ts <= now:
            run.apply(following)
            following, changed = next(events), True
        if not changed:
            continue
        state.version += 1
        payload = snapshot(run, analysis, now, None).model_dump_json().encode()
        start = time.perf_counter()
        frame = mark_clocks(msgspec.json.decode(payload))
        patch = payload if before is None else msgspec.json.encode(find_patch(before, frame))
        took.append(time.perf_counter() - start)
        before = frame
        whole, patched = whole + len(payload), patched + len(patch)
        zipped += len(gzip.compress(payload, 1))
    hours = minutes / 60
    yield Row(
        f"a page left open for an hour on a running run of {tasks:,} tasks, {workers} workers, every {interval:g} s",
        f"{patched / hours / 1e6:.1f} MB in patches",
        f"whole frames: {whole / hours / 1e6:.0f} MB, with gzip {zipped / hours / 1e6:.0f} MB",
        patched / whole,
    )
    yield Row("to find a patch, once for all pages", f"median {quantile(took, 0.5) * 1000:.1f} ms", "", None)
