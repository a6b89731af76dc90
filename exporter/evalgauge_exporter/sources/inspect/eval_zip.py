"""Reading of zip files with zstd members, also of one that was cut off before its directory was written.

Python's zipfile reads method 93 (zstd) from 3.14 on; ``backports.zstd`` is that module for the releases before. The
local header: PKWARE's APPNOTE.TXT, 4.3.7.
"""

from __future__ import annotations

import codecs
import errno
import struct
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

if sys.version_info >= (3, 14):
    import zipfile

    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError, zipfile

from evalgauge_exporter.errors import EvalZipError
from evalgauge_exporter.sources.parsing import MAX_PARSED, exceeds_memory
from evalgauge_exporter.sources.storage import files

MAX_MEMBER = 256 << 20
"""Bytes: a larger member is not read, so that a small file can't fill the memory."""
codecs.lookup("cp437")  # zipfile's encoding of names: loaded now, there may be no free descriptor later
_MAX_FRAMES = 16
"""Frames of zstd in a member: each one more copies what follows it."""
_LOCAL = struct.Struct("<4s5H3L2H")
_SIGNATURE = b"PK\x03\x04"
_SIZES_FOLLOW = 0x08
_ENCRYPTED = 0x01


class LogMember(Protocol):
    """What is known of a part of a log before it is read."""

    @property
    def CRC(self) -> int:  # noqa: N802 as zipfile names it
        """A checksum of its content."""

    @property
    def file_size(self) -> int:
        """Bytes of its content."""


class LogReader(Protocol):
    """The parts of a log by name, whatever form it has. A context manager."""

    whole: bool
    """Whether nothing of the log is cut off."""

    @property
    def members(self) -> Mapping[str, LogMember]:
        """The parts."""

    def read(self, name: str) -> bytes:
        """Return the content of a part. Raises KeyError and EvalZipError."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class EvalZipReader:
    """The members of a zip file by name; of two with one name the later. A context manager."""

    def __init__(self, path: Path, members: Mapping[str, zipfile.ZipInfo] | None = None) -> None:
        """Open the file.

        Args:
            path: The file.
            members: Its members, where another reader of the same file has listed them.

        Raises:
            OSError: It can't be read.
            EvalZipError: There is no member in it.
        """
        self._file: IO[bytes] = files.open_binary(path)
        self.whole = True
        """Whether the file has its directory; a log that was cut off has none."""
        try:
            self.members = {info.filename: info for info in self._list()} if members is None else members
        except BaseException:
            self._file.close()
            raise
        if not self.members:
            self._file.close()
            raise EvalZipError("torn_file", f"{path}: no zip file")

    def _list(self) -> list[zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(self._file) as archive:
                return archive.infolist()
        # all that zipfile raises for a directory that is cut off, garbled or of a kind that it does not know
        except (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, ValueError, NotImplementedError, EOFError):
            self.whole = False
            return self._scan()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, name: str) -> bytes:
        """Return the content of a member, a JSON document.

        Raises:
            KeyError: There is no member of this name.
            EvalZipError: It is too large, would be too large once parsed, is encrypted or damaged, or is compressed in
                an unknown way.
            OSError: The file can't be read for the moment.
        """
        info = self.members[name]
        if max(info.file_size, info.compress_size) > MAX_MEMBER:
            raise EvalZipError("long_file", f"{name}: larger than {MAX_MEMBER >> 20} MiB")
        if info.flag_bits & _ENCRYPTED:
            raise EvalZipError("unreadable", f"{name}: is encrypted")
        try:
            self._file.seek(info.header_offset)
            fields = _LOCAL.unpack(self._file.read(_LOCAL.size))
            if fields[0] != _SIGNATURE:
                raise EvalZipError("torn_file", f"{name}: not where the directory says")
            self._file.seek(fields[9] + fields[10], 1)
            return _unpack(self._file.read(info.compress_size), info)
        except OSError as error:
            if error.errno not in (None, errno.EINVAL):
                raise
            raise EvalZipError("torn_file", f"{name}: not where the directory says") from error
        except (EOFError, struct.error, zlib.error, ZstdError, OverflowError) as error:
            raise EvalZipError("torn_file", f"{name}: {str(error) or 'cut off'}") from error

    def _scan(self) -> list[zipfile.ZipInfo]:
        """Return the members by their local headers, up to the first that is not whole."""
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


def _unpack(packed: bytes, info: zipfile.ZipInfo) -> bytes:
    """Unpack a JSON document, no further than its stated size and up to what its values may take in memory."""
    most = info.file_size + 1
    if info.compress_type == zipfile.ZIP_STORED:
        data = packed
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
    elif info.compress_type == zipfile.ZIP_ZSTANDARD:
        data = _unpack_zstd(packed, most)
    else:
        raise EvalZipError("unreadable", f"{info.filename}: compression method {info.compress_type} is not known")
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise EvalZipError("torn_file", f"{info.filename}: not the content whose size and CRC-32 are stated")
    if exceeds_memory(data):
        raise EvalZipError("long_file", f"{info.filename}: would need more than {MAX_PARSED >> 20} MiB of memory")
    return data


def _unpack_zstd(packed: bytes, most: int) -> bytes:
    """Unpack frames of zstd, up to so many bytes: Inspect begins a new one every 200 MiB."""
    data = b""
    for _ in range(_MAX_FRAMES):
        if not packed or len(data) >= most:
            break
        frame = ZstdDecompressor()
        data += frame.decompress(packed, most - len(data))
        packed = frame.unused_data
    return data
