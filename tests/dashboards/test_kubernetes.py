"""Kubernetes manifests: valid by the schemas of Kubernetes and of the Prometheus operator, locked down, complete."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from evalgauge_dashboards import alerts
from evalgauge_dashboards.build import render_files
from evalgauge_dashboards.options import Options
from tests.parts import promtool

OPTIONS = Options(format="kubernetes", job="evals", folder="Agents")
FILES = render_files(OPTIONS)
MANIFESTS: list[dict[str, Any]] = [manifest for text in FILES.values() for manifest in yaml.safe_load_all(text)]
CORE = [manifest for manifest in MANIFESTS if not manifest["apiVersion"].startswith("monitoring.coreos.com")]


def of(kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in MANIFESTS if manifest["kind"] == kind]


def test_everything_that_a_cluster_needs_is_there() -> None:
    kinds = [manifest["kind"] for manifest in MANIFESTS]
    assert sorted(kinds) == sorted(
        [*["ConfigMap"] * 4, "PrometheusRule", "PersistentVolumeClaim", "Deployment", "Service", "ServiceMonitor"]
    )
    assert set(FILES) == {f"kubernetes/{name}.yaml" for name in ("dashboards", "rules", "exporter")}


@pytest.mark.parametrize("manifest", CORE, ids=lambda manifest: f"{manifest['kind']}-{manifest['metadata']['name']}")
def test_a_manifest_is_valid_by_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_sidecar_finds_the_dashboards_that_grafana_reads() -> None:
    plain = render_files(Options(job="evals", folder="Agents"))
    for manifest in of("ConfigMap"):
        assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert manifest["metadata"]["annotations"]["grafana_folder"] == "Agents"
        ((name, text),) = manifest["data"].items()
        assert json.loads(text) == json.loads(plain[f"dashboards/{name.removeprefix('evalgauge-')}"])
        assert len(text) < 1_000_000, "a ConfigMap holds no more than a mebibyte"


def test_the_operator_gets_the_same_rules_as_prometheus(tmp_path: Path) -> None:
    (rule,) = of("PrometheusRule")
    assert rule["spec"] == alerts.build_rules(Options(job="evals", folder="Agents"))
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(rule["spec"]))
    done = subprocess.run([promtool(), "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_monitor_scrapes_the_service_under_the_job_that_the_alerts_name() -> None:
    (monitor,), (service,), (deployment,) = of("ServiceMonitor"), of("Service"), of("Deployment")
    assert service["metadata"]["labels"].items() >= monitor["spec"]["selector"]["matchLabels"].items()
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "evals"
    assert [end["port"] for end in monitor["spec"]["endpoints"]] == [port["name"] for port in service["spec"]["ports"]]
    pod = deployment["spec"]["template"]
    assert pod["metadata"]["labels"].items() >= service["spec"]["selector"].items()
    assert pod["metadata"]["labels"].items() >= deployment["spec"]["selector"]["matchLabels"].items()
    (claim,) = of("PersistentVolumeClaim")
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["results"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert of(kind)[0]["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_the_exporter_may_do_nothing_that_it_need_not() -> None:
    (deployment,) = of("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (results,) = [mount for mount in container["volumeMounts"] if mount["name"] == "results"]
    assert results["readOnly"] is True
    assert {"readinessProbe", "livenessProbe", "startupProbe"} <= set(container)
