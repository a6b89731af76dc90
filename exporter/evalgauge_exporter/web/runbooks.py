"""The runbooks as a page: where the alerts' messages lead."""

from __future__ import annotations

import functools
import itertools
from importlib import resources
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

SOURCE = "runbooks.md"
"""Beside this file in an installed package; in the repository it lies in ``docs``."""


def read_source() -> str:
    """Return the runbooks as Markdown."""
    packaged = Path(str(resources.files("evalgauge_exporter.web") / SOURCE))
    in_repository = Path(__file__).parents[3] / "docs" / SOURCE
    return (packaged if packaged.is_file() else in_repository).read_text(encoding="utf-8")


@functools.cache
def render_runbooks() -> str:
    """Render the page. An alert's section has two anchors: its name, as a dashboard links, and that in lower case."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(read_source())
    contents = _mark_sections(tokens)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        '<title>evalgauge: runbooks</title><link rel="icon" href="live/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="live/base.css"><link rel="stylesheet" href="live/reference.css"></head>'
        f'<body><main><p><a href="./">The live page</a></p><nav aria-label="Alerts">{contents}</nav>'
        f"{markdown.renderer.render(tokens, markdown.options, {})}</main></body></html>"
    )


def _mark_sections(tokens: list[Token]) -> str:
    """Give every section its anchors, and return the links to them."""
    links = ""
    for opening, heading in itertools.pairwise(tokens):
        if opening.type == "heading_open" and opening.tag == "h2":
            name = heading.content
            opening.attrSet("id", name.lower())
            anchor = Token("span_open", "span", 1, attrs={"id": name})
            heading.children = [anchor, Token("span_close", "span", -1), *(heading.children or [])]
            links += f'<a href="#{name.lower()}">{name}</a> '
    return links
