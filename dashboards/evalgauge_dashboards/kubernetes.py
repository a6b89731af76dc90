"""Kubernetes manifests: dashboards and rules for Grafana's sidecar and the Prometheus operator, and the exporter.

The labels are those that the chart kube-prometheus-stack looks for by default: ``grafana_dashboard: "1"`` on the
ConfigMaps and ``release: kube-prometheus-stack`` on what the operator reads.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from evalgauge_dashboards.errors import OptionError
from evalgauge_dashboards.options import Options

Manifest = dict[str, Any]

OPERATOR = {"release": "kube-prometheus-stack"}
SIDECAR = {"grafana_dashboard": "1"}
PORT = 9909
USER = 65532
"""The image's own user, which is not root."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def build_manifests(
    dashboards: dict[str, str], rules: dict[str, object], options: Options
) -> dict[str, list[Manifest]]:
    """Build the manifests.

    Args:
        dashboards: The JSON text of each dashboard by its name.
        rules: The groups of Prometheus' rules.
        options: What they are built for.

    Returns:
        The manifests of each file.

    Raises:
        OptionError: If the job is no name that Kubernetes takes for a service.
    """
    if not _NAME.fullmatch(options.job):
        raise OptionError(f"--job {options.job}: a service of Kubernetes has a name of small letters, digits and -")
    return {
        "dashboards": [_dashboard(name, text, options) for name, text in dashboards.items()],
        "rules": [
            {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "metadata": _metadata(options.job, options, OPERATOR),
                "spec": rules,
            }
        ],
        "exporter": [_claim(options), _deployment(options), _service(options), _monitor(options)],
    }


def _metadata(name: str, options: Options, labels: dict[str, str] | None = None) -> Manifest:
    return {"name": name, "labels": {**_selector(options), **(labels or {})}}


def _selector(options: Options) -> dict[str, str]:
    return {"app.kubernetes.io/name": options.job}


def _dashboard(name: str, text: str, options: Options) -> Manifest:
    metadata = _metadata(f"{options.job}-{name}", options, SIDECAR)
    # the sidecar puts the file into the folder of this name where folderAnnotation is grafana_folder
    metadata["annotations"] = {"grafana_folder": options.folder}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {f"evalgauge-{name}.json": text},
    }


def _claim(options: Options) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(f"{options.job}-results", options),
        # runners write the results, often from other nodes; the exporter only reads them
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "20Gi"}}},
    }


def _deployment(options: Options) -> Manifest:
    container = {
        "name": "exporter",
        "image": f"evalgauge-exporter:{version('evalgauge')}",
        "args": ["serve", "/results", "--listen", f"0.0.0.0:{PORT}"],
        "env": [
            {"name": "EVALGAUGE_GRAFANA_URL", "value": options.grafana_url},
            {"name": "EVALGAUGE_PUBLIC_URL", "value": options.exporter_url},
            {"name": "EVALGAUGE_PRICES__CACHE_DIR", "value": "/cache"},
            {"name": "XDG_CACHE_HOME", "value": "/cache"},
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": _probe("/healthz") | {"failureThreshold": 30, "periodSeconds": 2},
        "readinessProbe": _probe("/readyz"),
        "livenessProbe": _probe("/healthz"),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "results", "mountPath": "/results", "readOnly": True},
            {"name": "cache", "mountPath": "/cache"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "results", "persistentVolumeClaim": {"claimName": f"{options.job}-results"}},
            {"name": "cache", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(options.job, options),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _selector(options)},
            "template": {"metadata": {"labels": _selector(options)}, "spec": pod},
        },
    }


def _probe(path: str) -> Manifest:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3}


def _service(options: Options) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(options.job, options),
        "spec": {"selector": _selector(options), "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]},
    }


def _monitor(options: Options) -> Manifest:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": _metadata(options.job, options, OPERATOR),
        "spec": {
            # the value of this label, which is the service's name, becomes the job
            "jobLabel": "app.kubernetes.io/name",
            "selector": {"matchLabels": _selector(options)},
            "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
            "sampleLimit": 200000,
        },
    }
