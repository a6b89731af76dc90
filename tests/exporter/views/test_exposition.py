"""/metrics: both formats, whole sets of states, runs that leave."""

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from evalgauge import metrics as m
from evalgauge.events import Event
from evalgauge.runlog import read_events
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.state.run import RunState, State, fold
from evalgauge_exporter.views import exposition as exposition_module
from evalgauge_exporter.views.exposition import Exposition, Sample, format_sample
from evalgauge_exporter.views.limits import Limits
from tests.exporter.runs import small_run
from tests.exporter.scraping import samples, total, value
from tests.exporter.state.test_run import event


def exposition_of(*runs: RunState, limits: Limits | None = None, linger: float | None = None) -> Exposition:
    state = State()
    state.runs = {run.run_id: run for run in runs}
    return Exposition(state, RunAnalysis(state, stall_after=600), limits or Limits(), linger=linger)


def state_of(folder: Path) -> RunState:
    return fold(folder.name, "runlog", read_events(folder))


def test_both_formats_hold_the_same_samples(tmp_path: Path) -> None:
    exposition = exposition_of(state_of(small_run(tmp_path, outcomes="ssfai").folder))
    now = time.time()
    text = samples(exposition.render(now).decode())
    openmetrics = samples(exposition.render(now, openmetrics=True).decode(), openmetrics=True)
    assert text == openmetrics
    assert len(text) > 80


def test_every_sample_is_of_the_catalogue_with_its_labels(tmp_path: Path) -> None:
    exposition = exposition_of(state_of(small_run(tmp_path).folder))
    names = {name: metric for metric in m.CATALOGUE for name in metric.series}
    for (name, labels), _ in samples(exposition.render(time.time()).decode()).items():
        metric = names[name]
        assert {label for label, _ in labels} - {"le"} == set(metric.labels)
        for label, values in metric.values:
            assert dict(labels)[label] in values


def test_every_status_and_state_is_exposed_zeros_included(tmp_path: Path) -> None:
    found = samples(exposition_of(state_of(small_run(tmp_path).folder)).render(time.time()).decode())
    for domain in ("d0", "d1"):
        for status in m.TASK_STATUSES:
            value(found, "agent_eval_run_tasks", domain=domain, status=status)
    for state in m.RUN_STATES:
        assert value(found, "agent_eval_run_state", state=state) == (state == "completed")
    for worker in ("vm-0", "vm-1"):
        assert sum(value(found, "agent_eval_worker_state", worker_id=worker, state=s) for s in m.WORKER_STATES) == 1
        for outcome in m.OUTCOMES:
            value(found, "agent_eval_worker_tasks_total", worker_id=worker, outcome=outcome)


def test_the_values_are_those_of_the_run(tmp_path: Path) -> None:
    found = samples(exposition_of(state_of(small_run(tmp_path, outcomes="sssfa").folder)).render(time.time()).decode())
    assert total(found, "agent_eval_run_tasks", status="success") == 3
    assert total(found, "agent_eval_run_tasks", status="agent_error") == 1
    assert value(found, "agent_eval_run_steps_total", action="click") == 5
    assert value(found, "agent_eval_run_steps_total", action="done") == 5
    assert value(found, "agent_eval_run_tokens_total", kind="input", provider="anthropic") == 5000
    assert value(found, "agent_eval_run_tokens_total", kind="cache_read") == 0
    assert value(found, "agent_eval_run_first_actions_total", correct="true") == 3
    assert total(found, "agent_eval_run_task_duration_seconds_bucket", le="+Inf") == 5
    assert value(found, "agent_eval_run_info", benchmark="waa", source="runlog") == 1
    assert value(found, "agent_eval_exporter_build_info") == 1


def test_durations_are_exposed_by_domain_and_those_of_calls_by_model() -> None:
    run = fold(
        "r",
        "runlog",
        [
            event("task_finished", 10, task_id="a", outcome="success", duration_seconds=0.5),
            event("task_finished", 20, task_id="b", outcome="failure", duration_seconds=90),
            event("run_started", 1, tasks=[{"task_id": "a", "domain": "chrome"}, {"task_id": "b", "domain": "vlc"}]),
            event("llm_call", 21, provider="x", model="m", duration_seconds=3.0),
        ],
    )
    found = samples(exposition_of(run).render(30).decode())
    name = "agent_eval_run_task_duration_seconds"
    assert value(found, f"{name}_bucket", domain="chrome", le="1.0") == 1
    assert value(found, f"{name}_bucket", domain="vlc", le="60.0") == 0
    assert value(found, f"{name}_sum", domain="vlc") == 90
    assert total(found, f"{name}_count") == 2, "an attempt that is described after its end is counted once"
    calls = "agent_eval_run_llm_request_duration_seconds"
    assert value(found, f"{calls}_bucket", provider="x", model="m", le="4.0") == 1
    assert value(found, f"{calls}_bucket", provider="x", model="m", le="2.0") == 0
    assert value(found, f"{calls}_sum", model="m") == 3


def test_a_task_counts_once_however_many_attempts_it_has() -> None:
    def count(*events: Event) -> float:
        run = fold("r", "runlog", events)
        return value(samples(exposition_of(run).render(30).decode()), m.RUN_DISTINCT_TASKS.name, run_id="r")

    planned = event("run_started", 0, run_id="r", tasks=[{"task_id": "a"}, {"task_id": "b"}], attempts=3)
    again = [event("task_started", at, task_id="a", attempt=at) for at in (1, 2, 3)]
    assert count(planned, *again) == 2
    assert count(planned, *again, event("task_started", 4, task_id="unplanned", attempt=1)) == 3
    assert count(event("run_started", 0, run_id="r", total_tasks=5), *again) == 5


def test_time_of_steps_and_attempts_at_their_limit_are_exposed() -> None:
    def attempt(task: str, steps: int, limit: int | None, outcome: str = "failure") -> list[Event]:
        return [
            event("task_started", 1, task_id=task, max_steps=limit),
            *(event("step", 2 + n, task_id=task, think_seconds=1.5, env_seconds=0.5) for n in range(steps)),
            event("task_finished", 20, task_id=task, outcome=outcome),
        ]

    events = [*attempt("a", 3, 3), *attempt("b", 2, 3), *attempt("c", 5, None), *attempt("d", 3, 3, "interrupted")]
    found = samples(exposition_of(fold("r", "runlog", events)).render(30).decode())
    assert value(found, "agent_eval_run_step_limit_attempts") == 1
    assert value(found, "agent_eval_run_step_seconds_total", kind="think") == 13 * 1.5
    assert value(found, "agent_eval_run_step_seconds_total", kind="environment") == 13 * 0.5
    free = samples(exposition_of(fold("r", "runlog", attempt("c", 5, None))).render(30).decode())
    assert not any(name == "agent_eval_run_step_limit_attempts" for name, _ in free)


def test_tags_that_the_limits_name_and_the_machines_of_workers_are_exposed() -> None:
    run = fold(
        "r",
        "runlog",
        [
            event("run_started", 1, tags={"commit": "abc", "secret": "s"}),
            event("worker_state", 2, worker_id="w", state="idle", vm="vm-1", vm_size="D4"),
            event("worker_state", 2, worker_id="bare", state="idle"),
        ],
    )
    found = samples(exposition_of(run, limits=Limits(tags=("commit", "other"))).render(30).decode())
    tags = [dict(labels) for name, labels in found if name == "agent_eval_run_tags_info"]
    assert tags == [{"run_id": "r", "key": "commit", "value": "abc"}]
    machines = [dict(labels) for name, labels in found if name == "agent_eval_worker_info"]
    assert machines == [{"run_id": "r", "worker_id": "w", "vm": "vm-1", "provider": "", "vm_size": "D4"}]


def test_every_baseline_in_use_is_exposed_and_one_that_is_missing_is_marked() -> None:
    def run(run_id: str, at: float, baseline: str | None) -> RunState:
        tasks = [{"task_id": "a"}]
        start = event("run_started", at, benchmark="waa", model="m", baseline_run_id=baseline, tasks=tasks)
        end = event("task_finished", at + 1, task_id="a", outcome="success")
        return fold(run_id, "runlog", [start, end, event("run_finished", at + 2, status="completed")])

    runs = [run("one", 1, None), run("two", 10, "one"), run("three", 20, "two"), run("four", 30, "gone")]
    found = samples(exposition_of(*runs).render(100).decode())
    used = {dict(labels)["baseline_run_id"] for name, labels in found if name == "agent_eval_baseline_success_tasks"}
    assert used >= {"one", "two"}
    states = {
        (dict(labels)["run_id"], dict(labels)["baseline_run_id"]): dict(labels)["state"]
        for name, labels in found
        if name == "agent_eval_run_baseline_info"
    }
    assert states == {("two", "one"): "found", ("three", "two"): "found", ("four", "gone"): "missing"}


def test_an_end_and_a_current_task_are_exposed_only_while_they_are_true(tmp_path: Path) -> None:
    run = small_run(tmp_path, finish=False)
    task = run.task("t9", worker="vm-0")
    found = samples(exposition_of(state_of(run.folder)).render(time.time()).decode())
    assert value(found, "agent_eval_worker_task_info", worker_id="vm-0", task_id="t9") == 1
    assert total(found, "agent_eval_run_end_timestamp_seconds") == 0
    task.finish(success=True)
    run.finish()
    found = samples(exposition_of(state_of(run.folder)).render(time.time()).decode())
    assert total(found, "agent_eval_worker_task_info") == 0
    assert value(found, "agent_eval_run_end_timestamp_seconds") > 0


def test_a_run_is_dropped_after_its_linger_time() -> None:
    over = fold("over", "runlog", [event("run_started", 1000, "p"), event("run_finished", 2000, "p")])
    going = fold("going", "runlog", [event("run_started", 1000, "q"), event("heartbeat", 2500, "q")])
    exposition = exposition_of(over, going, linger=900)
    assert total(samples(exposition.render(2900).decode()), "agent_eval_run_info") == 2
    later = samples(exposition.render(2901).decode())
    assert value(later, "agent_eval_run_info", run_id="going") == 1


def test_all_running_runs_and_the_newest_others_are_exposed() -> None:
    over = [
        fold(f"o{n}", "runlog", [event("run_started", n, "p"), event("run_finished", n + 1, "p")]) for n in range(9)
    ]
    going = [fold(f"g{n}", "runlog", [event("run_started", n, "q"), event("heartbeat", 900, "q")]) for n in range(5)]
    found = samples(exposition_of(*over, *going, limits=Limits(runs=2)).render(1000).decode())
    shown = {dict(labels)["run_id"] for name, labels in found if name == "agent_eval_run_info"}
    assert shown == {"o7", "o8", "g0", "g1", "g2", "g3", "g4"}
    assert value(found, "agent_eval_exporter_runs_left_out") == 0


def test_running_runs_beyond_their_limit_are_counted_and_the_first_ones_stay() -> None:
    over = fold("over", "runlog", [event("run_started", 1, "p"), event("run_finished", 2, "p")])
    going = [fold(f"g{n}", "runlog", [event("run_started", n, "q"), event("heartbeat", 900, "q")]) for n in range(5)]
    found = samples(exposition_of(over, *reversed(going), limits=Limits(running=3)).render(1000).decode())
    shown = {dict(labels)["run_id"] for name, labels in found if name == "agent_eval_run_info"}
    assert shown == {"over", "g0", "g1", "g2"}
    assert value(found, "agent_eval_exporter_runs_left_out") == 2


def test_more_domains_models_and_workers_than_the_limit_do_not_explode() -> None:
    started = event("run_started", 1, tasks=[{"task_id": f"t{n}", "domain": f"d{n % 30}"} for n in range(100)])
    calls = [event("llm_call", 2, provider="p", model=f"m{n}", input_tokens=1, output_tokens=1) for n in range(30)]
    workers = [event("worker_state", 2, worker_id=f"w{n}", state="idle") for n in range(30)]
    run = fold("r", "runlog", [started, *calls, *workers])
    limits = Limits(workers=5, domains=10, models=3)
    found = samples(exposition_of(run, limits=limits).render(3).decode())
    domains = {dict(labels)["domain"] for name, labels in found if name == "agent_eval_run_tasks"}
    assert len(domains) == 11
    assert total(found, "agent_eval_run_tasks", status="pending") == 100
    assert total(found, "agent_eval_run_tokens_total", kind="input") == 30
    assert len({dict(labels)["model"] for name, labels in found if name == "agent_eval_run_tokens_total"}) == 4
    assert len({dict(labels)["worker_id"] for name, labels in found if name == "agent_eval_worker_state"}) == 5


def test_a_cached_rendering_is_not_used_once_the_run_changed() -> None:
    run = fold("r", "runlog", [event("task_started", 1, task_id="a"), event("run_finished", 5)])
    exposition = exposition_of(run)
    assert total(samples(exposition.render(6).decode()), "agent_eval_run_tasks", status="interrupted") == 1
    run.apply(event("task_finished", 6, task_id="a", outcome="success"))
    assert total(samples(exposition.render(7).decode()), "agent_eval_run_tasks", status="success") == 1


def test_a_run_that_becomes_stalled_is_exposed_as_stalled() -> None:
    exposition = exposition_of(fold("r", "runlog", [event("task_started", 1000, task_id="a")]))
    assert value(samples(exposition.render(1600).decode()), "agent_eval_run_state", state="running") == 1
    found = samples(exposition.render(1601).decode())
    assert value(found, "agent_eval_run_state", state="stalled") == 1
    assert total(found, "agent_eval_run_tasks", status="interrupted") == 1


def test_a_running_run_is_rendered_again_only_after_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[str] = []
    real = exposition_module.event_samples

    def counted(run: RunState, now: float, analysis: RunAnalysis, limits: Limits) -> Iterator[Sample]:
        rendered.append(run.run_id)
        return real(run, now, analysis, limits)

    monkeypatch.setattr(exposition_module, "event_samples", counted)
    runs = [fold(name, "runlog", [event("task_started", 1000, task_id="a")]) for name in ("r", "s")]
    exposition = exposition_of(*runs)
    for now in (1001, 1016, 1031):
        exposition.render(now)
    assert rendered == ["r", "s"]
    runs[1].apply(event("step", 1032, task_id="a", action="click"))
    assert total(samples(exposition.render(1046).decode()), "agent_eval_run_steps_total", run_id="s") == 1
    assert rendered == ["r", "s", "s"]


def test_what_is_rendered_after_each_event_is_what_a_new_exporter_renders() -> None:
    run = RunState("r", "runlog")
    exposition = exposition_of(run)
    told = [event("worker_state", 1000, worker_id="v2", state="idle", vm="vm-2", provider="azure", vm_size="D4")]
    for number in range(9):
        ids = {"task_id": f"t{number}", "worker_id": f"v{number % 3}"}
        told.append(event("task_started", 1001 + 10 * number, **ids, domain=f"d{number % 2}"))
        told.append(event("step", 1003 + 10 * number, **ids, action="click"))
        if number != 4:
            told.append(event("task_finished", 1009 + 10 * number, **ids, outcome="success", score=number / 9))
    told.append(event("worker_state", 1100, worker_id="v0", state="lost"))
    told.append(event("run_finished", 1101))
    for number, one in enumerate(told):
        run.apply(one)
        if number == 20:
            run.run_id = "renamed"
        now = one.ts + 1
        fresh = Exposition(exposition.state, exposition.analysis, exposition.limits, linger=None).render(now)
        assert exposition.render(now) == fresh
        assert gzip.decompress(exposition.render_gzip(now)) == fresh


def test_what_time_alone_changes_is_current_though_nothing_else_is_rendered_again() -> None:
    told = [event("run_started", 1000, run_id="r", benchmark="b", model="m", tasks=[f"t{n}" for n in range(10)])]
    for number in range(4):
        at, name = 1000 + 100 * number, f"t{number}"
        told.append(event("task_started", at, task_id=name))
        told.append(event("task_finished", at + 100, task_id=name, outcome="success", duration_seconds=100))
    told.append(event("task_started", 1400, task_id="t4"))
    exposition = exposition_of(fold("r", "runlog", told))
    early, late = (samples(exposition.render(now).decode()) for now in (1401, 1700))
    ends = [value(found, "agent_eval_run_eta_timestamp_seconds", bound="p50") for found in (early, late)]
    assert ends[1] > ends[0], "the task that is running takes longer than those before"


def test_a_writer_that_falls_silent_is_exposed_though_no_event_says_so() -> None:
    told = [
        event("task_started", 1000, writer="a", task_id="x", worker_id="a"),
        event("task_started", 1500, writer="b", task_id="y", worker_id="b"),
    ]
    exposition = exposition_of(fold("r", "runlog", told))
    for now, lost in ((1550, 0), (1601, 1), (1650, 1)):
        found = samples(exposition.render(now).decode())
        assert total(found, "agent_eval_worker_state", state="lost") == lost
        assert total(found, "agent_eval_run_tasks", status="interrupted") == lost


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_compressed_metrics_are_the_same(tmp_path: Path, openmetrics: bool) -> None:
    runs = [state_of(small_run(tmp_path, name, outcomes="ssfai").folder) for name in ("r", "s")]
    exposition, now = exposition_of(*runs), time.time()
    for _ in range(2):
        zipped = exposition.render_gzip(now, openmetrics=openmetrics)
        assert gzip.decompress(zipped) == exposition.render(now, openmetrics=openmetrics)


@given(st.text(max_size=30), st.floats(allow_nan=False))
def test_any_label_value_survives_a_parser(label: str, number: float) -> None:
    if "\r" in label or "\x00" in label:
        label = label.replace("\r", "").replace("\x00", "")
    text = format_sample(m.RUN_BUDGET, (label.encode("utf-8", "replace").decode(),), number)
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels["run_id"] == label.encode("utf-8", "replace").decode()
    assert family.samples[0].value == pytest.approx(number)
