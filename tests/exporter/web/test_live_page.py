"""The live page in a real Chromium, before the real exporter."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Route, expect

from evalgauge import track_run
from evalgauge.tracker import Run
from evalgauge_dashboards.colours import MEANINGS, contrast
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.server import serving
from tests.exporter.waiting import wait_for

LIVE = Path(sys.modules[Exporter.__module__].__file__ or "").parent / "web" / "live"
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "\"'><svg onload=document.title='owned'>",
)
Open = Callable[..., Page]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def base(results: Path) -> Iterator[str]:
    with serve(results) as url:
        yield url


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens pages; at the end none of them may have written an error to the console or asked another server."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []
    asked: list[str] = []

    def opened(url: str, *, quiet: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)

        def said(message: ConsoleMessage) -> None:
            if quiet and message.type in ("error", "warning"):
                errors.append(message.text)

        def asks(request: Request) -> None:
            asked.append(request.url)

        page.on("console", said)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", asks)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "about:"))] == []


@contextlib.contextmanager
def serve(results: Path, listen: str = "127.0.0.1:0", **config: Any) -> Iterator[str]:
    exporter = Exporter(load_config(results=(results,), listen=listen, **config))
    with serving(exporter) as url:
        assert exporter.wait_ready(60)
        yield url


def frame(base: str, run_id: str | None = None) -> dict[str, Any]:
    query = f"?run_id={run_id}" if run_id else ""
    with urllib.request.urlopen(f"{base}/api/benchmark/frame{query}") as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def settled(base: str, ended: int) -> None:
    """Wait until so many tasks have ended in what the API says."""

    def has_ended() -> bool:
        job = frame(base)["current_job"]
        return bool(job and job["total_tasks"] > 0 and job["completed_tasks"] == ended)

    wait_for(has_ended)


def start(results: Path, number: int = 6, **options: Any) -> Run:
    tasks = [
        {"task_id": f"task_{i}", "domain": "notepad" if i % 2 else "chrome", "instruction": f"Do the thing {i}"}
        for i in range(number)
    ]
    return track_run(results, benchmark="waa", model="claude-sonnet-4-5", **{"tasks": tasks, **options})


def finish(run: Run, task_id: str, success: bool = True, worker: str = "vm-1", **options: Any) -> None:
    with run.task(task_id, worker=worker, **options) as task:
        task.llm_call(
            provider="anthropic",
            model="claude-sonnet-4-5",
            input_tokens=100_000,
            output_tokens=2_000,
            duration_seconds=1,
        )
        task.step(action="click", first_action_correct=success)
        task.finish(success=success)


def written(results: Path, run_id: str, began: float, *events: dict[str, Any]) -> None:
    """A run's log whose events lie in the past; each has its ``after`` in seconds."""
    folder = results / run_id / "events"
    folder.mkdir(parents=True)
    first = {"type": "run_started", "run_id": run_id, "benchmark": "waa", "model": "gpt-5", "after": 0}
    lines = [
        json.dumps({"v": 1, "seq": seq, "ts": began + event.pop("after"), **event})
        for seq, event in enumerate([first, *events], 1)
    ]
    (folder / "main.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def plain(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip()


def shows(page: Page, panel: str, label: str, value: str) -> None:
    """Expect the value of a panel's figure, white space aside."""
    figure = page.locator(f".panel.{panel} .figure", has=page.locator(f"dt:text-is('{label}')"))
    expect(figure.locator(".value")).to_have_text(value)


def live(page: Page) -> None:
    """Wait until the stream's first frame is drawn."""
    expect(page.locator("#connection")).to_have_attribute("data-kind", "live")
    expect(page.locator("body:not([data-loading])")).to_have_count(1)


def shows_the_answer(page: Page, base: str) -> bool:
    """Compare the page with the API's answer of this moment."""
    said = frame(base)

    def check(panel: str, label: str, value: str) -> None:
        figure = page.locator(f".panel.{panel} .figure", has=page.locator(f"dt:text-is('{label}')"))
        assert plain(figure.locator(".value").text_content()) == value

    assert said["costs"]["total_cost_usd"] is not None
    check("job", "Tasks finished", "3 of 6")
    check("costs", "So far", f"${said['costs']['total_cost_usd']:.2f}")
    check("costs", "Per success", f"${said['costs']['cost_per_success_usd']:.2f}")
    check("performance", "Success rate", f"{said['metrics']['success_rate_estimate'] * 100:.0f} %")
    check("performance", "All finished", f"{said['metrics']['success_rate_all'] * 100:.0f} %")
    low, high = (round(said["metrics"][key] * 100) for key in ("success_rate_low", "success_rate_high"))
    note = page.locator(".performance .figure.main .note")
    assert plain(note.text_content()) == f"{low}–{high} %, n = 3"
    check("performance", "First action", "67 %")
    legend = plain(page.locator(".job .legend").inner_text())
    for status, word in (
        ("success", "success"),
        ("failure", "failure"),
        ("running", "running"),
        ("pending", "pending"),
    ):
        assert f"{said['current_job']['statuses'][status]} {word}" in legend
    assert plain(page.locator(".job tbody tr").inner_text()).startswith("task_3 Open it vm-2 1 of 15")
    domains = page.locator(".domains tbody tr")
    worst_first = sorted(said["domain_breakdown"].items(), key=lambda item: (item[1]["rate"] is None, item[1]["rate"]))
    assert [plain(row.locator("a").inner_text()) for row in domains.all()] == [name for name, _ in worst_first]
    for row, (_, domain) in zip(domains.all(), worst_first, strict=True):
        assert f"{domain['success']} of {domain['measured']}" in plain(row.inner_text())
    states = {row["worker_id"]: row["tasks_completed"] for row in said["workers"]["workers"]}
    rows = page.locator(".workers tbody tr")
    assert {r.locator(".code").first.inner_text(): int(r.locator(".done").inner_text()) for r in rows.all()} == states
    newest = plain(page.locator(".runs tbody tr").first.inner_text())
    assert newest.startswith(said["runs"][0]["model_id"])
    assert "3 of 6" in newest
    assert page.locator("#link-replay").get_attribute("href") == base + said["links"]["replay"]
    return True


def test_the_page_shows_what_the_api_returns(results: Path, base: str, open_page: Open) -> None:
    with start(results, budget_usd=50.0) as run:
        for index, success in enumerate([True, False, True]):
            finish(run, f"task_{index}", success)
        with run.task("task_3", domain="notepad", worker="vm-2", max_steps=15, instruction="Open it") as task:
            task.step(action="click")
            settled(base, 3)
            page = open_page(base)
            live(page)
            # estimates follow the counts they depend on a moment later, in the answer and on the page
            wait_for(lambda: shows_the_answer(page, base))
            task.finish(success=True)


def test_a_finished_task_shows_without_a_reload_and_nothing_jumps(results: Path, base: str, open_page: Open) -> None:
    with start(results) as run:
        finish(run, "task_0")
        settled(base, 1)
        page = open_page(base)
        live(page)
        row = page.locator(".runs tbody tr").first.element_handle()
        boxes = (
            "[...document.querySelectorAll('.panel, .table-box')].map(n => JSON.stringify(n.getBoundingClientRect()))"
        )
        before = page.evaluate(boxes)
        page.evaluate("window.marker = 1")
        for index in range(1, 6):
            finish(run, f"task_{index}", success=index % 2 == 0)
            expect(page.locator(".job .figure.main .number").first).to_have_text(str(index + 1))
        assert page.evaluate("window.marker") == 1
        assert row.evaluate("node => node.isConnected"), "the row is the same one as before"
        assert page.evaluate(boxes) == before
        assert plain(page.title()).startswith("100 % (6 of 6)")


def test_a_stream_that_is_cut_off_is_polled_for_and_comes_back(results: Path, base: str, open_page: Open) -> None:
    with start(results) as run:
        finish(run, "task_0")
        settled(base, 1)
        page = open_page("about:blank", quiet=False)
        page.clock.install()
        page.route("**/api/benchmark-sse**", lambda route: route.abort())
        page.goto(base)
        mark = page.locator("#connection")
        expect(mark).to_have_attribute("data-kind", "polling")
        expect(page.locator("#connection-text")).to_have_text("polling every 5 s")
        shows(page, "job", "Tasks finished", "1 of 6")
        finish(run, "task_1")
        settled(base, 2)
        page.clock.fast_forward(5_000)
        expect(page.locator(".job .figure.main .number").first).to_have_text("2")
        page.unroute("**/api/benchmark-sse**")
        page.clock.fast_forward(30_000)
        live(page)


def test_old_numbers_stay_while_the_exporter_is_down_and_the_page_reconnects(results: Path, open_page: Open) -> None:
    with start(results) as run:
        finish(run, "task_0")
        with serve(results) as base:
            settled(base, 1)
            page = open_page(base, quiet=False)
            live(page)
        expect(page.locator("#connection")).to_have_attribute("data-kind", "disconnected")
        assert re.match(r"disconnected since \d\d:\d\d, data <?\d", plain(page.locator("#connection").inner_text()))
        shows(page, "job", "Tasks finished", "1 of 6")
        finish(run, "task_1")
        with serve(results, base.removeprefix("http://")):
            expect(page.locator("#connection")).to_have_attribute("data-kind", "live")
            expect(page.locator(".job .figure.main .number").first).to_have_text("2")
            page.goto("about:blank")  # or the server waits for the stream to end


def test_what_agents_write_is_shown_as_text(results: Path, base: str, open_page: Open) -> None:
    tasks = [{"task_id": bad, "domain": bad, "instruction": bad} for bad in HOSTILE]
    with track_run(results, benchmark=HOSTILE[0], model=HOSTILE[1], agent=HOSTILE[2], tasks=tasks) as run:
        finish(run, HOSTILE[0], worker=HOSTILE[0], domain=HOSTILE[0], instruction=HOSTILE[0])
        settled(base, 1)
        with run.task(HOSTILE[1], worker=HOSTILE[1], domain=HOSTILE[1], instruction=HOSTILE[1]) as task:
            page = open_page(base)
            live(page)
            expect(page.locator(".job tbody .instruction")).to_have_text(HOSTILE[1])
            assert page.locator(".job .model").text_content() == HOSTILE[1]
            assert page.locator(".workers tbody tr").count() == 2
            assert {a.text_content() for a in page.locator(".domains tbody a").all()} == set(HOSTILE)
            assert page.locator("img, main script, svg[onload]").count() == 0
            assert "owned" not in page.title().split("– evalgauge")[1]
            assert page.evaluate("location.hash") == ""
            task.finish(success=True)


def test_a_phone_needs_no_sideways_scroll(results: Path, base: str, open_page: Open) -> None:
    long = "a_task_with_a_name_that_goes_on_and_on_" * 5
    with track_run(results, benchmark="b" * 90, model="m" * 120, tasks=[long, "other"], budget_usd=1234567.0) as run:
        finish(run, "other", domain="d" * 150, worker="w" * 100, instruction="x" * 400)
        settled(base, 1)
        with run.task(long, domain="e" * 150, worker="v" * 100, instruction="y" * 400) as task:
            page = open_page(base, viewport={"width": 390, "height": 844})
            live(page)
            expect(page.locator(".job tbody tr")).to_have_count(1)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            page.locator("#run").select_option(index=1)
            expect(page).to_have_url(re.compile(r"\?run="))
            page.set_viewport_size({"width": 320, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            task.finish(success=True)


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_no_number_is_cut_off(results: Path, open_page: Open, width: int) -> None:
    """Not with hundreds of tasks in a domain, long times and large sums either."""
    began = time.time() - 7205
    planned = [{"task_id": f"t{i}", "domain": f"domain-{i % 2}"} for i in range(1900)]
    usage = {"provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 900_000, "output_tokens": 20_000}
    events = [{"type": "run_started", "run_id": "wide", "tasks": planned, "budget_usd": 9000.0, "after": 0}]
    for index in range(900):
        task = {"task_id": f"t{index}", "attempt": 1, "worker_id": "vm-1", "domain": f"domain-{index % 2}"}
        outcome = "success" if index % 3 else "failure"
        events += [
            {"type": "task_started", "after": index * 8, **task},
            {"type": "llm_call", "after": index * 8 + 1, **usage, **task},
            {
                "type": "task_finished",
                "after": index * 8 + 7,
                "outcome": outcome,
                "steps": 12,
                "duration_seconds": 7,
                **task,
            },
        ]
    events.append({"type": "task_started", "task_id": "t900", "attempt": 1, "worker_id": "vm-1", "after": 7201})
    written(results, "wide", began, *events)
    with serve(results) as base:
        page = open_page(base, viewport={"width": width, "height": 900})
        live(page)
        expect(page.locator(".domains tbody tr")).to_have_count(2)
        assert plain(page.locator(".domains td.counts").first.inner_text()) == "300 of 450"
        assert re.match(r"\d h [^(]*\(", plain(page.locator(".job .figure.main .value").nth(1).inner_text()))
        cut = page.evaluate(
            "[...document.querySelectorAll('.figure .value, .figure .note, td.numeric, .legend')]"
            ".filter(node => node.scrollWidth > node.clientWidth + 1).map(node => node.textContent)"
        )
        assert cut == []
        page.goto("about:blank")


def test_sums_with_calls_of_unknown_cost_are_shown_as_lower_bounds(results: Path, base: str, open_page: Open) -> None:
    with start(results) as run:
        for index in range(3):
            finish(run, f"task_{index}")
        with run.task("task_3", worker="vm-1") as task:
            task.llm_call(provider="own", model="a-model-of-our-own", input_tokens=10, output_tokens=10)
        settled(base, 4)
        page = open_page(base)
        live(page)
        for label in ("So far", "Per hour now", "Per success"):
            figure = page.locator(".panel.costs .figure", has=page.locator(f"dt:text-is('{label}')"))
            expect(figure.locator(".value")).to_contain_text("≥ $")
        expect(page.locator(".costs .say").last).to_contain_text("1 call without a known price")
        expect(page.locator(".runs td.cost")).to_contain_text("≥ $")


def test_an_instruction_is_read_from_the_side_where_its_language_begins(
    results: Path, base: str, open_page: Open
) -> None:
    with start(results) as run, run.task("a", instruction="افتح المفكرة " * 40), run.task("b", instruction="Open it"):
        page = open_page(base)
        live(page)
        expect(page.locator(".job tbody tr")).to_have_count(2)
        sides = page.locator(".job tbody .instruction .clip").evaluate_all(
            "nodes => nodes.map(node => getComputedStyle(node).direction)"
        )
        assert sides == ["rtl", "ltr"]


def test_everything_is_reached_with_the_keyboard(results: Path, base: str, open_page: Open) -> None:
    with start(results, number=11) as run, contextlib.ExitStack() as open_tasks:
        for index in range(9):
            open_tasks.enter_context(run.task(f"task_{index}", worker=f"vm-{index}"))
        page = open_page(base)
        live(page)
        expect(page.locator(".job .more")).to_have_text("and 3 more")
        expect(page.locator(".job tbody tr")).to_have_count(6)
        reached = []
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "[document.activeElement.tagName, document.activeElement.innerText.split('\\n')[0]]"
            )
            reached.append(f"{focused[0]} {focused[1]}")
            if reached[-1] == "BUTTON and 3 more":
                break
        assert reached[0] == "A Skip to the panels"
        assert reached[1].startswith("SELECT newest")
        assert "A Replay" in reached
        assert "A /metrics" in reached
        assert "A task_0" in reached
        assert reached[-1] == "BUTTON and 3 more"
        page.keyboard.press("Enter")
        expect(page.locator(".job tbody tr")).to_have_count(9)
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
        focus = page.locator(".job tbody a").nth(2)
        focus.focus()
        finish(run, "task_10")
        expect(page.locator(".job .figure.main .number").first).to_have_text("1")
        assert focus.evaluate("node => node === document.activeElement"), "an update leaves the focus where it is"


def test_the_chosen_run_is_in_the_address_and_goes_back(results: Path, base: str, open_page: Open) -> None:
    with start(results, run_id="first") as run:
        finish(run, "task_0")
    with start(results, run_id="second", number=3) as run:
        finish(run, "task_0")
        settled(base, 1)
        page = open_page(base)
        live(page)
        expect(page.locator(".run-id")).to_have_text("second")
        page.locator("#run").select_option("first")
        expect(page.locator(".run-id")).to_have_text("first")
        expect(page).to_have_url(f"{base}/?run=first")
        expect(page.locator(".job .pill")).to_contain_text("completed")
        page.go_back()
        expect(page.locator(".run-id")).to_have_text("second")
        page.locator(".runs tbody a").nth(1).click()
        expect(page.locator(".run-id")).to_have_text("first")
        page.reload()
        expect(page.locator("#run")).to_have_value("first")
        expect(page.locator(".runs [aria-current]")).to_have_count(1)


def test_a_screen_reader_gets_landmarks_and_few_announcements(results: Path, base: str, open_page: Open) -> None:
    with start(results) as run:
        settled(base, 0)
        page = open_page("about:blank")
        page.clock.install()
        page.goto(base)
        live(page)
        assert page.locator("header.top, main, nav[aria-label]").count() == 3
        for region in page.locator(".panel").all():
            label = region.get_attribute("aria-labelledby")
            assert page.locator(f"h2#{label}").count() == 1
        assert page.locator("h1").count() == 1
        assert page.locator("#run").evaluate("node => node.labels[0].innerText") == "Run"
        bar = page.get_by_role("progressbar")
        expect(bar).to_have_attribute("aria-valuetext", "0 of 6\u00a0tasks finished")
        assert "unknown" not in page.locator(".job .figure.main .spoken").first.inner_text()
        news = page.locator("#news")
        assert news.get_attribute("aria-live") == "polite"
        for index in range(3):
            finish(run, f"task_{index}")
            expect(page.locator(".job .figure.main .number").first).to_have_text(str(index + 1))
        assert news.inner_text() == ""
        page.clock.fast_forward(31_000)
        expect(news).to_contain_text("3 of 6 tasks finished, success rate 100 %")


def test_an_unknown_run_is_reported_with_a_link_to_the_newest(results: Path, base: str, open_page: Open) -> None:
    with start(results, run_id="here"):
        page = open_page(f"{base}/?run=heer", quiet=False)
        expect(page.locator("#notice")).to_contain_text("here")
        expect(page.locator("#grid")).to_be_hidden()
        page.get_by_role("link", name="Show the newest run").click()
        expect(page.locator(".run-id")).to_have_text("here")
        expect(page).to_have_url(f"{base}/")


def test_the_three_lines_of_the_empty_page_make_a_run_appear(
    results: Path, base: str, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(base)
    live(page)
    lines = page.locator("#notice pre").inner_text()
    assert len(lines.splitlines()) == 3
    subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, check=True)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator(".job .model")).to_have_text("my-model")
    shows(page, "job", "Tasks finished", "1 of 1")


def test_finished_runs_read_well(results: Path, open_page: Open) -> None:
    began = time.time() - 7200
    done = {"type": "task_finished", "task_id": "a", "attempt": 1, "outcome": "success", "steps": 4}
    begun = {"type": "task_started", "task_id": "b", "attempt": 1, "worker_id": "vm-1"}
    planned = {"type": "run_started", "run_id": "x", "tasks": [{"task_id": t} for t in "abc"], "after": 1}
    written(results, "done", began, {**done, "after": 60}, {"type": "run_finished", "status": "completed", "after": 90})
    written(results, "dead", began, {**planned}, {**done, "after": 60}, {**begun, "after": 70})
    written(
        results,
        "cut",
        began,
        {**planned},
        {**done, "after": 60},
        {"type": "run_finished", "status": "aborted", "after": 90},
    )
    with serve(results) as base:
        page = open_page(f"{base}/?run=done")
        expect(page.locator(".job .pill")).to_contain_text("completed")
        shows(page, "job", "Finished", "1 h ago")
        shows(page, "job", "Took", "1 min 30 s")
        expect(page.locator(".result")).to_contain_text("100 % of 1 measured task")
        page.locator("#run").select_option("dead")
        expect(page.locator(".job .pill")).to_contain_text("stalled")
        expect(page.locator(".job .say").last).to_contain_text("Stalled: no event for 1 h 58 min")
        expect(page.locator(".workers tbody")).to_contain_text("last event 1 h ago")
        assert "1 interrupted" in plain(page.locator(".job .legend").inner_text())
        page.locator("#run").select_option("cut")
        expect(page.locator(".job .pill")).to_contain_text("aborted")
        expect(page.locator(".job .say").last).to_contain_text("Aborted with 2 of 3 tasks not finished")
        page.goto("about:blank")


def test_a_large_run_is_drawn_in_few_rows(results: Path, base: str, open_page: Open) -> None:
    events = [
        {"type": kind, "task_id": f"t{i}", "attempt": 1, "worker_id": f"w{i}", "domain": f"d{i}", "after": i / 10}
        for i in range(120)
        for kind in ("task_started",)
    ]
    written(results, "wide", time.time() - 60, *events)
    page = open_page(base)
    live(page)
    expect(page.locator(".workers .more")).to_have_text("and 115 more")
    assert page.locator("tbody tr").count() < 30
    page.locator(".workers .more").click()
    expect(page.locator(".workers tbody tr")).to_have_count(100)
    expect(page.locator(".workers .more")).to_have_text("show fewer (20 more are not shown)")


def test_machines_are_shown_with_billed_and_unused_ones_first(results: Path, open_page: Open) -> None:
    common = {"provider": "lambda_labs", "instance_type": "gpu_1x_a100", "start": "2020-01-01T00:00:00Z"}
    machines = [
        {**common, "name": "a-ended", "hourly_rate_usd": 2.0, "stop": "2020-01-02T00:00:00Z"},
        {**common, "name": "b-used", "hourly_rate_usd": 1.0},
        {**common, "name": HOSTILE[0], "hourly_rate_usd": 0.5},
    ]
    run = start(results, 2)
    run.worker("vm-1", "idle", vm="b-used")
    run.worker("vm-2", "stopped", vm=HOSTILE[0])
    with serve(results, machine=machines) as base:
        page = open_page(base, quiet=False)
        panel = page.locator(".panel.machines")
        expect(panel.locator(".hint")).to_have_text("3; 2 billing, $1.50 per hour")
        expect(panel.locator("tbody tr")).to_have_text(
            [
                re.compile(rf"{re.escape(HOSTILE[0])}.*no run.*\$0\.50"),
                re.compile(rf"b-used.*{run.run_id}.*\$1\.00"),
                re.compile(r"a-ended.*deallocated.*no run.*\$2\.00"),
            ]
        )
        expect(panel.locator(".say").first).to_have_text("1 machine is billed and used by no run: $0.50 per hour")
        panel.get_by_role("link", name=run.run_id).click()
        expect(page.locator("#run")).to_have_value(run.run_id)
        assert page.title() != "owned"
    run.finish()


def test_without_machines_there_is_no_panel_of_them_and_without_runs_there_still_is(
    results: Path, base: str, open_page: Open
) -> None:
    page = open_page(base)
    live(page)
    with page.expect_response("**/api/vms"):
        page.reload()
    expect(page.locator(".panel.machines")).to_be_hidden()
    machine = {
        "name": "gpu",
        "provider": "x",
        "instance_type": "y",
        "hourly_rate_usd": 0.5,
        "start": "2020-01-01T00:00:00Z",
    }
    with serve(results, machine=[machine]) as other:
        page = open_page(other, quiet=False)
        expect(page.locator(".panel.machines")).to_contain_text("1 machine is billed and used by no run")


MACHINE: dict[str, Any] = {
    "name": "vm-1",
    "subscription_id": None,
    "resource_group": None,
    "location": None,
    "size": "Standard_D4s_v5",
    "power_state": "running",
    "created_at": None,
    "billing": True,
    "hourly_rate_usd": 0.0,
    "priced_by": "overrides",
    "cost_usd": 0.0,
    "cost_busy_usd": 0.0,
    "cost_idle_usd": 0.0,
    "cost_unused_usd": 0.0,
    "run_ids": [],
}


def test_a_machine_that_costs_nothing_has_a_price_and_one_without_a_price_makes_the_sum_a_lower_bound(
    base: str, open_page: Open
) -> None:
    page = open_page("about:blank")
    page.route("**/api/vms", lambda route: route.fulfill(json=[MACHINE]))
    page.goto(base)
    expect(page.locator(".machines .hint")).to_have_text("1; 1 billing, $0.00 per hour")
    priceless = {**MACHINE, "name": "vm-2", "hourly_rate_usd": None}
    page.route("**/api/vms", lambda route: route.fulfill(json=[MACHINE, priceless]))
    page.reload()
    expect(page.locator(".machines .hint")).to_have_text("2; 2 billing, ≥ $0.00 per hour")
    page.route("**/api/vms", lambda route: route.fulfill(json=[priceless]))
    page.reload()
    expect(page.locator(".machines .hint")).to_have_text("1; 1 billing, unknown price")


def test_machines_are_asked_for_again_after_an_answer_that_never_came_and_hidden_from_a_signed_out_browser(
    base: str, open_page: Open
) -> None:
    asked: list[Route] = []

    def answer(route: Route) -> None:
        asked.append(route)
        if len(asked) == 2:
            route.fulfill(json=[MACHINE])
        elif len(asked) > 2:
            route.fulfill(status=401, json={"error": "a token is needed"})

    page = open_page("about:blank", quiet=False)
    page.clock.install()
    page.add_init_script("const real = AbortSignal.timeout; AbortSignal.timeout = () => real.call(AbortSignal, 2000);")
    page.route("**/api/vms", answer)
    with page.expect_request("**/api/vms"):
        page.goto(base)
    page.clock.fast_forward(31_000)
    panel = page.locator(".panel.machines")
    expect(panel).to_contain_text("vm-1", timeout=20_000)
    page.clock.fast_forward(31_000)
    expect(panel).to_be_hidden(timeout=20_000)


def test_the_token_is_asked_for_once_and_hidden_from_scripts(results: Path, tmp_path: Path, open_page: Open) -> None:
    secret = tmp_path / "token"
    secret.write_text("a-token-of-enough-letters\n", encoding="utf-8")
    with start(results), serve(results, token_file=secret) as base:
        page = open_page(base)
        expect(page).to_have_url(f"{base}/login")
        expect(page.locator("#wrong")).to_be_hidden()
        page.get_by_label("Token").fill("a-guess-of-enough-letters")
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_contain_text("Wrong token")
        page.get_by_label("Token").fill("a-token-of-enough-letters")
        page.keyboard.press("Enter")
        live(page)
        assert "a-token" not in page.evaluate("document.cookie")
        # another site's link does not carry the cookie: the form leads on by itself
        page.goto(f"data:text/html,<a href='{base}/docs%23metrics'>link</a>")
        page.get_by_role("link").click()
        expect(page).to_have_url(f"{base}/docs#metrics")
        page.goto("about:blank")


def test_the_button_to_sign_out_ends_the_session_and_the_page_asks_again(
    results: Path, tmp_path: Path, open_page: Open
) -> None:
    secret = tmp_path / "token"
    secret.write_text("a-token-of-enough-letters\n", encoding="utf-8")
    with start(results), serve(results, token_file=secret) as base:
        page = open_page(base)
        page.get_by_label("Token").fill("a-token-of-enough-letters")
        page.keyboard.press("Enter")
        live(page)
        assert {cookie["name"] for cookie in page.context.cookies()} == {"evalgauge_session", "evalgauge_signed_in"}
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(f"{base}/login")
        assert page.context.cookies() == []
        page.goto(base)
        expect(page).to_have_url(f"{base}/login")
        expect(page.get_by_label("Token")).to_be_visible()
        page.goto("about:blank")


def test_without_a_token_there_is_no_button_to_sign_out(results: Path, base: str, open_page: Open) -> None:
    with start(results):
        page = open_page(base)
        live(page)
        expect(page.locator("#sign-out")).to_be_hidden()


def test_both_themes_are_readable_and_have_the_colours_of_the_dashboards() -> None:
    source = (LIVE / "base.css").read_text(encoding="utf-8")
    light, dark = source.split("@media (prefers-color-scheme: dark)")
    for theme, text in (("light", light), ("dark", dark)):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", text))
        for name, meaning in MEANINGS.items():
            assert colours[name.replace("_", "-")] == getattr(meaning, theme), (theme, name)
        written_in = [colours[n.replace("_", "-")] for n in MEANINGS if n != "pending"]
        for ink in (*written_in, colours["quiet"], colours["ink"], colours["link"]):
            assert contrast(ink, colours["surface"]) >= 4.5, (theme, ink)
        for ground in written_in:
            assert contrast(colours["on-tone"], ground) >= 4.5, (theme, ground)
        assert contrast(colours["ink"], colours["pending"]) >= 4.5, theme
        for ground in ("page", "sunk"):
            assert contrast(colours["quiet"], colours[ground]) >= 4.5, (theme, ground)


def test_no_source_parses_markup_or_reaches_out() -> None:
    sources = [path for path in LIVE.iterdir() if path.suffix in (".js", ".html", ".css", ".svg")]
    assert len(sources) > 10
    for path in sources:
        source = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", source), (
            path
        )
        assert not re.search(r"https?://", source), path
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", source), path


def test_numbers_are_written_with_units_and_no_more_digits_than_known(base: str, open_page: Open) -> None:
    wanted = {
        "formatCount(10000)": "10,000",
        "formatPercent(0.453)": "45 %",
        "formatPercent(0.9996)": ">99 %",
        "formatPercent(0.0004)": "<1 %",
        "formatPercent(1)": "100 %",
        "formatInterval(0.37, 0.53)": "37–53 %",
        "formatInterval(0.628, 0.648)": "63–65 %",
        "formatInterval(0.628, 0.647)": "62.8–64.7 %",
        "formatPoints(0.04, -0.05, 0.13)": "+4 points",
        "formatPoints(-0.0004, -0.05, 0.13)": "±0 points",
        "formatPointInterval(-0.05, 0.13)": "−5 to +13",
        "formatMoney(0)": "$0.00",
        "formatMoney(0.00213)": "$0.0021",
        "formatMoney(0.05)": "$0.050",
        "formatMoney(4.2349)": "$4.23",
        "formatMoney(12400)": "$12,400",
        "formatAmount(950)": "950",
        "formatAmount(12300)": "12.3 k",
        "formatAmount(1240000)": "1.24 M",
        "formatDuration(0.4)": "<1 s",
        "formatDuration(42)": "42 s",
        "formatDuration(200)": "3 min 20 s",
        "formatDuration(1999)": "33 min",
        "formatDuration(4320)": "1 h 12 min",
        "formatDuration(183600)": "2 d 3 h",
        "formatEstimate(43)": "45 s",
        "formatEstimate(1999)": "33 min",
        "formatEstimate(6700)": "1 h 50 min",
        "formatEstimateRange(1600, 2780)": "27–46 min",
        "formatEstimateRange(5760, 7560)": "1.6–2.1 h",
        "formatAgo(1000, 1003)": "just now",
        "formatAgo(1000, 1000 + 200)": "3 min ago",
        "formatQuantity(1, 'task')": "1 task",
        "formatQuantity(2, 'task')": "2 tasks",
    }
    page = open_page(base)
    names = ", ".join(sorted({call.partition("(")[0] for call in wanted}))
    script = (
        "async (calls) => { const f = await import('/live/format.js'); window.f = f; return calls.map((c) => c(f)); }"
    )
    listed = ", ".join(f"({{ {names} }}) => {call}" for call in wanted)
    shown = page.evaluate(f"() => ({script})([{listed}])")
    assert dict(zip(wanted, map(plain, shown), strict=True)) == wanted


def test_repeated_tasks_are_counted_as_attempts_and_the_score_has_its_scorer(
    results: Path, base: str, open_page: Open
) -> None:
    with start(results, number=2, attempts=2) as run:
        for number in range(2):
            with run.task("task_0", attempt=number + 1, worker="vm-1") as task:
                task.finish(success=True, scores={"exact": 1.0, "f1": 0.5})
        settled(base, 2)
        page = open_page(base)
        live(page)
        shows(page, "job", "Attempts finished", "2 of 4")
        expect(page.locator(".job .figure.main .note").first).to_have_text("50 %, 2 at each task")
        expect(page.locator(".performance .hint")).to_contain_text(re.compile(r"^Mean score \d.*, that of (exact|f1)$"))


def test_the_selector_leads_to_all_runs_where_it_cannot_list_them(results: Path, open_page: Open) -> None:
    for number in range(203):
        written(
            results,
            f"run-{number}",
            time.time() - 1e6 + number,
            {"type": "run_finished", "status": "completed", "after": 1},
        )
    with serve(results) as base:
        page = open_page(base)
        live(page)
        option = page.locator("#run option").last
        expect(option).to_have_text("all 203 runs …")
        page.locator("#run").select_option(label="all 203 runs …")
        expect(page).to_have_url(re.compile("/runs/$"))
        expect(page.locator(".tally")).to_have_text("203 runs")
