"""The content of a screenshot of the demo: a program and what has been done in it."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH, HEIGHT = 960, 600
"""The size of every screenshot in pixels."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A program and what has been done in it so far."""

    domain: str
    title: str = ""
    """The document, page or file that is open."""
    lines: tuple[str, ...] = ()
    """The lines that were typed."""
    touched: tuple[str, ...] = ()
    """The names of the click targets, in the order of the clicks."""
    drags: tuple[tuple[float, float, float, float], ...] = ()
    """Start and end (x, y, x, y) of each drag, as fractions of the screen's width and height."""
    scrolled: int = 0
    """Number of scrolls downwards."""
    pointer: tuple[float, float] | None = None
    """Position of the mouse, as fractions of the screen's width and height."""
    time: str = "10:00"

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """Convert fractions of the screen's width and height to pixels."""
        return round(x * WIDTH), round(y * HEIGHT)
