"""The rows of a list of all runs as JSON, each rendered again only when its run has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.analysis.summary import elapsed
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views.snapshot import newest_first

TURN = 200
"""Runs whose rows are looked at before others may take the lock."""
_ELAPSED = b'"elapsed_seconds":'
"""It can't occur within a JSON string, where quotes are escaped."""


class _Row(NamedTuple):
    run: RunState
    key: tuple[object, ...]
    results: object
    """The results that are in it: the same object as long as they do not change."""
    before: bytes
    """Up to the seconds that the run has taken, which change with time alone."""
    after: bytes


class RunRows:
    """The rows of all runs.

    Args:
        analysis: The analyses of the runs.
        render: Renders the row of a run at a time (Unix seconds) as a JSON object with ``"elapsed_seconds":null``.
        depends: Returns what a row shows beside the run's events and results.
    """

    def __init__(
        self,
        analysis: RunAnalysis,
        render: Callable[[RunState, float], bytes],
        depends: Callable[[RunState, float], object] = lambda run, now: None,
    ) -> None:
        self._analysis = analysis
        self._render_row = render
        self._depends = depends
        self._rows: dict[int, _Row] = {}

    def render(self, now: float, only: RunState | None = None) -> list[bytes]:
        """Return the rows, the newest run's first. Called without the state's lock.

        Args:
            now: The present, Unix seconds.
            only: The run whose row is wanted; ``None`` for all.
        """
        state = self._analysis.state
        if only is not None:
            with state.lock:
                return [self._row(only, now)]
        with state.lock:
            runs = newest_first(state.runs.values())
        rows = []
        for start in range(0, len(runs), TURN):
            with state.lock:
                rows += [self._row(run, now) for run in runs[start : start + TURN]]
            time.sleep(0)  # let others take the lock
        with state.lock:  # another thread may render a row meanwhile
            if len(self._rows) > 2 * len(runs) + 16:
                present = {id(run) for run in runs}
                self._rows = {key: row for key, row in self._rows.items() if key in present}
        return rows

    def _row(self, run: RunState, now: float) -> bytes:
        status = run.status(now, self._analysis.stall_after)
        key = (run.run_id, run.version, status, run.unreadable, self._depends(run, now))
        results = self._analysis.all_results(run, now)
        row = self._rows.get(id(run))
        if row is None or row.run is not run or row.key != key or row.results is not results:
            before, _, after = self._render_row(run, now).partition(_ELAPSED + b"null")
            row = self._rows[id(run)] = _Row(run, key, results, before, after)
        seconds = elapsed(run, now, self._analysis.stall_after)
        return b"%b%b%b%b" % (row.before, _ELAPSED, b"null" if seconds is None else b"%r" % seconds, row.after)
