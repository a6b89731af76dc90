"""The page: one document, one style sheet, one classic script, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from urllib.parse import urlsplit

from evalgauge.runlog import encode
from evalgauge_exporter.errors import ReplayError

SCRIPTS = (
    "core.js",
    "format.js",
    "address.js",
    "rows.js",
    "export.js",
    "list.js",
    "marks.js",
    "align.js",
    "actions.js",
    "stage.js",
    "player.js",
    "charts.js",
    "runs.js",
    "tasks.js",
    "run.js",
    "task.js",
    "compare.js",
    "matrix.js",
    "regressions.js",
    "analysis.js",
    "help.js",
    "main.js",
)
"""In the order in which they run."""

STYLES = ("base.css", "tables.css", "replay.css", "compare.css", "analysis.css", "narrow.css", "print.css")

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>evalgauge replay</title>
{head}
</head>
<body>
<noscript><p>The replay needs JavaScript; nothing is loaded from anywhere but this folder.</p></noscript>
<div id="app"></div>
{body}
</body>
</html>
"""


def script() -> bytes:
    """The page's program."""
    return b"".join(_web(name) for name in SCRIPTS)


def style() -> bytes:
    """The page's style sheet."""
    return b"".join(_web(name) for name in STYLES)


def _web(name: str) -> bytes:
    return (files("evalgauge_exporter.replay") / "web" / name).read_bytes()


def site_document(screenshot_base_url: str | None) -> bytes:
    """``index.html`` of a site."""
    pictures = f" {_origin(screenshot_base_url)}" if screenshot_base_url else ""
    # Chromium takes 'self' for the files beside the page; other browsers want the scheme named
    policy = _policy("script-src 'self' file:", "style-src 'self' file:", f"img-src 'self' file: data:{pictures}")
    head = '<link rel="stylesheet" href="assets/replay.css">'
    body = '<script src="assets/replay.js"></script>'
    return _DOCUMENT.format(policy=policy, head=head, body=body).encode()


def render_single_page(parts: Mapping[str, object]) -> bytes:
    """A page that holds everything, its parts as inert JSON blocks."""
    program, look = script(), style()
    policy = _policy(f"script-src {_digest(program)}", f"style-src {_digest(look)}", "img-src data:")
    head = f"<style>{look.decode()}</style>"
    blocks = "".join(
        f'<script type="application/json" data-part="{name}">{encoded(content).decode()}</script>\n'
        for name, content in parts.items()
    )
    return _DOCUMENT.format(policy=policy, head=head, body=f"{blocks}<script>{program.decode()}</script>").encode()


def render_chunk(name: str, content: Mapping[str, object]) -> bytes:
    """The file of a part: a classic script that hands it over. ``name`` is made of file names."""
    return b'evalgauge.part("' + name.encode("ascii") + b'",' + encoded(content) + b");\n"


def encoded(content: object) -> bytes:
    """Strict ASCII JSON that ends no script element and begins no comment."""
    return encode({"": content})[4:-1].replace(b"<", b"\\u003c")


def _policy(*sources: str) -> str:
    fixed: Iterable[str] = (
        "default-src 'none'",
        *sources,
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types evalgauge",
    )
    return "; ".join(fixed)


def _digest(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


def _origin(url: str) -> str:
    """Scheme and host, as a policy names them; raises ReplayError for what is no web address."""
    found = urlsplit(url)
    host = found.netloc.rpartition("@")[2]
    if found.scheme not in ("http", "https") or not host or any(c in host for c in " ;,'\"<>"):
        raise ReplayError(f"the screenshots' base URL is no web address: {url!r}; it begins with https:// or http://")
    return f"{found.scheme}://{host}"
