"""What the programs of the pretend desktop have in common: the window, menus, buttons, colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from evalgauge_exporter.demo import font
from evalgauge_exporter.demo.canvas import Canvas
from evalgauge_exporter.demo.scene import Scene

Box = tuple[int, int, int, int]
"""x, y, width and height in pixels."""

LEFT, TOP, RIGHT, BOTTOM = 120, 62, 936, 540
"""The inside of the window, below its title bar."""

INK, GREY, FAINT, LINE = "#1f2328", "#6b7280", "#c9ced6", "#dfe3e8"
BLUE = "#0067c0"
MENU_HEIGHT = 28


class App(NamedTuple):
    """A program: its looks and its places to click, by name."""

    name: str
    colour: str
    menus: dict[str, tuple[str, ...]]
    """The menu bar; a menu opens when it was the last thing clicked."""
    targets: dict[str, Box]
    furniture: Callable[[Canvas], None]
    """Draws what is always there."""
    content: Callable[[Canvas, Scene], None]
    """Draws what depends on what has been done."""

    def places(self) -> dict[str, Box]:
        """Every place to click, the menus and their entries too."""
        found = dict(self.targets)
        for menu, box in self.menu_boxes().items():
            found[menu] = box
            for row, entry in enumerate(self.menus[menu]):
                found[f"{menu} > {entry}"] = (box[0], box[1] + MENU_HEIGHT + 4 + row * 30, 190, 30)
        return found

    def menu_boxes(self) -> dict[str, Box]:
        """Where the menus of the menu bar are."""
        boxes, x = {}, LEFT + 8
        for menu in self.menus:
            wide = font.width(menu, 2) + 20
            boxes[menu] = (x, TOP, wide, MENU_HEIGHT)
            x += wide
        return boxes


def labelled(canvas: Canvas, box: Box, label: str, colour: str = "#e3e8ee", ink: str = INK) -> None:
    """A button."""
    x, y, width, height = box
    canvas.rounded(x, y, width, height, colour, 5)
    canvas.text(x + (width - font.width(label, 2)) // 2, y + (height - 14) // 2, label, ink)


def row_of(names: tuple[str, ...], x: int, y: int, gap: int = 8, height: int = 30) -> dict[str, Box]:
    """Buttons beside each other, as wide as their names."""
    boxes = {}
    for name in names:
        wide = font.width(name, 2) + 22
        boxes[name] = (x, y, wide, height)
        x += wide + gap
    return boxes


def column_of(names: tuple[str, ...], x: int, y: int, width: int, pitch: int) -> dict[str, Box]:
    """Entries below each other."""
    return {name: (x, y + row * pitch, width, pitch - 6) for row, name in enumerate(names)}


def bars(canvas: Canvas, x: int, y: int, widths: tuple[int, ...], pitch: int = 20, colour: str = LINE) -> None:
    """Lines that stand for text."""
    for row, width in enumerate(widths):
        canvas.rounded(x, y + row * pitch, width, 8, colour, 4)
