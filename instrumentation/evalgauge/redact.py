"""Redaction: secrets in texts are masked, regions of screenshots are covered, before anything is written or shared.

What the built-in patterns mask is listed in docs/privacy.md. A rule file adds patterns and boxes:

.. code-block:: toml

    [[pattern]]
    name = "customer"                  # becomes [redacted:customer]
    regex = "CUST-[0-9]{6}"

    [[box]]                            # a black rectangle over screenshots
    task = "checkout_*"                # optional, as is domain; * ? [] as in file names
    x = 0.0                            # left, top, width and height as fractions of the screenshot, 0 to 1
    y = 0.9
    width = 1.0
    height = 0.1
"""

from __future__ import annotations

import fnmatch
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from evalgauge.errors import RedactError

PATTERNS: Mapping[str, str] = {
    "private-key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    "api-key": r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}",
    "aws-key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "google-key": r"\bAIza[A-Za-z0-9_-]{35}",
    "github-token": r"\bgh[opsur]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}",
    "gitlab-token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "slack-token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "huggingface-token": r"\bhf_[A-Za-z0-9]{20,}",
    "jwt": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    "bearer-token": r"(?i:\b(?:bearer|basic)\s+)(?=[A-Za-z0-9._~+/=-]*[0-9._~+/=-])[A-Za-z0-9._~+/=-]{16,}",
    "url-password": r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)",
    "url-secret": r"(?i:(?<=[?&])(?:sig|signature|token|access_token|api[_-]?key|key|secret|password|code|"
    r"x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature)=)[^&#\s\"'<>]+",
    "secret": r"(?i:\b(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret)"
    r"[\"']?\s*[:=]\s*)(?:\"[^\"\n]+\"|'[^'\n]+'|(?!\[redacted)[^\s\"',;&}]+)",
    "e-mail": r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b",
    "private-url": r"(?i:\bhttps?://(?:10\.\d+\.\d+\.\d+|192\.168\.\d+\.\d+|172\.(?:1[6-9]|2\d|3[01])\.\d+\.\d+|"
    r"(?:[a-z0-9-]+\.)+(?:internal|local|corp|lan|intranet|home\.arpa)|[a-z0-9-]+(?=[:/]))(?::\d+)?)[^\s\"'<>]*",
}
"""The built-in patterns by name, in the order in which they are applied."""

_KEPT_PREFIX = frozenset({"bearer-token", "url-secret", "secret"})
"""Patterns that begin with the name of the secret, which stays."""
_PREFIX = re.compile(r"\A(?:(?:bearer|basic)\s+|[^=:]*[:=]\s*)", re.IGNORECASE)
_LOOPBACK = re.compile(r"https?://(?:localhost|127\.0\.0\.1)\b", re.IGNORECASE)

IDS = frozenset(
    {"run_id", "task_id", "worker_id", "benchmark", "model", "provider", "agent", "domain", "vm", "vm_size", "type"}
) | frozenset(
    {"outcome", "state", "status", "level", "role", "screenshot", "baseline_run_id", "service_tier", "region"}
)
"""Fields that identify something, and are not redacted: without them a run can't be compared or replayed."""


@dataclass(frozen=True)
class Box:
    """A region of screenshots that is covered."""

    x: float
    """Left edge as a fraction of the width, 0 to 1, as are the next three of width or height."""
    y: float
    width: float
    height: float
    task: str = "*"
    """Pattern of task ids."""
    domain: str = "*"
    """Pattern of domains."""

    def covers(self, task_id: str, domain: str | None) -> bool:
        """Return whether the box is meant for screenshots of this task.

        Args:
            task_id: The task.
            domain: Its domain.
        """
        return fnmatch.fnmatchcase(task_id, self.task) and fnmatch.fnmatchcase(domain or "", self.domain)


@dataclass(frozen=True)
class Redactor:
    """What is masked: the built-in patterns, those of a rule file, and a function of the user's.

    Args:
        patterns: Regular expressions by name, beside the built-in ones.
        boxes: Regions of screenshots.
        function: Called with each text after the patterns; returns the text to write.
    """

    patterns: Mapping[str, str] | None = None
    boxes: tuple[Box, ...] = ()
    function: Callable[[str], str] | None = None

    @cached_property
    def _compiled(self) -> list[tuple[str, re.Pattern[str]]]:
        return [(name, re.compile(regex, re.DOTALL)) for name, regex in {**PATTERNS, **(self.patterns or {})}.items()]

    def redact_text(self, text: str) -> str:
        """Return the text with every secret replaced by ``[redacted:<name>]``."""
        for name, pattern in self._compiled:
            text = pattern.sub(lambda match, name=name: _mask(name, match[0]), text)  # type: ignore[misc]
        return text if self.function is None else self.function(text)

    def redact_value(self, value: Any) -> Any:
        """Return a JSON value with every text in it redacted; keys stay."""
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, Mapping):
            return {key: self.redact_value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.redact_value(item) for item in value]
        return value

    def redact_event(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of an event redacted; those that identify something stay, of planned tasks too."""
        redacted = {key: item if key in IDS else self.redact_value(item) for key, item in fields.items()}
        for name in ("action", "tags"):
            if isinstance(value := fields.get(name), Mapping):
                redacted[name] = self.redact_free_fields(value)
        if isinstance(tasks := fields.get("tasks"), list | tuple):
            redacted["tasks"] = [self.redact_event(t) if isinstance(t, Mapping) else t for t in tasks]
        return redacted

    def redact_free_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of an action or tags with their texts redacted; only ``type`` stays as it is."""
        return {key: item if key == "type" else self.redact_value(item) for key, item in fields.items()}

    def boxes_for(self, task_id: str, domain: str | None) -> list[Box]:
        """Return the boxes over screenshots of a task.

        Args:
            task_id: The task.
            domain: Its domain.
        """
        return [box for box in self.boxes if box.covers(task_id, domain)]


def _mask(name: str, found: str) -> str:
    if name == "private-url" and _LOOPBACK.match(found):
        return found
    prefix = _PREFIX.match(found) if name in _KEPT_PREFIX else None
    return f"{prefix[0] if prefix else ''}[redacted:{name}]"


def create_redactor(redact: object) -> Redactor | None:
    """Return the redactor that an argument ``redact`` describes.

    Args:
        redact: None or False for none; True for the built-in patterns; the path of a rule file; a function of a text;
            a ``Redactor``.

    Raises:
        RedactError: The rule file can't be used, or the argument is none of these.
    """
    if redact is None or redact is False:
        return None
    if redact is True:
        return Redactor()
    if isinstance(redact, Redactor):
        return redact
    if isinstance(redact, str | os.PathLike):
        return load_rules(Path(redact))
    if callable(redact):
        return Redactor(function=redact)
    raise RedactError(f"redact is {type(redact).__name__}; give True, the path of a rule file or a function")


def load_rules(path: Path) -> Redactor:
    """Read a rule file (see the module).

    Raises:
        RedactError: It can't be read, or a rule is invalid.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RedactError(f"{path}: {error.strerror or error}; name an existing rule file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RedactError(f"{path} is not valid TOML: {error}") from error
    if unknown := sorted(content.keys() - {"pattern", "box"}):
        raise RedactError(f"{path}: unknown key {unknown[0]!r}; the tables are [[pattern]] and [[box]]")
    patterns = {}
    for number, row in enumerate(_rows(path, content, "pattern"), 1):
        name, regex = row.get("name"), row.get("regex")
        if not isinstance(name, str) or not isinstance(regex, str) or len(row) != 2:
            raise RedactError(f"{path}: [[pattern]] {number}: write name and regex, each as a text")
        try:
            if re.compile(regex).match(""):
                raise RedactError(f"{path}: [[pattern]] {number}: the regex matches an empty text")
        except re.error as error:
            raise RedactError(f"{path}: [[pattern]] {number}: not a regular expression: {error}") from error
        patterns[name] = regex
    boxes = tuple(_parse_box(path, number, row) for number, row in enumerate(_rows(path, content, "box"), 1))
    return Redactor(patterns, boxes)


def _rows(path: Path, content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = content.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RedactError(f"{path}: write {key} as [[{key}]]")
    return rows


def _parse_box(path: Path, number: int, row: Mapping[str, Any]) -> Box:
    where = f"{path}: [[box]] {number}"
    if unknown := sorted(row.keys() - Box.__dataclass_fields__.keys()):
        raise RedactError(f"{where}: unknown key {unknown[0]!r}; the keys are {', '.join(Box.__dataclass_fields__)}")
    for key in ("x", "y", "width", "height"):
        value = row.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise RedactError(f"{where}: {key} is a fraction of the screenshot, 0 to 1")
    for key in ("task", "domain"):
        if not isinstance(row.get(key, ""), str):
            raise RedactError(f"{where}: {key} is a pattern, as a text")
    return Box(**row)


def cover_image(image: bytes, boxes: list[Box]) -> bytes:
    """Return an image with black rectangles over regions, as PNG. Needs Pillow (the extra ``exporter``).

    Args:
        image: The bytes of an image file.
        boxes: The regions, in parts of the width and height.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
        OSError: The image can't be read.
    """
    import io

    from PIL import Image, ImageDraw

    with Image.open(io.BytesIO(image)) as opened:
        covered = opened.convert("RGB")
    draw = ImageDraw.Draw(covered)
    width, height = covered.size
    for box in boxes:
        left, top = int(box.x * width), int(box.y * height)
        right, bottom = -int(-(box.x + box.width) * width // 1), -int(-(box.y + box.height) * height // 1)
        if right > left and bottom > top:
            draw.rectangle((left, top, right - 1, bottom - 1), "#000000")
    out = io.BytesIO()
    covered.save(out, "PNG")
    return out.getvalue()
