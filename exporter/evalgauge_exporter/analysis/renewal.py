"""The thread that renews the estimates of running runs, so that no answer waits for them.

An estimate takes tens of milliseconds, and a folder may hold thousands of running runs. So the thread works on one run
after the other, those with the oldest estimates first, and rests in between: it takes a bounded share of one core,
however many runs there are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from evalgauge_exporter.analysis.run_analysis import RunAnalysis

log = logging.getLogger("evalgauge.exporter")

SHARE = 0.25
"""Share of one core that is used at most."""
MIN_PAUSE = 0.2
"""Seconds between two rounds."""
IDLE_SECONDS = 5.0
"""Seconds without a change after which it is looked whether an estimate has become old."""
REPORT_SECONDS = 1.0
"""Estimates that were renewed are reported after this time, also within a round."""
MAX_LOGGED = 100
"""Failures that are logged, each once."""


class RenewalThread:
    """Renews the estimates of an analysis in the background.

    Args:
        analysis: The analysis.
        on_renewed: Called, in the thread, after estimates were renewed.
        on_first: Called once after the first round.
    """

    def __init__(self, analysis: RunAnalysis, on_renewed: Callable[[], None], on_first: Callable[[], None]) -> None:
        self._analysis = analysis
        self._on_renewed = on_renewed
        self._on_first = on_first
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evalgauge-estimates", daemon=True)
        self._logged: set[str] = set()

    def start(self) -> None:
        """Start; the analysis relies on the thread from now on."""
        self._analysis.is_renewed = True
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait for the thread."""
        self._stopped.set()
        self._changed.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self._analysis.is_renewed = False

    def notify(self) -> None:
        """Look for estimates that are due, because the state has changed."""
        self._changed.set()

    def _run(self) -> None:
        is_first = True
        while not self._stopped.is_set():
            if is_first and not self._analysis.state.ready:
                self._changed.wait()
                self._changed.clear()
                continue
            self._renew_all(rest=not is_first)
            if is_first and not self._stopped.is_set():
                is_first = False
                self._on_first()
            self._stopped.wait(MIN_PAUSE)
            self._changed.wait(IDLE_SECONDS)
            self._changed.clear()

    def _renew_all(self, *, rest: bool) -> None:
        reported = time.monotonic()
        with self._analysis.state.lock:
            due = self._analysis.list_due(time.time())
        for run in due:
            if self._stopped.is_set():
                break
            start = time.monotonic()
            try:
                self._analysis.renew(run)
            except Exception as error:  # the others are not harmed, and answers go on with an older estimate
                self._log_failure(run.run_id, error)
            if rest:
                if time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    self._on_renewed()
                self._stopped.wait((time.monotonic() - start) * (1 / SHARE - 1))
        if due:
            self._on_renewed()

    def _log_failure(self, run_id: str, error: Exception) -> None:
        detail = f"the estimates of run {run_id!r} failed: {type(error).__name__}: {error}"
        if detail not in self._logged and len(self._logged) < MAX_LOGGED:
            log.error("%s", detail, exc_info=error)
            self._logged.add(detail)
