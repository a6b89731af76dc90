"""The compose stack of an installed release: the repository's own files, whose image installs the released package."""

from __future__ import annotations

from importlib import resources
from importlib.metadata import version
from pathlib import Path

from evalgauge_dashboards.errors import OptionError
from evalgauge_dashboards.options import Options

FILES = (
    ".dockerignore",
    "alertmanager.yml",
    "collector.yml",
    "compose.embed.yml",
    "docker-compose.yml",
    "prometheus.yml",
    "exporter/Dockerfile",
    "exporter/build.lock",
    "exporter/requirements.lock",
    "dashboards/provisioning/alerting/contact.yaml",
    "dashboards/provisioning/dashboards/evalgauge.yaml",
    "dashboards/provisioning/datasources/prometheus.yaml",
    "results/.gitkeep",
)
"""The files of the repository that a stack is made of, besides the generated ones."""
_FROM_SOURCE = "ARG PACKAGE=.\n"


def get_root() -> Path:
    """Return the folder that holds the files: of the installed package, else of the repository."""
    packaged = Path(str(resources.files("evalgauge_dashboards") / "stack"))
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


def build_stack(generated: dict[str, str], options: Options) -> dict[str, str]:
    """Build the folder in which ``docker compose up`` starts the exporter, Prometheus and Grafana.

    Args:
        generated: The text of each generated file by its path.
        options: What they are built for.

    Returns:
        The text of each file by its path.

    Raises:
        OptionError: If an option names what the stack's own Prometheus and Grafana do not have.
    """
    default = Options()
    for name in ("datasource_uid", "job", "selector", "folder"):
        if getattr(options, name) != getattr(default, name):
            raise OptionError(f"--{name.replace('_', '-')}: the compose stack has its own; leave the option out")
    files = {name: (get_root() / name).read_text(encoding="utf-8") for name in FILES}
    dockerfile = files["exporter/Dockerfile"]
    files["exporter/Dockerfile"] = dockerfile.replace(_FROM_SOURCE, f"ARG PACKAGE=evalgauge=={version('evalgauge')}\n")
    return files | {f"dashboards/generated/{name}": text for name, text in generated.items()}
