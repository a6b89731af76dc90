"""Screenshots: found inside the run's folder and nowhere else, and linked or copied into the site."""

from __future__ import annotations

import filecmp
import io
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.sources.safe_open import open_beneath
from evalgauge_exporter.sources.storage import files

ScreenshotMode = Literal["link", "symlink", "copy", "none"]
"""How screenshots get into the site: ``link``, hard links where the file system can, else copies; ``symlink``, for a
site that is served and not sent; ``copy``; ``none``."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
THUMBNAIL_WIDTH = 240
"""Pixels."""


IMAGE_TYPES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"), (b"BM", "bmp"))
"""The first bytes of images and the subtypes of their media types."""


def image_type(head: bytes) -> str | None:
    """Return the media type of an image by its first bytes, ``None`` for what is not an image that a page may show."""
    return next((f"image/{kind}" for magic, kind in IMAGE_TYPES if head.startswith(magic)), None)


class Screenshot(NamedTuple):
    """A screenshot that is a file."""

    root: Path
    """The folder of the run, without symbolic links."""
    path: Path
    """Without symbolic links."""
    status: os.stat_result

    @property
    def suffix(self) -> str:
        """The file name suffix, in lower case, with its dot."""
        return self.path.suffix.lower()

    def open(self) -> BinaryIO:
        """Open the file that was found, and no other that has taken its place. Raises ``OSError``."""
        files.fetch(self.path)
        fd = open_beneath(self.root, self.path.relative_to(self.root).as_posix())
        if not os.path.samestat(os.fstat(fd), self.status):
            os.close(fd)
            raise FileNotFoundError(f"{self.path} is another file than before")
        return os.fdopen(fd, "rb")

    def read(self) -> bytes:
        """Return the bytes of the image. Raises ``OSError``."""
        with self.open() as file:
            return file.read()


class EmbeddedScreenshot(NamedTuple):
    """A screenshot that is embedded in the log of the run."""

    content: bytes
    suffix: str

    def read(self) -> bytes:
        """Return the bytes of the image."""
        return self.content


AnyScreenshot = Screenshot | EmbeddedScreenshot


class ScreenshotFolder:
    """The screenshots of one run. A file outside its folder is never found, whatever path or link leads to it.

    Args:
        folder: The folder of the run.
        read_embedded: Returns an image that is embedded in the log, by the same paths; ``None`` for other formats.
    """

    def __init__(self, folder: Path, read_embedded: Callable[[str], bytes | None] | None = None) -> None:
        self._folder = folder
        self._read_embedded = read_embedded
        self._real = Path(os.path.realpath(folder))
        self._parents: dict[str, Path | None] = {}

    def find(self, relative: str) -> AnyScreenshot | None:
        """Return the screenshot at a path relative to the run's folder, ``None`` where there is none to be shown."""
        return self._find_file(relative) or self._find_embedded(relative)

    def _find_embedded(self, relative: str) -> EmbeddedScreenshot | None:
        try:
            content = self._read_embedded(relative) if self._read_embedded is not None else None
        except Exception:  # a damaged log can raise anything in its reader
            return None
        kind = None if content is None else image_type(content)
        if content is None or kind is None:
            return None
        return EmbeddedScreenshot(content, f".{kind.removeprefix('image/')}".replace("jpeg", "jpg"))

    def _find_file(self, relative: str) -> Screenshot | None:
        head, _, name = relative.replace("\\", "/").rpartition("/")
        if not name or Path(name).suffix.lower() not in SUFFIXES:
            return None
        try:
            if head not in self._parents:
                self._parents[head] = self._inside(self._folder / head)
            parent = self._parents[head]
            if parent is None:
                return None
            path = parent / name
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                real = self._inside(path)
                if real is None or real.suffix.lower() not in SUFFIXES:
                    return None
                path, status = real, real.lstat()
        except (OSError, ValueError):  # missing, no permission, or a name that no file can have
            return None
        return Screenshot(self._real, path, status) if stat.S_ISREG(status.st_mode) else None

    def _inside(self, path: Path) -> Path | None:
        real = Path(os.path.realpath(path, strict=True))
        return real if real == self._real or self._real in real.parents else None


def differ(before: AnyScreenshot | None, after: AnyScreenshot | None) -> bool | None:
    """Whether two screenshots differ in their bytes, ``None`` where one is missing. Different sizes need no reading."""
    if before is None or after is None:
        return None
    if isinstance(before, EmbeddedScreenshot) or isinstance(after, EmbeddedScreenshot):
        return (
            before.content != after.content
            if isinstance(before, EmbeddedScreenshot) and isinstance(after, EmbeddedScreenshot)
            else None
        )
    if before.status.st_size != after.status.st_size:
        return True
    if os.path.samestat(before.status, after.status):
        return False
    if files.is_placeholder(before.path) or files.is_placeholder(after.path):
        return None  # to compare them would mean to download them
    try:
        return not filecmp.cmp(before.path, after.path, shallow=False)
    except OSError:
        return None


def copy_screenshot(shot: AnyScreenshot, target: Path, mode: ScreenshotMode) -> int:
    """Link or copy a screenshot into the site.

    Args:
        shot: The screenshot.
        target: Its path in the site.
        mode: Link, symbolic link or copy.

    Returns:
        The bytes written; 0 where it is linked or was there already.

    Raises:
        FileNotFoundError: The screenshot has been deleted in the meantime.
        OSError: It can't be written.
    """
    if isinstance(shot, EmbeddedScreenshot):
        if target.is_file() and target.read_bytes() == shot.content:
            return 0
        return target.write_bytes(shot.content)
    try:
        there = target.lstat()
    except FileNotFoundError:
        there = None
    if mode == "symlink":
        if there is not None:
            if stat.S_ISLNK(there.st_mode) and os.readlink(target) == str(shot.path):
                return 0
            target.unlink()
        target.symlink_to(shot.path)
        return 0
    files.fetch(shot.path)
    if there is not None:
        same = os.path.samestat(there, shot.status) or (
            stat.S_ISREG(there.st_mode)
            and there.st_size == shot.status.st_size
            and there.st_mtime_ns == shot.status.st_mtime_ns
        )
        if same:
            return 0
        target.unlink()
    if mode == "link":
        try:
            os.link(shot.path, target, follow_symlinks=False)
        except FileNotFoundError:
            raise
        except (OSError, NotImplementedError):  # another file system, one without links, or too many of them
            pass
        else:
            linked = target.lstat()  # a new file may have the number of the one that it replaces
            if stat.S_ISREG(linked.st_mode) and os.path.samestat(linked, shot.status):
                return 0
            target.unlink()
            raise FileNotFoundError(f"{shot.path} is another file than before")
    with shot.open() as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    os.utime(target, ns=(shot.status.st_atime_ns, shot.status.st_mtime_ns))
    return shot.status.st_size


def write_thumbnail(shot: AnyScreenshot, target: Path) -> int:
    """Write a thumbnail of a screenshot, a JPEG of at most ``THUMBNAIL_WIDTH`` pixels.

    Returns:
        The bytes written; 0 where a thumbnail as new as the screenshot was there.

    Raises:
        ReplayError: Pillow is not installed.
        OSError: The image can't be decoded.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ReplayError("thumbnails need the package Pillow: pip install pillow; or go without them") from error
    when = shot.status.st_mtime_ns if isinstance(shot, Screenshot) else 0
    if target.exists() and target.stat().st_mtime_ns >= when:
        return 0
    content = shot.open() if isinstance(shot, Screenshot) else io.BytesIO(shot.content)
    with content, Image.open(content) as picture:
        picture.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
        picture.convert("RGB").save(target, "JPEG", quality=70)
    return target.stat().st_size


def build_url(base_url: str, below: str, relative: str) -> str | None:
    """Build the URL of a screenshot that is not part of the site: base, folder of the run, path in the log.

    Args:
        base_url: Base URL; its query, such as the signature of a blob container, stays at the end.
        below: Path of the run's folder below the base.
        relative: Path of the screenshot in the log.

    Returns:
        The URL, ``None`` for a path that leaves the folder of the run.
    """
    parts = relative.replace("\\", "/").split("/")
    if relative.startswith("/") or ".." in parts or ":" in parts[0]:
        return None
    path = "/".join(quote(part) for part in (*below.split("/"), *parts) if part not in ("", "."))
    base = urlsplit(base_url)
    return base._replace(path=f"{quote(base.path.rstrip('/'), safe='/%')}/{path}", fragment="").geturl()
