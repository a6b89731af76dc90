"""A redacted source: nothing secret reaches a replay or an export."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from evalgauge import track_run
from evalgauge.events import Step
from evalgauge.redact import Box, Redactor
from evalgauge.runlog import LogWriter
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.sources.redacted import COVERED, RedactedSource, redact_run
from tests.exporter.cli.invoking import complaint, evalgauge

SECRET = "sk-ant-api03-" + "q" * 40
RULES = """
[[box]]
x = 0.0
y = 0.0
width = 1.0
height = 1.0
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    white = io.BytesIO()
    Image.new("RGB", (8, 8), "#ffffff").save(white, "PNG")
    tasks = [{"task_id": "t", "domain": "d", "instruction": f"use {SECRET}"}]
    with track_run(tmp_path / "results", benchmark="b", model="m", run_id="r", tasks=tasks, tags={"k": SECRET}) as run:
        with run.task("t", domain="d", instruction=SECRET) as task:
            task.step(action={"type": "type", "text": SECRET}, reasoning=SECRET, screenshot=white.getvalue())
            task.log(SECRET)
            task.finish(success=False, error=SECRET, reason=SECRET)
    return tmp_path / "results"


@pytest.mark.parametrize("form", ["csv", "json", "atif"])
def test_an_export_has_no_secret(results: Path, form: str) -> None:
    plain = evalgauge("export", results, "--format", form, "--out", "-").stdout
    assert SECRET in plain
    redacted = evalgauge("export", results, "--format", form, "--out", "-", "--redact", "default").stdout
    assert SECRET not in redacted
    assert "[redacted:api-key]" in redacted


def test_a_replay_has_no_secret_and_covered_screenshots(results: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    done = evalgauge("replay", results, "--out", tmp_path / "site", "--redact", rules)
    assert done.returncode == 0, done.stderr
    files = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert any(b"[redacted:api-key]" in path.read_bytes() for path in files)
    (shot,) = [path for path in files if path.suffix == ".png"]
    with Image.open(shot) as image:
        assert image.convert("RGB").getcolors() == [(64, (0, 0, 0))]


def test_without_boxes_screenshots_stay_as_they_are(results: Path, tmp_path: Path) -> None:
    evalgauge("replay", results, "--out", tmp_path / "site", "--redact", "default")
    (shot,) = (tmp_path / "site").rglob("*.png")
    with Image.open(shot) as image:
        assert image.convert("RGB").getcolors() == [(64, (255, 255, 255))]


def test_a_screenshot_outside_of_the_run_is_not_read(results: Path, tmp_path: Path) -> None:
    (tmp_path / "private.png").write_bytes(next(results.rglob("*.png")).read_bytes())
    step = {"ts": 1e9, "task_id": "t", "attempt": 1, "step_idx": 0, "action": {"type": "click"}}
    writer = LogWriter(results / "r" / "events" / "x.jsonl")
    writer.write("step", {**step, "screenshot": "../../private.png"})
    writer.close()
    (found,), _ = Discovery([results]).scan()
    source = redact_run(found, Redactor(boxes=(Box(0, 0, 1, 1),))).open_source()
    assert isinstance(source, RedactedSource)
    shots = [event.screenshot for event in source.read().events if isinstance(event, Step) and event.screenshot]
    images = {shot: source.image(shot) for shot in shots}
    assert len(images) == 2
    assert images[f"{COVERED}../../private.png"] is None
    assert source.image("screenshots/t/1/step_0000.png") is None, "only covered ones come from here"


def test_rules_that_cannot_be_used_are_one_line(results: Path, tmp_path: Path) -> None:
    export = ("export", results, "--format", "csv", "--out", "-", "--redact", tmp_path / "none.toml")
    assert "name an existing rule file" in complaint(evalgauge(*export), 1)
    linked = ("--screenshot-base-url", "https://blob.example/", "--redact", "default")
    done = evalgauge("replay", results, "--out", tmp_path / "site", *linked)
    assert "leave it out with --redact" in complaint(done, 2)
