"""What a screenshot of the demo shows: a program and what has been done in it so far."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH, HEIGHT = 960, 600
"""The size of every screenshot in pixels."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is on the screen: a program and what has been done in it so far."""

    domain: str
    title: str = ""
    """The document, page or file that is open."""
    lines: tuple[str, ...] = ()
    """What was typed, a line each."""
    touched: tuple[str, ...] = ()
    """The names of the places that were clicked, in order."""
    drags: tuple[tuple[float, float, float, float], ...] = ()
    """From where to where something was dragged, as parts of the picture's width and height."""
    scrolled: int = 0
    """How often the wheel was turned downwards."""
    pointer: tuple[float, float] | None = None
    """Where the mouse is, as parts of the picture's width and height."""
    time: str = "10:00"

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """Parts of the picture's width and height in pixels."""
        return round(x * WIDTH), round(y * HEIGHT)
