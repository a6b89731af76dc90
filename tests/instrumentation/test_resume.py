"""Which tasks of a run have finished, for a runner that resumes it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from evalgauge import track_run
from evalgauge.metrics import OUTCOMES
from evalgauge.resume import read_finished_tasks
from evalgauge.runlog import LogWriter


def test_a_runner_skips_what_has_finished(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", run_id="r", tasks=["a", "b", "c", "d"]) as run:
        run.task("a").finish(success=True)
        run.task("b").finish(outcome="infrastructure_error")
        run.task("c")
    with track_run(tmp_path, benchmark="b", model="m", run_id="r") as resumed:
        assert resumed.finished_tasks() == {"a", "b"}
        assert resumed.finished_tasks(errored=False) == {"a"}
        resumed.task("b")
        assert resumed.finished_tasks() == {"a"}, "it was started again"


def test_a_task_has_finished_once_all_its_attempts_have(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="b", model="m", tasks=["a"], attempts=2) as run:
        run.task("a", attempt=1).finish(success=True)
        assert run.finished_tasks() == set()
        run.task("a", attempt=2).finish(success=False)
        assert run.finished_tasks() == {"a"}


attempts = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["start", *OUTCOMES])), max_size=20)


@given(attempts, st.integers(1, 3))
def test_the_last_event_of_an_attempt_decides_in_whatever_log_it_is(
    history: list[tuple[str, str]], writers: int
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        logs = [LogWriter(Path(folder) / "events" / f"{number}.jsonl") for number in range(writers)]
        last = {}
        for index, (task_id, what) in enumerate(history):
            fields = {"ts": 1e9 + index, "task_id": task_id, "attempt": 1}
            kind = "task_started" if what == "start" else "task_finished"
            logs[index % writers].write(kind, fields if what == "start" else {**fields, "outcome": what})
            last[task_id] = what
        for writer in logs:
            writer.close()
        expected = {task_id for task_id, what in last.items() if what not in ("start", "interrupted")}
        assert read_finished_tasks(Path(folder)) == expected
