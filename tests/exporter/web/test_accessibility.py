"""The pages without a finding of axe-core, in both themes, on a wide screen and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from evalgauge_exporter.replay import generate
from evalgauge_exporter.web.server import serving
from tests.exporter.replay.factories import LATER, START, call, found, png, step, task, write_run
from tests.exporter.runs import exporter_of

LIVE_PAGES = ("/?run=a", "/?run=running", "/runs/", "/runs/#by=model", "/wall?run=running")
PLAIN_PAGES = ("/docs", "/runbooks", "/live/login.html", "/live/loading.html")
READY = ".tile, .run-id span:not(:empty), .page, article, .sign-in, h1:not(.brand)"
REPLAY_VIEWS = (
    "",
    "#run=a",
    "#run=a&task=save",
    "#run=a&task=text",
    "#view=tasks",
    "#view=analysis&run=b&with=a",
    "#view=matrix&run=a&with=b",
    "#view=matrix&run=a&with=b,running",
    "#run=a&with=b&task=save",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of one model and a running one, with screenshots, text, failures and unknown prices."""
    folder = tmp_path_factory.mktemp("accessible") / "results"
    for number, name in enumerate(("a", "b", "running")):
        way: list[dict[str, Any] | str] = [
            {"type": "click", "x": 0.1 + 0.2 * number, "y": 0.1},
            {"type": "type", "text": "report"},
            "done",
        ]
        lines = []
        for index, action in enumerate(way):
            model = "claude-sonnet-4-5" if number else "of no price"
            lines += [call(model=model), step(index, action, screenshot=f"shots/{index}.png", reasoning="why")]
        events = task(
            "save", "failure" if number else "success", lines, domain="office", worker_id="w1", reason="no file"
        )
        events += task("text", "failure", [step(0, "bash ls")], domain="web", worker_id="w2", error="it broke")
        if name == "running":
            events += task("open", "running", lines[:2], domain="web", worker_id="w2")
        run = write_run(folder, name, events, start=START + 100 * number, finished=name != "running")
        (run / "shots").mkdir()
        for index in range(len(way)):
            (run / "shots" / f"{index}.png").write_bytes(png(320, 200, label=index))
    return folder


@pytest.fixture(scope="module")
def addresses(results: Path) -> Iterator[list[str]]:
    site = results.parent / "site"
    generate(found(results), site, now=LATER)
    exporter = exporter_of(results, grafana_url="https://grafana.example")
    with serving(exporter) as base:
        assert exporter.wait_ready(60)
        yield [base + page for page in LIVE_PAGES] + [(site / "index.html").as_uri() + view for view in REPLAY_VIEWS]


WIDER_THAN_THE_PAGE = """() => {
  const width = document.documentElement.clientWidth;
  const fits = (node) => {
    const box = node.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || box.right <= width + 1) return true;
    for (let at = node.parentElement; at; at = at.parentElement)
      if (getComputedStyle(at).overflowX !== "visible") return true; // a box that scrolls or shortens its content
    return false;
  };
  const all = [...document.querySelectorAll("body *")];
  const found = all.filter((node) => !fits(node)).map((node) => node.outerHTML.slice(0, 80));
  return document.documentElement.scrollWidth > width ? ["the page scrolls", ...found] : found;
}"""


@pytest.mark.parametrize(("width", "height"), [(320, 256), (720, 450)])
def test_no_page_scrolls_sideways_when_it_is_enlarged(
    browser: Browser, addresses: list[str], width: int, height: int
) -> None:
    """At 1280 pixels and 400 %, as WCAG 2.2, 1.4.10 has it, and at 1440 pixels and 200 %."""
    page = browser.new_page(viewport={"width": width, "height": height}, bypass_csp=True)
    found = {}
    for address in [*addresses, *(addresses[0].partition("/?")[0] + path for path in PLAIN_PAGES)]:
        page.goto(address)
        page.wait_for_selector(READY)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        if wider := page.evaluate(WIDER_THAN_THE_PAGE):
            found[address] = wider
    page.close()
    assert not found


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, addresses: list[str], theme: Literal["light", "dark"], width: int) -> None:
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900}, bypass_csp=True)
    findings = {}
    for address in addresses:
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("table.leaderboard" if "#by=" in address else READY)
        violations = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        if violations:
            findings[address] = [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in violations]
        page.close()
    context.close()
    assert not findings
