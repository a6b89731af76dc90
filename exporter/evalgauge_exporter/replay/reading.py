"""Reading a run for the replay: through its source, into the state and the trajectories."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from evalgauge.pricing import PriceTable
from evalgauge.runlog import Problem
from evalgauge_exporter.replay.screenshots import ShotFolder
from evalgauge_exporter.replay.trajectories import Trajectories
from evalgauge_exporter.sources.discovery import FoundRun
from evalgauge_exporter.state.run import Pricer, RunState

_TRIES = 3


@runtime_checkable
class HoldsPictures(Protocol):
    """A source whose format keeps screenshots in its log."""

    def image(self, screenshot: str) -> bytes | None:
        """The bytes of a step's screenshot; None where there is no such picture."""


class ReadRun(NamedTuple):
    """A run that was read whole, as it is now."""

    found: FoundRun
    state: RunState
    trajectories: Trajectories
    problems: list[Problem]


def listed_prices() -> Pricer:
    """A pricer by the price tables that come with evalgauge."""
    return PriceTable().price_of


def fresh(found: FoundRun) -> FoundRun:
    """The same run with a source that has read nothing yet, so that whoever follows the run is not disturbed."""
    return found._replace(source=found.open_source())


def shots_of(run: ReadRun) -> ShotFolder:
    """Where the run's screenshots are: files below its folder, or pictures that its log holds."""
    source = run.found.source
    return ShotFolder(source.folder, source.image if isinstance(source, HoldsPictures) else None)


def read_run(found: FoundRun, pricer: Pricer) -> ReadRun:
    """Read the run from its beginning, with a source of its own.

    A run that is written anew while it is read is read again; its id is what it states itself, else its path's.
    """
    problems: list[Problem] = []
    for _ in range(_TRIES):
        source = fresh(found).source
        state = RunState(found.path_id, source.source, pricer)
        trajectories = Trajectories(state, pricer)
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
