"""Alerts: they fire when they must and are quiet when they must, in real promtool; both renderings agree."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import yaml

from evalgauge_dashboards import alerts
from evalgauge_dashboards.build import build
from evalgauge_dashboards.options import Options
from tests.dashboards.rule_cases import CASES, Case, Firing
from tests.dashboards.rule_series import run, sample, scraped_from
from tests.parts import promtool

TABLE = {alert.name: alert for alert in alerts.list_alerts()}
OPTIONS = Options()
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rules")
    build(out)
    return out / "prometheus" / "rules.yml"


def rendered(template: str, labels: dict[str, str]) -> str:
    """A template that names labels alone, as Prometheus renders it."""
    text = template.replace('{{ reReplaceAll "[+]" "%20" (urlquery $labels.run_id) }}', "{{ path }}")
    text = text.replace("{{ $labels.run_id | urlquery }}", quote_plus(labels.get("run_id", "")))
    text = text.replace("{{ path }}", quote(labels.get("run_id", ""), safe=""))
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda match: labels[match[1]], text)


def unit_test(case: Case, *, per_minute: int, failed: Sequence[float] = (), exporters: int = 1) -> dict[str, object]:
    """The case as promtool's unit test, scraped in one way."""
    alert = TABLE[case.alert]
    expected = [
        {
            "exp_labels": alert.labels | firing.labels,
            "exp_annotations": {
                name: firing.summary if name == "summary" else rendered(text, firing.labels)
                for name, text in alert.annotations(OPTIONS).items()
            },
        }
        for firing in case.firing
    ]
    given = case.series
    if exporters > 1:
        several = [one for one in given if "instance=" not in one[0]]
        others = [one for one in given if "instance=" in one[0]]
        given = (*others, *(scraped_from(f"exporter-{n}", one) for n in range(exporters) for one in several))
    return {
        "name": f"{case.alert}: {case.what} ({per_minute} a minute, {len(failed)} failed, {exporters} exporters)",
        "interval": f"{60 // per_minute}s",
        "input_series": sample(given, until=case.at, per_minute=per_minute, failed=failed),
        "alert_rule_test": [{"eval_time": f"{case.at}m", "alertname": case.alert, "exp_alerts": expected}],
    }


def ways(case: Case) -> Iterator[dict[str, object]]:
    """Every way in which a situation may be scraped: none changes what must be said."""
    yield unit_test(case, per_minute=1)
    yield unit_test(case, per_minute=4)
    yield unit_test(case, per_minute=1, exporters=2)
    if case.alert != "EvalExporterDown":
        # at the moment of evaluation, and while the alert is pending
        yield unit_test(case, per_minute=1, failed=(case.at,))
        yield unit_test(case, per_minute=1, failed=(case.at - 1,))
        yield unit_test(case, per_minute=4, failed=(case.at, case.at - 1.25))


@pytest.mark.parametrize("name", TABLE)
def test_an_alert_fires_and_is_quiet_as_its_cases_say_however_it_is_scraped(name: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.alert == name]
    assert any(case.firing for case in cases), "no case in which it fires"
    assert any(not case.firing for case in cases), "no case in which it is quiet"
    group = {"name": name, "interval": alerts.INTERVAL, "rules": [TABLE[name].to_prometheus(OPTIONS)]}
    (tmp_path / "rule.json").write_text(json.dumps({"groups": [group]}))
    tests = {
        "rule_files": ["rule.json"],
        "evaluation_interval": "1m",
        "tests": [test for case in cases for test in ways(case)],
    }
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
    assert yaml.safe_load(rules_file.read_text()) == alerts.build_rules(OPTIONS)


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
    document = alerts.build_provisioning(OPTIONS)
    groups = document["groups"]
    assert isinstance(groups, list)
    rules = groups[0]["rules"]
    assert [rule["title"] for rule in rules] == list(TABLE)
    for rule in rules:
        query, there, firing = rule["data"]
        assert query["model"]["expr"] == TABLE[rule["title"]].expression.text
        assert query["model"]["instant"] is True
        assert query["datasourceUid"] == OPTIONS.datasource_uid
        assert there["model"]["expression"] == "is_number($query) || is_nan($query) || is_inf($query)"
        assert firing["model"]["conditions"][0]["evaluator"] == {"type": "gt", "params": [0]}
        assert rule["condition"] == firing["refId"]
        assert rule["for"] == TABLE[rule["title"]].pending
        assert rule.get("keepFiringFor") == TABLE[rule["title"]].keep_firing
        # a series that vanishes resolves after that many evaluations, one a minute, whatever keepFiringFor is
        kept = TABLE[rule["title"]].keep_firing
        assert rule["missing_series_evals_to_resolve"] == (int(kept.removesuffix("m")) if kept else 1)
        assert rule["noDataState"] == "OK"


def test_a_prometheus_that_does_not_answer_makes_grafana_raise_one_alert_and_not_one_for_each_rule() -> None:
    groups = alerts.build_provisioning(OPTIONS)["groups"]
    assert isinstance(groups, list)
    states = {rule["title"]: rule["execErrState"] for rule in groups[0]["rules"]}
    assert states.pop("EvalExporterDown") == "Alerting"
    assert set(states.values()) == {"KeepLast"}


def test_grafana_takes_no_dollar_for_an_environment_variable_and_a_value_for_a_number() -> None:
    groups = alerts.build_provisioning(OPTIONS)["groups"]
    assert isinstance(groups, list)
    for rule in groups[0]["rules"]:
        expanded = [rule["title"], rule["uid"], *rule["labels"].values()]
        assert not any(re.search(r"(?<!\$)\$(?!\$)", text) for text in expanded)
        assert not re.search(r"\$value\b", rule["annotations"]["summary"])
        # in annotations newer ones expand what has braces, and a price such as ${{ $value }} looks like it
        assert not any("${" in text for text in rule["annotations"].values())


def test_a_summary_that_grafana_would_take_for_an_environment_variable_is_refused() -> None:
    alert = dataclasses.replace(TABLE["EvalSpendSpike"], summary="It costs ${{ $value | humanize }} per hour.")
    with pytest.raises(ValueError, match="environment variable"):
        alert.to_grafana(OPTIONS)


def test_alert_uids_are_unique_and_short_enough_for_grafana() -> None:
    uids = [alert.anchor for alert in alerts.list_alerts()]
    assert len(set(uids)) == len(uids)
    assert max(map(len, uids)) <= 40


def test_runbook_links_lead_to_the_exporter_unless_another_place_is_named() -> None:
    alert = TABLE["EvalRunStalled"]
    assert alert.annotations(OPTIONS)["runbook_url"] == "http://localhost:9909/runbooks#evalrunstalled"
    elsewhere = Options(docs_url="https://example.org/docs/")
    assert alert.annotations(elsewhere)["runbook_url"] == "https://example.org/docs/runbooks.md#evalrunstalled"


@pytest.mark.parametrize("name", TABLE)
def test_an_alert_of_a_run_leads_to_that_run(name: str) -> None:
    alert = TABLE[name]
    texts = alert.annotations(Options(grafana_url="https://g/", exporter_url="https://e/"))
    assert texts["summary"] != texts["description"]
    assert texts["dashboard_url"].startswith(f"https://g/d/{alert.panel[0]}?")
    if "run_id" in (alert.expression.labels or ()):
        assert {"benchmark", "model"} <= (alert.expression.labels or frozenset())
        assert "var-run={{ $labels.run_id | urlquery }}" in texts["dashboard_url"]
        assert texts["live_url"].startswith("https://e/?run=")
        assert texts["replay_url"].startswith("https://e/replay/")
    else:
        assert "live_url" not in texts


@pytest.mark.parametrize("run_id", ["study 1/x", "a&b=c+d", 'q"<>', "é#%"])
def test_links_take_any_run_id(run_id: str, tmp_path: Path) -> None:
    name = run_id.replace('"', '\\"')
    case = Case(
        "EvalRunStalled",
        "a run of any name",
        tuple((series.replace('"new"', f'"{name}"'), values) for series, values in run("new", "stalled", progress=0)),
        12,
        (
            Firing(
                {"run_id": run_id, "benchmark": "waa", "model": "m"}, f"Run {run_id} has made no progress for 12m 0s."
            ),
        ),
    )
    rule = {"groups": [{"name": "x", "rules": [TABLE[case.alert].to_prometheus(OPTIONS)]}]}
    (tmp_path / "rule.json").write_text(json.dumps(rule))
    tests = {"rule_files": ["rule.json"], "evaluation_interval": "1m", "tests": [unit_test(case, per_minute=1)]}
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(tests))
    done = subprocess.run([promtool(), "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
