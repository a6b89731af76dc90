"""Members of a zip file with zstd in it, and of one that was cut off before its directory was written.

Python reads method 93 (zstd) from 3.14 on. Method numbers and the local header: PKWARE's APPNOTE.TXT, 4.3.7 and 4.4.5.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import zstandard

from evalgauge_exporter.errors import EvalZipError

STORED, DEFLATED, ZSTD = 0, 8, 93
MAX_MEMBER = 512 << 20
"""Bytes: what a larger member holds is not read, so that a small file can't fill the memory."""
_LOCAL = struct.Struct("<4s5H3L2H")
_SIGNATURE = b"PK\x03\x04"
_SIZES_FOLLOW = 0x08
_ENCRYPTED = 0x01


class EvalZipReader:
    """The members of a zip file, by name; of two with one name the later."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises OSError where it can't be read, MemberError where there is no member in it."""
        self._file: IO[bytes] = path.open("rb")
        self.whole = True
        """Whether the file has its directory; a log that was cut off has none."""
        try:
            with zipfile.ZipFile(self._file) as archive:
                found = archive.infolist()
        # all that zipfile raises for a directory that is cut off, garbled or of a kind that it does not know
        except (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, ValueError, NotImplementedError, EOFError):
            self.whole = False
            found = list(self._scan())
        self.members = {info.filename: info for info in found}
        if not self.members:
            self._file.close()
            raise EvalZipError("torn_file", f"{path}: no zip file")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, name: str) -> bytes:
        """What a member holds. Raises MemberError; KeyError for a name that is not there."""
        info = self.members[name]
        if info.file_size > MAX_MEMBER:
            raise EvalZipError("long_file", f"{name}: larger than {MAX_MEMBER >> 20} MiB")
        if info.flag_bits & _ENCRYPTED:
            raise EvalZipError("unreadable", f"{name}: is encrypted")
        try:
            self._file.seek(info.header_offset)
            fields = _LOCAL.unpack(self._file.read(_LOCAL.size))
            if fields[0] != _SIGNATURE:
                raise EvalZipError("torn_file", f"{name}: not where the directory says")
            self._file.seek(fields[9] + fields[10], 1)
            data = _decompressed(info, self._file.read(info.compress_size))
        except (OSError, struct.error, zlib.error, zstandard.ZstdError, OverflowError, ValueError) as error:
            if isinstance(error, EvalZipError):
                raise
            raise EvalZipError("torn_file", f"{name}: {error}") from error
        if len(data) != info.file_size:
            raise EvalZipError("torn_file", f"{name}: {len(data)} bytes, not {info.file_size}")
        return data

    def _scan(self) -> list[zipfile.ZipInfo]:
        """The members by their local headers, up to the first that is not whole."""
        self._file.seek(0, 2)
        size = self._file.tell()
        offset = 0
        found: list[zipfile.ZipInfo] = []
        while offset + _LOCAL.size <= size:
            self._file.seek(offset)
            fields = _LOCAL.unpack(self._file.read(_LOCAL.size))
            if fields[0] != _SIGNATURE or fields[2] & _SIZES_FOLLOW:
                break
            packed, plain, name_length, extra_length = fields[7:11]
            name = self._file.read(name_length).decode("utf-8", "replace")
            extra = self._file.read(extra_length)
            if plain == 0xFFFFFFFF or packed == 0xFFFFFFFF:  # the sizes are in the zip64 field, the first in ``extra``
                if len(extra) < 20 or extra[:2] != b"\x01\x00":
                    break
                plain, packed = struct.unpack("<QQ", extra[4:20])
            following = offset + _LOCAL.size + name_length + extra_length + packed
            if following > size:
                break
            info = zipfile.ZipInfo(name)
            info.header_offset, info.flag_bits, info.compress_type = offset, fields[2], fields[3]
            info.CRC, info.compress_size, info.file_size = fields[6], packed, plain
            found.append(info)
            offset = following
        return found


def _decompressed(info: zipfile.ZipInfo, data: bytes) -> bytes:
    """The content of a member, at most as much as its header says and a byte more."""
    most = info.file_size + 1
    if info.compress_type == STORED:
        return data
    if info.compress_type == DEFLATED:
        return zlib.decompressobj(-15).decompress(data, most)
    if info.compress_type == ZSTD:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data, read_across_frames=True) as reader:
            return reader.read(most)
    raise EvalZipError("unreadable", f"{info.filename}: compressed in way {info.compress_type}")
