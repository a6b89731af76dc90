"""Reading a run for the replay: from its source into a state and trajectories."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from evalgauge.events import LlmCall
from evalgauge.pricing import Price
from evalgauge.runlog import Problem
from evalgauge_exporter.replay.screenshots import ScreenshotFolder
from evalgauge_exporter.replay.trajectories import Trajectories
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.state.run import Pricer, RunState

_TRIES = 3


@runtime_checkable
class EmbedsScreenshots(Protocol):
    """A source whose format embeds screenshots in its log."""

    def image(self, screenshot: str) -> bytes | None:
        """Return the bytes of a step's screenshot, ``None`` where there is no such image."""


class ReadRun(NamedTuple):
    """A run read completely, as it is now."""

    found: FoundRun
    state: RunState
    trajectories: Trajectories
    problems: list[Problem]


def with_fresh_source(found: FoundRun) -> FoundRun:
    """Return the same run with a source that has read nothing yet, which leaves a collector's source alone."""
    return found._replace(source=found.open_source())


def open_screenshots(run: ReadRun) -> ScreenshotFolder:
    """Return the screenshots of a run: files below its folder, or images embedded in its log."""
    source = run.found.source
    return ScreenshotFolder(source.folder, source.image if isinstance(source, EmbedsScreenshots) else None)


def read_run(found: FoundRun, pricer: Pricer) -> ReadRun:
    """Read a run from its beginning, with a source of its own.

    A run that is restarted while it is read is read again, up to three times.

    Args:
        found: The run as discovery found it.
        pricer: Prices its model calls.

    Returns:
        The run; its id is the one that its log declares, else the one of its path.
    """
    problems: list[Problem] = []
    for _ in range(_TRIES):
        source = with_fresh_source(found).source
        price = _price_once(pricer)
        state = RunState(found.path_id, source.source, price)
        trajectories = Trajectories(state, price)
        problems = []
        more = True
        while more:
            reading = source.read()
            problems += reading.problems
            if reading.restarted:
                break
            more = reading.has_more and not reading.missing
            for event in reading.events:
                state.apply(event)
                trajectories.apply(event)
        if not more:
            break
    return ReadRun(found._replace(source=source), state, trajectories, problems)


def _price_once(pricer: Pricer) -> Pricer:
    """Return a pricer that prices a call once for both folds, which apply each event one after the other."""
    last: tuple[LlmCall, Price] | None = None

    def price_of(call: LlmCall) -> Price:
        nonlocal last
        if last is None or last[0] is not call:
            last = call, pricer(call)
        return last[1]

    return price_of
