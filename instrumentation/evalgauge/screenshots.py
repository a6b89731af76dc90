"""Screenshots in any form that a runner has them, and where their files are beside the log."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from evalgauge.runlog import safe_name

Screenshot = bytes | bytearray | memoryview | str | os.PathLike[str] | Any
"""PNG, JPEG, GIF or WebP bytes, the path of such a file, a ``data:`` URL, an array of uint8 pixels of the
shape (height, width) or (height, width, 1, 3 or 4), or an object with ``save`` like a Pillow image."""

_MAGIC = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
_COLOURS = {1: 0, 3: 2, 4: 6}
"""PNG's colour type by the number of channels."""


class FrozenImage(NamedTuple):
    """A screenshot that the caller can't change any more."""

    encode: Callable[[], bytes]
    """Returns the image file; encodes it where it isn't one yet."""
    size: int
    """About the bytes that it holds in memory."""
    suffix: str
    """The suffix of the file's name, as ``png``."""


def path_inside(screenshot: Screenshot, run_folder: Path) -> str | None:
    """Return the path relative to the run's folder of a screenshot that is a file in it already, else None."""
    if isinstance(screenshot, str | os.PathLike) and not str(screenshot).startswith("data:"):
        path = Path(screenshot)
        if path.is_absolute() and path.is_relative_to(run_folder.absolute()):
            return path.relative_to(run_folder.absolute()).as_posix()
    return None


def freeze_image(screenshot: Screenshot) -> FrozenImage:
    """Copy a screenshot, so that it can be encoded and written later: runners reuse files and buffers for the next one.

    Args:
        screenshot: The screenshot.

    Raises:
        OSError: A file could not be read.
        ValueError: The screenshot is not an image; an object's ``copy`` and ``save`` may raise anything else.
    """
    if isinstance(screenshot, str | os.PathLike) and not str(screenshot).startswith("data:"):
        return _frozen_file(Path(screenshot).read_bytes())
    if isinstance(screenshot, str):
        head, _, body = screenshot.partition(",")
        try:
            return _frozen_file(base64.b64decode(body, validate=True) if head.endswith(";base64") else body.encode())
        except binascii.Error as error:
            raise ValueError(f"the screenshot's data URL is not valid base64: {error}") from error
    if isinstance(screenshot, bytes | bytearray):
        return _frozen_file(bytes(screenshot))
    image: Any = screenshot
    try:
        pixels = memoryview(image)
    except TypeError:
        return _freeze_picture(image)
    if pixels.ndim <= 1:
        return _frozen_file(pixels.tobytes())
    shape = pixels_shape(pixels)
    data = pixels.tobytes()
    return FrozenImage(lambda: encode_png(data, *shape), len(data), "png")


def _frozen_file(data: bytes) -> FrozenImage:
    suffix = next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "bin")
    return FrozenImage(lambda: data, len(data), suffix)


def _freeze_picture(image: Any) -> FrozenImage:
    """Freeze an object with ``save``; one that can't be copied is encoded at once."""

    def encode(picture: Any) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    copy, extent = getattr(image, "copy", None), getattr(image, "size", None)
    if not callable(copy) or not isinstance(extent, tuple) or len(extent) != 2:
        return _frozen_file(encode(image))
    copied = copy()
    return FrozenImage(lambda: encode(copied), 4 * int(extent[0]) * int(extent[1]), "png")


def path_beside_log(kind: str, task_id: str, attempt: int, file_name: str) -> str:
    """Return the path of a file of an attempt relative to the run's folder, ``<kind>/<task>/<attempt>/<file name>``.

    Args:
        kind: The folder for files of this kind, as ``screenshots``.
        task_id: The task.
        attempt: The number of the attempt.
        file_name: The name of the file.
    """
    name = safe_name(task_id)
    if name != task_id:
        name = f"{safe_name(task_id, 100)}-{hashlib.sha256(task_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"{kind}/{name}/{attempt}/{file_name}"


def pixels_shape(pixels: memoryview) -> tuple[int, int, int]:
    """Return height, width and channels of an array of pixels.

    Raises:
        ValueError: It is no array of uint8 of the shape (height, width) or (height, width, 1, 3 or 4).
    """
    height, width, channels = (*(pixels.shape or ()), 1)[:3]
    if pixels.format != "B" or channels not in _COLOURS or pixels.ndim > 3 or not height or not width:
        raise ValueError(f"an array of shape {pixels.shape} and format {pixels.format!r} is no uint8 image")
    return height, width, channels


def encode_png(data: bytes, height: int, width: int, channels: int) -> bytes:
    """Encode pixels as PNG (https://www.w3.org/TR/png-3/).

    Args:
        data: The values row by row, ``height * width * channels`` bytes.
        height: Pixels from top to bottom.
        width: Pixels from left to right.
        channels: 1 (grey), 3 (red, green, blue) or 4 (and alpha).
    """
    stride = width * channels
    rows = b"".join(b"\0" + data[at : at + stride] for at in range(0, len(data), stride))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 3)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
