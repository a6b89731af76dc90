"""The page as a whole: addresses, hostile text, phones, a server behind it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Container, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from evalgauge.metrics import OUTCOMES
from evalgauge_dashboards.colours import MEANINGS, contrast
from evalgauge_exporter.replay import generate, write_single_file
from evalgauge_exporter.replay.page import load_style
from tests.exporter.replay.conftest import SEED, Open
from tests.exporter.replay.factories import LATER, START, call, found, png, step, task, write_run

EVIL = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


@pytest.mark.parametrize(
    ("wanted", "says", "near"),
    [
        ("#run=nope-a", "There is no run nope-a", ""),
        ("#run=a&task=sav", "has no task sav", "save"),
        ("#run=a&task=save&with=zzz", "There is no run zzz", ""),
        ("#run=a&task=zzz&with=b%2C1", "None of these runs has the task zzz", ""),
    ],
)
def test_an_address_of_something_unknown_shows_not_found(
    two_models: Path, open_page: Open, wanted: str, says: str, near: str
) -> None:
    page = open_page(two_models, wanted)
    expect(page.locator("#main")).to_contain_text(says)
    expect(page.locator("#main")).to_contain_text(near)


def test_addresses_survive_a_round_trip(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models)
    for place in (
        {"run": "a b+c&d=e", "task": "../x#?y", "step": "3", "with": ["b,1", "ü%"], "q": "50 %"},
        {"view": "analysis", "run": "a"},
    ):
        assert page.evaluate("p => evalgauge.address.read(evalgauge.address.write(p))", place) == place
    assert page.evaluate("evalgauge.address.read('#run=%E0%A4%A&bad=1&__proto__=2')") == {"run": "%E0%A4%A"}
    # what the live page writes, with URLSearchParams
    form = "evalgauge.address.read('#' + new URLSearchParams({ run: 'a b+c', domain: 'x/y z' }))"
    assert page.evaluate(form) == {"run": "a b+c", "domain": "x/y z"}


def test_text_of_a_run_stays_text(tmp_path: Path, open_page: Open) -> None:
    lines = [call(model=EVIL), step(0, {"type": EVIL, "text": EVIL}, reasoning=EVIL, screenshot=EVIL), step(1, "done")]
    lines.append({"type": "log", "level": EVIL, "message": EVIL})
    events = task(EVIL, "failure", lines, domain=EVIL, instruction=EVIL, error=EVIL, reason=EVIL, worker_id=EVIL)
    write_run(tmp_path / "results", "<img src=x>", events, model=EVIL, benchmark=EVIL, agent=EVIL, tags={EVIL: EVIL})
    write_run(tmp_path / "results", "y", task(EVIL, "success", lines), benchmark=EVIL)
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    index = tmp_path / "site" / "index.html"
    page = open_page(index)
    run = page.evaluate("evalgauge.getRuns()[0].run_id")
    for place in (
        {"run": run},
        {"view": "analysis", "run": run},
        {"run": run, "task": EVIL},
        {"run": run, "task": EVIL, "with": ["y"]},
        {"view": "matrix"},
    ):
        page = open_page(index, page.evaluate("p => evalgauge.address.write(p)", place))
        expect(page.locator("#main")).to_contain_text("<img src=x")
        for panel in page.locator("summary").all():
            panel.click()
        assert page.locator("img[src=x], script:not([src])").count() == 0
        assert page.title() != "owned"


def test_nothing_but_the_site_s_own_script_runs(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, complains=True)
    refused = page.evaluate(
        """async () => {
          const names = [];
          const attempts = {
            markup: () => { document.body.innerHTML = '<b>'; },
            code: () => eval('1'),
            script: () => { document.createElement('script').src = 'data/../../x.js'; },
          };
          const attempt = ([name, does]) => new Promise(done => setTimeout(() => {
            try { does(); } catch { names.push(name); }
            done();
          }));
          for (const one of Object.entries(attempts)) await attempt(one);
          return names;
        }"""
    )
    assert refused == ["markup", "code", "script"]


def test_a_single_file_needs_nothing_beside_it(tmp_path: Path, open_page: Open) -> None:
    (tmp_path / "results" / "r" / "shots").mkdir(parents=True)
    (tmp_path / "results" / "r" / "shots" / "0.png").write_bytes(png(64, 40))
    lines = [step(0, {"type": "click", "x": 0.5, "y": 0.5}, screenshot="shots/0.png"), step(1, "done")]
    write_run(tmp_path / "results", "r", task("t", "success", lines, instruction="</script>"))
    (tmp_path / "mail").mkdir()
    write_single_file(found(tmp_path / "results"), tmp_path / "mail" / "one.html", now=LATER)
    page = open_page(tmp_path / "mail" / "one.html", "#run=r&task=t")
    expect(page.locator(".instruction")).to_have_text("</script>")
    expect(page.locator(".marks circle.dot")).to_have_count(1)
    assert page.locator(".stage img").evaluate("img => img.naturalWidth") == 64


def test_a_single_file_of_a_task_opens_at_the_task(tmp_path: Path, open_page: Open) -> None:
    events = [*task("other", "success"), *task("t", "failure", [step(0, "click"), step(1, "done")])]
    write_run(tmp_path / "results", "a", events)
    write_single_file(found(tmp_path / "results"), tmp_path / "one.html", task="t", now=LATER)
    expect(open_page(tmp_path / "one.html").locator("h1")).to_have_text("t")
    write_run(tmp_path / "results", "b", events, start=START + 50)
    write_single_file(found(tmp_path / "results"), tmp_path / "two.html", task="t", now=LATER)
    page = open_page(tmp_path / "two.html")
    expect(page.locator(".pane")).to_have_count(2)
    page.keyboard.press("u")
    expect(page.locator("h1")).to_have_text("Side by side")


def test_a_single_file_of_a_task_opens_at_the_runs_that_have_it(tmp_path: Path, open_page: Open) -> None:
    for number in range(6):
        events = task("t" if number > 3 else "other", "failure", [step(0, "click")])
        write_run(tmp_path / "results", f"r{number}", events, start=START + number)
    write_single_file(found(tmp_path / "results"), tmp_path / "one.html", task="t", now=LATER)
    page = open_page(tmp_path / "one.html")
    expect(page.locator(".pane .mono")).to_have_text(["r4", "r5"])


def test_a_link_to_filters_that_no_longer_exist_shows_the_list(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, f"#run={SEED}&cluster=77&domain=gone&outcome=gone")
    expect(page.locator(".list .empty")).to_have_text("No task matches the filters. Clear them to see all 48.")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".tally")).to_contain_text("48 tasks")


def test_a_missing_part_is_reported(tmp_path: Path, open_page: Open) -> None:
    write_run(tmp_path / "results", "r", task("t", "success", [step(0, "click")]))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    for file in (tmp_path / "site" / "data").rglob("t-*.js"):
        file.unlink()
    page = open_page(tmp_path / "site" / "index.html", "#run=r", complains=True)
    page.evaluate("location.hash = '#run=r&task=t'")
    expect(page.locator("#main")).to_contain_text("is missing. Copy the whole folder")


@pytest.mark.parametrize("task_id", ["../../x", "a..b", "..", "a/../b#c&d=%2e", "x" * 300, "ü 🎉"])
def test_a_task_of_any_name_opens(tmp_path: Path, open_page: Open, task_id: str) -> None:
    write_run(tmp_path / "results", "r..#", task(task_id, "failure", [step(0, "click")]))
    generate(found(tmp_path / "results"), tmp_path / "site", now=LATER)
    page = open_page(tmp_path / "site" / "index.html")
    page.keyboard.press("n")
    expect(page.locator("h1")).to_have_text(task_id)
    expect(page.locator(".details h2")).to_have_text("Step 1 of 1, the last")
    page.reload()
    expect(page.locator("h1")).to_have_text(task_id)


def test_nothing_is_wider_than_a_phone(real_site: Path, open_page: Open) -> None:
    page = open_page(real_site, width=390)
    one = f"#run={SEED}&task=mock_clock_001"
    for view, title in (
        (f"#run={SEED}", SEED),
        (one, "mock_clock_001"),
        ("#view=matrix", "side by side"),
        (f"#view=analysis&run={SEED}", f"analysis of {SEED}"),
        (f"{one}&with=waa_mixed_48_parallel4", "mock_clock_001"),
    ):
        page.evaluate("view => { location.hash = view; }", view)
        expect(page).to_have_title(f"{title} – evalgauge replay")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, view


def test_runs_side_by_side_scroll_within_a_phone(two_models: Path, open_page: Open) -> None:
    page = open_page(two_models, "#run=a&task=save&with=b%2C1,human%20c", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_everything_that_can_be_used_has_a_name(real_site: Path, open_page: Open) -> None:
    for view in (
        f"#run={SEED}",
        f"#run={SEED}&task=mock_clock_001",
        f"#run={SEED}&task=mock_clock_001&with=waa_mixed_48_parallel4",
    ):
        page = open_page(real_site, view)
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('button, a, select, input, img, [role=table]')]
              .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.title || e.labels?.length
                || e.hasAttribute('alt')))
              .map(e => e.outerHTML)"""
        )
        assert unnamed == []
        page.close()


def test_a_running_run_is_followed_from_a_server(tmp_path: Path, open_page: Open) -> None:
    events = task("first", "success", [step(0, "click")])
    write_run(tmp_path / "results", "r", events, finished=False)
    generate(found(tmp_path / "results"), tmp_path / "site", now=START + 60)
    with serving(tmp_path / "site") as url:
        page = open_page(url, "#run=r", server=url)
        expect(page.locator(".tally")).to_contain_text("1 task;")
        write_run(tmp_path / "results", "r", [*events, *task("second", "failure")], finished=False)
        generate(found(tmp_path / "results"), tmp_path / "site", now=START + 60)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".tally")).to_contain_text("2 tasks; 1 of 2 measured succeeded, 50 %")
        page.close()


def one_task(folder: Path, outcome: str, *steps: dict[str, object]) -> None:
    """A site in ``folder / "site"`` of the run ``r`` with the task ``t``, made or made anew."""
    write_run(folder / "results", "r", task("t", outcome, steps), finished=outcome != "running")
    generate(found(folder / "results"), folder / "site", now=START + 60)


def test_a_running_task_is_followed_from_a_server(tmp_path: Path, open_page: Open) -> None:
    make = partial(one_task, tmp_path, "running")
    make(step(0, "click"), step(1, "wait"))
    with serving(tmp_path / "site") as url:
        page = open_page(url, "#run=r&task=t", server=url)
        page.keyboard.press("End")
        expect(page.locator(".counter")).to_have_text("2 of 2")
        make(step(0, "click"), step(1, "wait"), step(2, "scroll"))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".counter")).to_have_text("3 of 3")  # whoever looks at the last step sees the new last one
        page.keyboard.press("Home")
        make(*(step(n, "click") for n in range(4)))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".counter")).to_have_text("1 of 4")
        page.close()


def test_a_task_that_ends_while_it_is_played_is_shown_ended_after(tmp_path: Path, open_page: Open) -> None:
    make = partial(one_task, tmp_path)
    make("running", *(step(n, "click") for n in range(100)))
    with serving(tmp_path / "site") as url:
        page = open_page(url, "#run=r&task=t", server=url)
        page.keyboard.press(" ")
        make("success", *(step(n, "click") for n in range(101)))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.evaluate("evalgauge.load('index').then(() => null)")  # whatever was asked for is there
        page.keyboard.press(" ")
        expect(page.get_by_role("button", name="Play (space)")).to_be_visible()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".counter")).to_contain_text("of 101")
        expect(page.locator(".verdict")).to_contain_text("success")
        page.close()


def test_an_update_that_fails_half_way_is_repeated(tmp_path: Path, open_page: Open) -> None:
    make = partial(one_task, tmp_path)
    make("running", step(0, "click"))
    missing: set[str] = set()
    with serving(tmp_path / "site", missing) as url:
        page = open_page(url, "#run=r&task=t", server=url, complains=True)
        missing.add("tasks.js")  # before there is anything new, which the page may notice by itself
        with page.expect_event("requestfailed", lambda asked: "tasks.js" in asked.url):
            make("success", step(0, "click"))
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        missing.clear()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".verdict")).to_contain_text("success")
        expect(page.locator("script[src^=data]")).to_have_count(0)
        page.close()


def test_what_is_opened_and_focused_stays_so_while_a_task_is_followed(tmp_path: Path, open_page: Open) -> None:
    make = partial(one_task, tmp_path, "running")
    make(step(0, "click"), step(1, "wait"))
    with serving(tmp_path / "site") as url:
        page = open_page(url, "#run=r&task=t", server=url)
        page.get_by_role("link", name="Tasks").click()
        page.get_by_role("link", name="t", exact=True).click()
        expect(page.locator("#main.task-page")).to_be_focused()
        page.get_by_label("marks").uncheck()
        page.locator(".log-panel summary").click()
        make(step(0, "click"), step(1, "wait"), step(2, "scroll"))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".log-panel summary")).to_have_text("Log (4)")
        expect(page.locator(".log-panel summary")).to_be_focused()
        expect(page.locator(".log")).to_contain_text("scroll")
        expect(page.locator(".log")).to_be_visible()
        expect(page.get_by_label("marks")).not_to_be_checked()
        page.get_by_label("marks").check()  # and whoever stays on it follows on
        make(step(0, "click"))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator(".counter")).to_have_text("1 of 1")
        expect(page.get_by_label("marks")).to_be_focused()
        page.close()


@contextlib.contextmanager
def serving(folder: Path, missing: Container[str] = ()) -> Iterator[str]:
    """A server of a folder, without the files that have these names."""

    class Quiet(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            found_path = Path(super().translate_path(path))
            return str(found_path.with_name("missing") if found_path.name in missing else found_path)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_colours_are_those_of_the_dashboards() -> None:
    text = load_style().decode()
    light, dark = text.split("@media screen and (prefers-color-scheme: dark)")
    for meaning, entry in MEANINGS.items():
        if f"--{meaning}:" in text:
            assert f"--{meaning}: {entry.light};" in light
            assert f"--{meaning}: {entry.dark};" in dark
    assert sum(f"--{meaning}:" in light for meaning in MEANINGS) >= 8


def test_words_can_be_read_on_both_themes() -> None:
    for theme in load_style().decode().split("@media screen and (prefers-color-scheme: dark)"):
        colours = dict(re.findall(r"--([a-z_]+): (#[0-9a-f]{6});", theme.split("\n}\n")[0]))
        for name in (*OUTCOMES, "running", "text", "quiet", "link", "ink"):
            for ground in ("page", "raised") if name in ("text", "quiet", "link") else ("page",):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
