"""OTLP out of the tracker: into a real database, and into a receiver that decodes it."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalgauge import track_run, tracker
from evalgauge.metrics import BY_NAME, RUN_TASK_DURATION
from evalgauge.otel import observer as otel
from evalgauge.otel.metrics import OBSERVED
from evalgauge.otel.traces import TASKS_IN_ONE_TRACE
from evalgauge.runlog import log_files
from tests.exporter.runs import exporter_of
from tests.exporter.scraping import samples
from tests.exporter.waiting import wait_for
from tests.instrumentation.otel.otlp import database, receiver
from tests.ports import free_port

ROOT = Path(__file__).parents[3]
CLOCKS = ("timestamp", "busy_seconds", "idle_seconds", "duration_seconds_sum")
"""Series that say when something happened: two observers do not agree on them to the microsecond."""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "600000")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    monkeypatch.setattr(otel, "SHUTDOWN_SECONDS", 60.0)
    yield
    otel.stop()
    assert not any(isinstance(observer, otel.OtelObserver) for observer in tracker.observers)


def evaluate(results: Path, tasks: int = 6, run_id: str = "night") -> None:
    """A run with every kind of event."""
    plan = [{"task_id": f"t{n}", "domain": f"d{n % 2}", "instruction": f"do {n}"} for n in range(tasks + 1)]
    about: dict[str, Any] = {"agent": "me", "tasks": plan, "budget_usd": 9}
    # a disk that takes its time would come between the log and those that observe it
    with track_run(results, benchmark="waa", model="m", run_id=run_id, fsync="never", **about) as run:
        run.worker("vm-2", "idle", vm="vm-2")
        for number in range(tasks):
            with run.task(f"t{number}", worker="vm-1") as task:
                task.llm_call(provider="p", model="m-1", input_tokens=100, cache_read_tokens=30, output_tokens=7,
                              duration_seconds=0.5)  # fmt: skip
                task.llm_call(provider="p", model="m-1", status="retry")
                task.step(action={"type": "Click"}, think_seconds=1.0, env_seconds=0.5, reasoning="because",
                          first_action_correct=number % 2 == 0)  # fmt: skip
                task.step(action="done")
                outcome = {1: "failure", 2: "agent_error", 3: "infrastructure_error"}.get(number, "success")
                task.finish(outcome=outcome, score=float(outcome == "success"), reason="judged")
        run.llm_call(provider="q", model="m-2", input_tokens=1, output_tokens=1)


def scraped(results: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What the exporter exposes of the same log."""
    exporter = exporter_of(results)
    exporter.start()
    try:
        assert exporter.wait_ready(60)
        return samples(exporter.exposition.render(0.0, openmetrics=False).decode())
    finally:
        exporter.stop()


def test_what_is_pushed_is_stored_as_what_would_be_scraped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database(tmp_path, free_port()) as store:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", store.endpoint)
        observer = otel.start()
        evaluate(tmp_path / "results")
        observer.flush()
        wait_for(lambda: store.query('agent_eval_run_state{state="completed"} == 1'))
        pushed = {}
        for labels, value in store.query('{__name__=~"agent_eval_.+"}'):
            name = labels["__name__"]
            metric = BY_NAME[re.sub(r"_(bucket|sum|count)$", "", name)]
            assert name in metric.series
            shared = {label: text for label, text in labels.items() if label in (*metric.labels, "le")}
            if "le" in shared:
                shared["le"] = str(float(shared["le"]))
            key = (name, frozenset(shared.items()))
            assert key not in pushed, f"{key} is there twice"
            pushed[key] = value
        otel.stop()
    ours = {name for metric in (*OBSERVED, RUN_TASK_DURATION) for name in metric.series}
    expected = {}
    for (name, pairs), value in scraped(tmp_path / "results").items():
        labels = {label: str(float(text)) if label == "le" else text for label, text in pairs}
        # a label without text is none: Prometheus' data model
        expected[name, frozenset((label, text) for label, text in labels.items() if text)] = value
    there = {key: value for key, value in expected.items() if key[0] in ours and value}
    compared = {key: value for key, value in there.items() if not any(clock in key[0] for clock in CLOCKS)}
    assert {key: value for key, value in pushed.items() if value and not any(c in key[0] for c in CLOCKS)} == compared
    assert len(compared) > 40
    for key in there.keys() - compared.keys():
        assert pushed[key] == pytest.approx(there[key], abs=2.0)


def test_traces_are_a_run_its_tasks_their_steps_calls_and_outcomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        otel.start()
        evaluate(tmp_path)
        otel.stop()
    spans = received.spans()
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans) == 1 + 6 + 6 * 4 + 1
    assert len({span.trace_id for span in spans}) == 1
    (root,) = [span for span in spans if not span.parent_span_id]
    assert root.name == "evaluation waa"
    tasks = [span for span in spans if span.name == "invoke_agent me"]
    assert {span.parent_span_id for span in tasks} == {root.span_id}
    assert all(root.start_time_unix_nano <= s.start_time_unix_nano <= s.end_time_unix_nano for s in tasks)
    parents = [by_id[s.parent_span_id].name for s in spans if s.name.startswith(("execute_tool", "chat m-1"))]
    assert parents == ["invoke_agent me"] * 24
    by_task = {attributes(span)["evalgauge.task_id"]: span for span in tasks}
    assert attributes(by_task["t1"])["evalgauge.outcome"] == "failure"
    assert attributes(by_task["t1"])["gen_ai.operation.name"] == "invoke_agent"
    assert {name for name, span in by_task.items() if span.status.code == 2} == {"t2", "t3"}  # 2: STATUS_CODE_ERROR
    (event,) = by_task["t0"].events
    assert event.name == "gen_ai.evaluation.result"
    assert attributes(event) == {
        "gen_ai.evaluation.name": "waa",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "success",
        "gen_ai.evaluation.explanation": "judged",
    }
    call = next(span for span in spans if span.name == "chat m-1" and span.status.code == 0)
    found = attributes(call)
    assert found["gen_ai.usage.input_tokens"] == 130, "the conventions count cached tokens inside"
    assert found["gen_ai.usage.cache_read.input_tokens"] == 30
    assert (call.end_time_unix_nano - call.start_time_unix_nano) / 1e9 == pytest.approx(0.5)
    step = next(span for span in spans if span.name == "execute_tool Click")
    assert (step.end_time_unix_nano - step.start_time_unix_nano) / 1e9 == pytest.approx(1.5)


def attributes(span: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


def test_a_large_run_is_a_trace_for_each_task_with_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{received.url}/v1/traces")
        otel.start()
        with track_run(tmp_path, benchmark="b", model="m", tasks=TASKS_IN_ONE_TRACE + 1) as run:
            for number in range(2):
                with run.task(f"t{number}") as task:
                    task.finish(success=True)
        otel.stop()
    root = next(span for span in received.spans() if span.name == "evaluation b")
    tasks = [span for span in received.spans() if span.name == "invoke_agent m"]
    assert len({span.trace_id for span in (root, *tasks)}) == 3
    assert [[link.span_id for link in span.links] for span in tasks] == [[root.span_id]] * 2
    assert not received.metrics, "only traces have an endpoint"


PROGRAM = """
import multiprocessing, sys
from evalgauge import otel, track_run
from evalgauge.otel import observer
observer.SHUTDOWN_SECONDS = 60.0
if sys.argv[2] == "start":
    otel.start()

def work(run, number):
    with run.task(f"t{number}", worker=f"w{number}") as task:
        task.finish(success=True)

if __name__ == "__main__":
    run = track_run(sys.argv[1], benchmark="b", model="m", run_id="many", tasks=["t0", "t1"])
    processes = [multiprocessing.get_context("fork").Process(target=work, args=(run, n)) for n in range(2)]
    for process in processes: process.start()
    for process in processes: process.join()
    if sys.argv[3] == "finish":
        run.finish()
"""


def run_program(tmp_path: Path, url: str, *arguments: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "instrumentation"), "OTEL_EXPORTER_OTLP_ENDPOINT": url}
    subprocess.run(
        [sys.executable, tmp_path / "program.py", tmp_path / "results", *arguments],
        env=environment, check=True, timeout=180,
    )  # fmt: skip


def test_forked_processes_count_for_themselves_and_share_the_trace(tmp_path: Path) -> None:
    with receiver() as received:
        run_program(tmp_path, received.url, "start", "left open")
    ended: dict[tuple[str, str], int] = {}
    for instance, metric in received.by_instance():
        if metric.name == "agent_eval_run_tasks":
            for point in metric.gauge.data_points:
                ended[instance, attributes(point)["status"]] = point.as_int
    assert sum(count for (_, status), count in ended.items() if status == "success") == 2
    assert len({instance for instance, _ in ended}) == 3, "the parent has planned, its children have worked"
    assert sum(count for (_, status), count in ended.items() if status == "pending") == 2
    spans = received.spans()
    root = next(span for span in spans if span.name == "evaluation b")
    tasks = [span for span in spans if span.name.startswith("invoke_agent")]
    assert len(tasks) == 2
    assert {span.parent_span_id for span in tasks} == {root.span_id}
    assert attributes(root)["evalgauge.status"] == "aborted", "a run that nobody finished is sent at the end too"


def running() -> bool:
    return otel._observer is not None


def test_nothing_is_started_without_an_endpoint_and_once_with_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    otel.start_if_configured()
    assert not running()
    otel.stop()
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        otel.start_if_configured()
        assert not running()
        otel.stop()
        monkeypatch.delenv("OTEL_SDK_DISABLED")
        otel.start_if_configured()
        assert running()
        assert otel._observer is otel.start()
        otel.stop()


def test_an_unreachable_collector_does_not_affect_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    otel.start()
    evaluate(tmp_path)
    otel.stop()
    (log,) = log_files(tmp_path / "night")
    assert b"run_finished" in log.read_bytes().splitlines()[-1]


def test_a_collector_that_never_answers_does_not_block_the_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otel, "SHUTDOWN_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        observer = otel.start()
        threads = [sender._thread for sender in observer._senders]
        evaluate(tmp_path)
        otel.stop()  # comes back although nothing was answered
        assert all(thread.daemon for thread in threads)
    messages = [record.getMessage() for record in caplog.records if record.name == "evalgauge"]
    assert messages == [f"the last OTLP {signal} could not be sent within 0.01 s" for signal in ("metrics", "traces")]
    for thread in threads:  # the connection is broken off, and nothing is tried again
        thread.join()


def test_a_value_of_the_wrong_type_loses_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Any = ["?"]
    action: dict[str, Any] = {"type": "click"}
    action["itself"] = action
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        otel.start()
        with track_run(tmp_path, benchmark=wrong, model="m", run_id="r", attempts=wrong, budget_usd=wrong) as run:
            with run.task("t", domain=wrong, worker="w") as task:
                seconds: Any
                for seconds in (math.nan, math.inf, 1e14, "long", wrong):
                    task.step(action=action, think_seconds=seconds)
                    task.llm_call(
                        provider=wrong, model=wrong, input_tokens=5, output_tokens=1, duration_seconds=seconds
                    )
                task.llm_call(provider="p", model="m", input_tokens=-7, output_tokens="many")  # type: ignore[arg-type]
                task.finish(success=True)
        otel.stop()
    points = {metric.name: metric.sum.data_points for _, metric in received.by_instance()}
    assert [point.as_int for point in points["agent_eval_run_steps_total"]] == [5]
    assert sum(point.as_int for point in points["agent_eval_run_llm_requests_total"]) == 6
    assert all(point.as_int > 0 for point in points["agent_eval_run_tokens_total"])
    assert len(received.spans()) == 13


def test_an_event_recorded_during_another_one_does_not_deadlock(tmp_path: Path) -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")

    class Telling(trace.SpanProcessor):  # type: ignore[misc, name-defined]
        def on_start(self, span: Any, parent_context: object = None) -> None:
            if span.name == "execute_tool click":  # as a signal's handler may come then
                run.llm_call(provider="p", model="m")

    provider = trace.TracerProvider()
    provider.add_span_processor(Telling())
    otel.start(tracer_provider=provider)
    run = track_run(tmp_path, benchmark="b", model="m")
    task = run.task("t")
    telling = threading.Thread(target=lambda: task.step(action="click"), daemon=True)
    telling.start()
    telling.join(60)
    assert not telling.is_alive(), "it waits for itself"
    run.finish()


def test_invalid_unicode_and_infinite_numbers_do_not_lose_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    half = "\ud800"
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        otel.start()
        plan = [{"task_id": f"t{half}", "domain": f"d{half}"}]
        with track_run(tmp_path, benchmark=f"b{half}", model=f"m{half}", run_id="r", tasks=plan) as run:
            with run.task(f"t{half}", worker=f"w{half}", instruction=half * 3000) as task:
                task.step(action={"type": f"click{half}"}, reasoning=half)
                task.finish(score=float("inf"), error=half, steps=10**400)
        otel.stop()
    assert {span.name for span in received.spans()} == {"evaluation b?", "invoke_agent m?", "execute_tool click?"}
    (tasks,) = [metric for _, metric in received.by_instance() if metric.name == "agent_eval_run_tasks"]
    assert {attributes(point)["domain"] for point in tasks.gauge.data_points} == {"d?"}
    assert not caplog.records
