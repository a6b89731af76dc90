"""A picture of indexed colours that is drawn and written as a PNG with the standard library only."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache

from evalgauge_exporter.demo import font

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_START, _ZLIB_END = b"\x78\xda", b"\x03\x00"
"""The header of a zlib stream (RFC 1950) and an empty last block (RFC 1951)."""
_BAND = 40
"""So many rows are packed together: from one screenshot to the next most bands stay the same."""

POINTER = (
    "#..........",
    "##.........",
    "#o#........",
    "#oo#.......",
    "#ooo#......",
    "#oooo#.....",
    "#ooooo#....",
    "#oooooo#...",
    "#ooooooo#..",
    "#oooooooo#.",
    "#ooooo#####",
    "#oo#oo#....",
    "#o#.#oo#...",
    "##..#oo#...",
    "#....#oo#..",
    ".....#oo#..",
    "......##...",
)


class Canvas:
    """A picture to draw on. Colours are ``"#rrggbb"``, at most 256; lengths are pixels; what lies outside is cut."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._pixels = bytearray(width * height)
        self._colours: dict[str, int] = {}

    def copy(self) -> Canvas:
        """A canvas with the same picture, drawn on independently."""
        other = Canvas.__new__(Canvas)
        other.width, other.height = self.width, self.height
        other._pixels, other._colours = bytearray(self._pixels), dict(self._colours)
        return other

    def fill(self, x: int, y: int, width: int, height: int, colour: str) -> None:
        """A filled rectangle."""
        left, right = max(0, x), min(self.width, x + width)
        if right <= left:
            return
        row = bytes([self._index(colour)]) * (right - left)
        for start in range(max(0, y) * self.width, min(self.height, y + height) * self.width, self.width):
            self._pixels[start + left : start + right] = row

    def frame(self, x: int, y: int, width: int, height: int, colour: str, thick: int = 1) -> None:
        """The outline of a rectangle, inside of its edges."""
        self.fill(x, y, width, thick, colour)
        self.fill(x, y + height - thick, width, thick, colour)
        self.fill(x, y, thick, height, colour)
        self.fill(x + width - thick, y, thick, height, colour)

    def rounded(self, x: int, y: int, width: int, height: int, colour: str, radius: int = 6) -> None:
        """A filled rectangle with round corners."""
        radius = min(radius, width // 2, height // 2)
        for row in range(radius):
            inset = radius - round(math.sqrt(radius**2 - (radius - row - 0.5) ** 2))
            self.fill(x + inset, y + row, width - 2 * inset, 1, colour)
            self.fill(x + inset, y + height - 1 - row, width - 2 * inset, 1, colour)
        self.fill(x, y + radius, width, height - 2 * radius, colour)

    def disc(self, x: int, y: int, radius: int, colour: str) -> None:
        """A filled circle around a point."""
        for row in range(-radius, radius):
            half = round(math.sqrt(radius**2 - (row + 0.5) ** 2))
            self.fill(x - half, y + row, 2 * half, 1, colour)

    def polygon(self, corners: Sequence[tuple[int, int]], colour: str) -> None:
        """A filled polygon."""
        edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
        for y in range(min(y for _, y in corners), max(y for _, y in corners)):
            crossings = sorted(
                x1 + (y + 0.5 - y1) * (x2 - x1) / (y2 - y1)
                for (x1, y1), (x2, y2) in edges
                if min(y1, y2) <= y + 0.5 < max(y1, y2)
            )
            for start, end in zip(crossings[::2], crossings[1::2], strict=True):
                self.fill(round(start), y, round(end) - round(start), 1, colour)

    def text(self, x: int, y: int, text: str, colour: str, scale: int = 2, room: int | None = None) -> int:
        """A line of text with its upper left corner at a point; returns where it ends.

        ``room``: what would be wider ends in two dots.
        """
        if room is not None and font.width(text[: room + 1], scale) > room:
            text = text[:room]
            while text and font.width(text + "..", scale) > room:
                text = text[:-1]
            text += ".."
        index, pixels = self._index(colour), self._pixels
        for character in text:
            advance, strokes = font.strokes(character, scale)
            if min(x, y) >= 0 and x + advance <= self.width and y + font.HEIGHT * scale <= self.height:
                for row, column, length in strokes:
                    start = (y + row) * self.width + x + column
                    pixels[start : start + length] = bytes([index]) * length
            x += advance + scale
        return x - scale if text else x

    def pointer(self, x: int, y: int) -> None:
        """The arrow of a mouse, its tip at a point, twice its drawn size."""
        for row, line in enumerate(POINTER):
            for column, cell in enumerate(line):
                if cell != ".":
                    self.fill(x + column * 2, y + row * 2, 2, 2, "#000000" if cell == "#" else "#ffffff")

    def png(self) -> bytes:
        """The picture as a PNG file."""
        rows = b"".join(
            b"\0" + self._pixels[start : start + self.width] for start in range(0, len(self._pixels), self.width)
        )
        band = _BAND * (self.width + 1)
        packed = b"".join(_packed(rows[start : start + band]) for start in range(0, len(rows), band))
        data = _ZLIB_START + packed + _ZLIB_END + struct.pack(">I", zlib.adler32(rows))
        palette = b"".join(bytes.fromhex(colour[1:]) for colour in self._colours) or bytes(3)
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 3, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", data), (b"IEND", b""))
        return _SIGNATURE + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )

    def _index(self, colour: str) -> int:
        index = self._colours.get(colour)
        if index is None:
            index = self._colours[colour] = len(self._colours)
            if index > 255:
                raise ValueError(f"more than 256 colours: {colour}")
        return index


@lru_cache(maxsize=256)
def _packed(rows: bytes) -> bytes:
    """A part of a deflate stream that depends on nothing before it, so that it can be kept and used again."""
    packer = zlib.compressobj(8, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL)
    return packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)
