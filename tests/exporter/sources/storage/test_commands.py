"""Commands and the exporter with a bucket in place of a folder."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalgauge import metrics as m
from evalgauge_exporter import exporter as module
from evalgauge_exporter.cli.main import cli
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.ingest import buckets as ingest
from evalgauge_exporter.sources.storage import bucket as buckets
from evalgauge_exporter.sources.storage import files
from evalgauge_exporter.web import replay_sites
from evalgauge_exporter.web.server import serving
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.scraping import get, scrape, total, value
from tests.exporter.sources.storage.buckets import BucketFault, TestBucket
from tests.exporter.waiting import wait_for

DATA = Path(__file__).parents[3] / "data" / "inspect-0.3.285"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(buckets, "MAX_RETRIES", 0)
    monkeypatch.setattr(ingest, "_mirrors", {})
    monkeypatch.setattr(files, "_mirrors", [])


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.output


def test_commands_take_a_bucket_where_they_take_a_folder(bucket: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path / "local", "a", outcomes="ssff")
    small_run(tmp_path / "local", "b", outcomes="ssss")
    bucket.upload(tmp_path / "local")
    code, output = run("runs", bucket.url, "--json")
    assert code == 0, output
    assert {row["run_id"] for row in json.loads(output)["runs"]} == {"a", "b"}
    code, output = run("compare", bucket.url, "a", "b", "--json")
    assert json.loads(output)["comparison"]["run_b"]["success_rate_over_time"][-1]["success_rate"] == 1.0
    code, output = run("export", f"{bucket.url}/a", "--format", "csv", "--out", str(tmp_path / "a.csv"))
    assert code == 0, output
    assert (tmp_path / "a.csv").read_text().count("\n") == 5
    code, output = run("replay", f"{bucket.url}/a", "--out", str(tmp_path / "site"))
    assert code == 0, output
    assert (tmp_path / "site" / "index.html").exists()


def test_a_bucket_that_refuses_is_one_line(s3: TestBucket) -> None:
    s3.door.fault = BucketFault(403)
    result = CliRunner().invoke(cli, ["runs", s3.url])
    assert result.exit_code != 0
    assert "access is denied" in result.output + repr(result.exception)


def test_an_empty_bucket_is_an_error_that_says_so(s3: TestBucket) -> None:
    result = CliRunner().invoke(cli, ["runs", s3.url])
    assert result.exit_code != 0
    assert "there is nothing below this URL" in result.output + repr(result.exception)


def test_a_run_is_sent_to_a_bucket_by_the_command(s3: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path, "r")
    code, output = run("send", str(tmp_path / "r"), "--to", s3.url)
    assert code == 0, output
    assert "the run has finished" in output
    assert run("send", str(tmp_path / "r"), "--to", "http://127.0.0.1:1")[0] != 0
    assert run("runs", s3.url, "--json")[0] == 0


@pytest.mark.parametrize("in_child", [False, True])
def test_the_exporter_follows_a_run_in_a_bucket_and_serves_its_screenshots(
    bucket: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_child: bool
) -> None:
    if in_child:  # the site of a large run is made by a process of its own
        monkeypatch.setattr(replay_sites, "_is_small", lambda _: False)
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
    tracked = small_run(tmp_path / "local", "r", outcomes="ss", finish=False)
    with tracked.task("shot", worker="vm-0") as task:
        task.step(action="click", screenshot=png)
        task.finish(success=True)
    bucket.upload(tmp_path / "local")
    exporter = exporter_of(Path(bucket.url), storage={"interval": "1s", "full_interval": "1s"})
    with serving(exporter) as url:
        wait_for(lambda: total(scrape(url), m.RUN_TASKS.name, status="success") == 3)
        found = scrape(url)
        assert value(found, m.SOURCE_UP.name, source="bucket") == 1
        (shot,) = [key for key in bucket.list() if key.endswith(".png")]
        bucket.door.requests.clear()
        wait_for(lambda: get(f"{url}/replay/r/data/index.js")[0] == 200)
        assert not bucket.door.count(shot)  # a screenshot is downloaded when it is looked at
        site = exporter.collector.roots[0]
        assert files.is_placeholder(site / shot)
        assert [read_site(url, path) for path in find_screenshots(url)] == [png]
        with tracked.task("late", worker="vm-0") as task:
            task.finish(success=True)
        tracked.finish()
        bucket.upload(tmp_path / "local")
        wait_for(lambda: total(scrape(url), m.RUN_TASKS.name, status="success") == 4)
        bucket.door.fault = BucketFault(403)
        wait_for(lambda: value(scrape(url), m.SOURCE_UP.name, source="bucket") == 0)
        assert total(scrape(url), m.RUN_TASKS.name, status="success") == 4  # what was read stays
        assert get(f"{url}/readyz")[0] == 200


def read_site(url: str, path: str) -> bytes:
    """A file of the site of the run ``r``."""
    with urllib.request.urlopen(f"{url}/replay/r/{path}", timeout=30) as answer:
        content: bytes = answer.read()
    return content


def find_screenshots(url: str) -> list[str]:
    """The paths of the screenshots in the site of the run ``r``."""
    (key,) = set(re.findall(rb'"key":"([^"]+)"', read_site(url, "data/index.js")))
    tasks = read_site(url, f"data/{key.decode()}/rows-0.js")
    parts = [path for path in re.findall(rb'"([^"]+-1)"', tasks) if path.startswith(b"shot")]
    texts = [read_site(url, f"data/{key.decode()}/{part.decode()}.js") for part in parts]
    return sorted({found.decode() for text in texts for found in re.findall(rb'"(shots/[^"]+)"', text)})


def test_a_bucket_that_hangs_holds_up_readiness_for_a_bounded_time(
    s3: TestBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_LISTING_SECONDS", 0.2)
    s3.door.hold = threading.Event()
    small_run(tmp_path / "local", "mine")
    with serving(exporter_of(Path(s3.url), tmp_path / "local")) as url:
        wait_for(lambda: get(f"{url}/readyz")[0] == 200)
        assert total(scrape(url), m.RUN_TASKS.name, status="success") == 2
        s3.door.hold.set()


@pytest.mark.parametrize("text", ["s3://bucket/results", '["s3://bucket/results", "local"]'])
def test_a_bucket_may_be_in_the_environment_and_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("EVALGAUGE_RESULTS", text)
    assert load_config().results[0] == Path("s3://bucket/results")
    monkeypatch.delenv("EVALGAUGE_RESULTS")
    file = tmp_path / "evalgauge.toml"
    file.write_text('results = ["az://container/x", "local"]\n')
    assert load_config(file).results == (Path("az://container/x"), tmp_path / "local")


def test_an_archive_is_read_in_parts_and_not_copied(bucket: TestBucket, tmp_path: Path) -> None:
    archive = next(DATA.rglob("*.eval"))
    bucket.put({archive.name: archive.read_bytes()})
    code, output = run("runs", bucket.url, "--json")
    assert code == 0, output
    (row,) = json.loads(output)["runs"]
    (expected,) = json.loads(run("runs", str(archive), "--json")[1])["runs"]
    assert row == expected
    (copy,) = (tmp_path / "cache").rglob("*.eval")
    assert copy.stat().st_blocks == 0


def test_runs_in_a_bucket_are_not_pruned(s3: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path / "local", "a")
    s3.upload(tmp_path / "local")
    before = s3.list()
    result = CliRunner().invoke(cli, ["prune", s3.url, "--older-than", "0s"])
    assert result.exit_code != 0
    assert "lifecycle rule" in result.output + repr(result.exception)
    assert s3.list() == before


def test_a_run_in_a_bucket_is_watched_in_the_terminal(s3: TestBucket, tmp_path: Path) -> None:
    small_run(tmp_path / "local", "night")
    s3.upload(tmp_path / "local")
    code, output = run("watch", s3.url, "--once")
    assert code == 0, output
    assert "night" in output
