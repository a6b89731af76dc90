"""The replay as the exporter serves it: made on demand, brought up to date, and nothing but the site."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from evalgauge import Run
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web import replay_sites
from evalgauge_exporter.web.app import create_app
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.waiting import wait_for

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


@pytest.fixture
def going(tmp_path: Path) -> Iterator[Run]:
    small_run(tmp_path, "before")
    run = small_run(tmp_path, "now", finish=False)
    with run.task("shown") as task:
        task.step(action="click", screenshot=PNG)
        task.finish(success=True)
    yield run
    run.finish()


@pytest.fixture
def exporter(going: Run) -> Iterator[Exporter]:
    exporter = exporter_of(going.folder.parent)
    exporter.start()
    assert exporter.wait_ready(20)
    yield exporter
    exporter.stop()


@pytest.fixture
def client(exporter: Exporter) -> Iterator[TestClient]:
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        yield client


def test_a_site_is_generated_when_it_is_requested(client: TestClient) -> None:
    page = client.get("/replay/now")
    assert page.status_code == 200
    assert str(page.url).endswith("/replay/now/")
    assert "unsafe" not in page.headers["content-security-policy"]
    index = client.get("/replay/now/data/index.js").text
    assert '"run_id":"now"' in index
    assert '"run_id":"before"' in index, "with what it is compared with"


def test_screenshots_are_served_from_the_run_s_folder(client: TestClient) -> None:
    client.get("/replay/now/")
    root = client.app.state.sites._sites["now"].folder  # type: ignore[attr-defined]  # the application is FastAPI's
    (shot,) = root.rglob("*.png")
    assert shot.is_symlink(), "nothing is copied"
    answer = client.get(f"/replay/now/{shot.relative_to(root).as_posix()}")
    assert answer.content == PNG


def test_a_site_follows_its_run(
    client: TestClient, going: Run, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_sites, "MIN_AGE_SECONDS", 0.0)
    assert '"late"' not in client.get("/replay/now/data/index.js").text
    with going.task("late") as task:
        task.finish(success=True)
    wait_for(lambda: ("late", 1) in exporter.state.runs["now"].attempts)
    client.get("/replay/now/")
    root = client.app.state.sites._sites["now"].folder  # type: ignore[attr-defined]  # the application is FastAPI's
    assert any("late" in path.read_text() for path in root.rglob("tasks.js"))


@pytest.mark.parametrize(
    "path",
    ["nothing.js", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", "data/%2e%2e/%2e%2e/x", "%2Fetc%2Fpasswd", "a%00b", "data"],
)
def test_what_is_no_file_of_the_site_is_not_there(client: TestClient, path: str) -> None:
    answer = client.get(f"/replay/now/{path}")
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_an_unknown_run_is_answered_with_similar_ids(client: TestClient) -> None:
    answer = client.get("/replay/nov/")
    assert answer.status_code == 404
    assert "now" in answer.json()["error"]


def test_the_sites_are_deleted_with_the_server(exporter: Exporter) -> None:
    app = create_app(exporter)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        client.get("/replay/now/")
        folder = app.state.sites._folder
        assert folder.is_dir()
    assert not folder.exists()
