"""A source whose headline score is that of a chosen scorer, for runs whose attempts have several scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from evalgauge.events import Event, RunStarted, TaskFinished
from evalgauge.runlog import Problem
from evalgauge_exporter.sources.base import ReadResult, ResumableSource, RunSource, WrappedSource
from evalgauge_exporter.state.models import UNKNOWN

ScorerChoice = str | Mapping[str, str] | None
"""A scorer's name, or a name for each benchmark, or no choice: the headline is what the format says."""

_JUDGED = ("success", "failure", "evaluation_error", "interrupted")
"""Outcomes that a score, or that there is none, can lead to."""
_SEEN = ("_benchmark", "_names", "_is_reported")
"""What a source has seen of its run."""


class ScorerSource(WrappedSource):
    """Another source, with a chosen scorer's value as the headline score.

    Where the outcome followed from the score alone, it follows from the chosen one. An attempt without a score of that
    scorer has no headline score, and is not measured if its outcome came from another one. An attempt without named
    scores is left as it is: it has one score, whose scorer the format does not name.

    Args:
        source: The source.
        choice: The scorer's name, or the name for each benchmark.
        success_threshold: The least score of a success.
    """

    def __init__(self, source: RunSource, choice: str | Mapping[str, str], success_threshold: float) -> None:
        super().__init__(source)
        self._choice = choice
        self._threshold = success_threshold
        self._benchmark = UNKNOWN
        self._names: dict[str, None] = {}
        """The scorers that were seen."""
        self._is_reported = False
        image: Callable[[str], bytes | None] | None = getattr(source, "image", None)
        if image is not None:  # only a source that embeds screenshots has one
            self.image = image

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return what happened since the last call. That no attempt has the chosen score is one problem."""
        result = self._inner.read(full_scan=full_scan)
        for event in result.events:
            if isinstance(event, RunStarted) and event.benchmark and event.benchmark != UNKNOWN:
                self._benchmark = event.benchmark
        scorer = self._choice if isinstance(self._choice, str) else self._choice.get(self._benchmark)
        if scorer is None:
            return result
        result.events = [self._choose(event, scorer) for event in result.events]
        if self._names and scorer not in self._names and not result.has_more and not self._is_reported:
            self._is_reported = True
            result.problems.append(Problem("unknown_scorer", f"{self.folder}: {describe_unknown(scorer, self._names)}"))
        return result

    def position(self) -> tuple[object, dict[str, Any]] | None:
        """Return the position of the source, and the scorers that were seen; None where it can't be resumed."""
        inner = self._inner.position() if isinstance(self._inner, ResumableSource) else None
        seen = {name: value for name, value in vars(self).items() if name in _SEEN}
        return None if inner is None else (inner, seen)

    def resume(self, position: tuple[object, dict[str, Any]]) -> bool:
        """Continue where another source was."""
        inner, seen = position
        if not isinstance(self._inner, ResumableSource) or not self._inner.resume(inner):
            return False
        vars(self).update(seen)
        return True

    def _choose(self, event: Event, scorer: str) -> Event:
        if not isinstance(event, TaskFinished) or not event.scores:
            return event
        self._names.update(dict.fromkeys(event.scores))
        score = event.scores.get(scorer)
        outcome, error = event.outcome, event.error
        if event.outcome_from_score and outcome in _JUDGED:
            if score is not None:
                if outcome == "evaluation_error":
                    error = None  # it told that the other scorer gave no number
                outcome = "success" if score >= self._threshold else "failure"
            elif outcome in ("success", "failure"):
                outcome, error = "evaluation_error", error or describe_unknown(scorer, event.scores)
        # the source may keep its event to compare it with a later reading: this is another one
        return msgspec.structs.replace(event, score=score, scorer=scorer, outcome=outcome, error=error)


def describe_unknown(scorer: str, names: Mapping[str, object]) -> str:
    """Return a line that says that there is no such scorer, and which there are."""
    known = ", ".join(repr(name[:80]) for name in list(names)[:20]) + (", …" if len(names) > 20 else "")
    return f"there is no score of {scorer!r}; there are scores of {known}"
