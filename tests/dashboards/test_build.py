"""Building: the same each time, fresh in the repository, and stale files are named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from click.testing import CliRunner

import evalgauge
from evalgauge_dashboards import panel_links
from evalgauge_dashboards.build import build, find_stale, render_files
from evalgauge_dashboards.cli import build_command
from evalgauge_dashboards.errors import OptionError
from evalgauge_dashboards.options import Options
from evalgauge_dashboards.promql import ALERTS, RULES_LOADED
from tests.dashboards.reading import fill_variables, nodes, panels

ROOT = Path(__file__).parents[2]
DASHBOARDS = ("overview", "evaluation", "comparison", "fleet")
EXPECTED = {
    *(f"dashboards/{name}.json" for name in DASHBOARDS),
    "alerting/evalgauge.json",
    "prometheus/rules.yml",
}


def test_the_generated_files_are_up_to_date() -> None:
    assert find_stale(ROOT / "dashboards" / "generated") == [], "run: make docs"


def test_the_page_of_panels_is_up_to_date() -> None:
    assert (ROOT / "docs" / "panels.md").read_text() == panel_links.render_markdown(), "run: make docs"


def test_building_twice_gives_the_same_bytes() -> None:
    assert render_files() == render_files()


def test_build_writes_every_file_and_says_which(tmp_path: Path) -> None:
    written = build(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in written} == EXPECTED
    assert all(path.read_text().endswith("\n") for path in written)
    assert find_stale(tmp_path) == []


def test_what_is_stale_is_named(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / "dashboards" / "fleet.json").unlink()
    (tmp_path / "dashboards" / "old.json").write_text("{}")
    with (tmp_path / "prometheus" / "rules.yml").open("a") as file:
        file.write("# by hand\n")
    assert find_stale(tmp_path) == [
        "dashboards/fleet.json is missing",
        "prometheus/rules.yml differs from what the code generates",
        "dashboards/old.json is no longer generated",
    ]


def test_links_lead_to_the_addresses_that_the_files_are_built_for(tmp_path: Path) -> None:
    options = Options(exporter_url="https://eval.example.org/gauge/", grafana_url="https://g.example.org")
    build(tmp_path, options)
    assert find_stale(tmp_path, options) == []
    assert len(find_stale(tmp_path)) == len(EXPECTED)
    for name in DASHBOARDS:
        variables = json.loads((tmp_path / "dashboards" / f"{name}.json").read_text())["templating"]["list"]
        (box,) = [variable for variable in variables if variable["name"] == "exporter"]
        assert box["query"] == box["current"]["value"] == "https://eval.example.org/gauge"  # a path follows it
    rules = (tmp_path / "prometheus" / "rules.yml").read_text()
    assert "https://eval.example.org/gauge/runbooks#evalrunstalled" in rules
    assert "https://eval.example.org/gauge/replay/" in rules
    assert "https://g.example.org/d/evalgauge-evaluation?var-run=" in rules
    assert "localhost" not in rules


def test_other_runbook_links_change_the_alerts_and_nothing_else(tmp_path: Path) -> None:
    build(tmp_path, Options(docs_url="https://example.org/docs"))
    assert find_stale(tmp_path) == [
        "alerting/evalgauge.json differs from what the code generates",
        "prometheus/rules.yml differs from what the code generates",
    ]


def selections(expression: str) -> list[promql_parser.VectorSelector]:
    tree = promql_parser.parse(fill_variables(expression, {"run": "r", "benchmark": "b", "model": "m"}))
    return [node for node, _ in nodes(tree) if isinstance(node, promql_parser.VectorSelector)]


def test_a_selector_reaches_every_query_of_panels_variables_annotations_and_alerts() -> None:
    files = render_files(Options(selector='cluster="a b",env!~"dev|x{2}"'))
    expressions = [rule["expr"] for rule in yaml.safe_load(files["prometheus/rules.yml"])["groups"][0]["rules"]]
    alerting = json.loads(files["alerting/evalgauge.json"])["groups"][0]["rules"]
    assert [rule["data"][0]["model"]["expr"] for rule in alerting] == expressions[1:]
    for name in DASHBOARDS:
        dashboard = json.loads(files[f"dashboards/{name}.json"])
        expressions += [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
        expressions += [mark["expr"] for mark in dashboard["annotations"]["list"]]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                query = variable["query"]["query"]
                function = re.fullmatch(r"query_result\((.+)\)|label_values\((.+), \w+\)", query)
                assert function
                expressions.append(function[1] or function[2])
                assert variable["definition"] == query
    found = [selection for expression in expressions for selection in selections(expression)]
    assert len(found) > 300
    for selection in found:
        matchers = {matcher.name: matcher.value for matcher in selection.matchers.matchers}
        if selection.name in (ALERTS.name, RULES_LOADED.name):
            assert "cluster" not in matchers, "Prometheus gives its own series the labels of the alert"
        else:
            assert (matchers["cluster"], matchers["env"]) == ("a b", "dev|x{2}"), str(selection)


def test_the_names_of_somebody_elses_stack_are_used_everywhere() -> None:
    options = Options(datasource_uid="mimir", job="bench", folder="Agents / nightly")
    files = render_files(options)
    alerting = json.loads(files["alerting/evalgauge.json"])["groups"][0]
    assert alerting["folder"] == "Agents / nightly"
    assert {rule["data"][0]["datasourceUid"] for rule in alerting["rules"]} == {"mimir"}
    assert 'job="evalgauge"' not in "".join(files.values())
    assert 'up{job=\\"bench\\"}' in files["dashboards/fleet.json"]
    for name in DASHBOARDS:
        source = json.loads(files[f"dashboards/{name}.json"])["templating"]["list"][0]
        assert source["current"]["value"] == "mimir"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"exporter_url": "eval:80"}, "begins with http"),
        ({"grafana_url": ""}, "begins with http"),
        ({"job": " "}, "the name is empty"),
        ({"selector": "cluster=a"}, "label matchers"),
        ({"selector": 'cluster="a"} or vector(1) or x{a="b"'}, "label matchers"),
        ({"selector": 'cluster="a",'}, "label matchers"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(wrong: dict[str, str], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Options(**wrong)  # type: ignore[arg-type]


def test_a_job_that_is_no_name_of_a_service_is_refused_for_kubernetes() -> None:
    with pytest.raises(OptionError, match="name of small letters"):
        render_files(Options(format="kubernetes", job="My job"))


def test_a_compose_stack_is_the_one_of_the_repository_but_for_the_package_that_it_installs(tmp_path: Path) -> None:
    build(tmp_path, Options(format="compose"))
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    differ = {path.as_posix() for path in written if (tmp_path / path).read_bytes() != (ROOT / path).read_bytes()}
    assert differ == {"exporter/Dockerfile"}
    dockerfile = (tmp_path / "exporter" / "Dockerfile").read_text()
    assert f"\nARG PACKAGE=evalgauge=={evalgauge.__version__}\n" in dockerfile
    services = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())["services"]
    mounts = [volume["source"] for service in services.values() for volume in service["volumes"]]
    assert all((tmp_path / source).exists() for source in mounts if source.startswith("./"))


def test_an_option_that_the_compose_stack_fixes_is_refused() -> None:
    with pytest.raises(OptionError, match="--datasource-uid: the compose stack has its own"):
        render_files(Options(format="compose", datasource_uid="mimir"))


def test_the_command_builds_and_checks_with_the_same_options(tmp_path: Path) -> None:
    runner = CliRunner()
    chosen = ["--out", str(tmp_path), "--job", "bench", "--selector", 'cluster="a"']
    assert runner.invoke(build_command, chosen).exit_code == 0
    assert runner.invoke(build_command, [*chosen, "--check"]).exit_code == 0
    stale = runner.invoke(build_command, [*chosen, "--folder", "x", "--check"])
    assert stale.exit_code == 1
    assert "--job bench" in stale.output
    assert "--folder x" in stale.output
    wrong = runner.invoke(build_command, ["--out", str(tmp_path), "--selector", "x"])
    assert wrong.exit_code == 2
    assert "label matchers" in wrong.output
