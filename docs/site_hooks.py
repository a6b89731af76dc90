"""Hooks of the documentation site: files at the root of the repository are pages too."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROOT_PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md", "security-policy.md": "SECURITY.md"}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill the pages of root files, and point links to such files at their pages."""
    name = page.file.src_uri
    if name in ROOT_PAGES:
        markdown = (ROOT / ROOT_PAGES[name]).read_text(encoding="utf-8").replace("](docs/", "](")
        up = ""
    else:
        up = "../" * name.count("/") + "../"
    for target, source in ROOT_PAGES.items():
        markdown = markdown.replace(f"]({up}{source}", f"]({up.removesuffix('../')}{target}")
    # what else lies outside of docs/ is no page of the site: its name stays, its link goes
    return re.sub(rf"\[([^\]]+)\]\({re.escape(up)}[^)]*\)", r"\1", markdown) if up else markdown
