"""Screenshots in any form that a runner has them, stored as files beside the log."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

from evalgauge.runlog import safe_name

Screenshot = bytes | bytearray | memoryview | str | os.PathLike[str] | Any
"""PNG, JPEG, GIF or WebP bytes, the path of such a file, a ``data:`` URL, an array of uint8 pixels of the
shape (height, width) or (height, width, 1, 3 or 4), or an object with ``save`` like a Pillow image."""

_MAGIC = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


def save_screenshot(screenshot: Screenshot, run_folder: Path, task_id: str, attempt: int, index: int) -> str:
    """Store the screenshot of a step in the run's folder; a file that is in it already stays where it is.

    Args:
        screenshot: The screenshot.
        run_folder: The run's folder.
        task_id: The step's task.
        attempt: The step's attempt.
        index: The step's index.

    Returns:
        The path of the file relative to the run's folder.

    Raises:
        OSError: The file could not be written.
        ValueError: The screenshot is not an image.
    """
    if isinstance(screenshot, str | os.PathLike) and not str(screenshot).startswith("data:"):
        path = Path(screenshot)
        if path.is_absolute() and path.is_relative_to(run_folder.absolute()):
            return path.relative_to(run_folder.absolute()).as_posix()
        data = path.read_bytes()  # copied, not linked: runners overwrite it with the next one
    else:
        data = image_bytes(screenshot)
    suffix = next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "bin")
    return store_beside_log(data, run_folder, "screenshots", task_id, attempt, f"step_{index:04d}.{suffix}")


def store_beside_log(data: bytes, run_folder: Path, kind: str, task_id: str, attempt: int, file_name: str) -> str:
    """Store a file of an attempt in the run's folder, as ``<kind>/<task>/<attempt>/<file name>``.

    Args:
        data: The content of the file.
        run_folder: The run's folder.
        kind: The folder for files of this kind, as ``screenshots``.
        task_id: The task.
        attempt: The number of the attempt.
        file_name: The name of the file.

    Returns:
        The path relative to the run's folder.

    Raises:
        OSError: The file could not be written.
    """
    name = safe_name(task_id)
    if name != task_id:
        name = f"{safe_name(task_id, 100)}-{hashlib.sha256(task_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    relative = f"{kind}/{name}/{attempt}/{file_name}"
    target = run_folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.write_bytes(data)
    except OSError:  # a full disk may have taken a part
        target.unlink(missing_ok=True)
        raise
    return relative


def read_screenshot(screenshot: Screenshot) -> bytes:
    """Return the image file of a screenshot in any form.

    Raises:
        OSError: A file could not be read.
        ValueError: The screenshot is not an image.
    """
    if isinstance(screenshot, str | os.PathLike) and not str(screenshot).startswith("data:"):
        return Path(screenshot).read_bytes()
    return image_bytes(screenshot)


def image_bytes(screenshot: Screenshot) -> bytes:
    """Return the image file of a screenshot that is not a path.

    Raises:
        ValueError: The screenshot is not an image; an object's ``save`` may raise anything else.
    """
    if isinstance(screenshot, bytes | bytearray | memoryview):
        return bytes(screenshot)
    if isinstance(screenshot, str):
        head, _, body = screenshot.partition(",")
        try:
            return base64.b64decode(body, validate=True) if head.endswith(";base64") else body.encode()
        except binascii.Error as error:
            raise ValueError(f"the screenshot's data URL is not valid base64: {error}") from error
    image: Any = screenshot
    try:
        pixels = memoryview(image)
    except TypeError:
        pass
    else:
        return encode_png(pixels) if pixels.ndim > 1 else pixels.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def encode_png(pixels: memoryview) -> bytes:
    """Encode an array of pixels as PNG (https://www.w3.org/TR/png-3/).

    Args:
        pixels: uint8 values of the shape (height, width) or (height, width, channels) with 1, 3 or 4 channels.

    Raises:
        ValueError: The array has another shape or type.
    """
    height, width, channels = (*(pixels.shape or ()), 1)[:3]
    colour = {1: 0, 3: 2, 4: 6}.get(channels)
    if pixels.format != "B" or colour is None or pixels.ndim > 3 or not height or not width:
        raise ValueError(f"an array of shape {pixels.shape} and format {pixels.format!r} is no uint8 image")
    data, stride = pixels.tobytes(), width * channels
    rows = b"".join(b"\0" + data[at : at + stride] for at in range(0, len(data), stride))
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 3)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
