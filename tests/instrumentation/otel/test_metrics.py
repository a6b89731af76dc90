"""What is pushed equals what the exporter would expose of the same log, for any run of one process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from evalgauge import track_run
from evalgauge.metrics import BY_NAME, OUTCOMES
from evalgauge.otel import observer as otel
from tests.instrumentation.otel.test_observer import CLOCKS, scraped

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

calls = st.fixed_dictionaries(
    {
        "provider": st.sampled_from([None, "p", "q"]),
        "model": st.sampled_from([None, "m-1"]),
        "input_tokens": st.sampled_from([None, 0, 5]),
        "cache_write_tokens": st.sampled_from([None, 3]),
        "output_tokens": st.sampled_from([None, 2]),
        "status": st.sampled_from(["ok", "error", "retry"]),
    }
)
steps = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["Click", "done", {"x": 1}]),
        "first_action_correct": st.sampled_from([None, True, False]),
    }
)
tasks = st.fixed_dictionaries(
    {
        "task_id": st.sampled_from(["t0", "t1", "t2", "unplanned"]),
        "worker": st.sampled_from([None, "w0", "w1"]),
        "steps": st.lists(steps, max_size=3),
        "calls": st.lists(calls, max_size=3),
        "outcome": st.sampled_from(OUTCOMES),
    }
)
domains = st.fixed_dictionaries(
    {task_id: st.sampled_from([None, "d0", "d1"]) for task_id in ("t0", "t1", "t2", "unplanned")}
)
"""The domain that the starts of a task state, alike in all of them: what was pushed can't be moved to another one."""
plans = st.one_of(
    st.integers(0, 6),
    st.just([{"task_id": "t0", "domain": "d0"}, {"task_id": "t1"}, {"task_id": "t3", "domain": "d1"}]),
)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    otel.stop()
    yield
    otel.stop()


def pushed(reader: InMemoryMetricReader) -> Samples:
    data: Any = reader.get_metrics_data()
    found: Samples = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    labels = {name: text for name, text in point.attributes.items() if text}
                    if BY_NAME[metric.name].kind == "histogram":
                        found[f"{metric.name}_count", frozenset(labels.items())] = point.count
                    else:
                        found[metric.name, frozenset(labels.items())] = point.value
    return found


def selected(samples: Samples, names: set[str]) -> Samples:
    """The samples of these metrics that are not 0 and not a time; labels without text are left out."""
    return {
        (name, frozenset((label, text) for label, text in labels if text)): value
        for (name, labels), value in samples.items()
        if value and name in names and not any(clock in name for clock in CLOCKS)
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(tasks, max_size=6), domains, plans, st.integers(1, 2), st.booleans())
def test_pushed_equals_scraped(
    tmp_path: Path,
    attempts: list[dict[str, Any]],
    domains: dict[str, str | None],
    plan: Any,
    times: int,
    finish: bool,
) -> None:
    results = Path(tempfile.mkdtemp(dir=tmp_path))
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    otel.start(meter_provider=provider)
    try:
        run = track_run(results, benchmark="b", model="m", run_id="r", tasks=plan, attempts=times)
        seen: dict[str, int] = {}
        for spec in attempts:
            number = seen[spec["task_id"]] = seen.get(spec["task_id"], 0) + 1
            with run.task(
                spec["task_id"], domain=domains[spec["task_id"]], worker=spec["worker"], attempt=number
            ) as task:
                for call in spec["calls"]:
                    task.llm_call(**call)
                for step in spec["steps"]:
                    task.step(**step)
                task.finish(outcome=spec["outcome"])
        if finish:
            run.finish()
        ours = pushed(reader)
        theirs = scraped(results)
        run.finish()
    finally:
        otel.stop()
        provider.shutdown()
    names = {name for name, _ in ours} | {"agent_eval_run_tasks", "agent_eval_run_llm_requests_total"}
    assert selected(ours, names) == selected(theirs, names)
