"""Runs that are uploaded to a bucket, killed in the midst of it, and read back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge.errors import SendError
from evalgauge.runlog import log_files
from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.export import upload
from evalgauge_exporter.export.upload import get_segment_size, upload_run
from evalgauge_exporter.sources.runlog import RunLogSource
from evalgauge_exporter.sources.storage import bucket as buckets
from evalgauge_exporter.sources.storage.mirror import Mirror
from tests.exporter.runs import small_run
from tests.exporter.sources.storage.buckets import BucketFault, TestBucket


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MAX_RETRIES", 0)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in log_files(folder)}


def mirrored(bucket: TestBucket, folder: Path, run_id: str = "r") -> Path:
    mirror = Mirror(bucket.url, folder, 1 << 30)
    mirror.sync()
    return mirror.folder / run_id


def test_a_run_is_the_same_after_it_went_through_a_bucket(bucket: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path, "r", outcomes="ssf" * 20)
    (tmp_path / "r" / "screenshots").mkdir(exist_ok=True)
    (tmp_path / "r" / "screenshots" / "1.png").write_bytes(b"\x89PNG" + bytes(100))
    result = upload_run(tmp_path / "r", bucket.url)
    assert result.finished
    assert result.requests == len(bucket.list())
    found = mirrored(bucket, tmp_path / "cache")
    assert content_of(found) == content_of(tmp_path / "r")
    assert RunLogSource(found).read().events == RunLogSource(tmp_path / "r").read().events
    assert (found / "screenshots" / "1.png").stat().st_size == 104


def test_what_is_there_already_is_not_uploaded_again(bucket: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path, "r", outcomes="ss" * 300)
    (tmp_path / "r" / "1.png").write_bytes(b"\x89PNG")
    assert upload_run(tmp_path / "r", bucket.url).requests > 2
    bucket.door.requests.clear()
    assert upload_run(tmp_path / "r", bucket.url).requests == 0
    assert bucket.door.count("PUT") == 0


def test_a_log_that_grows_is_followed_to_its_end(bucket: TestBucket, tmp_path: Path) -> None:
    run = small_run(tmp_path, "r", outcomes="ss", finish=False)
    seen = threading.Event()
    bucket.door.on_request = lambda request: seen.set() if "PUT" in request and "events" in request else None
    results: list[upload.UploadResult] = []
    thread = threading.Thread(
        target=lambda: results.append(upload_run(tmp_path / "r", bucket.url, follow=True, interval=0.01))
    )
    thread.start()
    for number in range(30):
        assert seen.wait(60)
        seen.clear()
        with run.task(f"more-{number}", worker="vm-0") as task:
            task.step(action="click", reasoning="x" * 5000)
            task.finish(success=True)
    run.finish()
    thread.join()
    assert results
    assert results[0].finished
    assert content_of(mirrored(bucket, tmp_path / "cache")) == content_of(tmp_path / "r")


SCRIPT = """
import sys
from evalgauge_exporter.export.upload import upload_run
upload_run(sys.argv[1], sys.argv[2], give_up_after=20)
"""


@pytest.mark.parametrize("at", [1, 2, 5, 9])
def test_an_upload_that_is_killed_is_resumed_and_loses_nothing(bucket: TestBucket, tmp_path: Path, at: int) -> None:
    small_run(tmp_path, "r", outcomes="ssff" * 400)
    for number in range(3):
        (tmp_path / "r" / f"{number}.png").write_bytes(b"\x89PNG" + bytes(number))
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / "r"), bucket.url]
    process = subprocess.Popen(arguments, env=dict(os.environ))

    def kill(request: str) -> None:
        if bucket.door.count("PUT") == at:
            process.send_signal(signal.SIGKILL)
            process.wait()

    bucket.door.on_request = kill
    assert process.wait(180) == -signal.SIGKILL
    bucket.door.on_request = lambda _: None
    before = len(bucket.list())
    result = upload_run(tmp_path / "r", bucket.url)
    assert result.finished
    assert result.requests <= len(bucket.list()) - before + 1
    assert content_of(mirrored(bucket, tmp_path / "cache")) == content_of(tmp_path / "r")


def test_a_bucket_that_is_down_is_waited_for(s3: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path, "r")
    s3.door.fault = BucketFault(503, b"SlowDown")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            s3.door.fault = None

    assert upload_run(tmp_path / "r", s3.url, sleep=sleep).finished
    assert waits == sorted(waits)
    assert content_of(mirrored(s3, tmp_path / "cache")) == content_of(tmp_path / "r")


def test_an_outage_that_lasts_ends_the_upload_with_one_line(s3: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path, "r")
    s3.door.fault = BucketFault(500)
    with pytest.raises(SendError, match="given up after"):
        upload_run(tmp_path / "r", s3.url, give_up_after=10, sleep=lambda _: None)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_bucket_that_refuses_is_not_asked_again(s3: TestBucket, tmp_path: Path, status: int) -> None:
    small_run(tmp_path, "r")
    s3.door.fault = BucketFault(status)
    with pytest.raises(SendError):
        upload_run(tmp_path / "r", s3.url, sleep=lambda _: pytest.fail("it waits"))
    assert len(s3.door.requests) == 1


def test_a_folder_without_a_log_is_refused(s3: TestBucket, tmp_path: Path) -> None:
    with pytest.raises(SendError, match="no run log found"):
        upload_run(tmp_path, s3.url)


def test_a_line_that_is_being_written_waits_for_its_end(s3: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path, "r", finish=False)
    (log,) = log_files(tmp_path / "r")
    whole = log.read_bytes()
    with log.open("ab") as file:
        file.write(b'{"v": 1, "seq": 99')
    upload_run(tmp_path / "r", s3.url)
    assert b"".join(content_of(mirrored(s3, tmp_path / "cache")).values()) == whole


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=40), st.integers(0, 39))
def test_where_segments_end_does_not_depend_on_when_they_are_written(lengths: list[int], cut: int) -> None:
    """The segments of a log that was cut anywhere are the first ones of the whole log, but for the last."""

    def split(content: bytes) -> list[bytes]:
        segments: list[bytes] = []
        start = 0
        while start < len(content):
            end = content.find(b"\n", start + get_segment_size(len(segments)) - 1) + 1 or len(content)
            segments.append(content[start:end])
            start = end
        return segments

    lines = [b"x" * (length - 1) + b"\n" for length in lengths]
    whole, part = split(b"".join(lines)), split(b"".join(lines[:cut]))
    assert whole[: max(0, len(part) - 1)] == part[:-1]
    assert not part or whole[len(part) - 1].startswith(part[-1])


def test_a_long_log_has_few_segments() -> None:
    total = count = 0
    while total < 540_000_000:
        total += get_segment_size(count)
        count += 1
    assert count < 250


def test_classified_errors_name_the_bucket_and_no_secret(s3: TestBucket) -> None:
    s3.door.fault = BucketFault(403, b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(RefreshError) as refused:
        s3.list()
    assert s3.url in refused.value.detail
    assert "hunter2" not in refused.value.detail


def test_a_writer_that_waits_holds_up_no_other(s3: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A last segment that is large is written again after a longer pause; the end of the run flushes all."""
    monkeypatch.setattr(upload, "REWRITE_BYTES", 1)
    run = small_run(tmp_path, "r", finish=False)
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        with run.task(f"more-{looks}", worker="vm-0") as task:
            task.finish(success=True)
        if looks == 5:
            run.finish()

    result = upload_run(tmp_path / "r", s3.url, follow=True, interval=1.0, sleep=sleep)
    assert result.finished
    assert s3.door.count("PUT") <= 3  # at once, and at the end
    assert content_of(mirrored(s3, tmp_path / "cache")) == content_of(tmp_path / "r")
