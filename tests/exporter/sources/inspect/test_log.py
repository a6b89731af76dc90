"""Logs that Inspect 0.3.285 wrote with its mock model; ``killed.eval`` is of a process that was killed with -9."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge.events import LlmCall, Message, RunStarted, Step, TaskFinished, TaskStarted
from evalgauge.integrations.inspect.outcomes import parse_score
from evalgauge_exporter.errors import EvalZipError
from evalgauge_exporter.sources.inspect.eval_zip import EvalZipReader
from evalgauge_exporter.sources.inspect.log import InspectLogSource, matches_file
from evalgauge_exporter.state.run import RunState, fold
from tests.exporter.sources.reading import DATA, NOW, STALL, drain, folded, outcomes, snapshot

if sys.version_info >= (3, 14):
    import zipfile

    from compression.zstd import compress
else:
    from backports.zstd import compress, zipfile

LOGS = DATA / "inspect-0.3.285"


def header_of(path: Path) -> dict[str, Any]:
    with EvalZipReader(path) as log:
        content: dict[str, Any] = json.loads(log.read("header.json"))
    return content


def make_log(path: Path, members: Mapping[str, object]) -> Path:
    """A log as Inspect lays it out, its members stored as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, json.dumps(content))
    return path


def sample(number: int, **more: Any) -> dict[str, Any]:
    at = f"2026-11-21T20:00:{number:02d}+00:00"
    scores = {"match": {"value": "C"}}
    return {"id": f"s{number}", "epoch": 1, "started_at": at, "completed_at": at, "scores": scores, **more}


START = {"eval": {"task": "desk", "model": "openai/gpt-5.1", "created": "2026-11-21T20:00:00+00:00"}}


def tokens_of(run: RunState) -> list[int]:
    return [sum(kind) for kind in zip(*(usage.tokens for usage in run.usage.values()), strict=True)]


@pytest.mark.parametrize("name", ["epochs", "tools"])
def test_totals_are_those_of_the_logs_own_header(name: str) -> None:
    path = LOGS / f"{name}.eval"
    header = header_of(path)
    run = folded(InspectLogSource(path))
    statuses = outcomes(run)
    results = header["results"]
    measured = statuses.get("success", 0) + statuses.get("failure", 0)
    assert sum(statuses.values()) == results["total_samples"]
    assert measured == results["completed_samples"]
    accuracy = results["scores"][0]["metrics"]["accuracy"]["value"]
    if name == "tools":  # in the other log the accuracy is a mean over epochs
        assert statuses["success"] / measured == accuracy
        assert statuses["infrastructure_error"] == 1
    spent = header["stats"]["model_usage"]
    names = ("input_tokens", "input_tokens_cache_read", "input_tokens_cache_write", "output_tokens")
    assert tokens_of(run) == [sum(each.get(kind) or 0 for each in spent.values()) for kind in names]
    assert run.status(NOW, STALL) == "completed"
    assert run.benchmark == header["eval"]["task"]


def test_the_mean_over_epochs_is_the_headers_accuracy() -> None:
    path = LOGS / "epochs.eval"
    run = folded(InspectLogSource(path))
    tasks: dict[str, list[bool]] = {}
    for attempt in run.attempts.values():
        tasks.setdefault(attempt.task_id, []).append(attempt.score == 1.0)
    mean = sum(sum(scores) / len(scores) for scores in tasks.values()) / len(tasks)
    accuracy = header_of(path)["results"]["scores"][0]["metrics"]["accuracy"]["value"]
    assert mean == pytest.approx(accuracy, abs=1e-9)


def test_a_killed_log_has_the_samples_that_were_written_and_never_ends() -> None:
    run = folded(InspectLogSource(LOGS / "killed.eval"))
    assert outcomes(run) == {"success": 1, "failure": 1, "pending": 1}
    assert run.status(NOW, STALL) == "stalled"
    assert run.status(run.last_event_at + 1, STALL) == "running"
    assert run.attempts["open notepad", 1].domain == "notepad"
    assert run.attempts["edge/2", 1].instruction == "Open edge"


def test_steps_are_the_tool_calls_with_the_picture_that_came_before() -> None:
    source = InspectLogSource(LOGS / "tools.eval")
    events, _ = drain(source)
    steps = [event for event in events if isinstance(event, Step) and event.task_id == "edge/2"]
    assert [step.action["type"] for step in steps] == ["type", "left_click", "message"]
    assert (steps[1].action["x"], steps[1].action["y"]) == (3, 4)
    assert steps[0].screenshot is None
    pictures = [source.image(step.screenshot) for step in steps if step.screenshot is not None]
    assert len(pictures) == 2
    assert all(picture is not None and picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[0] != pictures[1]


def test_a_screenshot_that_the_log_lacks_is_none() -> None:
    source = InspectLogSource(LOGS / "tools.eval")
    assert source.image("tools.eval/samples/none.json/0.png") is None
    assert source.image("tools.eval/samples/open notepad_epoch_1.json/0.png") is None
    assert source.image("../../etc/passwd") is None


def test_a_growing_log_gives_the_same_state_as_a_fresh_read(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.eval", {"_journal/start.json": START, "samples/1.json": sample(1)})
    source = InspectLogSource(path)
    events, _ = drain(source)
    assert drain(source) == ([], [])
    members: dict[str, object] = {
        "_journal/start.json": START,
        "samples/1.json": sample(1),
        "samples/2.json": sample(2),
    }
    more, problems = rewrite_and_drain(source, path, members)
    assert problems == []
    assert [event.task_id for event in more if isinstance(event, TaskFinished)] == ["s2"]
    assert source.watch_paths() == [tmp_path]
    members["header.json"] = {**START, "status": "success", "stats": {"completed_at": "2026-11-21T20:01:00+00:00"}}
    last, _ = rewrite_and_drain(source, path, members)
    assert source.watch_paths() == []
    live = fold("run", "inspect", events + more + last)
    assert snapshot(live) == snapshot(folded(InspectLogSource(path)))
    assert live.model == "gpt-5.1"


def rewrite_and_drain(source: InspectLogSource, path: Path, members: Mapping[str, object]) -> Any:
    make_log(path, members)
    return drain(source)


def test_a_rewritten_sample_restarts_the_run(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.eval", {"_journal/start.json": START, "samples/1.json": sample(1)})
    source = InspectLogSource(path)
    drain(source)
    make_log(path, {"_journal/start.json": START, "samples/1.json": sample(1, scores={"match": {"value": "I"}})})
    assert source.read().restarted


def test_a_deleted_log_is_missing(tmp_path: Path) -> None:
    path = make_log(tmp_path / "a.eval", {"_journal/start.json": START})
    source = InspectLogSource(path)
    drain(source)
    path.unlink()
    assert source.read(full_scan=True).missing


def test_a_log_whose_directory_was_cut_off_is_read_by_its_local_headers(tmp_path: Path) -> None:
    whole = (LOGS / "killed.eval").read_bytes()
    path = tmp_path / "cut.eval"
    path.write_bytes(whole[: whole.rindex(b"PK\x01\x02") - 60])
    with EvalZipReader(path) as log:
        assert not log.whole
    run = fold("run", "inspect", drain(InspectLogSource(path))[0])
    assert outcomes(run)["success"] == 1


def test_what_came_from_the_cache_is_no_call_and_retries_and_graders_are(tmp_path: Path) -> None:
    usage = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    said = {"choices": [{"message": {"content": "yes"}}], "usage": usage}
    events = [
        {"event": "model", "model": "openai/gpt-5.1", "cache": "read", "output": said, "retries": None},
        {"event": "model", "model": "openai/gpt-5.1", "output": said, "retries": 2},
        {"event": "span_begin", "id": "a", "type": "scorers"},
        {"event": "span_begin", "id": "b", "parent_id": "a", "type": "other"},
        {"event": "model", "model": "google/gemini-3-pro", "span_id": "b", "output": said},
    ]
    path = make_log(tmp_path / "a.eval", {"_journal/start.json": START, "samples/1.json": sample(1, events=events)})
    told, _ = drain(InspectLogSource(path))
    calls = [(event.provider, event.status) for event in told if isinstance(event, LlmCall)]
    assert calls == [("openai", "retry"), ("openai", "retry"), ("openai", "ok"), ("google", "ok")]
    assert len([event for event in told if isinstance(event, Step)]) == 2


@pytest.mark.parametrize(
    ("value", "score"),
    [
        *[("C", 1.0), ("I", 0.0), ("P", 0.5), ("N", 0.0), (True, 1.0), (0.25, 0.25), ("0.75", 0.75), ("no", 0.0)],
        *[({"a": "C"}, 1.0), ([0.5, 1], 0.5), (None, None), ("?", None), (float("nan"), None), ({}, None)],
    ],
)
def test_scores_count_as_inspect_counts_them(value: object, score: float | None) -> None:
    assert parse_score(value) == score


def test_a_sample_without_score_was_not_measured(tmp_path: Path) -> None:
    members = {
        "_journal/start.json": START,
        "samples/1.json": sample(1, scores={}),
        "samples/2.json": sample(2, error={"message": "CancelledError()"}, scores={}),
        "samples/3.json": sample(3, scores={"match": {"value": 0.5}}),
        "samples/4.json": sample(4, scores={"match": {"value": "?"}}),
        "samples/5.json": sample(5, error={"message": "RuntimeError()"}, scores={}),
        "samples/6.json": sample(6, error={"message": "RuntimeError()"}, scores={"match": {"value": "I"}}),
    }
    path = make_log(tmp_path / "a.eval", members)
    run = folded(InspectLogSource(path, success_threshold=0.5))
    statuses = {key[0]: attempt.status for key, attempt in run.attempts.items()}
    assert statuses == {
        "s1": "interrupted",  # with --no-score nothing is measured, and nothing went wrong
        "s2": "interrupted",
        "s3": "success",
        "s4": "evaluation_error",
        "s5": "infrastructure_error",
        "s6": "failure",  # with score_on_error
    }
    assert run.attempts["s1", 1].reason == "not scored"
    assert run.attempts["s6", 1].error == "RuntimeError()"


def test_every_score_is_kept_and_the_first_counts(tmp_path: Path) -> None:
    scores = {
        "match": {"value": {"style": float("nan"), "correct": 1.0}, "answer": "a", "explanation": "because"},
        "quality": {"value": 7},
    }
    path = make_log(tmp_path / "a.eval", {"_journal/start.json": START, "samples/1.json": sample(1, scores=scores)})
    (finish,) = [event for event in drain(InspectLogSource(path))[0] if isinstance(event, TaskFinished)]
    assert (finish.scores, finish.answer, finish.reason) == (
        {"correct": 1.0, "quality": 7.0},
        "a",
        "not scored: because",
    )


def test_the_solver_the_tags_and_the_arguments_of_the_task_are_tags_of_the_run(tmp_path: Path) -> None:
    task = {**START["eval"], "solver": "basic_agent", "tags": ["night", "v2"], "task_args": {"level": 3, "kind": "x"}}
    run = folded(InspectLogSource(make_log(tmp_path / "a.eval", {"_journal/start.json": {"eval": task}})))
    assert run.tags == {
        "solver": "basic_agent",
        "tags": "night, v2",
        "task_args.level": "3",
        "task_args.kind": "x",
    }


def test_what_the_agent_was_told_and_what_it_saw_are_kept(tmp_path: Path) -> None:
    at = "2026-11-21T20:00:05+00:00"
    call = {"id": "c", "function": "bash", "arguments": {"cmd": "ls"}}
    message = {"role": "assistant", "content": "I look", "tool_calls": [call]}
    events = [
        {"event": "model", "timestamp": at, "model": "openai/gpt-5.1", "output": {"choices": [{"message": message}]}},
        {"event": "tool", "id": "c", "timestamp": at, "function": "bash", "result": "a.py"},
    ]
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "fix it"}, message]
    document = sample(1, events=events, messages=messages, input="fix it", target=["x", "y"])
    path = make_log(tmp_path / "a.eval", {"_journal/start.json": START, "samples/1.json": document})
    found, _ = drain(InspectLogSource(path))
    assert [(event.role, event.text) for event in found if isinstance(event, Message)] == [
        ("system", "be kind"),
        ("user", "fix it"),
    ]
    assert [event.observation for event in found if isinstance(event, Step)] == ["a.py"]
    assert [event.target for event in found if isinstance(event, TaskFinished)] == ["x\ny"]


@given(st.integers(min_value=0, max_value=9000), st.integers(min_value=0, max_value=255))
def test_a_log_that_was_cut_or_damaged_anywhere_never_raises(tmp_path_factory: Any, place: int, byte: int) -> None:
    whole = (LOGS / "killed.eval").read_bytes()
    folder = tmp_path_factory.mktemp("log")
    for name, data in (("cut", whole[:place]), ("hurt", whole[:place] + bytes([byte]) + whole[place + 1 :])):
        path = folder / f"{name}.eval"
        path.write_bytes(data)
        events, _ = drain(InspectLogSource(path))
        fold("run", "inspect", events)
    shutil.rmtree(folder)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "epoch", "events", "event", "output", "choices", "message", "scores", "value"])
                | st.sampled_from(
                    ["error", "input", "content", "tool_calls", "usage", "model", "metadata", "model_usage"]
                ),
                each,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_a_sample_of_any_shape_never_raises(tmp_path_factory: Any, content: Any) -> None:
    folder = tmp_path_factory.mktemp("log")
    events = [{"event": "model", "output": content}, {"event": "tool", "id": "x", "result": content}, content]
    members = {
        "_journal/start.json": {"eval": content},
        "samples/1.json": content,
        "samples/2.json": {**sample(2), "events": events, "input": content, "scores": {"a": content}},
        "header.json": content,
    }
    drain(InspectLogSource(make_log(folder / "a.eval", members)))
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["tools", "killed"])
def test_a_sample_with_what_is_no_json_gives_the_same_events(tmp_path: Path, name: str) -> None:
    with EvalZipReader(LOGS / f"{name}.eval") as log:
        members = {each: json.loads(log.read(each)) for each in log.members}
    for each, content in members.items():
        if each.startswith("samples/"):
            content["store"] = {"unread": float("nan")}
    path = make_log(tmp_path / f"{name}.eval", members)
    assert drain(InspectLogSource(path)) == drain(InspectLogSource(LOGS / f"{name}.eval"))


def test_a_sample_whose_transcript_has_another_shape_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    said = {"choices": [{"message": {"content": "yes"}}]}
    events = ["text", {"event": "model", "model": "openai/gpt-5.1", "output": said}, {"event": "model", "output": [1]}]
    document = sample(1, events=events, messages="none", attachments=[1], input="fix it")
    path = make_log(tmp_path / "a.eval", {"_journal/start.json": START, "samples/1.json": document})
    found, problems = drain(InspectLogSource(path))
    assert problems == []
    assert [type(event) for event in found] == [RunStarted, TaskStarted, Message, LlmCall, Step, LlmCall, TaskFinished]


def test_a_member_of_several_frames_is_read_whole(tmp_path: Path) -> None:
    document = json.dumps(sample(1)).encode()
    name, packed = b"samples/1.json", compress(document[:20]) + compress(document[20:])
    sizes = (zlib.crc32(document), len(packed), len(document), len(name), 0)
    path = tmp_path / "frames.eval"
    path.write_bytes(struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 93, 0, 0, *sizes) + name + packed)
    with EvalZipReader(path) as log:
        assert log.read(name.decode()) == document


def test_a_member_of_very_many_frames_is_not_unpacked(tmp_path: Path) -> None:
    document = json.dumps(sample(1)).encode()
    name, packed = b"samples/1.json", compress(b"") * 100 + compress(document)
    sizes = (zlib.crc32(document), len(packed), len(document), len(name), 0)
    path = tmp_path / "frames.eval"
    path.write_bytes(struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 93, 0, 0, *sizes) + name + packed)
    with EvalZipReader(path) as log, pytest.raises(EvalZipError, match="CRC-32"):
        log.read(name.decode())


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.eval"
    packed = compress(bytes(50 << 20))
    name = b"samples/1.json"
    header = b"PK\x03\x04" + bytes([20, 0, 0, 0, 93, 0, 0, 0, 0, 0]) + bytes(4)
    header += len(packed).to_bytes(4, "little") + (1000).to_bytes(4, "little") + len(name).to_bytes(2, "little")
    path.write_bytes(header + bytes(2) + name + packed)
    with EvalZipReader(path) as log, pytest.raises(EvalZipError, match="CRC-32"):
        log.read("samples/1.json")


def test_a_file_that_is_not_a_zip_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "a.eval"
    path.write_bytes(b"PK\x03\x04 and no more")
    assert matches_file(path)
    source = InspectLogSource(path)
    assert [problem.reason for problem in drain(source)[1]] == ["torn_file"]
    assert drain(source, full_scan=True) == ([], [])


def test_other_files_are_no_logs(tmp_path: Path) -> None:
    other = tmp_path / "a.eval"
    other.write_text("text")
    assert not matches_file(other)
    assert not matches_file(tmp_path / "none.eval")
    assert matches_file(LOGS / "tools.eval")
