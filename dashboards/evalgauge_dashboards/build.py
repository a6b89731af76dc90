"""Writes boards, alerts and rules as files, and says where written ones are stale."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from evalgauge_dashboards import alerts, comparison, evaluation, fleet
from evalgauge_dashboards.dashboard import EXPORTER_URL

DOCS_URL = "docs"
"""Where runbook links point unless told otherwise: the folder in this repository."""


def files(docs_url: str = DOCS_URL, exporter_url: str = EXPORTER_URL) -> dict[str, str]:
    """Every generated file: its path relative to the output folder, and its text.

    ``exporter_url`` is where links to the live page and to replays lead, unless a board's text box says otherwise.
    """
    written = {
        f"dashboards/{name}.json": JSONEncoder(sort_keys=True, indent=1).encode(make(exporter_url)) + "\n"
        for name, make in (
            ("evaluation", evaluation.build),
            ("comparison", comparison.build),
            ("fleet", fleet.build),
        )
    }
    written["alerting/evalgauge.json"] = json.dumps(alerts.provisioning(docs_url), indent=1, ensure_ascii=False) + "\n"
    written["prometheus/rules.yml"] = _rules(docs_url)
    return written


def build(out: Path, docs_url: str = DOCS_URL, exporter_url: str = EXPORTER_URL) -> list[Path]:
    """Writes every file under ``out`` and returns their paths. Files that are there already are replaced.

    Raises:
        OSError: where a file cannot be written.
    """
    paths = []
    for name, text in files(docs_url, exporter_url).items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def stale(generated: Path, docs_url: str = DOCS_URL, exporter_url: str = EXPORTER_URL) -> list[str]:
    """What is wrong with a folder of written files, a line a file; nothing where it is fresh."""
    expected = files(docs_url, exporter_url)
    problems = []
    for name, text in expected.items():
        path = generated / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{name} is not what the code makes")
    present = sorted(path.relative_to(generated).as_posix() for path in generated.rglob("*") if path.is_file())
    problems += [f"{name} is not made by the code any more" for name in present if name not in expected]
    return problems


def _rules(docs_url: str) -> str:
    """Prometheus' rule file. JSON strings are YAML strings, so only the expressions need care: they are blocks."""
    lines = ["# Made by `evalgauge dashboards build`; the thresholds and their reasons are in the code."]
    lines += ["groups:", f"  - name: {alerts.GROUP}", f"    interval: {alerts.INTERVAL}", "    rules:"]
    loaded = alerts.rules_loaded()
    lines += ["", f"      - record: {loaded['record']}", f"        expr: {loaded['expr']}"]
    for alert in alerts.table():
        rule = alert.prometheus(docs_url)
        lines += ["", f"      - alert: {alert.name}", "        expr: |"]
        lines += [f"          {line}" for line in alert.expression.text.splitlines()]
        lines += [f"        for: {alert.pending}"]
        lines += [f"        keep_firing_for: {alert.hold}"] if alert.hold else []
        for key in ("labels", "annotations"):
            lines.append(f"        {key}:")
            entries = rule[key]
            assert isinstance(entries, dict)
            lines += [f"          {name}: {json.dumps(text, ensure_ascii=False)}" for name, text in entries.items()]
    return "\n".join(lines) + "\n"
