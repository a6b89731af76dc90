"""What the generated files are built for: the addresses and names of somebody's own stack."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from evalgauge_dashboards.errors import OptionError

EXPORTER_URL = "http://localhost:9909"
"""Where a reader's browser finds the exporter by default."""
GRAFANA_URL = "http://localhost:3000"
"""Where a reader's browser finds Grafana by default."""

_MATCHER = re.compile(r'\s*[a-zA-Z_]\w*\s*(?:=|!=|=~|!~)\s*"(?:[^"\\\n]|\\.)*"\s*(?:,\s*(?=\S)|$)')
Format = Literal["grafana", "kubernetes", "compose"]


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of ``evalgauge dashboards build``.

    Raises:
        OptionError: If an address is none, or if ``selector`` is not a list of label matchers.
    """

    exporter_url: str = EXPORTER_URL
    """Where browsers find the exporter: the start of links to replays, live page and runbooks."""
    grafana_url: str = GRAFANA_URL
    """Where browsers find Grafana: the start of an alert's link to its dashboard."""
    docs_url: str | None = None
    """The folder that holds ``runbooks.md``, for runbook links that do not lead to the exporter."""
    datasource_uid: str = "prometheus"
    """The uid of the Prometheus data source in Grafana."""
    job: str = "evalgauge"
    """The name of the scrape job of the exporter."""
    selector: str = ""
    """Label matchers that every query has besides its own, such as ``cluster="a"``."""
    folder: str = "evalgauge"
    """The title of the folder of Grafana that holds dashboards and alerts."""
    format: Format = "grafana"
    """``grafana`` for files that Grafana and Prometheus read, ``kubernetes`` for manifests, ``compose`` for a stack."""

    def __post_init__(self) -> None:
        for name, url in (("exporter-url", self.exporter_url), ("grafana-url", self.grafana_url)):
            if not url.startswith(("http://", "https://")):
                raise OptionError(f"--{name} {url}: an address begins with http:// or https://")
        for name, value in (("datasource-uid", self.datasource_uid), ("job", self.job), ("folder", self.folder)):
            if not value.strip():
                raise OptionError(f"--{name}: the name is empty")
        _check_matchers(self.selector)

    def runbook_url(self, anchor: str) -> str:
        """Return the address of one section of the runbooks."""
        if self.docs_url is None:
            return f"{self.exporter_url.rstrip('/')}/runbooks#{anchor}"
        return f"{self.docs_url.rstrip('/')}/runbooks.md#{anchor}"


def _check_matchers(selector: str) -> None:
    """Raise OptionError unless the text is empty or label matchers joined by commas."""
    rest = selector.strip()
    while rest:
        match = _MATCHER.match(rest)
        if match is None:
            raise OptionError(f'--selector {selector}: write label matchers joined by commas, such as cluster="a"')
        rest = rest[match.end() :]
