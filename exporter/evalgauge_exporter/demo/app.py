"""What the programs of the simulated desktop have in common: the canvas, the window, menus, buttons, colours."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from evalgauge_exporter.demo.scene import Scene

Box = tuple[int, int, int, int]
"""x, y, width and height in pixels."""

LEFT, TOP, RIGHT, BOTTOM = 120, 62, 936, 540
"""The inside of the window, below its title bar."""

INK, GREY, FAINT, LINE = "#1f2328", "#6b7280", "#c9ced6", "#dfe3e8"
BLUE = "#0067c0"
MENU_HEIGHT = 28
TEXT, HEADING = 17, 36
"""Font sizes in pixels."""
_POINTER = ((0, 0), (0, 26), (6, 21), (10, 31), (15, 29), (11, 19), (20, 19))
"""The outline of the mouse pointer, relative to its tip."""


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text_width(text: str, size: int = TEXT) -> int:
    """Return the width of a line of text in pixels."""
    return math.ceil(_font(size).getlength(text, "1"))


class Canvas(ImageDraw.ImageDraw):
    """Pillow's drawing methods, and some that take x, y, width and height as the layouts here state them.

    The image has a palette (at most 256 colours) and no antialiasing, so that a screenshot has a few kilobytes.
    Colours are ``"#rrggbb"``, lengths pixels.
    """

    def __init__(self, image: Image.Image) -> None:
        super().__init__(image)
        self.image = image

    @classmethod
    def blank(cls, width: int, height: int) -> Canvas:
        """Return an empty canvas."""
        return cls(Image.new("P", (width, height)))

    def copy(self) -> Canvas:
        """Return a canvas with the same picture, drawn on independently."""
        return Canvas(self.image.copy())

    def block(self, x: int, y: int, width: int, height: int, colour: str) -> None:
        """Draw a filled rectangle."""
        if width > 0 and height > 0:
            self.rectangle((x, y, x + width - 1, y + height - 1), colour)

    def outline(self, x: int, y: int, width: int, height: int, colour: str, thickness: int = 1) -> None:
        """Draw the outline of a rectangle, inside of its edges."""
        if width > 0 and height > 0:
            self.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=thickness)

    def rounded(self, x: int, y: int, width: int, height: int, colour: str, radius: int = 6) -> None:
        """Draw a filled rectangle with round corners."""
        self.rounded_rectangle((x, y, x + width - 1, y + height - 1), radius, colour)

    def write(self, x: int, y: int, text: str, colour: str, size: int = TEXT, room: int | None = None) -> int:
        """Write a line of text.

        Args:
            x: Its left edge.
            y: The upper edge of its capital letters.
            text: The line; control characters become spaces.
            colour: Its colour.
            size: The font size.
            room: The greatest width; a text that would be wider ends in two dots.

        Returns:
            The x at which the text ends.
        """
        text = "".join(character if character.isprintable() else " " for character in text)
        if room is not None and text_width(text, size) > room:
            text = text[:room]
            while text and text_width(text + "..", size) > room:
                text = text[:-1]
            text += ".."
        self.text((x, y + round(0.76 * size)), text, colour, _font(size), anchor="ls")
        return x + text_width(text, size)

    def pointer(self, x: int, y: int) -> None:
        """Draw the arrow of the mouse, its tip at a point."""
        self.polygon([(x + right, y + down) for right, down in _POINTER], "#ffffff", "#000000")

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()


class App(NamedTuple):
    """A program: its looks and what can be clicked in it, by name."""

    name: str
    colour: str
    menus: dict[str, tuple[str, ...]]
    """The menu bar; a menu is open when it was the last thing clicked."""
    targets: dict[str, Box]
    draw_frame: Callable[[Canvas], None]
    """Draws what is always there."""
    draw_content: Callable[[Canvas, Scene], None]
    """Draws what depends on what has been done."""

    def boxes(self) -> dict[str, Box]:
        """Return the box of everything that can be clicked, the menus and their entries included."""
        found = dict(self.targets)
        for menu, box in self.menu_boxes().items():
            found[menu] = box
            for row, entry in enumerate(self.menus[menu]):
                found[f"{menu} > {entry}"] = (box[0], box[1] + MENU_HEIGHT + 4 + row * 30, 190, 30)
        return found

    def menu_boxes(self) -> dict[str, Box]:
        """Return the boxes of the menus in the menu bar."""
        boxes, x = {}, LEFT + 8
        for menu in self.menus:
            width = text_width(menu) + 20
            boxes[menu] = (x, TOP, width, MENU_HEIGHT)
            x += width
        return boxes


def draw_button(canvas: Canvas, box: Box, label: str, colour: str = "#e3e8ee", ink: str = INK) -> None:
    """Draw a button with its label."""
    x, y, width, height = box
    canvas.rounded(x, y, width, height, colour, 5)
    canvas.write(x + (width - text_width(label)) // 2, y + (height - 12) // 2, label, ink)


def row_of(names: tuple[str, ...], x: int, y: int, gap: int = 8, height: int = 30) -> dict[str, Box]:
    """Return the boxes of buttons beside each other, as wide as their names."""
    boxes = {}
    for name in names:
        width = text_width(name) + 22
        boxes[name] = (x, y, width, height)
        x += width + gap
    return boxes


def column_of(names: tuple[str, ...], x: int, y: int, width: int, pitch: int) -> dict[str, Box]:
    """Return the boxes of entries below each other."""
    return {name: (x, y + row * pitch, width, pitch - 6) for row, name in enumerate(names)}


def draw_bars(canvas: Canvas, x: int, y: int, widths: tuple[int, ...], pitch: int = 20, colour: str = LINE) -> None:
    """Draw bars that stand for lines of text; a width of 0 leaves a line empty."""
    for row, width in enumerate(widths):
        if width:
            canvas.rounded(x, y + row * pitch, width, 8, colour, 4)
