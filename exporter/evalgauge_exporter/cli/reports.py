"""Reports of the gates ``compare`` and ``check``: for terminals, programs, pipelines and GitHub.

A report is judged by its checks: each is passed, failed or cannot be judged. The exit code follows from them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evalgauge_exporter.cli.output import escape_control

PASSED, FAILED, UNDECIDED = 0, 3, 4
"""Exit codes: every check passed, one failed, none failed but one cannot be judged."""
FORMATS = ("text", "json", "markdown", "junit", "github")

format_option = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Output format."
)


class Result(Enum):
    """Result of a check."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


class Check(NamedTuple):
    """One condition of a gate."""

    name: str
    result: Result
    message: str
    """The finding in one sentence."""


class Cells(NamedTuple):
    """A table as text; the first column is the label of each row."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Report(NamedTuple):
    """What a gate found."""

    title: str
    tables: list[Cells]
    checks: list[Check]
    notes: list[str]
    """Remarks, a sentence each."""
    data: Any
    """The answer for programs, as JSON values."""


def exit_code(checks: Sequence[Check]) -> int:
    """Return the exit code: a failed check counts before one that cannot be judged."""
    results = {check.result for check in checks}
    return FAILED if Result.FAILED in results else UNDECIDED if Result.UNDECIDED in results else PASSED


def print_report(report: Report, form: str) -> None:
    """Print a report to standard output.

    Args:
        report: The report.
        form: One of ``FORMATS``. ``github`` prints annotations and appends the Markdown to the file that
            ``GITHUB_STEP_SUMMARY`` names.
    """
    if form == "json":
        click.echo(json.dumps(report.data, indent=2))
    elif form == "markdown":
        click.echo(to_markdown(report))
    elif form == "junit":
        click.echo(to_junit(report))
    elif form == "github":
        click.echo("\n".join(to_annotations(report)))
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(to_markdown(report) + "\n")
    else:
        _print_text(report)


def _print_text(report: Report) -> None:
    console = create_console()
    for cells in report.tables:
        print_table(cells, console)
    for line in (*(check.message for check in report.checks), *report.notes):
        click.echo(escape_control(line))
    code = exit_code(report.checks)
    if code:
        reason = "a check failed" if code == FAILED else "there is no verdict"
        click.echo(f"Exit {code}: {reason}.")


def create_console() -> Console:
    """Return a console for tables; one that is not a terminal, such as a pipe, is wide enough for all columns."""
    console = Console()
    return console if console.is_terminal or os.environ.get("COLUMNS") else Console(width=200)


def fits(cells: Cells, console: Console) -> bool:
    """Return whether a table is not wider than the terminal."""
    unlimited = console.options.update(width=10_000)
    return console.measure(_build_table(cells), options=unlimited).maximum <= console.width


def print_table(cells: Cells, console: Console) -> None:
    """Print a table; where it is wider than the terminal, as a block for each row, so that no label is cut."""
    if fits(cells, console):
        console.print(_build_table(cells))
        return
    for row in cells.rows:
        click.echo(escape_control(row[0]))
        for column, cell in zip(cells.columns[1:], row[1:], strict=True):
            if cell:
                click.echo(f"  {escape_control(column)}: {escape_control(cell)}")
    click.echo("")


def _build_table(cells: Cells) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(cells.columns):
        table.add_column(Text(escape_control(column)), justify="right" if index else "left", no_wrap=True)
    for row in cells.rows:
        table.add_row(*(Text(escape_control(cell)) for cell in row))
    return table


_MARKS = {Result.PASSED: "✅", Result.FAILED: "❌", Result.UNDECIDED: "⚠️"}


def to_markdown(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    lines = [f"### {_escape_markdown(report.title)}", ""]
    lines += [f"- {_MARKS[check.result]} {_escape_markdown(check.message)}" for check in report.checks]
    lines += [f"- {_escape_markdown(note)}" for note in report.notes]
    for cells in report.tables:
        lines += ["", _markdown_row(cells.columns), "|---|" + "---:|" * (len(cells.columns) - 1)]
        lines += [_markdown_row(row) for row in cells.rows]
    return "\n".join(lines)


def _markdown_row(row: Sequence[str]) -> str:
    return "| " + " | ".join(_escape_markdown(cell) for cell in row) + " |"


def _escape_markdown(text: str) -> str:
    """Escape what Markdown or HTML would interpret: ids and models are foreign text."""
    text = escape_control(text)
    return "".join(f"\\{character}" if character in "\\`*_[]<>|#!~&@" else character for character in text)


def to_junit(report: Report) -> str:
    """Return the report as JUnit XML: a test case for each check; one that cannot be judged is an error."""
    counts = {
        "tests": len(report.checks),
        "failures": sum(check.result is Result.FAILED for check in report.checks),
        "errors": sum(check.result is Result.UNDECIDED for check in report.checks),
    }
    attributes = {"name": _xml_text(report.title), **{key: str(value) for key, value in counts.items()}}
    suites = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(suites, "testsuite", attributes)
    for check in report.checks:
        case = ElementTree.SubElement(suite, "testcase", name=_xml_text(check.name), classname="evalgauge")
        if check.result is not Result.PASSED:
            kind = "failure" if check.result is Result.FAILED else "error"
            ElementTree.SubElement(case, kind, message=_xml_text(check.message))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml_text(check.message)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode")


def _xml_text(text: str) -> str:
    """Return text without what XML 1.0 does not allow."""
    return escape_control(text)


_LEVELS = {Result.PASSED: "notice", Result.FAILED: "error", Result.UNDECIDED: "warning"}


def to_annotations(report: Report) -> list[str]:
    """Return the checks as workflow commands of GitHub Actions, which show as annotations."""
    return [
        f"::{_LEVELS[check.result]} title={_escape_property(f'{report.title}: {check.name}')}::"
        f"{_escape_data(check.message)}"
        for check in report.checks
    ]


def _escape_data(text: str) -> str:
    return escape_control(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
