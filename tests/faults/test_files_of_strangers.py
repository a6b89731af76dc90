"""Files that somebody else can replace: nothing outside the served folders is read, published or sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from evalgauge_exporter.replay import generate
from evalgauge_exporter.replay.screenshots import ScreenshotFolder, copy_screenshot
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.sources.safe_open import open_beneath
from evalgauge_exporter.web import app as app_module
from evalgauge_exporter.web.app import create_app
from tests.exporter.runs import exporter_of, small_run

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
SECRET = b"\x89PNG\r\n\x1a\n" + b"the secret of the exporter's user"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "secret.png"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """The screenshot of a run."""
    run = small_run(tmp_path / "results", "r", finish=False)
    with run.task("t") as task:
        task.step(action="click", screenshot=PNG)
        task.finish(success=True)
    run.finish()
    (path,) = run.folder.rglob("*.png")
    return path


@pytest.fixture
def client(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(app_module, "BUILD_WAIT_SECONDS", 60.0)
    exporter = exporter_of(tmp_path / "results")
    exporter.start()
    assert exporter.wait_ready(60)
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        assert client.get("/replay/r/").status_code == 200
        yield client
    exporter.stop()


def address_of(client: TestClient) -> str:
    root: Path = client.app.state.sites._sites["r",].folder  # type: ignore[attr-defined]  # the application is FastAPI's
    (link,) = root.rglob("*.png")
    return f"/replay/r/{link.relative_to(root).as_posix()}"


@pytest.mark.parametrize("target", ["secret", "/etc/passwd", "/proc/self/environ", "/dev/zero"])
def test_a_screenshot_that_is_swapped_for_a_link_is_not_sent(
    client: TestClient, shot: Path, secret: Path, target: str
) -> None:
    address = address_of(client)
    assert client.get(address).content == PNG
    shot.unlink()
    shot.symlink_to(secret if target == "secret" else target)
    answer = client.get(address)
    assert answer.status_code == 404
    assert "no longer exists" in answer.json()["error"]


def test_a_folder_of_screenshots_that_is_swapped_for_a_link_is_not_followed(
    client: TestClient, shot: Path, secret: Path
) -> None:
    address = address_of(client)
    secret.rename(secret.with_name(shot.name))
    shot.parent.rename(shot.parent.with_name("moved"))
    shot.parent.symlink_to(secret.parent)
    assert client.get(address).status_code == 404


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", b"root:x:0:0"])
def test_a_screenshot_that_is_no_image_any_more_is_not_sent(client: TestClient, shot: Path, content: bytes) -> None:
    address = address_of(client)
    shot.write_bytes(content)
    assert client.get(address).status_code == 404


def test_a_pipe_in_the_place_of_a_screenshot_holds_nobody(client: TestClient, shot: Path) -> None:
    address = address_of(client)
    shot.unlink()
    os.mkfifo(shot)
    assert client.get(address).status_code == 404


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_a_screenshot_that_is_swapped_while_a_site_is_written_is_missing(
    shot: Path, secret: Path, tmp_path: Path, mode: str
) -> None:
    run = next(parent for parent in shot.parents if parent.name == "r")
    found = ScreenshotFolder(run).find(shot.relative_to(run).as_posix())
    assert found is not None
    shot.unlink()
    shot.symlink_to(secret)
    target = tmp_path / "copy.png"
    with pytest.raises(OSError):  # noqa: PT011  # which one depends on the system
        copy_screenshot(found, target, mode)  # type: ignore[arg-type]  # the parameter is a text
    assert not target.exists() or target.read_bytes() != SECRET


def test_links_out_of_the_served_folders_are_not_followed_unless_configured(tmp_path: Path) -> None:
    small_run(tmp_path / "results", "own")
    small_run(tmp_path / "private", "other")
    (tmp_path / "results" / "link").symlink_to(tmp_path / "private")
    (tmp_path / "results" / "again").symlink_to(tmp_path / "results" / "own")
    for follow, expected in ((False, {"own"}), (True, {"own", "other"})):
        discovery = Discovery([tmp_path / "results"], follow_links=follow)
        found, problems = discovery.scan()
        assert {run.folder.name for run in found} == expected
        assert [problem.reason for problem in problems] == ([] if follow else ["link"])
        assert discovery.scan() == ([], []), "it is reported once"


def test_a_path_of_any_length_is_not_found(client: TestClient) -> None:
    for path in ("a" * 300, "a/" * 3000, "%00", "data/" + "%F0%9F%8E%89" * 100):
        assert client.get(f"/replay/r/{path}").status_code == 404


@pytest.mark.parametrize("relative", ["../x", "/etc/passwd", "a//b", ".", "", "a/../b"])
def test_a_path_that_is_not_below_the_folder_is_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(ValueError, match="not a path below"):
        open_beneath(tmp_path, relative)


def test_an_attempt_of_any_number_has_a_replay(tmp_path: Path) -> None:
    run = small_run(tmp_path / "results", "r", finish=False)
    with run.task("t", attempt=10**200) as task:
        task.finish(success=True)
    run.finish()
    found, _ = Discovery([tmp_path / "results"]).scan()
    assert generate(found, tmp_path / "site").tasks > 0
