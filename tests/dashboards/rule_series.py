"""Series as promtool's unit tests take them, with exactly the labels that the catalogue gives them.

Values are written as promtool writes them: ``7x120`` is 7 for 120 minutes and one, ``0+2x60`` grows by 2 a minute,
``_x10`` is nothing for ten minutes, ``stale`` the end of a series. Time starts at 0, so a point in time is a number of
seconds from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from evalgauge import metrics as m
from evalgauge.metrics import Metric

Series = tuple[str, str]
MACHINE = {"resource_group": "eval-rg", "group": "eval-rg", "provider": "azure"}
LONG = "x600"
"""Ten hours of minutes."""


def series(metric: Metric, values: object, part: str = "", **labels: str) -> Series:
    """A series of a metric, with the labels that the catalogue gives it, no more and no fewer."""
    assert set(labels) == set(metric.labels), f"{metric.name} has the labels {metric.labels}"
    for label, allowed in metric.values:
        assert labels[label] in allowed
    written = values if isinstance(values, str) else f"{values}{LONG}"
    matchers = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{metric.name}{part}{{{matchers}}}", written


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


def info(name: str, model: str = "m") -> Series:
    """What a run evaluates."""
    return series(m.RUN_INFO, 1, run_id=name, benchmark="waa", model=model, agent="", source="runlog")


def run(name: str, state: str, *, progress: object = "0+60x600") -> tuple[Series, ...]:
    """A run in a state whose last event was always just now, unless given otherwise."""
    return (
        info(name),
        *states(m.RUN_STATE, m.RUN_STATES, state, run_id=name),
        series(m.RUN_LAST_PROGRESS, progress, run_id=name),
        series(m.RUN_START, 0, run_id=name),
    )


def finished(name: str, minute: int, state: str = "completed") -> tuple[Series, ...]:
    """A run that is running until a minute and has then finished."""
    return (
        info(name),
        series(m.RUN_STATE, f"1x{minute - 1} 0x600", run_id=name, state="running"),
        series(m.RUN_STATE, f"0x{minute - 1} 1x600", run_id=name, state=state),
        series(m.RUN_LAST_PROGRESS, f"0+60x{minute - 1} {minute * 60}x600", run_id=name),
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


def scored(name: str, delta: float, margin: float, *, base: str = "base") -> tuple[Series, ...]:
    """A comparison of mean scores."""
    pair = {"run_id": name, "baseline_run_id": base}
    bounds = (("estimate", delta), ("low", delta - margin), ("high", delta + margin))
    return tuple(series(m.COMPARISON_SCORE_DELTA, value, **pair, bound=bound) for bound, value in bounds)


def compared_in(name: str, domain: str, delta: float, p: float) -> tuple[Series, ...]:
    """A comparison of a run with its baseline in one domain."""
    labels = {"run_id": name, "baseline_run_id": "base", "domain": domain}
    return (
        series(m.COMPARISON_DOMAIN_DELTA, delta, **labels, bound="estimate"),
        series(m.COMPARISON_DOMAIN_P_VALUE, p, **labels, kind="anytime"),
        series(m.COMPARISON_DOMAIN_P_VALUE, 0.0001, **labels, kind="exact"),
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


def calls(
    name: str, model: str, *, unpriced: object = 0, unknown: object = 0, **statuses: object
) -> tuple[Series, ...]:
    """The calls of one model by how they ended, and those of them without a known cost."""
    labels = {"run_id": name, "provider": "x", "model": model}
    return (
        *(series(m.RUN_LLM_REQUESTS, statuses.get(s, 0), **labels, status=s) for s in m.REQUEST_STATUSES),
        series(m.RUN_UNPRICED_REQUESTS, unpriced, **labels),
        series(m.RUN_UNKNOWN_USAGE_REQUESTS, unknown, **labels),
    )


def timed(name: str, number: object, seconds: object) -> tuple[Series, ...]:
    """The number of a model's calls with a duration, and the sum of their durations."""
    labels = {"run_id": name, "provider": "x", "model": "a"}
    return (
        series(m.RUN_LLM_DURATION, number, "_count", **labels),
        series(m.RUN_LLM_DURATION, seconds, "_sum", **labels),
    )


def worked(worker_id: str, **outcomes: object) -> tuple[Series, ...]:
    """The attempts of a worker of the run ``new`` by outcome."""
    labels = {"run_id": "new", "worker_id": worker_id}
    return tuple(series(m.WORKER_TASKS, count, **labels, outcome=outcome) for outcome, count in outcomes.items())


def worker(name: str, worker_id: str, state: str) -> tuple[Series, ...]:
    """A worker in a state."""
    return states(m.WORKER_STATE, m.WORKER_STATES, state, run_id=name, worker_id=worker_id)


def machine(vm: str, state: str, *, runs: object, busy: object = 0) -> tuple[Series, ...]:
    """A machine in a power state, with the runs that use it and its workers that have a task."""
    labels = MACHINE | {"vm": vm}
    return (
        *states(m.VM_POWER_STATE, m.POWER_STATES, state, **labels),
        series(m.VM_RUNS, runs, **labels),
        series(m.VM_BUSY_WORKERS, busy, **labels),
    )


def source(name: str, *, up: int = 1, last: object = "0+60x600") -> tuple[Series, ...]:
    """A source of the exporter."""
    return (series(m.SOURCE_UP, up, source=name), series(m.SOURCE_LAST_SUCCESS, last, source=name))


def exporter(up: str, *, job: str = "evalgauge", instance: str = "exporter:9909") -> tuple[Series, ...]:
    """A scrape target that is an exporter: it exposes its version whenever a scrape succeeds."""
    target = f'job="{job}",instance="{instance}"'
    build = " ".join("1" if value == 1 else "stale" if value == 0 else "_" for value in expand(up))
    return (
        (f"up{{{target}}}", up),
        (f'{m.BUILD_INFO.name}{{{target},version="1",python="3"}}', build),
    )


_REPEATED = re.compile(r"(_|stale|-?[\d.]+(?:e-?\d+)?)(?:([+-][\d.]+(?:e-?\d+)?))?(?:x(\d+))?")


Value = float | str | None


def expand(values: str) -> list[Value]:
    """The value of each minute, None where there is none, ``stale`` where the series ends."""
    found: list[Value] = []
    for word in values.split():
        match = _REPEATED.fullmatch(word)
        assert match, word
        first, growth, times = match[1], float(match[2] or 0), int(match[3] or 0)
        for step in range(times + (0 if first == "_" and times else 1)):
            found.append(None if first == "_" else "stale" if first == "stale" else float(first) + growth * step)
    return found


def sample(
    given: Iterable[Series], *, until: int, per_minute: int = 1, failed: Iterable[float] = ()
) -> list[dict[str, str]]:
    """The series as promtool takes them, scraped a number of times a minute.

    Args:
        given: The series, by minutes.
        until: The minute of evaluation; what comes more than a minute later is left out.
        per_minute: Scrapes a minute.
        failed: Minutes in which the scrape fails, which makes every series stale, and ``up`` 0.
    """
    lost = {round(minute * per_minute) for minute in failed}
    written = []
    for name, values in given:
        minutes = expand(values)[: until + 2]
        texts = []
        for index in range((len(minutes) - 1) * per_minute + 1):
            minute, share = divmod(index, per_minute)
            value = minutes[minute]
            if isinstance(value, float) and share and minute + 1 < len(minutes):
                following = minutes[minute + 1]
                # a counter grows between two minutes, a state changes at one
                if isinstance(following, float) and "_state" not in name:
                    value += (following - value) * share / per_minute
            if index in lost:
                texts.append("0" if name.startswith("up{") else "stale")
            else:
                texts.append("_" if value is None else value if isinstance(value, str) else f"{value:.12g}")
        written.append({"series": name, "values": " ".join(texts)})
    return written
