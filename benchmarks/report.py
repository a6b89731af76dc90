"""What was measured as lines for the terminal, and as tables in the sections of a page."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from benchmarks.rows import Row

SECTION = re.compile(r"(?m)^<!-- bench ([a-z_]+) -->\n(.*?)^<!-- /bench -->$", re.DOTALL)
"""A section of a page: the benchmark's name and the table."""


class Measured(NamedTuple):
    """What one benchmark gave."""

    rows: Sequence[Row]
    seconds: float
    """How long it took."""
    failure: str
    """Why it did not finish; ``""`` where it did."""


def format_ratio(ratio: float) -> str:
    """Return a ratio with two decimals, a small one with as many as it takes to show one figure."""
    decimals = 2 if abs(ratio) >= 0.005 or ratio == 0 else -math.floor(math.log10(abs(ratio)))
    return f"{ratio:.{decimals}f}"


def format_line(row: Row) -> str:
    """Return a row as one line of text."""
    compared = "" if row.ratio is None else f", ratio {format_ratio(row.ratio)}"
    return "".join(
        [f"{row.what}: {row.measured}", compared, row.beside and f" ({row.beside})", row.aim and f" [aim: {row.aim}]"]
    )


def render_table(measured: Measured) -> str:
    """Return what one benchmark gave in Markdown, with the day and the machine."""
    lines = ["| what | measured | beside | ratio | aim |", "|---|---|---|---:|---|"]
    for row in measured.rows:
        ratio = "" if row.ratio is None else format_ratio(row.ratio)
        cells = (row.what, row.measured, row.beside, ratio, row.aim)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    if measured.failure:
        lines += ["", f"**It did not finish:** {' '.join(measured.failure.split())}"]
    lines += ["", f"*{date.today().isoformat()}, {measured.seconds:.0f} s, {describe_machine()}.*"]
    return "\n".join(lines) + "\n"


def write_section(page: Path, name: str, measured: Measured) -> None:
    """Replace the table in a benchmark's section of a page.

    Raises:
        ValueError: The page has no such section.
    """
    text = page.read_text(encoding="utf-8")
    begin = f"<!-- bench {name} -->\n"
    if begin not in text:
        raise ValueError(f"{page} has no section for {name}: add the lines {begin.strip()} and <!-- /bench -->")
    table = render_table(measured)
    page.write_text(
        SECTION.sub(lambda found: f"{begin}{table}<!-- /bench -->" if found[1] == name else found[0], text),
        encoding="utf-8",
    )


def save(path: Path, name: str, measured: Measured) -> None:
    """Put what one benchmark gave into a JSON file, beside what others gave before."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = [row._asdict() for row in measured.rows]
    about = {"date": date.today().isoformat(), "machine": describe_machine(), "seconds": round(measured.seconds, 1)}
    found[name] = {**about, "failure": measured.failure, "rows": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_sections(page: Path) -> dict[str, str]:
    """Return the table of each benchmark that a page has a section for."""
    return {name: table for name, table in SECTION.findall(page.read_text(encoding="utf-8"))}


def describe_machine() -> str:
    """Return the processor, cores, memory, system and Python of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        f"{os.cpu_count()} × {_processor()}, {memory / 2**30:.0f} GiB, {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
