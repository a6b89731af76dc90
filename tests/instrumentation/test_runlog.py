"""The log on disk: whole lines, torn lines, and what others left in it."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from evalgauge import runlog
from evalgauge.events import Heartbeat, Step
from evalgauge.runlog import LineReader, LogReader, LogWriter, encode, read_events, safe_name


def test_a_writer_continues_its_numbers_after_a_very_long_line(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "w.jsonl")
    writer.write("heartbeat", {})
    writer.write("task_finished", {"error": "x" * 700_000})
    writer.close()
    again = LogWriter(tmp_path / "w.jsonl")
    assert again.write("heartbeat", {}) == 2
    again.close()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "events" / "w.jsonl")
    assert [writer.write("heartbeat", {"worker_id": f"w{n}"}) for n in range(3)] == [0, 1, 2]
    events = list(read_events(tmp_path))
    assert [event.worker_id for event in events if isinstance(event, Heartbeat)] == ["w0", "w1", "w2"]
    assert [event.seq for event in events] == [0, 1, 2]


def test_a_reader_gives_what_was_appended_since(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "w.jsonl")
    reader = LogReader(tmp_path / "w.jsonl")
    writer.write("heartbeat", {})
    assert len(reader.read()[0]) == 1
    assert reader.read() == ([], [], False)
    writer.write("heartbeat", {})
    writer.write("heartbeat", {})
    assert [event.seq for event in reader.read()[0]] == [1, 2]


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    line = b'{"v":1,"seq":0,"ts":1.0,"type":"heartbeat"}\n'
    reader = LogReader(path)
    with path.open("ab", buffering=0) as file:
        file.write(line[:20])
        assert reader.read() == ([], [], False)
        file.write(line[20:])
    events, problems, _ = reader.read()
    assert len(events) == 1
    assert problems == []


def test_the_next_writer_ends_a_torn_line_and_continues_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    writer = LogWriter(path)
    writer.write("heartbeat", {})
    writer.write("heartbeat", {})
    writer.close()
    with path.open("ab") as file:
        file.write(b'{"v":1,"seq":2,"ts":5.0,"ty')
    again = LogWriter(path)
    assert again.write("heartbeat", {}) == 2
    events, problems, _ = LogReader(path).read()
    assert [event.seq for event in events] == [0, 1, 2]
    assert [problem.reason for problem in problems] == ["torn_line"]


def test_foreign_lines_are_counted_by_reason_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(
        b"hello\n\n[1]\n\x00\x00\x00\n"
        b'{"v":9,"ts":1.0,"type":"heartbeat"}\n{"v":1,"ts":1.0,"type":"sneeze"}\n{"v":1,"ts":1.0,"type":"heartbeat"}\n'
    )
    events, problems, _ = LogReader(path).read()
    assert len(events) == 1
    assert sorted(problem.reason for problem in problems) == [
        "foreign_line",
        "foreign_line",
        "foreign_line",
        "unknown_type",
        "unknown_version",
    ]


def test_a_line_that_is_too_long_is_skipped_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runlog, "MAX_LINE", 3 << 20)
    path = tmp_path / "w.jsonl"
    path.write_bytes(b'{"x":"' + b"a" * (9 << 20) + b'"}\n{"v":1,"ts":1.0,"type":"heartbeat"}\n')
    events, problems, more = LogReader(path).read(limit=64 << 20)
    assert [problem.reason for problem in problems] == ["long_line"]
    assert len(events) == 1
    assert not more


def test_a_large_log_comes_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(b'{"v":1,"ts":1.0,"type":"heartbeat"}\n' * 1000)
    reader, counts = LogReader(path), []
    more = True
    while more:
        events, _, more = reader.read(limit=10_000)
        counts.append(len(events))
    assert sum(counts) == 1000
    assert len(counts) > 2


def test_a_file_that_was_cut_or_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(b'{"v":1,"ts":1.0,"type":"heartbeat"}\n' * 3)
    reader = LogReader(path)
    reader.read()
    os.truncate(path, 10)
    assert reader.read() == ([], [], False)
    assert reader.replaced


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_in_the_place_of_a_log_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(b'{"a":1}\n')
    reader = LineReader(path)
    assert reader.read() == ([b'{"a":1}'], False)
    path.unlink()
    os.mkfifo(path)
    assert not reader.is_continued()
    assert reader.read() == ([], False)
    assert reader.replaced


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(st.characters(exclude_categories=[]))
            | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
            max_leaves=10,
        ),
    )
)
def test_whatever_is_encoded_is_one_line_of_strict_json(fields: dict[str, Any]) -> None:
    line = encode(fields)
    assert b"\n" not in line
    line.decode("ascii")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(line, parse_constant=refuse).keys()
    from_json(line)  # the strict reader that the exporter uses


def test_circular_values_and_infinite_numbers_are_written_too() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert json.loads(encode({"circle": circle, "score": math.nan}))["score"] is None


def test_encoding_ends_for_wide_circular_values() -> None:
    circle: list[Any] = []
    circle += [circle] * 10
    line = encode({"type": "step", "circle": circle})
    assert len(line) <= runlog.LONGEST_WRITTEN
    assert json.loads(line)["type"] == "step"


@pytest.mark.parametrize(
    "much",
    [
        "x" * (5 << 20),
        ["x" * 1000] * 5000,
        {f"k{n}": n for n in range(500_000)},
        [[0.123456789] * 1000] * 1000,
        "👍" * (1 << 20),
    ],
    ids=["a text", "texts", "keys", "numbers", "emoji"],
)
def test_what_is_too_long_is_cut_but_for_what_comes_first(much: Any) -> None:
    line = encode({"v": 1, "type": "step", "task_id": "t" * 512, "action": {"type": "click", "much": much}})
    assert len(line) <= runlog.LONGEST_WRITTEN
    found = json.loads(line)
    assert (found["type"], found["task_id"], found["action"]["type"]) == ("step", "t" * 512, "click")
    assert found["action"]["much"]
    assert "…" in json.dumps(found, ensure_ascii=False)


def test_a_file_is_named_once_for_each_kind_of_problem(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "events" / "w.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"".join(b"%d\n{torn %d\n" % (number, number) for number in range(100)))
    _, problems, _ = LogReader(path).read()
    assert len(problems) == 200
    assert len(set(problems)) == 2
    assert list(read_events(tmp_path)) == []
    assert len(caplog.records) == 2


def test_an_emoji_survives_and_half_of_one_does_not() -> None:
    assert json.loads(encode({"a": "👍", "b": "\ud83d"})) == {"a": "👍", "b": "?"}


@given(st.text())
def test_a_safe_name_stays_in_its_folder(text: str) -> None:
    name = safe_name(text)
    assert name
    assert not name.startswith(".")
    assert Path("/folder", name).parent == Path("/folder")
    assert safe_name(name) == name


def test_a_writer_continues_after_the_disk_was_full(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    writer = LogWriter(path)
    writer.write("step", {"task_id": "a"})
    real, full = writer._fd, os.open("/dev/full", os.O_WRONLY)
    writer._fd = full
    with pytest.raises(OSError, match="No space left"):
        writer.write("step", {"task_id": "b"})
    writer._fd = real
    os.close(full)
    writer.write("step", {"task_id": "c"})
    steps = [(event.seq, event.task_id) for event in LogReader(path).read()[0] if isinstance(event, Step)]
    assert steps == [(0, "a"), (2, "c")], "the number of what was lost is no other's"
