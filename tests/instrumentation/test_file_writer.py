"""Screenshots are written off the calling thread, bounded, and none is lost however the program ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from evalgauge import file_writer, track_run
from evalgauge.events import Step, TaskFinished
from evalgauge.file_writer import FileWriter
from evalgauge.runlog import read_events

PNG = b"\x89PNG\r\n\x1a\n"
PREAMBLE = """
import multiprocessing, os, signal, sys, threading, time
from evalgauge import track_run

class SlowPicture:  # as one that takes long to encode: some always wait
    size = (4, 4)
    def copy(self):
        return self
    def save(self, buffer, form):
        time.sleep(0.002)
        buffer.write(b"\\x89PNG\\r\\n\\x1a\\n")

def work(run, name, steps=20):
    task = run.task(name)
    for _ in range(steps):
        task.step(action="click", screenshot=SlowPicture())
    return task
"""


def command(code: str, results: Path) -> list[str]:
    """Return the command that runs a script with ``run``, a run with the id ``r``."""
    guarded = "\n    ".join(code.strip().splitlines())
    script = results.parent / "script.py"
    begin = "run = track_run(sys.argv[1], benchmark='b', model='m', run_id='r', fsync='never')"
    script.write_text(f"{PREAMBLE}\nif __name__ == '__main__':\n    {begin}\n    {guarded}\n")
    return [sys.executable, "-W", "ignore", str(script), str(results)]


def named_screenshots(run_folder: Path) -> list[Path]:
    """Return the file of each screenshot that a step names."""
    return [run_folder / str(event.screenshot) for event in read_events(run_folder) if isinstance(event, Step)]


def fail(error: Exception) -> None:
    raise AssertionError(error)


ENDS = {
    "the end of the main module": "work(run, 't')",
    "finish": "with run:\n    work(run, 't').finish(success=True)",
    "sys.exit": "work(run, 't')\nsys.exit(0)",
    "an exception": "sys.excepthook = lambda *_: None\nwork(run, 't')\nraise ValueError('x')",
    "a thread": "threading.Thread(target=work, args=(run, 't')).start()",
    "a signal": "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nwork(run, 't')\nos.kill(os.getpid(), 15)",
    **{
        kind: f"child = multiprocessing.get_context('{kind}').Process(target=work, args=(run, 't'))\n"
        "child.start()\nchild.join()"
        for kind in ("fork", "spawn", "forkserver")
    },
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_every_screenshot_is_there_after_the_program_ended(tmp_path: Path) -> None:
    running = {}
    for end, code in ENDS.items():
        (tmp_path / end).mkdir()
        running[end] = subprocess.Popen(command(code, tmp_path / end / "results"))
    for end, process in running.items():
        process.wait(120)
        named = named_screenshots(tmp_path / end / "results" / "r")
        assert len(named) == 20, end
        assert [path for path in named if not path.is_file()] == [], end


def test_a_finished_task_has_its_screenshots_when_a_pool_kills_its_workers(tmp_path: Path) -> None:
    code = """
def work_and_finish(name):
    work(run, name, steps=5).finish(success=True)
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work_and_finish, ["a", "b", "c", "d"])
"""
    subprocess.run(command(code, tmp_path / "results"), timeout=120, check=True)
    named = named_screenshots(tmp_path / "results" / "r")
    assert len(named) == 20
    assert [path for path in named if not path.is_file()] == []


def test_a_child_that_is_forked_while_screenshots_wait_writes_its_own_alone(tmp_path: Path) -> None:
    code = """
task = work(run, "parent")
if (child := os.fork()) == 0:
    assert not [path for path in (run.folder / "screenshots").rglob(f".*{os.getpid()}*")]
    work(run, "child").finish(success=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
task.finish(success=True)
run.finish()
print(len(list((run.folder / "screenshots").rglob("*.png"))), run.lost_events)
"""
    ended = subprocess.run(
        command(code, tmp_path / "results"), timeout=120, check=True, stdout=subprocess.PIPE, text=True
    )
    assert ended.stdout == "40 0\n"


def test_a_signals_handler_may_finish_the_run_while_screenshots_wait(tmp_path: Path) -> None:
    code = """
def finish(*_):
    run.finish()
    print(run.lost_events)
    sys.stdout.flush()
    os._exit(0)
signal.signal(signal.SIGALRM, finish)
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
task = run.task("t")
while True:
    task.step(action="click", screenshot=b"\\x89PNG" * 1000)
"""
    for moment in ("0.05", "0.1"):
        results = tmp_path / moment / "results"
        results.parent.mkdir()
        ended = subprocess.run(
            [*command(code, results), moment], timeout=120, check=True, stdout=subprocess.PIPE, text=True
        )
        missing = [path for path in named_screenshots(results / "r") if not path.is_file()]
        assert len(missing) <= int(ended.stdout)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_process_did_not_write_is_shown_as_missing(number: int, tmp_path: Path) -> None:
    code = """
work(run, "written").finish(success=True)
SlowPicture.save = lambda *_: time.sleep(600)
work(run, "waiting", steps=5)
print("all named", flush=True)
time.sleep(600)
"""
    with subprocess.Popen(command(code, tmp_path / "results"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "all named\n"
        process.send_signal(number)
    named = named_screenshots(tmp_path / "results" / "r")
    missing = [path for path in named if not path.is_file()]
    assert len(named) == 25, "every step that was accepted is there"
    assert len(missing) == 5
    from evalgauge_exporter.replay import generate
    from evalgauge_exporter.sources.discovery import Discovery

    made = generate(Discovery([tmp_path / "results"]).scan()[0], tmp_path / "site")
    assert (made.screenshots, made.missing) == (20, 5)


def test_a_screenshot_that_cannot_be_written_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Torn:
        size = (1, 1)

        def copy(self) -> Any:
            return self

        def save(self, buffer: Any, form: str) -> None:
            raise RuntimeError("no picture in it")

    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run, run.task("t") as task:
        task.step(action="click", screenshot=PNG)
        task.step(action="click", screenshot=Torn())
        task.finish(success=True)
        assert run.lost_events == 1
        assert "a screenshot could not be written" in caplog.text
        assert "no picture in it" in caplog.text
        with run.task("full") as other:
            (run.folder / "screenshots" / "full").write_bytes(b"a file where a folder has to be")
            other.step(action="click", screenshot=PNG)
            other.finish(success=True)
    missing = [path for path in named_screenshots(tmp_path / "r") if not path.is_file()]
    assert run.lost_events == len(missing) == 2
    assert len([event for event in read_events(tmp_path / "r") if isinstance(event, TaskFinished)]) == 2
    assert list((tmp_path / "r" / "screenshots").rglob(".*")) == []


@pytest.mark.parametrize(("bound", "value"), [("MAX_FILES", 3), ("MAX_BYTES", 30)])
def test_a_caller_for_whose_file_there_is_no_room_writes_it_itself(
    bound: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_writer, bound, value)
    writer, released = FileWriter(), threading.Event()
    writers: dict[str, int] = {}

    def content(name: str, wait: bool) -> bytes:
        writers[name] = threading.get_ident()
        assert not wait or released.wait(60)
        return name.encode()

    for name in "abc":
        writer.write(tmp_path / name, lambda name=name: content(name, wait=name == "a"), 10, fail)  # type: ignore[misc]
    writer.write(tmp_path / "d", lambda: content("d", wait=False), 10, fail)
    assert (tmp_path / "d").read_bytes() == b"d"
    assert not (tmp_path / "b").exists()
    released.set()
    writer.flush(stop=True)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["a", "b", "c", "d"]
    assert writers["d"] == threading.get_ident()
    assert len({writers[name] for name in "abc"} - {writers["d"]}) == 1


def test_the_thread_ends_when_idle_and_another_one_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_writer, "IDLE_SECONDS", 0.0)
    writer = FileWriter()
    for number in range(300):  # an end of the thread meets a write at every moment
        writer.write(tmp_path / str(number), lambda number=number: b"%d" % number, 1, fail)  # type: ignore[misc]
        if number % 3 == 0:
            writer.flush(stop=number % 2 == 0)
    writer.flush()
    assert sorted(int(path.read_text()) for path in tmp_path.iterdir()) == list(range(300))


def test_threads_that_finish_tasks_at_once_lose_no_screenshot(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", fsync="never") as run:

        def work(number: int) -> None:
            with run.task(f"t{number}") as task:
                for _ in range(10):
                    task.step(action="click", screenshot=PNG + b"%d" % number)
                task.finish(success=True)
            missing.extend(path for path in (run.folder / "screenshots" / f"t{number}").rglob(".*"))

        missing: list[Path] = []
        threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    named = named_screenshots(tmp_path / "r")
    assert len(named) == len({path for path in named if path.is_file()}) == 640
    assert missing == []
    assert run.lost_events == 0


def test_a_picture_that_changes_after_the_step_is_stored_as_it_was(tmp_path: Path) -> None:
    pixels = bytearray(4 * 4 * 3)
    view = memoryview(pixels).cast("B", (4, 4, 3))
    from PIL import Image

    picture = Image.new("RGB", (4, 4), "white")
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as run, run.task("t") as task:
        task.step(action="click", screenshot=view)
        pixels[:] = b"\xff" * len(pixels)
        task.step(action="click", screenshot=picture)
        picture.putpixel((0, 0), (255, 0, 0))
        task.finish(success=True)
    first, second = named_screenshots(tmp_path / "r")
    with Image.open(first) as image:
        assert image.convert("RGB").getcolors() == [(16, (0, 0, 0))]
    with Image.open(second) as image:
        assert image.convert("RGB").getcolors() == [(16, (255, 255, 255))]
