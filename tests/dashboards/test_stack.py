"""The compose stack: valid files that fit together, locked down, with no password in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evalgauge_dashboards import alerts
from evalgauge_dashboards.options import EXPORTER_URL, GRAFANA_URL, Options
from tests.parts import promtool

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "dashboards" / "provisioning"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
EMBED: dict[str, Any] = yaml.safe_load((ROOT / "compose.embed.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EVERY_SERVICE = pytest.mark.parametrize("name", SERVICES)


def test_the_compose_files_are_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    files = [ROOT / "docker-compose.yml", ROOT / "compose.embed.yml"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@EVERY_SERVICE
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    user, _, _ = service["user"].partition(":")
    assert int(user) > 0


@EVERY_SERVICE
def test_ports_are_on_loopback_and_can_be_moved(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+", port)


def test_the_ports_are_the_documented_ones() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    found = dict(re.findall(r"127\.0\.0\.1:\$\{([A-Z]+_PORT):-(\d+)\}", text))
    assert found == {
        "EVALGAUGE_PORT": "9909",
        "PROMETHEUS_PORT": "9090",
        "GRAFANA_PORT": "3000",
        "ALERTMANAGER_PORT": "9093",
        "OTLP_PORT": "4318",
    }
    assert EXPORTER_URL.endswith(found["EVALGAUGE_PORT"])
    assert GRAFANA_URL.endswith(found["GRAFANA_PORT"])


@EVERY_SERVICE
def test_a_service_that_stays_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    if service["restart"] == "no" or name == "collector":  # whose image has no program to check with
        return
    dockerfile = (ROOT / "exporter" / "Dockerfile").read_text()
    assert "healthcheck" in service or ("build" in service and "HEALTHCHECK" in dockerfile)


def test_images_are_pinned_to_a_version() -> None:
    own = {service["image"] for service in SERVICES.values() if "build" in service}
    for service in SERVICES.values():
        assert service["image"] in own or re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_results_are_only_read_and_mounts_exist() -> None:
    mounts = [(name, volume) for name, service in SERVICES.items() for volume in service["volumes"]]
    for name, volume in mounts:
        if volume["type"] == "volume":
            assert volume["source"] in COMPOSE["volumes"]
            continue
        assert volume["read_only"] is True, name
        if volume["source"] != "${RESULTS_DIR:-./results}":
            assert (ROOT / volume["source"]).exists(), f"{name} mounts {volume['source']}, which is not there"
    results = [volume["target"] for _, volume in mounts if volume["source"] == "${RESULTS_DIR:-./results}"]
    assert results == ["/results"]


def test_there_is_no_password_in_any_file() -> None:
    texts = [(ROOT / "docker-compose.yml").read_text(), (ROOT / "compose.embed.yml").read_text()]
    texts += [path.read_text() for path in PROVISIONING.rglob("*") if path.is_file()]
    for text in texts:
        assert not re.search(r"(?i)(password|secret|token)\w*\s*[:=]\s*[^\s$/{]*\w{6,}\s*$", text, re.MULTILINE)
    environment = SERVICES["grafana"]["environment"]
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] in SERVICES["password"]["command"][0]


def test_profiles_add_the_demo_alertmanager_and_a_collector_and_nothing_else_is_optional() -> None:
    assert {name: service.get("profiles") for name, service in SERVICES.items() if "profiles" in service} == {
        "demo": ["demo"],
        "alertmanager": ["alertmanager"],
        "collector": ["otlp"],
    }


def test_the_collector_hands_metrics_to_prometheus_receiver() -> None:
    config = yaml.safe_load((ROOT / "collector.yml").read_text())
    metrics = config["service"]["pipelines"]["metrics"]
    assert metrics["receivers"] == ["otlp"]
    (exporter,) = metrics["exporters"]
    assert config["exporters"][exporter]["endpoint"] == "http://prometheus:9090/api/v1/otlp"
    assert config["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")


def test_only_the_override_file_lets_pages_frame_grafana() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert "EMBEDDING" not in text
    assert "ANONYMOUS" not in text
    environment = EMBED["services"]["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert "frame-ancestors 'self' ${EMBED_FROM" in environment["GF_SECURITY_CONTENT_SECURITY_POLICY_TEMPLATE"]
    assert set(EMBED["services"]) == {"grafana"}
    guide = (ROOT / "docs" / "embedding.md").read_text()
    explained = {"GF_SECURITY_ALLOW_EMBEDDING", "GF_AUTH_ANONYMOUS_ENABLED", "GF_SECURITY_COOKIE_SAMESITE"}
    assert all(name in guide for name in (*explained, "frame-ancestors", "EMBED_FROM"))


def test_prometheus_takes_its_configuration_and_rules(tmp_path: Path) -> None:
    config = (ROOT / "prometheus.yml").read_text()
    generated = ROOT / "dashboards" / "generated" / "prometheus"
    here = tmp_path / "prometheus.yml"
    here.write_text(config.replace("/etc/prometheus/rules/", f"{generated}/"))
    done = subprocess.run([promtool(), "check", "config", here], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts.list_alerts()) + 1} rules found" in done.stdout


def test_job_intervals_and_names_agree_between_the_files() -> None:
    config = yaml.safe_load((ROOT / "prometheus.yml").read_text())
    assert [job["job_name"] for job in config["scrape_configs"]] == [Options().job]
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["uid"] == Options().datasource_uid
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "evalgauge.yaml").read_text())["providers"]
    # without a uid: Grafana would make a second folder of the title that the alerts name
    assert provider["folder"] == Options().folder
    assert "folderUid" not in provider
    targets = {volume["target"] for volume in SERVICES["grafana"]["volumes"]}
    assert provider["options"]["path"] in targets
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent.as_posix() == provider["options"]["path"]


def test_prometheus_scrapes_the_demo_once_there_is_one() -> None:
    (job,) = yaml.safe_load((ROOT / "prometheus.yml").read_text())["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    (name,) = found["names"]
    command = SERVICES[name]["command"]
    assert SERVICES[name]["profiles"] == ["demo"]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert "--port" not in command
    assert job["static_configs"] == [{"targets": [f"exporter:{found['port']}"]}]


def test_grafanas_alerts_reach_the_contact_point_of_the_environment() -> None:
    contact = yaml.safe_load((PROVISIONING / "alerting" / "contact.yaml").read_text())
    (point,) = contact["contactPoints"]
    (receiver,) = point["receivers"]
    given = SERVICES["grafana"]["environment"]
    assert receiver["type"].removeprefix("$") in given
    assert receiver["settings"]["url"].removeprefix("$") in given
    assert [policy["receiver"] for policy in contact["policies"]] == [point["name"]]


def test_alertmanagers_alerts_go_to_the_same_address_and_prometheus_finds_it() -> None:
    config = yaml.safe_load((ROOT / "alertmanager.yml").read_text())
    (receiver,) = config["receivers"]
    (webhook,) = receiver["webhook_configs"]
    service = SERVICES["alertmanager"]
    assert f'"$$EVALGAUGE_ALERT_URL" > {webhook["url_file"]}' in service["command"][0]
    assert service["environment"]["EVALGAUGE_ALERT_URL"] == SERVICES["grafana"]["environment"]["EVALGAUGE_ALERT_URL"]
    alerting = yaml.safe_load((ROOT / "prometheus.yml").read_text())["alerting"]["alertmanagers"]
    assert alerting[0]["dns_sd_configs"][0]["names"] == ["alertmanager"]
    names = {alert.name for alert in alerts.list_alerts()}
    for rule in config["inhibit_rules"]:
        assert rule["equal"] == ["run_id"], "an alert of one run silences nothing of another"
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            assert set(matcher.split('"')[1].split("|")) <= names


def test_information_is_sent_once_by_both() -> None:
    ours = yaml.safe_load((ROOT / "alertmanager.yml").read_text())["route"]["routes"]
    grafanas = yaml.safe_load((PROVISIONING / "alerting" / "contact.yaml").read_text())["policies"][0]["routes"]
    repeats = {route["matchers"][0]: route["repeat_interval"] for route in ours}
    assert repeats == {'severity="critical"': "1h", 'severity="info"': "30d"}
    assert {
        "".join((name, op, f'"{value}"')): route["repeat_interval"]
        for route in grafanas
        for name, op, value in route["object_matchers"]
    } == repeats


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_links_in_messages_lead_to_the_port_on_the_host(name: str) -> None:
    port = SERVICES[name]["ports"][0].removeprefix("127.0.0.1:").rpartition(":")[0]
    assert f"--web.external-url=http://localhost:{port}" in SERVICES[name]["command"][0]


def test_an_alert_need_not_be_sent_by_both_grafana_and_alertmanager() -> None:
    assert SERVICES["grafana"]["environment"]["GF_UNIFIED_ALERTING_EXECUTE_ALERTS"] == "${GRAFANA_ALERTS:-true}"
    assert "GRAFANA_ALERTS=false" in (ROOT / "docs" / "runbooks.md").read_text()


def test_grafanas_alerting_folder_holds_nothing_but_what_it_can_read() -> None:
    # any other suffix in there is an error at Grafana's start
    targets = [v["target"] for v in SERVICES["grafana"]["volumes"] if "/alerting/" in v["target"]]
    assert sorted(Path(target).name for target in targets) == ["contact.yaml", "evalgauge.json"]
    document = json.loads((ROOT / "dashboards" / "generated" / "alerting" / "evalgauge.json").read_text())
    assert document["apiVersion"] == 1


def test_the_image_holds_no_compiler_and_runs_as_nobody() -> None:
    text = (ROOT / "exporter" / "Dockerfile").read_text()
    *_, last = re.split(r"^FROM ", text, flags=re.MULTILINE)
    assert "pip" not in last
    assert "apt" not in text
    assert re.search(r"^USER 65532:65532$", last, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*", "what the image needs is named, everything else stays out"
    named = {Path(line.removeprefix("!")) for line in ignored if line.startswith("!")}
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {Path(name) for name in ("pyproject.toml", "README.md", "LICENSE", "exporter/build.lock")}
    needed |= {Path(name) for name in (*wheel["packages"], *wheel["force-include"])}
    assert {path for path in needed if not {path, *path.parents} & named} == set()
    assert {path for path in named if not any({path} & {each, *each.parents} for each in needed)} == set()


@pytest.mark.parametrize("name", ["requirements", "build"])
def test_what_the_image_installs_is_pinned_by_hash_and_fits_the_project(name: str) -> None:
    text = (ROOT / "exporter" / f"{name}.lock").read_text()
    assert "://" not in text, "an address of a registry"
    blocks = re.findall(r"^([\w.-]+)==(\S+)(.*(?:\n    .*)*)", text, re.MULTILINE)
    assert all("--hash=sha256:" in rest for _, _, rest in blocks)
    pinned = {canonicalize_name(package): version for package, version, _ in blocks}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    named = project["project"]["dependencies"] + [*extras["exporter"], *extras["azure"], *extras["aws"]]
    wanted = [Requirement(line) for line in (named if name == "requirements" else project["build-system"]["requires"])]
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), "make lock writes it again"
    dockerfile = (ROOT / "exporter" / "Dockerfile").read_text().replace("\\\n", "")
    for command in re.findall(r"pip install [^&\n]*", dockerfile):
        assert "--require-hashes" in command or "--no-deps --no-build-isolation" in command


def test_the_environment_sets_every_address_that_a_browser_uses() -> None:
    exporter, grafana = SERVICES["exporter"]["environment"], SERVICES["grafana"]["environment"]
    root = "${EVALGAUGE_GRAFANA_URL:-http://localhost:${GRAFANA_PORT:-3000}}"
    assert exporter["EVALGAUGE_GRAFANA_URL"] == root
    assert grafana["GF_SERVER_ROOT_URL"] == f"{root}/"
    assert exporter["EVALGAUGE_PUBLIC_URL"] == "${EVALGAUGE_PUBLIC_URL:-http://localhost:${EVALGAUGE_PORT:-9909}}"


def test_the_results_folder_is_there_before_docker_makes_it_as_root() -> None:
    assert (ROOT / "results" / ".gitkeep").exists()
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/results/*" in ignored
    assert "!/results/.gitkeep" in ignored
