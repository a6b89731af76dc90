"""The pages with the keyboard alone: the ways of a reader, from the runs to the step that failed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from evalgauge_exporter.web import app as app_module
from evalgauge_exporter.web.server import serving
from tests.exporter.replay.factories import START, png, step, task, write_run
from tests.exporter.runs import exporter_of

STEPS = 30
NAME = """(node) =>
  (node.getAttribute('aria-label') || node.innerText || node.value || node.tagName).replace(/\\s+/g, ' ').trim()
"""
IS_DRAWN = f"""(name) => [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]
  .map({NAME}).some((text) => text === name || new RegExp(`^(?:${{name}})$`).test(text))"""
FOCUSED = f"""() => {{
  const node = document.activeElement;
  if (node === document.body) return null;
  const outline = getComputedStyle(node).outlineStyle;
  const box = node.getBoundingClientRect();
  return [({NAME})(node), outline !== 'none' && box.width > 1 && box.height > 1];
}}"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two finished runs, a running one with screenshots, and one of a text agent; served."""
    folder = tmp_path_factory.mktemp("keyboard") / "results"
    for number, name in enumerate(("first", "second", "running")):
        events = []
        for index in range(40):
            lines = [step(at, {"type": "click", "x": 0.1 * at, "y": 0.2}, screenshot="shot.png") for at in range(3)]
            outcome = "failure" if index == 7 else "success"
            events += task(f"task {index:02}", outcome, lines, domain="office", worker_id="worker")
        if name == "running":
            events += task("open", "running", lines, domain="office", worker_id="worker")
        run = write_run(folder, name, events, start=START + 1000 * number, finished=name != "running")
        (run / "shot.png").write_bytes(png(320, 200))
    long = "\n".join(f"line {number}" for number in range(100))
    lines = [
        step(at, {"type": "bash", "command": f"ls {at}"}, observation=long, reasoning=f"I look at {at}.")
        for at in range(STEPS)
    ]
    write_run(folder, "text", task("fix", "failure", lines, domain="code"), start=START + 5000)
    patch = pytest.MonkeyPatch()
    patch.setattr(app_module, "BUILD_WAIT_SECONDS", 60.0)
    exporter = exporter_of(folder, stall_after="1000d")
    with serving(exporter) as url:
        assert exporter.wait_ready(60)
        yield url
    patch.undo()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce", bypass_csp=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def tab_to(page: Page, name: str, *, key: str = "Tab", at_most: int = 60) -> list[str]:
    """Wait for the control of this name and press Tab until it has the focus; each on the way must show that it has it.

    Returns:
        The names of the controls on the way.
    """
    passed: list[str] = []
    page.wait_for_function(IS_DRAWN, arg=name)
    for _ in range(at_most):
        page.keyboard.press(key)
        focused = page.evaluate(FOCUSED)
        assert focused is not None, f"left the page before {name!r}, after {passed}"
        text, is_visible = focused
        assert is_visible, f"{text!r} has the focus and does not show it"
        if text == name or re.fullmatch(name, text):
            return passed
        passed.append(text)
    raise AssertionError(f"{name!r} is not reached by {at_most} keys: {passed}")


def test_from_the_runs_to_the_step_that_failed(page: Page, base: str) -> None:
    page.goto(f"{base}/runs/")
    page.wait_for_selector("#main")
    passed = tab_to(page, "Compare text", at_most=40)
    assert passed[0] == "Skip to the content"
    assert passed.index("Live") < passed.index("Columns") < passed.index("run ↕")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    tab_to(page, "second")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("second")
    tab_to(page, "task 00", at_most=40)
    for _ in range(7):
        page.keyboard.press("ArrowDown")
    expect(page.locator(":focus")).to_have_text("task 07")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("task 07")
    passed = tab_to(page, "3 ● click .*", at_most=40)
    assert len([name for name in passed if name.startswith("task ")]) == 1, "the list beside is one stop"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Step 2 of 3")).to_be_visible()
    page.keyboard.press("u")
    expect(page.locator("h1")).to_have_text("second")


def test_two_runs_are_ticked_and_compared(page: Page, base: str) -> None:
    page.goto(f"{base}/runs/")
    page.wait_for_selector("#main")
    tab_to(page, "Compare .*")
    page.keyboard.press("ArrowDown")
    expect(page.locator(":focus")).to_have_attribute("aria-label", "Compare running")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    tab_to(page, "Compare", key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Side by side")
    expect(page.locator(".cast")).to_contain_text("first")
    expect(page.locator(".cast")).to_contain_text("second")
    tab_to(page, "task 00")
    page.keyboard.press("Enter")
    expect(page.locator(".strip-box")).to_be_visible()
    tab_to(page, ".*, step 1: click.*")
    page.keyboard.press("ArrowRight")
    expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile(", step 2: "))


def test_a_message_is_unfolded_and_copied(page: Page, base: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{base}/replay/text/#run=text&task=fix")
    expect(page.locator("h1")).to_have_text("fix")
    tab_to(page, f"Agent, step {STEPS}")
    page.keyboard.press("ArrowUp")
    expect(page.locator(":focus")).to_have_text(f"Agent, step {STEPS - 1}")
    tab_to(page, "Show all 100 lines")
    page.keyboard.press("Enter")
    expect(page.locator(":focus")).to_have_text("Show less")
    tab_to(page, f"Copy Agent, step {STEPS - 1}", key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator(":focus")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith(f"I look at {STEPS - 2}.\nbash\ncommand: ls")
    passed = tab_to(page, f"{STEPS} ○ bash .*")
    assert len([name for name in passed if name.startswith("Agent, step")]) == 0, "the transcript is one stop"


def test_the_wall_leads_to_a_worker_and_runs_are_filtered(page: Page, base: str) -> None:
    page.goto(f"{base}/wall?run=running")
    page.wait_for_selector(".tile")
    tab_to(page, "open step .* worker .*")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("open")
    tab_to(page, "Runs")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Runs")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("sec")
    expect(page.locator(".tally")).to_have_text("1 of 4 runs")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).not_to_be_focused()


def test_what_opens_closes_with_escape_and_gives_the_focus_back(page: Page, base: str) -> None:
    page.goto(f"{base}/runs/")
    page.wait_for_selector("#main")
    tab_to(page, "Keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    expect(page.locator(":focus")).to_have_attribute("aria-label", "Keys")
    tab_to(page, "Columns")
    page.keyboard.press("Enter")
    tab_to(page, "INPUT|on")
    page.keyboard.press("Escape")
    expect(page.locator(".choices")).to_be_hidden()
    expect(page.locator(":focus")).to_have_text("Columns")


def test_a_box_that_need_not_scroll_any_more_keeps_the_focus_until_the_reader_leaves_it(page: Page, base: str) -> None:
    page.set_viewport_size({"width": 320, "height": 700})
    page.goto(f"{base}/replay/first/with/second/#run=first&task=task%2000&with=second")
    box = page.locator(".panes[tabindex='0']")
    box.focus()
    box.evaluate("node => { node.after(node.cloneNode(true)); node.id = 'focused'; }")
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.locator(".panes:not([tabindex])")).to_have_count(1)
    expect(page.locator("#focused")).to_be_focused()
