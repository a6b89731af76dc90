"""Writing the site: what is in it, what is written again, and that nothing leaves its folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge_exporter.errors import ReplayError
from evalgauge_exporter.replay import generate, write_single_file
from evalgauge_exporter.replay.names import make_key
from evalgauge_exporter.replay.site import CONTENTS
from evalgauge_exporter.sources.runlog import RunLogSource
from tests.exporter.replay.factories import LATER, START, call, contents, found, part, png, rows, step, task, write_run

DATA = Path(__file__).parents[2] / "data"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_shots(results: Path, run_id: str, *shots: Any, outcome: str = "failure") -> Path:
    """A run of one task whose steps have these screenshots: bytes to write, or paths as they stand in the log."""
    lines = []
    for index, shot in enumerate(shots):
        path = shot
        if isinstance(shot, bytes):
            path = f"screenshots/t/{index}.png"
            target = results / run_id / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(shot)
        lines.append(step(index, {"type": "click", "x": 0.5, "y": 0.5}, screenshot=path))
    return write_run(results, run_id, task("t", outcome, lines))


def test_a_real_run_is_all_there(tmp_path: Path) -> None:
    results = DATA / "openadapt-0.98.0-mixed" / "benchmark_results"
    runs_found = [run for run in found(results) if run.path_id.endswith("seed2")]
    made = generate(runs_found, tmp_path / "site", now=2e9)
    assert (made.runs, made.tasks, made.missing, made.problems) == (1, 48, 0, [])
    seed = part(tmp_path / "site/data/index.js")["runs"][0]
    # what the run's own summary.json says of it
    assert (seed["outcomes"]["success"], seed["finished"], seed["success_rate"]) == (23, 48, 23 / 45)
    assert seed["interval"][0] < 23 / 45 < seed["interval"][1]
    table = rows(tmp_path / "site", seed["key"])
    assert sum(row["outcome"] == "success" for row in table) == 23
    for row in table:
        shown = part(tmp_path / "site/data" / seed["key"] / f"{row['key']}.js")
        for one in shown["steps"]:
            assert (tmp_path / "site" / one["screenshot"]).read_bytes().startswith(b"\x89PNG")


def test_screenshots_are_linked_not_copied(tmp_path: Path) -> None:
    run = with_shots(tmp_path / "results", "r", png())
    made = generate(found(run), tmp_path / "site", now=LATER)
    shot = tmp_path / "site" / contents(tmp_path / "site", "t")["steps"][0]["screenshot"]
    assert shot.samefile(run / "screenshots/t/0.png")
    assert made.screenshots == 1


def test_where_links_are_impossible_screenshots_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    run = with_shots(tmp_path / "results", "r", png())
    first = generate(found(run), tmp_path / "site", now=LATER)
    shot = tmp_path / "site" / contents(tmp_path / "site", "t")["steps"][0]["screenshot"]
    assert shot.read_bytes() == png()
    assert not shot.samefile(run / "screenshots/t/0.png")
    again = generate(found(run), tmp_path / "site", now=LATER)
    assert (first.bytes > len(png()), again.bytes) == (True, 0)


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    results = tmp_path / "results"
    steps = [step(0, "click")]
    events = [*task("a", "success", steps), *task("b", "failure", steps)]
    write_run(results, "r", events, finished=False)
    site = tmp_path / "site"
    assert generate(found(results), site, now=START + 50)[:4] == (1, 2, 2, 0)
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    assert generate(found(results), site, now=START + 50)[1:4] == (2, 0, 2)
    assert before == {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    write_run(results, "r", [*events, *task("c", "success", steps)], finished=False)
    assert generate(found(results), site, now=START + 50)[1:4] == (3, 1, 2)


def test_a_run_that_was_read_before_is_read_whole(tmp_path: Path) -> None:
    write_run(tmp_path, "r", task("a", "success", [step(0, "click")]))
    runs = found(tmp_path)
    runs[0].source.read()
    assert generate(runs, tmp_path / "site", now=LATER).tasks == 1


def test_parts_of_deleted_runs_and_tasks_are_deleted(tmp_path: Path) -> None:
    with_shots(tmp_path / "results", "a", png())
    with_shots(tmp_path / "results", "b", png())
    site = tmp_path / "site"
    generate(found(tmp_path / "results"), site, now=LATER)
    mine = site / "data" / "notes.txt"
    mine.write_text("not the site's own")
    shutil.rmtree(tmp_path / "results" / "a")
    generate(found(tmp_path / "results"), site, now=LATER)
    key = part(site / "data/index.js")["runs"][0]["key"]
    assert sorted(path.name for path in (site / "shots").iterdir()) == [key]
    assert {path.name for path in (site / "data").iterdir() if path.is_dir()} == {key}
    assert mine.exists()


def test_screenshots_of_an_earlier_start_are_deleted(tmp_path: Path) -> None:
    with_shots(tmp_path / "results", "r", png(label=1), png(label=2), png(label=3))
    site = tmp_path / "site"
    generate(found(tmp_path / "results"), site, now=LATER)
    with_shots(tmp_path / "results", "r", png(label=4))
    generate(found(tmp_path / "results"), site, now=LATER)
    assert [path.read_bytes() for path in (site / "shots").rglob("*.png")] == [png(label=4)]
    generate(found(tmp_path / "results"), site, screenshot_base_url="https://blob.example/", now=LATER)
    assert list((site / "shots").rglob("*.png")) == []


def test_a_folder_that_is_no_replay_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "results", "r", task("a", "success"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(ReplayError, match="not a replay"):
        generate(found(tmp_path / "results"), tmp_path / "mine")
    assert files(tmp_path / "mine") == {"index.html": b"mine"}
    with pytest.raises(ReplayError, match="is a file"):
        generate(found(tmp_path / "results"), tmp_path / "mine" / "index.html")


def test_a_contents_file_that_was_tampered_with_deletes_nothing_outside(tmp_path: Path) -> None:
    write_run(tmp_path / "results", "r", task("a", "success"))
    site = tmp_path / "site"
    generate(found(tmp_path / "results"), site, now=LATER)
    victim = tmp_path / "victim"
    victim.mkdir()
    (site / CONTENTS).write_text('{"../../victim": ["../../victim/x"], "..": [], "x-000000000000/../../victim": []}')
    generate(found(tmp_path / "results"), site, now=LATER)
    assert victim.exists()
    assert (site / "index.html").exists()


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "screenshots/../../secret.png",
        "{outside}/secret.png",
        "link.png",
        "folder/secret.png",
        "events/w.jsonl",
        "a\0b.png",
        "x" * 5000 + ".png",
        "screenshots",
        "..\\secret.png",
        "file:///etc/passwd",
    ],
)
def test_no_screenshot_comes_from_outside_the_run(tmp_path: Path, path: str) -> None:
    secret = png(label=42)
    outside = tmp_path / "results"
    outside.mkdir()
    (outside / "secret.png").write_bytes(secret)
    run = with_shots(outside, "r", path.format(outside=outside))
    (run / "screenshots").mkdir(exist_ok=True)
    (run / "link.png").symlink_to(outside / "secret.png")
    (run / "folder").symlink_to(outside)
    made = generate(found(run), tmp_path / "site", now=LATER)
    assert (made.screenshots, made.missing) == (0, 1)
    assert secret not in files(tmp_path / "site").values()
    assert contents(tmp_path / "site", "t")["steps"][0]["missing"] == path.format(outside=outside)[:500]
    write_single_file(found(run), tmp_path / "one.html", now=LATER)
    assert b"data:image" not in (tmp_path / "one.html").read_bytes()


def test_a_link_within_the_run_is_followed(tmp_path: Path) -> None:
    run = with_shots(tmp_path, "r", png(), "again.png")
    (run / "again.png").symlink_to("screenshots/t/0.png")
    generate(found(run), tmp_path / "site", now=LATER)
    shots = [tmp_path / "site" / one["screenshot"] for one in contents(tmp_path / "site", "t")["steps"]]
    assert all(not shot.is_symlink() and shot.read_bytes() == png() for shot in shots)


HOSTILE = ["../../x", "/etc/passwd", "a/b\\c", "..", ".hidden", "q\"'<b>", "näh✓", "con", "A", "a", "x" * 500, "a b\tc"]


def test_no_id_leads_out_of_the_site(tmp_path: Path) -> None:
    events = [line for name in HOSTILE for line in task(name, "success", [step(0, "click")])]
    write_run(tmp_path / "results", "r", events)
    site = tmp_path / "deep" / "down" / "site"
    made = generate(found(tmp_path / "results"), site, now=LATER)
    assert made.tasks == len(HOSTILE)
    assert {path.name for path in tmp_path.iterdir()} == {"results", "deep"}
    assert [path.name for path in (tmp_path / "deep").rglob("site")] == ["site"]
    key = part(site / "data/index.js")["runs"][0]["key"]
    names = [path.name.lower() for path in (site / "data" / key).iterdir()]
    assert len(names) == len(set(names)) == len(HOSTILE) + 2, "the head of the table and one part of its rows"
    assert [row["task_id"] for row in rows(site, key)] == HOSTILE


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_key_is_a_plain_name_and_tells_ids_apart(one: str, other: str) -> None:
    key = make_key(one)
    assert key.isascii()
    assert not set(key) & set("/\\:*?\"<>|\0 '")
    assert not key.startswith(".")
    assert (key.lower() == make_key(other).lower()) == (one == other)


def test_a_screen_change_is_detected_from_the_screenshots(tmp_path: Path) -> None:
    same, other, longer = png(label=1), png(label=2), png(width=300)
    run = with_shots(tmp_path, "r", same, same, other, longer, "gone.png")
    generate(found(run), tmp_path / "site", now=LATER)
    steps = contents(tmp_path / "site", "t")["steps"]
    assert [one.get("changed") for one in steps] == [False, True, True, None, None]


class Holding(RunLogSource):
    """A run whose log holds its pictures."""

    def image(self, screenshot: str) -> bytes | None:
        if screenshot == "broken":
            raise ValueError("the log is damaged")
        return png(label=9) if screenshot.startswith("log/") else b"no picture"


def test_steps_that_saw_the_same_screenshot_share_its_file(tmp_path: Path) -> None:
    first, second = png(shade=10), png(shade=20)
    with_shots(tmp_path / "results", "r", first, "screenshots/t/0.png", second)
    made = generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    steps = contents(tmp_path / "site", "t")["steps"]
    assert [(tmp_path / "site" / one["screenshot"]).read_bytes() for one in steps] == [first, first, second]
    assert [one.get("changed") for one in steps] == [False, True, None]
    assert (made.screenshots, made.missing) == (2, 0)


def test_pictures_that_the_log_holds_are_written(tmp_path: Path) -> None:
    run = with_shots(tmp_path / "results", "r", "log/a", "log/../../b.png", "text", "broken")
    runs = [found(run)[0]._replace(source=Holding(run), make=Holding)]
    made = generate(runs, tmp_path / "site", now=LATER)
    steps = contents(tmp_path / "site", "t")["steps"]
    assert (made.screenshots, made.missing) == (2, 2)
    assert all((tmp_path / "site" / one["screenshot"]).read_bytes() == png(label=9) for one in steps[:2])
    assert [one.get("changed") for one in steps] == [False, None, None, None]
    assert generate(runs, tmp_path / "site", now=LATER).bytes == 0
    write_single_file(runs, tmp_path / "one.html", now=LATER)
    assert (tmp_path / "one.html").read_bytes().count(b"data:image/png") == 2


def test_screenshots_can_stay_where_they_are(tmp_path: Path) -> None:
    results = tmp_path / "results"
    with_shots(results / "pool", "r#1", "shots/a b.png", "../x.png", "/etc/x.png", "https://x/y.png")
    base = "https://blob.example/my runs/?sv=1&sig=a%2Fb"  # what signs a blob container's address is its query
    made = generate(found(results), tmp_path / "site", screenshot_base_url=base, now=LATER)
    steps = contents(tmp_path / "site", "t")["steps"]
    assert steps[0]["screenshot"] == (
        "https://blob.example/my%20runs/pool/r%231/shots/a%20b.png?sv=1&sig=a%2Fb"  # and stays at the end
    )
    assert [one.get("screenshot") for one in steps[1:]] == [None] * 3
    assert made.screenshots == 1
    assert not (tmp_path / "site" / "shots").exists()
    assert "img-src 'self' file: data: https://blob.example;" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize("url", ["javascript:alert(1)", "blob", "https://a'; script-src *", "ftp://x"])
def test_a_base_that_is_no_web_address_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ReplayError, match="must begin with https"):
        generate([], tmp_path / "site", screenshot_base_url=url)
    assert not (tmp_path / "site").exists()


def test_thumbnails_are_there_when_asked_for(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    run = with_shots(tmp_path, "r", png(1000, 500), b"\x89PNG broken")
    made = generate(found(run), tmp_path / "site", thumbnails=True, now=LATER)
    steps = contents(tmp_path / "site", "t")["steps"]
    with image.open(tmp_path / "site" / steps[0]["thumbnail"]) as small:
        assert small.size == (240, 120)
    assert "thumbnail" not in steps[1]
    assert [problem.reason for problem in made.problems] == ["unreadable"]
    assert generate(found(run), tmp_path / "site", thumbnails=True, now=LATER).bytes == 0


def test_cost_and_tokens_of_steps_add_up_to_the_task_s(tmp_path: Path) -> None:
    events = [call(), step(0, "click"), call(model="no-such-model"), step(1, "type"), call(input_tokens=None)]
    write_run(tmp_path, "r", task("t", "success", events))
    generate(found(tmp_path), tmp_path / "site", now=LATER)
    shown = contents(tmp_path / "site", "t")
    calls = [one for each in shown["steps"] for one in each.get("calls", [])] + shown["calls"]
    assert [one["money"] for one in calls] == ["priced", "unpriced", "unknown_usage"]
    assert calls[0]["usd"] == pytest.approx((1000 * 3 + 100 * 15) / 1e6)  # Anthropic's list price of Claude Sonnet 4.5
    assert shown["cost_usd"] == pytest.approx(calls[0]["usd"])
    assert shown["uncosted_calls"] == 2


def test_a_dead_run_s_open_task_is_interrupted(tmp_path: Path) -> None:
    write_run(tmp_path, "r", task("t", "running", [step(0, "click")]), finished=False)
    generate(found(tmp_path), tmp_path / "site", now=START + 60)
    assert contents(tmp_path / "site", "t")["outcome"] == "running"
    generate(found(tmp_path), tmp_path / "site", now=LATER)
    assert contents(tmp_path / "site", "t")["outcome"] == "interrupted"
    assert part(tmp_path / "site/data/index.js")["runs"][0]["state"] == "stalled"


def test_runs_of_one_benchmark_are_compared(tmp_path: Path) -> None:
    for run_id, lost in (("a", 0), ("b", 12)):
        outcomes = ["failure"] * lost + ["success"] * (20 - lost)
        events = [line for n, outcome in enumerate(outcomes) for line in task(f"t{n}", outcome, [step(0, "click")])]
        write_run(tmp_path, run_id, events, start=START + lost)
    write_run(tmp_path, "c", task("t0", "success"), benchmark="another")
    generate(found(tmp_path), tmp_path / "site", now=LATER)
    compared = part(tmp_path / "site/data/comparisons.js")["comparisons"]
    assert [(one["a"], one["b"], one["verdict"]) for one in compared] == [("b", "a", "better"), ("a", "b", "worse")]
    # 12 discordant pairs, all one way: 2 × 0.5¹²
    assert compared[0]["p_value"] == pytest.approx(2 * 0.5**12)


def test_progress_ends_at_all_of_it(tmp_path: Path) -> None:
    for run_id in ("a", "b"):
        write_run(tmp_path, run_id, [line for n in range(3) for line in task(f"t{n}", "success")])
    said: list[tuple[int, int]] = []
    generate(found(tmp_path), tmp_path / "site", now=LATER, progress=lambda done, total: said.append((done, total)))
    assert said == [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


def test_a_single_file_holds_its_pictures(tmp_path: Path) -> None:
    run = with_shots(tmp_path / "results", "r", png(label=7))
    size = write_single_file(found(run), tmp_path / "one.html", now=LATER)
    page = (tmp_path / "one.html").read_bytes()
    assert size == len(page)
    assert b"data:image/png;base64," in page
    assert {path.name for path in tmp_path.iterdir()} == {"results", "one.html"}
    with pytest.raises(ReplayError, match="name the file"):
        write_single_file(found(run), tmp_path / "results", now=LATER)
    assert {path.name for path in tmp_path.iterdir()} == {"results", "one.html"}


def test_a_single_file_of_a_task_holds_no_other(tmp_path: Path) -> None:
    write_run(tmp_path, "r", [*task("wanted", "success"), *task("other-one", "success", [step(0, "secret-action")])])
    write_single_file(found(tmp_path), tmp_path / "one.html", task="wanted", now=LATER)
    page = (tmp_path / "one.html").read_bytes()
    assert b"wanted" in page
    assert b"secret-action" not in page
    with pytest.raises(ReplayError, match="no run has a task 'want'; did you mean wanted"):
        write_single_file(found(tmp_path), tmp_path / "two.html", task="want", now=LATER)


def test_no_text_of_a_run_ends_the_page_s_blocks(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!-- \u2028"
    events = task(evil, "failure", [step(0, {"type": evil}, reasoning=evil)], instruction=evil, error=evil)
    write_run(tmp_path, "r", events)
    write_single_file(found(tmp_path), tmp_path / "one.html", now=LATER)
    generate(found(tmp_path), tmp_path / "site", now=LATER)
    for content in [(tmp_path / "one.html").read_bytes(), *files(tmp_path / "site").values()]:
        assert b"alert(1)</script>" not in content
        assert b"<!-- " not in content
