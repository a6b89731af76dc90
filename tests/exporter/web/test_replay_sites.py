"""The replay as the exporter serves it: made on demand, brought up to date, and nothing but the site."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from evalgauge import Run
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web import app as app_module
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
    assert exporter.wait_ready(60)
    yield exporter
    exporter.stop()


@pytest.fixture
def client(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(app_module, "BUILD_WAIT_SECONDS", 60.0)
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
    root = client.app.state.sites._sites["now",].folder  # type: ignore[attr-defined]  # the application is FastAPI's
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
    root = client.app.state.sites._sites["now",].folder  # type: ignore[attr-defined]  # the application is FastAPI's
    assert any("late" in path.read_text() for path in root.rglob("rows-0.js"))


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
        client.get("/replay/now/data/index.js")
        folder = app.state.sites._folder
        assert folder.is_dir()
    assert not folder.exists()


def test_a_large_site_is_generated_by_a_process_of_its_own(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_sites, "SMALL_BYTES", 0)
    assert '"run_id":"now"' in client.get("/replay/now/data/index.js").text


def test_a_process_that_is_killed_is_reported_and_the_site_tried_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_sites, "SMALL_BYTES", 0)
    monkeypatch.setattr(replay_sites, "BUILD_SECONDS", 0.0)
    monkeypatch.setattr(replay_sites, "MIN_AGE_SECONDS", 0.0)
    answer = client.get("/replay/now/")
    assert answer.status_code == 404
    assert "ended with status" in answer.json()["error"]
    monkeypatch.setattr(replay_sites, "BUILD_SECONDS", 60.0)
    assert client.get("/replay/now/").status_code == 200


def test_a_loading_page_shows_the_progress_of_a_site_that_is_being_generated(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "BUILD_WAIT_SECONDS", 0.0)
    build, go_on = replay_sites.ReplaySites._build, threading.Event()

    def build_later(*arguments: Any) -> None:
        assert go_on.wait(60)
        build(*arguments)

    monkeypatch.setattr(replay_sites.ReplaySites, "_build", build_later)
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        page = client.get("/replay/now/")
        assert page.status_code == 202
        assert "being generated" in page.text
        assert client.get("/live/loading.js").status_code == 200
        go_on.set()
        wait_for(lambda: client.get("/replay/now/progress").json()["ready"], 60)
        assert client.get("/replay/now/").status_code == 200


def test_a_site_that_cannot_be_written_is_reported(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BUILD_WAIT_SECONDS", 60.0)
    app = create_app(exporter)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        folder = app.state.sites._make_folder()
        (folder / "1").write_text("a file where the site would be")
        answer = client.get("/replay/now/")
        assert answer.status_code == 404
        assert "is a file" in answer.json()["error"]


def test_the_least_recently_used_sites_are_deleted(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_sites, "MAX_SITES", 1)
    client.get("/replay/before/")
    sites = client.app.state.sites  # type: ignore[attr-defined]  # the application is FastAPI's
    first = sites._sites["before",].folder
    client.get("/replay/now/")
    assert list(sites._sites) == [("now",)]
    assert not first.exists()
    assert client.get("/replay/before/").status_code == 200, "it is generated again"


def test_what_a_killed_process_left_is_deleted_at_start(exporter: Exporter, tmp_path: Path) -> None:
    app = create_app(exporter)
    base = app.state.sites._cache_folder()
    left = base / "left-by-a-killed-process"
    left.mkdir(parents=True)
    (left / "lock").write_bytes(b"")
    with TestClient(app, base_url="http://127.0.0.1"):
        assert not left.exists()
