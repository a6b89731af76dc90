"""``/runbooks``: the page where alerts lead, with a section for each of them."""

import re
from pathlib import Path

from fastapi.testclient import TestClient

from evalgauge_dashboards.alerts import list_alerts
from evalgauge_dashboards.options import Options
from evalgauge_exporter.web.app import create_app
from evalgauge_exporter.web.runbooks import read_source, render_runbooks
from tests.exporter.runs import exporter_of


def test_every_alert_leads_to_its_section(tmp_path: Path) -> None:
    client = TestClient(create_app(exporter_of(tmp_path)), base_url="http://127.0.0.1")
    answer = client.get("/runbooks")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    anchors = re.findall(r'id="([^"]+)"', answer.text)
    assert len(set(anchors)) == len(anchors)
    for alert in list_alerts():
        path, _, anchor = alert.annotations(Options(exporter_url="http://e"))["runbook_url"].partition("#")
        assert path == "http://e/runbooks"
        assert anchor in anchors
        assert alert.name in anchors, "dashboards link to the name as it is written"
        assert f'href="#{anchor}"' in answer.text


def test_the_page_says_what_the_document_says_and_runs_nothing() -> None:
    page = render_runbooks()
    assert "<strong>What it means</strong>" in page
    assert "<table>" in page
    assert "<script" not in page
    sentence = "No other alert can be evaluated meanwhile"
    assert sentence in read_source()
    assert sentence in page
