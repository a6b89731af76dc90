"""The page of a replay: one document, one style sheet, one classic script, and a strict content security policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from urllib.parse import urlsplit

from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay.json_text import encode_for_script

SCRIPTS = (
    "core.js",
    "format.js",
    "address.js",
    "rows.js",
    "export.js",
    "rove.js",
    "list.js",
    "marks.js",
    "align.js",
    "actions.js",
    "stage.js",
    "player.js",
    "transcript.js",
    "search.js",
    "charts.js",
    "leaderboard.js",
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

STYLES = (
    "base.css",
    "tables.css",
    "replay.css",
    "transcript.css",
    "compare.css",
    "analysis.css",
    "narrow.css",
    "print.css",
)

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


def load_script() -> bytes:
    """Return the script of the page."""
    return b"".join(_read_asset(name) for name in SCRIPTS)


def load_style() -> bytes:
    """Return the style sheet of the page."""
    return b"".join(_read_asset(name) for name in STYLES)


def _read_asset(name: str) -> bytes:
    return (files("evalgauge_exporter.replay") / "web" / name).read_bytes()


def render_index(screenshot_base_url: str | None) -> bytes:
    """Render the ``index.html`` of a site.

    Args:
        screenshot_base_url: Where screenshots are loaded from; ``None`` for the site itself.

    Raises:
        ReplayError: The base URL is not a web address.
    """
    pictures = f" {_parse_origin(screenshot_base_url)}" if screenshot_base_url else ""
    # Chromium's 'self' covers files beside the page; other browsers need the scheme
    policy = _build_policy("script-src 'self' file:", "style-src 'self' file:", f"img-src 'self' file: data:{pictures}")
    head = '<link rel="stylesheet" href="assets/replay.css">'
    body = '<script src="assets/replay.js"></script>'
    return _DOCUMENT.format(policy=policy, head=head, body=body).encode()


def render_single_page(parts: Mapping[str, object]) -> bytes:
    """Render a page that holds everything, with its parts as inert JSON blocks.

    Args:
        parts: The content of each part by its name.
    """
    program, look = load_script(), load_style()
    policy = _build_policy(f"script-src {_hash_source(program)}", f"style-src {_hash_source(look)}", "img-src data:")
    head = f"<style>{look.decode()}</style>"
    blocks = "".join(
        f'<script type="application/json" data-part="{name}">{encode_for_script(content).decode()}</script>\n'
        for name, content in parts.items()
    )
    return _DOCUMENT.format(policy=policy, head=head, body=f"{blocks}<script>{program.decode()}</script>").encode()


def render_chunk(name: str, content: Mapping[str, object]) -> bytes:
    """Render the file of a part: a classic script that passes its content to the page.

    Args:
        name: The name of the part, made of file names.
        content: Its content.
    """
    return wrap_chunk(name, encode_for_script(content))


def wrap_chunk(name: str, content: bytes) -> bytes:
    """Return the file of a part whose content is encoded for a script."""
    return b'evalgauge.part("' + name.encode("ascii") + b'",' + content + b");\n"


def _build_policy(*sources: str) -> str:
    fixed: Iterable[str] = (
        "default-src 'none'",
        *sources,
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types evalgauge",
    )
    return "; ".join(fixed)


def _hash_source(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


def _parse_origin(url: str) -> str:
    """Return the scheme and host of a URL as a policy names them."""
    found = urlsplit(url)
    host = found.netloc.rpartition("@")[2]
    if found.scheme not in ("http", "https") or not host or any(c in host for c in " ;,'\"<>"):
        raise ReplayError(f"the base URL of the screenshots must begin with https:// or http://, not {url!r}")
    return f"{found.scheme}://{host}"
