"""Reading a run for the replay: through its source, into the state and the trajectories."""

from __future__ import annotations

from typing import NamedTuple

from evalgauge.events import LlmCall
from evalgauge.pricing import Price, PriceTable
from evalgauge.runlog import Problem
from evalgauge_dashboards.replay.trajectories import Trajectories
from evalgauge_exporter.sources import RunSource
from evalgauge_exporter.sources.discovery import Found
from evalgauge_exporter.state import Pricer, RunState

_TRIES = 3


class ReadRun(NamedTuple):
    """A run that was read whole, as it is now."""

    found: Found
    state: RunState
    trajectories: Trajectories
    problems: list[Problem]


def listed_prices() -> Pricer:
    """A pricer by the price tables that come with evalgauge."""
    table = PriceTable()

    def price(call: LlmCall) -> Price:
        return table.price(call.provider, call.model, call.tokens, at=call.ts, batch=call.batch)

    return price


def read_run(found: Found, pricer: Pricer) -> ReadRun:
    """Read the run from its beginning, with a source of its own: whoever follows the run is not disturbed.

    A run that is written anew while it is read is read again; its id is what it states itself, else its path's.
    """
    problems: list[Problem] = []
    for _ in range(_TRIES):
        source: RunSource = type(found.source)(found.folder)  # type: ignore[call-arg]  # each is made of its folder
        state = RunState(found.path_id, source.source, pricer)
        trajectories = Trajectories(state, pricer)
        problems = []
        more = True
        while more:
            reading = source.read()
            problems += reading.problems
            if reading.replaced:
                break
            more = reading.more and not reading.gone
            for event in reading.events:
                state.apply(event)
                trajectories.apply(event)
        if not more:
            break
    return ReadRun(found._replace(source=source), state, trajectories, problems)
