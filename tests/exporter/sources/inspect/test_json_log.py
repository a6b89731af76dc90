"""Inspect's JSON logs, made of the ``.eval`` logs that Inspect 0.3.285 wrote; and logs without their samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import LlmCall, Step, TaskFinished
from evalgauge_exporter.sources import parsing
from evalgauge_exporter.sources.inspect import json_log, samples
from evalgauge_exporter.sources.inspect.eval_zip import EvalZipReader
from evalgauge_exporter.sources.inspect.json_log import InspectJsonLogSource, matches_file
from evalgauge_exporter.sources.inspect.log import InspectLogSource
from evalgauge_exporter.state.run import RunState, fold
from tests.exporter.sources.inspect.test_log import LOGS, START, make_log, sample
from tests.exporter.sources.reading import drain, folded, snapshot, write


def document_of(log: Path) -> dict[str, Any]:
    """What Inspect writes with ``--log-format json`` of the same run."""
    with EvalZipReader(log) as archive:
        content: dict[str, Any] = json.loads(archive.read("header.json"))
        content["samples"] = [json.loads(archive.read(name)) for name in archive.members if name.startswith("samples/")]
        content["reductions"] = json.loads(archive.read("reductions.json"))
    return content


def make_run(root: Path) -> Path:
    """A log of another evaluation of the same task."""
    content = document_of(LOGS / "tools.eval")
    content["eval"]["task_id"] = "another"
    return make_json(root / "tools.json", content)


def make_json(path: Path, content: dict[str, Any]) -> Path:
    return write(path, json.dumps(content, indent=2))


def header(status: str = "success", usage: dict[str, Any] | None = None, epochs: int = 1) -> dict[str, Any]:
    stats = {"completed_at": "2026-11-21T20:01:00+00:00", "model_usage": usage or {}}
    evaluation = {**START["eval"], "config": {"epochs": epochs}, "dataset": {"sample_ids": ["s1", "s2"]}}
    return {"version": 2, "status": status, "eval": {**evaluation, "scorers": [{"name": "match"}]}, "stats": stats}


REDUCTIONS = [{"scorer": "match", "samples": [{"value": 1.0, "sample_id": "s1"}, {"value": 0.0, "sample_id": "s2"}]}]


@pytest.mark.parametrize("name", ["epochs", "tools"])
def test_a_json_log_gives_what_the_archive_gives(tmp_path: Path, name: str) -> None:
    path = make_json(tmp_path / f"{name}.json", document_of(LOGS / f"{name}.eval"))
    assert matches_file(path)
    ours, theirs = (
        snapshot(folded(InspectJsonLogSource(path))),
        snapshot(folded(InspectLogSource(LOGS / f"{name}.eval"))),
    )
    for part in ("benchmark", "model", "attempts", "counts", "usage", "steps", "ended", "started_at", "ended_at"):
        assert str(ours[part]).replace(".json", ".eval") == str(theirs[part]), part


def test_a_log_that_is_rewritten_while_it_is_running_is_followed(tmp_path: Path) -> None:
    content = {**header("started"), "samples": [sample(1)]}
    path = make_json(tmp_path / "log.json", content)
    source = InspectJsonLogSource(path)
    events, _ = drain(source)
    whole = json.dumps({**header(), "samples": [sample(1), sample(2)]}, indent=2)
    write(path, whole[: len(whole) // 2])
    assert drain(source) == ([], [])
    write(path, whole)
    events += drain(source)[0]
    run = fold("run", "inspect", events)
    assert {key[0] for key, attempt in run.attempts.items() if attempt.status == "success"} == {"s1", "s2"}
    assert run.is_finished()
    write(path, json.dumps({**header(), "samples": [{**sample(1), "scores": {"match": {"value": "I"}}}]}))
    assert source.read(full_scan=True).restarted


def read(path: Path, content: dict[str, Any], form: str) -> RunState:
    """A run of the same content in either form."""
    if form == "json":
        return folded(InspectJsonLogSource(make_json(path.with_suffix(".json"), content)))
    parts = {"reductions.json": content.pop("reductions", []), "header.json": content}
    samples = {f"samples/{each['id']}_epoch_1.json": each for each in content.pop("samples", None) or []}
    return folded(InspectLogSource(make_log(path.with_suffix(".eval"), {**samples, **parts})))


@pytest.mark.parametrize("form", ["json", "eval"])
def test_a_log_without_samples_has_their_scores_and_the_tokens_of_the_run(tmp_path: Path, form: str) -> None:
    spent = {"openai/gpt-5.1": {"input_tokens": 600, "output_tokens": 60, "total_tokens": 660}}
    run = read(tmp_path / "x", {**header(usage=spent), "samples": None, "reductions": REDUCTIONS}, form)
    assert {key: attempt.status for key, attempt in run.attempts.items()} == {
        ("s1", 1): "success",
        ("s2", 1): "failure",
    }
    assert run.usage["openai", "gpt-5.1"].tokens == [600, 0, 0, 60]
    assert run.attempts["s1", 1].duration_seconds is None


@pytest.mark.parametrize("form", ["json", "eval"])
def test_scores_that_were_reduced_over_epochs_stand_for_no_attempt(tmp_path: Path, form: str) -> None:
    run = read(tmp_path / "x", {**header(epochs=2), "reductions": REDUCTIONS}, form)
    assert {attempt.status for attempt in run.attempts.values()} <= {"pending"}


@pytest.mark.parametrize("form", ["json", "eval"])
def test_tokens_of_samples_that_were_cancelled_or_retried_are_calls_of_the_run(tmp_path: Path, form: str) -> None:
    usage = {"openai/gpt-5.1": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}}
    total = {"openai/gpt-5.1": {"input_tokens": 250, "output_tokens": 30, "total_tokens": 280}}
    content = {**header("cancelled", total), "samples": [sample(1, model_usage=usage)]}
    run = read(tmp_path / "x", content, form)
    assert run.usage["openai", "gpt-5.1"].tokens == [250, 0, 0, 30]


@pytest.mark.parametrize("form", ["json", "eval"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"model_args": {"service_tier": "flex"}}, [(False, "flex"), (False, None), (False, None)]),
        ({"model_args": {"service_tier": "priority"}}, [(False, "priority (requested)"), *[(False, None)] * 2]),
        ({"model_args": {"service_tier": "auto"}}, [(False, None)] * 3),
        ({"model_generate_config": {"batch": True}}, [(True, None), (True, None), (False, None)]),
    ],
)
def test_batches_and_the_service_tier_of_the_run_are_those_of_its_calls(
    tmp_path: Path, form: str, options: dict[str, Any], expected: list[tuple[bool, str | None]]
) -> None:
    usage = {"input_tokens": 250, "output_tokens": 30, "total_tokens": 280}
    content = header(usage=dict.fromkeys(("openai/gpt-5.1", "openai/gpt-4o", "grok/grok-4"), usage))
    content["eval"] |= options
    if form == "json":
        told, _ = drain(InspectJsonLogSource(make_json(tmp_path / "x.json", content)))
    else:
        told, _ = drain(InspectLogSource(make_log(tmp_path / "x.eval", {"header.json": content})))
    assert [(event.batch, event.service_tier) for event in told if isinstance(event, LlmCall)] == expected


def test_a_running_log_has_no_call_of_the_run_yet(tmp_path: Path) -> None:
    total = {"openai/gpt-5.1": {"input_tokens": 250, "output_tokens": 30, "total_tokens": 280}}
    path = make_json(tmp_path / "x.json", {**header("started", total), "samples": []})
    assert not [event for event in drain(InspectJsonLogSource(path))[0] if isinstance(event, LlmCall | TaskFinished)]


def test_screenshots_are_in_the_document(tmp_path: Path) -> None:
    source = InspectJsonLogSource(make_json(tmp_path / "tools.json", document_of(LOGS / "tools.eval")))
    shots = [event.screenshot for event in drain(source)[0] if isinstance(event, Step) and event.screenshot]
    archive = InspectLogSource(LOGS / "tools.eval")
    theirs = [event.screenshot for event in drain(archive)[0] if isinstance(event, Step) and event.screenshot]
    assert len(shots) == len(theirs)
    assert [source.image(shot) for shot in shots] == [archive.image(shot) for shot in theirs]


def test_a_screenshot_that_is_no_text_is_none(tmp_path: Path) -> None:
    document = document_of(LOGS / "tools.eval")
    source = InspectJsonLogSource(make_json(tmp_path / "tools.json", document))
    shot = next(event.screenshot for event in drain(source)[0] if isinstance(event, Step) and event.screenshot)
    path = tmp_path / "tools.json"
    path.write_bytes(path.read_bytes().replace(b'"data:image/png', b'"data:image/png\xff'))
    assert source.image(shot) is None


def test_a_sample_that_would_fill_the_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_PARSED", 1 << 20)
    document = {
        "version": 2,
        "status": "started",
        "eval": START["eval"],
        "samples": [{"id": 1, "input": [[]] * 100_000}],
    }
    _, problems = drain(InspectJsonLogSource(write(tmp_path / "x.json", json.dumps(document))))
    assert [problem.reason for problem in problems] == ["long_file"]


def test_a_document_of_very_many_samples_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_log, "_MAX_SPLIT", 1 << 20)
    document = {"version": 2, "status": "started", "eval": START["eval"], "samples": [0] * 20_000}
    _, problems = drain(InspectJsonLogSource(write(tmp_path / "x.json", json.dumps(document))))
    assert [problem.reason for problem in problems] == ["long_file"]


@pytest.mark.parametrize(
    "content",
    [
        '{"version": 2}',
        '{"version": 2, "status": "ok", "results": []}',
        '{"eval": "x", "model": "y", "dataset": "z"}',
        '{"name": "x", "version": "1.0", "status": "stable", "eval": {}}',
        '[{"version": 2, "status": "success", "eval": {}}]',
    ],
)
def test_other_documents_are_none(tmp_path: Path, content: str) -> None:
    assert not matches_file(write(tmp_path / "x.json", content))


def test_a_document_that_is_torn_or_no_object_is_named(tmp_path: Path) -> None:
    for content, reason in (("{", "torn_file"), ("[]", "foreign_file")):
        _, problems = drain(InspectJsonLogSource(write(tmp_path / "x.json", content)))
        assert [problem.reason for problem in problems] == [reason]


def model_event(second: int, text: str, took: float = 1.0, **more: Any) -> dict[str, Any]:
    at = f"2026-11-21T20:00:{second:02d}+00:00"
    answer = {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": {"input_tokens": 5}}
    call = {"event": "model", "model": "openai/gpt-5.1", "timestamp": at, "completed": at, "working_time": took}
    return {**call, "output": answer, **more}


def read_sample(root: Path, **more: Any) -> RunState:
    return folded(InspectJsonLogSource(make_json(root / "log.json", {**header(), "samples": [sample(1, **more)]})))


def test_calls_of_a_scorer_in_an_old_log_which_has_steps_in_the_place_of_spans_are_no_steps(tmp_path: Path) -> None:
    def step(action: str, kind: str) -> dict[str, Any]:
        return {"event": "step", "action": action, "type": kind, "name": kind}

    events = [step("begin", "solver"), model_event(1, "4"), step("end", "solver")]
    events += [step("begin", "scorer"), model_event(3, "GRADE: C"), step("end", "scorer"), model_event(4, "bye")]
    run = read_sample(tmp_path, events=events, scores={"match": {"value": "C"}})
    assert run.attempts["s1", 1].steps == 2
    assert run.usage["openai", "gpt-5.1"].tokens[0] == 15, "they are calls all the same"


@pytest.mark.parametrize("prefix", ["attachment://", "tc://"])
def test_long_texts_which_a_log_keeps_apart_are_read_in_their_places(tmp_path: Path, prefix: str) -> None:
    call = {"id": "c1", "function": "bash", "arguments": {"cmd": f"{prefix}cmd"}}
    message = {"role": "assistant", "content": [{"type": "text", "text": f"{prefix}why"}], "tool_calls": [call]}
    events = [
        model_event(1, "", output={"choices": [{"message": message}]}),
        {"event": "tool", "id": "c1", "result": f"{prefix}seen", "timestamp": "2026-11-21T20:00:02+00:00"},
        model_event(3, f"{prefix}lost"),
    ]
    attachments = {"cmd": "ls", "why": "to look", "seen": "a.txt", "other": "data:image/png;base64,AAAA"}
    path = make_json(
        tmp_path / "log.json", {**header(), "samples": [sample(1, events=events, attachments=attachments)]}
    )
    first, last = [event for event in drain(InspectJsonLogSource(path))[0] if isinstance(event, Step)]
    assert (first.action["cmd"], first.reasoning, first.observation) == ("ls", "to look", "a.txt")
    assert last.reasoning == f"{prefix}lost", "what is not there stays as it is"


def read_turn(root: Path, message: dict[str, Any], result: object, text: str) -> Step:
    """Read the step of a sample with one attachment, named ``a``, from an archive: it may be nested more deeply."""
    events = [model_event(1, "", output={"choices": [{"message": message}]})]
    events.append({"event": "tool", "id": "c1", "result": result, "timestamp": "2026-11-21T20:00:02+00:00"})
    document = sample(1, events=events, attachments={"a": text})
    path = make_log(root / "log.eval", {"_journal/start.json": START, "samples/s1_epoch_1.json": document})
    events_read, problems = drain(InspectLogSource(path))
    assert problems == []
    [step] = [event for event in events_read if isinstance(event, Step)]
    return step


def test_a_long_text_that_is_named_very_often_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_MAX_RESOLVED", 250_000)
    content = [{"type": "text", "text": "attachment://a", "internal": "attachment://a"}] * 3
    call = {"id": "c1", "function": "bash", "arguments": {"cmd": "attachment://a"}}
    message = {"content": content, "tool_calls": [call], "metadata": ["attachment://a"] * 9}
    step = read_turn(tmp_path, message, [{"text": "attachment://a"}] * 2, "x" * 100_000)
    assert step.reasoning == f"{'x' * 100_000}\n{'x' * 100_000}\nattachment://a", "what is too much keeps its name"
    assert step.action["cmd"] == "attachment://a"
    assert step.observation == "x" * 20_000, "of an observation no more is read than is kept"


def test_a_sample_with_a_message_that_is_nested_deeply_is_not_lost(tmp_path: Path) -> None:
    nested: Any = "deep"
    for _ in range(600):
        nested = [nested]
    call = {"id": "c1", "function": "bash", "arguments": {"cmd": "attachment://a", "more": nested}}
    message = {"content": "attachment://a", "tool_calls": [call], "metadata": nested}
    step = read_turn(tmp_path, message, nested, "ls")
    assert (step.action["cmd"], step.reasoning) == ("ls", "ls")


def test_times_of_events_that_were_written_at_the_end_are_not_believed(tmp_path: Path) -> None:
    content = header()
    content["eval"] = {**content["eval"], "created": "2026-11-21T20:01:00+00:00"}
    content["stats"]["started_at"] = "2026-11-21T20:00:30+00:00"
    untimed = {**sample(1, events=[model_event(59, "4", took=20.0)]), "started_at": None, "completed_at": None}
    run = folded(InspectJsonLogSource(make_json(tmp_path / "log.json", {**content, "samples": [untimed]})))
    attempt = run.attempts["s1", 1]
    assert (attempt.status, attempt.duration_seconds) == ("success", None)
    assert run.ended_at is not None
    assert run.started_at is not None
    assert run.ended_at - run.started_at == 30.0, "a run began when its statistics say so"


@pytest.mark.parametrize(
    ("model", "read_as"),
    [
        ('generate(chat_anthropic("claude-x")) (gpt-4.1)', "gpt-4.1"),
        ("function(inputs, solver) (claude-sonnet-4-5)", "claude-sonnet-4-5"),
        ("openai/gpt-5.1", "gpt-5.1"),
        ("local/my model (4 bit)", "my model (4 bit)"),
    ],
)
def test_the_model_that_vitals_puts_in_brackets_behind_the_solver(tmp_path: Path, model: str, read_as: str) -> None:
    content = header()
    content["eval"] = {**content["eval"], "model": model}
    assert folded(InspectJsonLogSource(make_json(tmp_path / "log.json", content))).model == read_as


@pytest.mark.parametrize(
    ("limit", "results", "planned"),
    [
        (3, None, 6),
        ([10, 14], None, 8),
        (500, None, 200),
        (None, None, 200),
        (3, {"total_samples": 4}, 4),
        ("x", {"total_samples": "x"}, 200),
    ],
)
def test_a_limited_run_planned_no_more_samples_than_its_limit(
    tmp_path: Path, limit: object, results: object, planned: int
) -> None:
    content = header(epochs=2)
    content["eval"] |= {"dataset": {"samples": 100}, "config": {"epochs": 2, "limit": limit}}
    run = folded(InspectJsonLogSource(make_json(tmp_path / "log.json", {**content, "results": results})))
    assert run.total == planned


def test_a_sample_of_an_old_log_has_one_score_and_its_events_in_a_transcript(tmp_path: Path) -> None:
    old = {"scores": None, "score": {"value": "I", "answer": "5"}}
    transcript = {"events": [model_event(1, "tc://long")], "content": {"long": "four"}}
    path = make_json(tmp_path / "log.json", {**header(), "samples": [sample(1, **old, transcript=transcript)]})
    events, _ = drain(InspectJsonLogSource(path))
    assert [event.reasoning for event in events if isinstance(event, Step)] == ["four"]
    [end] = [event for event in events if isinstance(event, TaskFinished)]
    assert (end.outcome, end.score, end.answer) == ("failure", 0.0, "5")
    reduced = {**header(), "samples": None, "results": {"sample_reductions": REDUCTIONS}}
    run = folded(InspectJsonLogSource(make_json(tmp_path / "reduced.json", reduced)))
    assert [attempt.status for attempt in run.attempts.values()] == ["success", "failure"]


def test_ids_that_a_whole_log_has_renamed_are_no_tasks_that_are_left(tmp_path: Path) -> None:
    renamed = {**sample(1), "id": 1}
    content = {**header(), "results": {"total_samples": 1}, "samples": [renamed]}
    run = folded(InspectJsonLogSource(make_json(tmp_path / "log.json", content)))
    assert (run.total, list(run.attempts)) == (1, [("1", 1)])
    part = {**content, "results": {"total_samples": 2}}
    run = folded(InspectJsonLogSource(make_json(tmp_path / "part.json", part)))
    assert {key[0] for key, attempt in run.attempts.items() if attempt.status == "pending"} == {"s1", "s2"}
