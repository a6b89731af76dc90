"""Inspect's JSON logs, made of the ``.eval`` logs that Inspect 0.3.285 wrote; and logs without their samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalgauge.events import LlmCall, Step, TaskFinished
from evalgauge_exporter.sources import parsing
from evalgauge_exporter.sources.inspect import json_log
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
