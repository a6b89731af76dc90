"""Screenshots: found inside the run's folder and nowhere else, and brought into the site without being read."""

from __future__ import annotations

import filecmp
import io
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

from evalgauge_exporter.errors import ReplayError

Way = Literal["link", "symlink", "copy", "none"]
"""How screenshots come into the site: hard links where the file system can, else copies; symbolic links, for a site
that is served and not sent; copies; not at all."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
THUMBNAIL_WIDTH = 240
"""Pixels."""


class Screenshot(NamedTuple):
    """A screenshot that is there."""

    path: Path
    """Without symbolic links."""
    status: os.stat_result

    @property
    def suffix(self) -> str:
        """In lower case, with the dot."""
        return self.path.suffix.lower()

    def read(self) -> bytes:
        """The picture; raises OSError."""
        return self.path.read_bytes()


class EmbeddedScreenshot(NamedTuple):
    """A screenshot that is no file of its own: the log holds it."""

    content: bytes
    suffix: str

    def read(self) -> bytes:
        """The picture."""
        return self.content


Picture = Screenshot | EmbeddedScreenshot

_MAGIC = ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"GIF8", ".gif"), (b"RIFF", ".webp"), (b"BM", ".bmp"))


class ShotFolder:
    """The screenshots of one run. What lies outside its folder is not there, whatever path or link leads to it."""

    def __init__(self, folder: Path, held: Callable[[str], bytes | None] | None = None) -> None:
        """``held``: gives the pictures that the run's log holds itself, by the same paths."""
        self._folder = folder
        self._held = held
        self._real = Path(os.path.realpath(folder))
        self._parents: dict[str, Path | None] = {}

    def find(self, relative: str) -> Picture | None:
        """The picture at this path relative to the run's folder; None where there is none that may be shown."""
        return self._file(relative) or (self._in_log(relative) if self._held is not None else None)

    def _in_log(self, relative: str) -> EmbeddedScreenshot | None:
        try:
            content = self._held(relative) if self._held is not None else None
        except Exception:  # whatever a damaged log does to its reader: the picture is not there
            return None
        suffix = next((suffix for magic, suffix in _MAGIC if content and content.startswith(magic)), None)
        return None if content is None or suffix is None else EmbeddedScreenshot(content, suffix)

    def _file(self, relative: str) -> Screenshot | None:
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
        except (OSError, ValueError):  # not there, no permission, a name that no file can have
            return None
        return Screenshot(path, status) if stat.S_ISREG(status.st_mode) else None

    def _inside(self, path: Path) -> Path | None:
        real = Path(os.path.realpath(path, strict=True))
        return real if real == self._real or self._real in real.parents else None


def changed(before: Picture | None, after: Picture | None) -> bool | None:
    """Whether two screenshots differ, by their bytes; None where one is not there. Unequal sizes need no reading."""
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
    try:
        return not filecmp.cmp(before.path, after.path, shallow=False)
    except OSError:
        return None


def copy_screenshot(shot: Picture, target: Path, way: Way) -> int:
    """Put a screenshot into the site; the bytes that it takes there, 0 where it is linked or was there already."""
    if isinstance(shot, EmbeddedScreenshot):
        if target.is_file() and target.read_bytes() == shot.content:
            return 0
        return target.write_bytes(shot.content)
    try:
        there = target.lstat()
    except FileNotFoundError:
        there = None
    if way == "symlink":
        if there is not None:
            if stat.S_ISLNK(there.st_mode) and os.readlink(target) == str(shot.path):
                return 0
            target.unlink()
        target.symlink_to(shot.path)
        return 0
    if there is not None:
        same = os.path.samestat(there, shot.status) or (
            stat.S_ISREG(there.st_mode)
            and there.st_size == shot.status.st_size
            and there.st_mtime_ns == shot.status.st_mtime_ns
        )
        if same:
            return 0
        target.unlink()
    if way == "link":
        try:
            os.link(shot.path, target)
            return 0
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links, or too many of them
            pass
    shutil.copy2(shot.path, target)
    return shot.status.st_size


def thumbnail(shot: Picture, target: Path) -> int:
    """Write a JPEG of at most ``THUMBNAIL_WIDTH`` pixels; its bytes, 0 where one as new as the picture was there.

    Raises ReplayError where Pillow is not installed, OSError where the picture can't be read.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ReplayError("thumbnails need the package Pillow: pip install pillow; or go without them") from error
    when = shot.status.st_mtime_ns if isinstance(shot, Screenshot) else 0
    if target.exists() and target.stat().st_mtime_ns >= when:
        return 0
    with Image.open(shot.path if isinstance(shot, Screenshot) else io.BytesIO(shot.content)) as picture:
        picture.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
        picture.convert("RGB").save(target, "JPEG", quality=70)
    return target.stat().st_size


def remote(base_url: str, below: str, relative: str) -> str | None:
    """The address of a screenshot that stays where it is: base, the run's folder, the path in the log.

    A query of the base, such as the signature that opens a blob container, stays at the end. None for a path that
    leaves the run's folder.
    """
    parts = relative.replace("\\", "/").split("/")
    if relative.startswith("/") or ".." in parts or ":" in parts[0]:
        return None
    path = "/".join(quote(part) for part in (*below.split("/"), *parts) if part not in ("", "."))
    base = urlsplit(base_url)
    return base._replace(path=f"{quote(base.path.rstrip('/'), safe='/%')}/{path}", fragment="").geturl()
