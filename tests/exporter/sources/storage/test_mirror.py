"""The mirror of a bucket, against moto's S3 and Azurite."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.sources.storage import bucket as buckets
from evalgauge_exporter.sources.storage import files
from evalgauge_exporter.sources.storage.mirror import Change, Mirror
from tests.exporter.sources.storage.buckets import BucketFault, TestBucket

PNG = b"\x89PNG\r\n" + bytes(range(256)) * 8


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MAX_RETRIES", 0)
    monkeypatch.setattr(files, "_mirrors", [])


def make(bucket: TestBucket, folder: Path, max_bytes: int = 1 << 30) -> Mirror:
    mirror = Mirror(bucket.url, folder, max_bytes)
    files.register(mirror)
    return mirror


def read(mirror: Mirror) -> dict[str, bytes]:
    return {
        path.relative_to(mirror.folder).as_posix(): path.read_bytes()
        for path in mirror.folder.rglob("*")
        if path.is_file()
    }


def line(seq: int) -> str:
    return json.dumps({"v": 1, "seq": seq, "ts": 1_795_290_000.0 + seq, "type": "heartbeat", "worker_id": "w"}) + "\n"


def test_a_bucket_is_read_whole_and_again_only_where_it_changed(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.put({"a/result.txt": "1.0", "a/deep/er/file.json": "{}", "top.json": "[]"})
    mirror = make(bucket, tmp_path)
    change = mirror.sync()
    assert read(mirror) == {"a/result.txt": b"1.0", "a/deep/er/file.json": b"{}", "top.json": b"[]"}
    assert (change.downloaded, change.changed) == (7, 3)
    assert mirror.folder.name == "results"
    bucket.door.requests.clear()
    assert mirror.sync() == Change(0, 0, ())
    assert len(bucket.door.requests) == 1
    bucket.put({"a/result.txt": "0.0"})
    assert mirror.sync().downloaded == 3
    assert read(mirror)["a/result.txt"] == b"0.0"


def test_a_restart_downloads_nothing_that_is_there(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.put({"a/result.txt": "1.0"})
    make(bucket, tmp_path).sync()
    assert make(bucket, tmp_path).sync().downloaded == 0
    index = next(tmp_path.rglob("index.json"))
    for content in ("", "[]", '{"a/result.txt": 3}', "[" * 100_000):
        index.write_text(content)
        mirror = make(bucket, tmp_path)
        mirror.sync()
        assert read(mirror) == {"a/result.txt": b"1.0"}


def test_what_was_deleted_in_the_bucket_is_deleted_here(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.put({"a/x.json": "1", "a/sub/y.json": "2", "b/z.json": "3"})
    mirror = make(bucket, tmp_path)
    mirror.sync()
    bucket.delete("a/x.json", "a/sub/y.json")
    mirror.sync()
    assert read(mirror) == {"b/z.json": b"3"}
    assert not (mirror.folder / "a").exists()


def test_a_log_that_grew_is_continued_in_place_with_its_new_bytes_alone(bucket: TestBucket, tmp_path: Path) -> None:
    start = "".join(line(seq) for seq in range(2000))
    bucket.put({"run/events/w.jsonl": start})
    mirror = make(bucket, tmp_path)
    mirror.sync()
    file = mirror.folder / "run" / "events" / "w.jsonl"
    inode = file.stat().st_ino
    bucket.put({"run/events/w.jsonl": start + line(2000)})
    change = mirror.sync()
    assert file.read_text() == start + line(2000)
    assert file.stat().st_ino == inode
    assert change.downloaded == len(line(2000))


def test_a_log_that_became_another_is_read_anew(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.put({"run/events/w.jsonl": line(0) + line(1)})
    mirror = make(bucket, tmp_path)
    mirror.sync()
    other = "".join(line(seq) for seq in range(100, 200))
    for content in (other, line(7), ""):  # longer, shorter, empty
        bucket.put({"run/events/w.jsonl": content})
        mirror.sync()
        assert read(mirror)["run/events/w.jsonl"].decode() == content


def test_segments_are_one_log(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.put({"run/events/w.000000.jsonl": line(0), "run/events/w.000001.jsonl": line(1)})
    mirror = make(bucket, tmp_path)
    mirror.sync()
    file = mirror.folder / "run" / "events" / "w.jsonl"
    assert file.read_text() == line(0) + line(1)
    inode = file.stat().st_ino
    bucket.put({"run/events/w.000001.jsonl": line(1) + line(2), "run/events/w.000002.jsonl": line(3)})
    mirror.sync()
    assert file.read_text() == line(0) + line(1) + line(2) + line(3)
    assert file.stat().st_ino == inode
    bucket.put({"run/events/w.000004.jsonl": line(9)})  # what follows a gap waits for what is between
    mirror.sync()
    assert file.read_text() == line(0) + line(1) + line(2) + line(3)
    assert [event.seq for event in RunLogSource(mirror.folder / "run").read().events] == [0, 1, 2, 3]


def test_segments_that_were_copied_by_hand_are_one_writer(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    for number in range(2):
        (tmp_path / "events" / f"host-1.{number:06}.jsonl").write_text(line(number))
    assert {(event.writer, event.seq) for event in RunLogSource(tmp_path).read().events} == {
        ("host-1", 0),
        ("host-1", 1),
    }


def test_screenshots_and_archives_are_not_copied(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.put({"run/step_0.png": PNG, "run/log.eval": b"PK" + bytes(5_000_000), "run/task.json": "{}"})
    mirror = make(bucket, tmp_path)
    bucket.door.requests.clear()
    assert mirror.sync().downloaded == 2
    image, archive = mirror.folder / "run" / "step_0.png", mirror.folder / "run" / "log.eval"
    assert (image.stat().st_size, archive.stat().st_size) == (len(PNG), 5_000_002)
    assert image.stat().st_blocks == archive.stat().st_blocks == 0
    assert files.is_placeholder(image)
    assert not files.is_placeholder(mirror.folder / "run" / "task.json")
    bucket.door.requests.clear()
    with files.open_binary(archive) as file:
        assert file.read(2) == b"PK"
        file.seek(-3, os.SEEK_END)
        assert file.read() == bytes(3)
    assert len(bucket.door.requests) == 2  # a range each, not the whole
    files.fetch(image)
    assert image.read_bytes() == PNG
    assert not files.is_placeholder(image)
    mirror.sync()
    assert image.read_bytes() == PNG


def test_what_was_fetched_is_bounded_and_the_least_used_goes_first(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.put({f"run/step_{number}.png": PNG for number in range(4)})
    mirror = make(bucket, tmp_path, max_bytes=3 * len(PNG))
    mirror.sync()
    shots = [mirror.folder / "run" / f"step_{number}.png" for number in range(4)]
    for number in (0, 1, 2, 0, 3):
        files.fetch(shots[number])
    assert [files.is_placeholder(shot) for shot in shots] == [False, True, False, False]
    assert shots[1].stat().st_size == len(PNG)
    files.fetch(shots[1])
    assert shots[1].read_bytes() == PNG


def test_the_copies_are_bounded_and_what_is_left_out_is_named(bucket: TestBucket, tmp_path: Path) -> None:
    bucket.put({"old/a.json": " " * 600, "new/a.json": " " * 600})
    mirror = make(bucket, tmp_path, max_bytes=1000)
    change = mirror.sync()
    assert len(read(mirror)) == 1
    assert len(change.left_out) == 1
    assert "the cache is full" in change.left_out[0]


def test_a_new_folder_appears_whole(s3: TestBucket, tmp_path: Path) -> None:
    s3.put({"run/metadata.json": "{}", "run/tasks/1.json": "1"})
    mirror = make(s3, tmp_path)
    s3.door.faults["tasks/1.json"] = BucketFault(500)
    with pytest.raises(RefreshError):
        mirror.sync()
    assert read(mirror) == {}
    s3.door.faults.clear()
    mirror.sync()
    assert set(read(mirror)) == {"run/metadata.json", "run/tasks/1.json"}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, b"<Error><Code>AccessDenied</Code></Error>", "forbidden"),
        (404, b"<Error><Code>NoSuchBucket</Code></Error>", "not_found"),
        (503, b"<Error><Code>SlowDown</Code></Error>", "throttled"),
        (429, b"", "throttled"),
        (500, b"", "server_error"),
        (200, b"<html>proxy</html", "unreachable"),
    ],
)
def test_a_bucket_that_refuses_has_a_reason_and_changes_nothing(
    s3: TestBucket, tmp_path: Path, status: int, body: bytes, reason: str
) -> None:
    s3.put({"a/x.json": "1"})
    mirror = make(s3, tmp_path)
    mirror.sync()
    s3.door.fault = BucketFault(status, body)
    with pytest.raises(RefreshError) as refused:
        mirror.sync()
    assert refused.value.reason == reason
    assert "\n" not in refused.value.detail
    assert "hunter2" not in refused.value.detail
    assert read(mirror) == {"a/x.json": b"1"}


def test_an_object_that_cannot_be_read_hides_no_other(s3: TestBucket, tmp_path: Path) -> None:
    s3.put({"a/x.json": "1"})
    mirror = make(s3, tmp_path)
    mirror.sync()
    s3.put({"a/x.json": "2", "b/y.json": "3"})
    s3.door.faults["GET /" + s3.url.split("/")[2] + "/results/a/x.json"] = BucketFault(403)
    with pytest.raises(RefreshError) as refused:
        mirror.sync()
    assert "a/x.json" in refused.value.detail
    assert read(mirror) == {"a/x.json": b"1", "b/y.json": b"3"}


def put_raw(bucket: TestBucket, *keys: str) -> None:
    """Write objects whose keys are no paths, which obstore refuses to write."""
    import boto3

    client = boto3.client("s3", endpoint_url=bucket.door.url)
    for key in keys:
        body = b"" if key.endswith("/") else b"x"
        client.put_object(Bucket=bucket.url.split("/")[2], Key=f"results/{key}", Body=body)


def test_hostile_keys_have_no_file(s3: TestBucket, tmp_path: Path) -> None:
    put_raw(s3, "bad/a\\b", "bad/c:evil", "bad/" + "x" * 300, "good/", "f", "f/g")
    s3.put({"good/a.json": "1"})
    mirror = make(s3, tmp_path)
    change = mirror.sync()
    assert {name for name in read(mirror) if name != "f/g"} == {"good/a.json"}
    assert len(change.left_out) == 4
    assert all(words.isprintable() for words in change.left_out)


@pytest.mark.parametrize("key", ["bad/../../evil", "bad//b", "bad/./x"])
def test_a_key_that_is_no_path_hides_its_own_folder_alone(s3: TestBucket, tmp_path: Path, key: str) -> None:
    s3.put({"good/a.json": "1", "bad/ok.json": "1"})
    mirror = make(s3, tmp_path)
    mirror.sync()
    put_raw(s3, key)
    s3.put({"good/a.json": "2"})
    change = mirror.sync()
    assert read(mirror) == {"good/a.json": b"2", "bad/ok.json": b"1"}
    assert not list(tmp_path.rglob("evil"))
    (words,) = change.left_out
    assert words.startswith("bad: ")


def test_between_two_full_listings_only_what_may_have_changed_is_listed(s3: TestBucket, tmp_path: Path) -> None:
    for number in range(30):
        s3.put({f"old-{number:02}/result.txt": "1"})
    s3.put({"night/events/w.jsonl": line(0), "night/step.png": PNG})
    mirror = make(s3, tmp_path)
    mirror.sync(full_interval=600.0, active_seconds=0.0)
    mirror._active = {"night": 4e9}  # it changed just now
    s3.door.requests.clear()
    s3.put({"night/events/w.jsonl": line(0) + line(1), "new/result.txt": "1"})
    s3.door.requests.clear()
    mirror.sync(full_interval=600.0, active_seconds=600.0)
    lists = [request for request in s3.door.requests if "list-type" in request]
    assert len(lists) == 3  # the folders, the log of the run that is running, the new folder
    assert read(mirror)["night/events/w.jsonl"].decode() == line(0) + line(1)
    assert read(mirror)["new/result.txt"] == b"1"
    assert (mirror.folder / "old-00" / "result.txt").exists()
    assert (mirror.folder / "night" / "step.png").exists()


def test_the_url_of_one_file_is_a_mirror_of_that_file(s3: TestBucket, tmp_path: Path) -> None:
    s3.put({"log.eval": b"PK", "other.eval": b"PK"})
    mirror = Mirror(f"{s3.url}/log.eval", tmp_path, 1 << 30)
    mirror.sync()
    assert set(read(mirror)) == {"log.eval"}


def test_two_hundred_runs_take_one_request_and_then_one(s3: TestBucket, tmp_path: Path) -> None:
    for number in range(200):
        s3.put({f"run-{number:03}/result.txt": "1"})
    mirror = make(s3, tmp_path)
    s3.door.requests.clear()
    mirror.sync(full_interval=600.0)
    assert len(s3.door.requests) == 1 + 200
    s3.door.requests.clear()
    mirror.sync(full_interval=600.0)
    assert len(s3.door.requests) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[:3])
def test_the_order_in_which_segments_come_does_not_matter(
    s3: TestBucket, tmp_path: Path, order: tuple[int, ...]
) -> None:
    mirror = make(s3, tmp_path)
    for number in order:
        s3.put({f"run/events/w.{number:06}.jsonl": line(number)})
        mirror.sync()
    assert read(mirror) == {"run/events/w.jsonl": "".join(map(line, range(3))).encode()}
