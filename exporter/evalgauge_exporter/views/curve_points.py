"""The curves of a run as points, and as JSON to which only what is new is added."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from evalgauge_exporter.analysis.curves import Curves

Point = dict[str, int | float]


def curve_points(curves: Curves, points: int) -> tuple[list[Point], list[Point]]:
    """Return the curves of the rate and of the mean steps; of a long run evenly spaced points, with the last.

    Args:
        curves: The curves.
        points: The most points of each, at least two.
    """
    count = len(curves.rates)
    step = _spacing(count, points)
    return _list_points(curves, [*range(0, count, step), *_last_point(count, step)])


def _spacing(count: int, points: int) -> int:
    """Return how many attempts one point stands for.

    It is a power of two: while a run grows, the points stay where they are.
    """
    step = 1
    while count > step * (points - 1) + 1:
        step *= 2
    return step


def _last_point(count: int, step: int) -> tuple[int, ...]:
    """Return the last attempt, if it is not one of those that are evenly spaced."""
    return (count - 1,) if (count - 1) % step else ()


def _list_points(curves: Curves, kept: Iterable[int]) -> tuple[list[Point], list[Point]]:
    rates: list[Point] = []
    means: list[Point] = []
    for index in kept:
        rates.append({"task_idx": index, "success_rate": curves.rates[index]})
        if (steps := curves.mean_steps[index]) is not None:
            means.append({"task_idx": index, "avg_steps": steps})
    return rates, means


class CurveText:
    """The points of one run's curves as JSON. While the run grows, only points that are new are encoded.

    Args:
        points: The most points of each curve, at least two.
    """

    def __init__(self, points: int) -> None:
        self._points = points
        self._rates: list[float] = []
        """The list of which points are in the text; curves that are computed anew have another one."""
        self._step = 0
        self._next = 0
        """The first attempt, among those that are evenly spaced, of which no point is in the text."""
        self._text = (b"", b"")
        """The evenly spaced points of the rate and of the mean steps, each with a comma before it."""

    def render(self, curves: Curves) -> tuple[msgspec.Raw, msgspec.Raw]:
        """Return what ``curve_points`` returns, as JSON."""
        count = len(curves.rates)
        step = _spacing(count, self._points)
        if curves.rates is not self._rates or step != self._step:
            self._rates, self._step, self._next, self._text = curves.rates, step, 0, (b"", b"")
        self._text = self._extend(curves, range(self._next, count, step))
        self._next += len(range(self._next, count, step)) * step
        rates, means = self._extend(curves, _last_point(count, step))
        return msgspec.Raw(b"[%b]" % rates[1:]), msgspec.Raw(b"[%b]" % means[1:])

    def _extend(self, curves: Curves, kept: Iterable[int]) -> tuple[bytes, bytes]:
        """Return the text with these points at its end."""
        rates, means = _list_points(curves, kept)
        return self._text[0] + _encode(rates), self._text[1] + _encode(means)


def _encode(points: list[Point]) -> bytes:
    return b"," + msgspec.json.encode(points)[1:-1] if points else b""
