"""Alerts: they fire when they must and are quiet when they must, in real promtool; both renderings agree."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from evalgauge_dashboards import alerts
from evalgauge_dashboards.build import build
from evalgauge_dashboards.options import DOCS_URL
from tests.dashboards.rule_cases import CASES, Case
from tests.parts import promtool

TABLE = {alert.name: alert for alert in alerts.list_alerts()}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rules")
    build(out)
    return out / "prometheus" / "rules.yml"


def unit_test(case: Case) -> dict[str, object]:
    """The case as promtool's unit test."""
    alert = TABLE[case.alert]
    expected = [
        {
            "exp_labels": {"severity": alert.severity} | firing.labels,
            "exp_annotations": {"summary": firing.summary, "runbook_url": alert.runbook_url(DOCS_URL)},
        }
        for firing in case.firing
    ]
    return {
        "name": f"{case.alert}: {case.what}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


@pytest.mark.parametrize("name", TABLE)
def test_an_alert_fires_and_is_quiet_as_its_cases_say(name: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.alert == name]
    assert any(case.firing for case in cases), "no case in which it fires"
    assert any(not case.firing for case in cases), "no case in which it is quiet"
    group = {"name": name, "interval": alerts.INTERVAL, "rules": [TABLE[name].to_prometheus(DOCS_URL)]}
    (tmp_path / "rule.json").write_text(json.dumps({"groups": [group]}))
    tests = {"rule_files": ["rule.json"], "evaluation_interval": "1m", "tests": [unit_test(c) for c in cases]}
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(tests))
    done = subprocess.run([promtool(), "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules_and_lints_them(rules_file: Path) -> None:
    tool = promtool()
    done = subprocess.run(
        [tool, "check", "rules", "--lint=all", "--lint-fatal", rules_file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(TABLE) + 1} rules found" in done.stdout


def test_the_rule_file_says_what_the_table_says(rules_file: Path) -> None:
    written = yaml.safe_load(rules_file.read_text())["groups"][0]["rules"]
    expected = [alerts.build_recording_rule(), *(alert.to_prometheus(DOCS_URL) for alert in alerts.list_alerts())]
    assert [rule | {"expr": rule["expr"].rstrip("\n")} for rule in written] == expected


@pytest.mark.parametrize("name", TABLE)
def test_a_summary_names_only_labels_that_the_expression_has(name: str) -> None:
    alert = TABLE[name]
    named = set(re.findall(r"\$labels\.(\w+)", alert.summary))
    assert named <= (alert.expression.labels or frozenset())


@pytest.mark.parametrize("name", TABLE)
def test_an_alert_has_a_section_in_the_runbooks_that_says_what_it_means_and_what_to_do(name: str) -> None:
    sections = re.split(r"^## ", (ROOT / "docs" / "runbooks.md").read_text(), flags=re.MULTILINE)
    section = next((s for s in sections if s.startswith(f"{name}\n")), None)
    assert section, f"docs/runbooks.md has no heading '## {name}'"
    assert [word for word in ("What it means", "Look at", "Do") if f"**{word}" not in section] == []


def test_the_runbooks_have_a_section_for_nothing_but_alerts() -> None:
    headings = re.findall(r"^## (Eval\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), flags=re.MULTILINE)
    assert headings == list(TABLE)


def test_grafana_asks_the_same_expressions_and_fires_for_every_series() -> None:
    document = alerts.build_provisioning(DOCS_URL)
    groups = document["groups"]
    assert isinstance(groups, list)
    rules = groups[0]["rules"]
    assert [rule["title"] for rule in rules] == list(TABLE)
    for rule in rules:
        query, there, firing = rule["data"]
        assert query["model"]["expr"] == TABLE[rule["title"]].expression.text
        assert query["model"]["instant"] is True
        assert query["datasourceUid"] == alerts.DATASOURCE_UID
        assert there["model"]["expression"] == "is_number($query) || is_nan($query) || is_inf($query)"
        assert firing["model"]["conditions"][0]["evaluator"] == {"type": "gt", "params": [0]}
        assert rule["condition"] == firing["refId"]
        assert rule["for"] == TABLE[rule["title"]].pending
        assert rule.get("keepFiringFor") == TABLE[rule["title"]].keep_firing
        assert rule["noDataState"] == "OK"


def test_a_prometheus_that_does_not_answer_makes_grafana_raise_one_alert_and_not_one_for_each_rule() -> None:
    groups = alerts.build_provisioning(DOCS_URL)["groups"]
    assert isinstance(groups, list)
    states = {rule["title"]: rule["execErrState"] for rule in groups[0]["rules"]}
    assert states.pop("EvalExporterDown") == "Alerting"
    assert set(states.values()) == {"KeepLast"}


def test_grafana_takes_no_dollar_for_an_environment_variable_and_a_value_for_a_number() -> None:
    groups = alerts.build_provisioning(DOCS_URL)["groups"]
    assert isinstance(groups, list)
    for rule in groups[0]["rules"]:
        expanded = [rule["title"], rule["uid"], *rule["labels"].values()]
        assert not any(re.search(r"(?<!\$)\$(?!\$)", text) for text in expanded)
        assert not re.search(r"\$value\b", rule["annotations"]["summary"])
        # in annotations newer ones expand what has braces, and a price such as ${{ $value }} looks like it
        assert not any("${" in text for text in rule["annotations"].values())


def test_a_summary_that_grafana_would_take_for_an_environment_variable_is_refused() -> None:
    alert = dataclasses.replace(TABLE["EvalSpendSpike"], summary="It spends ${{ $value | humanize }} an hour.")
    with pytest.raises(ValueError, match="environment variable"):
        alert.to_grafana(DOCS_URL)


def test_alert_uids_are_unique_and_short_enough_for_grafana() -> None:
    uids = [alert.anchor for alert in alerts.list_alerts()]
    assert len(set(uids)) == len(uids)
    assert max(map(len, uids)) <= 40


def test_runbook_links_point_where_they_are_told_to() -> None:
    alert = TABLE["EvalRunStalled"]
    assert alert.runbook_url("https://example.org/docs/") == "https://example.org/docs/runbooks.md#evalrunstalled"
    assert alert.to_prometheus("https://example.org/docs")["annotations"] == {
        "summary": alert.summary,
        "runbook_url": "https://example.org/docs/runbooks.md#evalrunstalled",
    }
