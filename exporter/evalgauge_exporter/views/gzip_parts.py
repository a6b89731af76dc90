"""A gzip stream of parts that are compressed one by one, so that a part that is sent again is not compressed again.

Each part is a sequence of DEFLATE blocks that refers to nothing before it and ends on a byte (a full flush), so parts
may follow each other in any order. They form a single gzip member: clients that read only the first member of a stream
are common. Its checksum is computed over the whole text each time, at about a gigabyte a second.

Format: https://www.rfc-editor.org/rfc/rfc1952 and https://www.rfc-editor.org/rfc/rfc1951
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

LEVEL = 1
"""Compression level; higher ones save few bytes of samples and take long."""
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"  # DEFLATE, no time, fastest, unknown system
_LAST_BLOCK = b"\x03\x00"  # empty, with fixed codes


class Part:
    """A part of a stream.

    Args:
        text: Its text; what can't be encoded in UTF-8 is replaced.
    """

    __slots__ = ("_deflated", "text")

    def __init__(self, text: str) -> None:
        self.text = text.encode("utf-8", "replace")
        self._deflated: bytes | None = None

    @property
    def deflated(self) -> bytes:
        """Its DEFLATE blocks, computed once."""
        if self._deflated is None:
            compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            self._deflated = compressor.compress(self.text) + compressor.flush(zlib.Z_FULL_FLUSH)
        return self._deflated


def join_gzip(parts: Iterable[Part]) -> bytes:
    """Return the gzip stream of the parts' text."""
    checksum, size = 0, 0
    found = [_HEADER]
    for part in parts:
        checksum, size = zlib.crc32(part.text, checksum), size + len(part.text)
        found.append(part.deflated)
    return b"".join([*found, _LAST_BLOCK, checksum.to_bytes(4, "little"), (size & 0xFFFFFFFF).to_bytes(4, "little")])
