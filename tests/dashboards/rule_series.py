"""Series as promtool's unit tests take them, with exactly the labels that the catalogue gives them.

Values are written as promtool writes them: ``7x120`` is 7 for 120 minutes and one, ``0+2x60`` grows by 2 a minute,
``_x10`` is nothing for ten minutes. Time starts at 0, so a point in time is a number of seconds from there.
"""

from __future__ import annotations

from evalgauge import metrics as m
from evalgauge.metrics import Metric

Series = tuple[str, str]
LONG = "x600"
"""Ten hours of minutes."""


def series(metric: Metric, values: object, **labels: str) -> Series:
    """A series of a metric, with the labels that the catalogue gives it, no more and no fewer."""
    assert set(labels) == set(metric.labels), f"{metric.name} has the labels {metric.labels}"
    for label, allowed in metric.values:
        assert labels[label] in allowed
    written = values if isinstance(values, str) else f"{values}{LONG}"
    matchers = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{metric.name}{{{matchers}}}", written


def states(metric: Metric, words: tuple[str, ...], current: str, **labels: str) -> tuple[Series, ...]:
    """A state set: 1 for the current state, 0 for every other."""
    return tuple(series(metric, int(word == current), **labels, state=word) for word in words)


def scraped_from(instance: str, one: Series) -> Series:
    """The series as one of several exporters gives it."""
    name, values = one
    return name.replace("{", f'{{instance="{instance}",', 1), values


def tasks(run: str, domain: str = "chrome", **counts: object) -> tuple[Series, ...]:
    """A run's tasks in a domain, every status there, zeros too."""
    return tuple(
        series(m.RUN_TASKS, counts.get(status, 0), run_id=run, benchmark="waa", model="m", domain=domain, status=status)
        for status in m.TASK_STATUSES
    )


def run(name: str, state: str, *, progress: object = "0+60x600") -> tuple[Series, ...]:
    """A run in a state whose last event was always just now, unless given otherwise."""
    return (
        *states(m.RUN_STATE, m.RUN_STATES, state, run_id=name),
        series(m.RUN_LAST_PROGRESS, progress, run_id=name),
        series(m.RUN_START, 0, run_id=name),
    )


def compared(name: str, delta: float, p: float, *, base: str = "base") -> tuple[Series, ...]:
    """A comparison of a run with its baseline."""
    pair = {"run_id": name, "baseline_run_id": base}
    return (
        series(m.COMPARISON_SUCCESS_DELTA, delta, **pair, bound="estimate"),
        series(m.COMPARISON_SUCCESS_DELTA, delta - 0.05, **pair, bound="low"),
        series(m.COMPARISON_SUCCESS_DELTA, delta + 0.05, **pair, bound="high"),
        series(m.COMPARISON_P_VALUE, p, **pair, kind="anytime"),
        series(m.COMPARISON_P_VALUE, 0.0001, **pair, kind="exact"),
    )


def baseline(success: int, measured: int, *, name: str = "base") -> tuple[Series, ...]:
    """A baseline's counts, given for two models: one run may be the baseline of both."""
    return tuple(
        series(metric, value, benchmark="waa", model=model, baseline_run_id=name)
        for model in ("m", "other")
        for metric, value in ((m.BASELINE_SUCCESS_TASKS, success), (m.BASELINE_MEASURED_TASKS, measured))
    )


def cost(name: str, usd: object) -> Series:
    """What the model calls of a run cost."""
    return series(m.RUN_COST, usd, run_id=name, component="llm")


def calls(name: str, model: str, *, unpriced: int = 0, unknown: int = 0, **statuses: int) -> tuple[Series, ...]:
    """The calls of one model by how they ended, and those of them without a known cost."""
    labels = {"run_id": name, "provider": "x", "model": model}
    return (
        *(series(m.RUN_LLM_REQUESTS, statuses.get(s, 0), **labels, status=s) for s in m.REQUEST_STATUSES),
        series(m.RUN_UNPRICED_REQUESTS, unpriced, **labels),
        series(m.RUN_UNKNOWN_USAGE_REQUESTS, unknown, **labels),
    )


def worker(name: str, worker_id: str, state: str) -> tuple[Series, ...]:
    """A worker in a state."""
    return states(m.WORKER_STATE, m.WORKER_STATES, state, run_id=name, worker_id=worker_id)


def machine(vm: str, state: str, *, runs: int, busy: object = 0) -> tuple[Series, ...]:
    """A machine in a power state, with the runs that use it and its workers that have a task."""
    labels = {"vm": vm, "resource_group": "eval-rg"}
    return (
        *states(m.VM_POWER_STATE, m.POWER_STATES, state, **labels),
        series(m.VM_RUNS, runs, **labels),
        series(m.VM_BUSY_WORKERS, busy, **labels),
    )


def source(name: str, *, up: int = 1, last: object = "0+60x600") -> tuple[Series, ...]:
    """A source of the exporter."""
    return (series(m.SOURCE_UP, up, source=name), series(m.SOURCE_LAST_SUCCESS, last, source=name))
