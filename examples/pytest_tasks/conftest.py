"""Records the tests of an agent as the tasks of a run: copy this file beside them and take the fixture ``task``.

A test that passes is a success, one that fails an assertion a failure, any other exception an error of the agent; a
skipped test counts as interrupted. Workers of pytest-xdist write into one run.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from evalgauge import Run, Task, track_run
from evalgauge.results_folders import OFF, first_results_folder

_TASK = pytest.StashKey[Task]()


@pytest.fixture(scope="session")
def evalgauge_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The run of this test session."""
    results = first_results_folder() or "results"  # of EVALGAUGE_RESULTS
    if results.lower() == OFF:
        results = str(tmp_path_factory.mktemp("results"))
    run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    with track_run(results, benchmark="agent-tests", model=os.environ.get("MODEL", "unknown"), run_id=run_id) as run:
        yield run


@pytest.fixture
def task(request: pytest.FixtureRequest, evalgauge_run: Run) -> Iterator[Task]:
    """The task that this test is."""
    node = request.node
    with evalgauge_run.task(node.name, domain=node.path.stem, worker=os.environ.get("PYTEST_XDIST_WORKER")) as task:
        node.stash[_TASK] = task
        yield task  # an exception of the test does not come by here: the hook below sees it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Finish the task with the result of the test itself, before fixtures are torn down."""
    report = yield
    task = item.stash.get(_TASK, None)
    if task is not None and call.when == "call":
        error = call.excinfo
        if report.skipped:
            task.finish(outcome="interrupted", reason=str(error.value if error else "skipped"))
        elif error is None:
            task.finish(success=True)
        elif error.errisinstance(AssertionError):
            task.finish(success=False, reason=error.exconly())
        else:
            task.finish(outcome="agent_error", error=error.exconly())
    return report
