"""A real benchmark under the tracker: MiniWoB++ in Chromium, solved by a small scripted agent.

Run ``python examples/miniwob.py`` and then ``evalgauge serve results``. It needs the packages ``miniwob`` (which brings
the pages of the tasks) and ``playwright``, and an installed Chromium; no network and no model. The agent
(miniwob_agent.py) is good with forms and links, bad with pictures, and gives up where it has no rule.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from miniwob_agent import MAX_STEPS, Element, NoRuleError, moves_for

from evalgauge import Run, Task, track_run

try:
    from playwright.sync_api import Error as PlaywrightError
    from playwright.sync_api import sync_playwright
except ImportError:
    sys.exit("the package playwright is missing: pip install playwright")

if TYPE_CHECKING:
    from playwright.sync_api import Page

TASKS = {
    "click-test": "click",
    "click-button": "click",
    "click-button-sequence": "click",
    "click-link": "click",
    "click-tab-2": "click",
    "click-collapsible-2": "click",
    "click-option": "click",
    "click-checkboxes": "click",
    "navigate-tree": "click",
    "enter-text": "form",
    "enter-password": "form",
    "login-user": "form",
    "focus-text-2": "form",
    "choose-list": "form",
    "click-scroll-list": "form",
    "use-slider": "form",
    "use-spinner": "form",
    "find-word": "reading",
    "scroll-text": "reading",
    "read-table": "reading",
    "text-transform": "reading",
    "simple-arithmetic": "reading",
    "simple-algebra": "reading",
    "email-inbox-delete": "web",
    "social-media": "web",
    "search-engine": "web",
    "drag-box": "visual",
    "grid-coordinate": "visual",
    "click-shape": "visual",
    "click-shades": "visual",
    "count-shape": "visual",
    "identify-shape": "visual",
    "guess-number": "game",
    "tic-tac-toe": "game",
}
"""The default tasks and their domains. Any other MiniWoB++ task can be named too."""

WIDTH, HEIGHT, SCALE = 160, 210, 2
"""The size of the benchmark's page in CSS pixels, and the screenshot's device pixels for each of them."""
WORKER = "chromium-1"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


READ_ELEMENTS = """([w, h]) => {
  const out = [];
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('#query, #reward-display, #click-canvas, #sync-task-cover') || !e.checkVisibility()) continue;
    const r = e.getBoundingClientRect();
    if (!r.width || !r.height) continue;
    const name = [e.id, e.getAttribute('class'), e.getAttribute('role'), e.type].filter(Boolean).join(' ');
    const text = ((e.innerText ?? e.textContent) || '').trim();
    out.push([e.tagName.toLowerCase(), name, text, String(e.value ?? ''), e.getAttribute('fill') ?? '',
              (r.x + r.width / 2) / w, (r.y + r.height / 2) / h, r.width / w, r.height / h]);
  }
  return out;
}"""

# A busy machine must not decide the outcome, so the limit of an episode is 60 s instead of 10 s. When it has ended, the
# page would cover itself with a START sign; it does not here, so that the last screenshot shows its end.
START_EPISODE = """seed => {
  Math.seedrandom(seed);
  core.EPISODE_MAX_TIME = 60000;
  core.startEpisodeReal();
  core.startEpisode = () => {};
}"""


# Waits until nothing has moved for two frames and no animation is running, or for one second.
WAIT_UNTIL_STILL = """async () => {
  const boxes = () => [...document.querySelectorAll('body *')].map(e => {
    const r = e.getBoundingClientRect();
    return [r.x, r.y, r.width, r.height];
  }).join();
  for (let before = '', frames = 60, still = 0; frames > 0 && still < 2; frames--) {
    await new Promise(requestAnimationFrame);
    const now = boxes();
    still = now === before && !window.jQuery?.timers.length ? still + 1 : 0;
    before = now;
  }
}"""


class BrowserScreen:
    """The environment: one MiniWoB++ page in a browser."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.instruction = ""

    def start(self, html: Path, seed: str) -> None:
        """Load a task and start an episode that depends on ``seed`` only."""
        self.instruction = ""
        self._page.goto(html.as_uri())
        self._page.evaluate(START_EPISODE, seed)
        self.instruction = str(self._page.evaluate("core.getUtterance()"))

    def elements(self) -> list[Element]:
        """Return every visible element, in document order."""
        return [Element(*fields) for fields in self._page.evaluate(READ_ELEMENTS, [WIDTH, HEIGHT])]

    def screenshot(self) -> bytes:
        """Return the page as a PNG."""
        return self._page.screenshot()

    def result(self) -> tuple[bool, float, str | None]:
        """Return whether the episode has ended, the reward without time penalty (-1 to 1), and the page's reason."""
        done, reward, reason = self._page.evaluate("[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL, WOB_REWARD_REASON]")
        return bool(done), float(reward), reason if isinstance(reason, str) else None

    def perform(self, action: dict[str, Any]) -> None:
        """Execute an action with mouse and keyboard and wait until the page is still (1 s at most)."""
        mouse, keyboard = self._page.mouse, self._page.keyboard
        if "x" in action:
            x, y = action["x"] * WIDTH, action["y"] * HEIGHT
        match action["type"]:
            case "click":
                mouse.move(x, y)
                self._page.evaluate(WAIT_UNTIL_STILL)  # hover effects happen before the button is pressed
                mouse.click(x, y)
            case "drag":
                mouse.move(x, y)
                mouse.down()
                mouse.move(action["end_x"] * WIDTH, action["end_y"] * HEIGHT, steps=8)
                mouse.up()
            case "scroll":
                mouse.move(x, y)
                mouse.wheel(0, action["scroll_amount"])
                self._page.wait_for_timeout(150)  # the page scrolls some frames after the wheel event
            case "type":
                keyboard.type(action["text"])
            case "key":
                keyboard.press(action["key"])
        self._page.evaluate(WAIT_UNTIL_STILL)


class Ending(NamedTuple):
    """How an attempt ended; ``reward`` is None where the browser failed."""

    outcome: str
    reward: float | None
    steps: int
    error: str | None = None
    reason: str | None = None


def play(screen: BrowserScreen, task: Task) -> Ending:
    """Let the agent act until the page or the agent ends the episode, and record each step.

    A step has the screenshot on which the agent decided; the last state of the page is with the step ``done`` (or
    ``error``), which the tracker does not count as a step of the task.
    """
    steps, error = 0, None
    try:
        seen = screen.screenshot()
        try:
            moves = moves_for(screen)
            while steps < MAX_STEPS and not screen.result()[0]:
                started = time.perf_counter()
                move = next(moves, None)
                decided = time.perf_counter()
                if move is None:
                    break
                screen.perform(move.action)
                after = screen.screenshot()
                task.step(
                    action=move.action,
                    reasoning=move.reasoning,
                    screenshot=seen,
                    think_seconds=decided - started,
                    env_seconds=time.perf_counter() - decided,
                )
                steps, seen = steps + 1, after
        except PlaywrightError:
            raise
        except NoRuleError as problem:
            error = str(problem)
        except Exception as problem:  # any other exception of the agent is its error, and the run continues
            error = f"{type(problem).__name__}: {problem}"
        ended, reward, reason = screen.result()
    except PlaywrightError as problem:
        return Ending("infrastructure_error", None, steps, f"the browser failed: {first_line(problem)}")
    verdict = f"The episode ended with reward {reward:g}." if ended else "The agent stopped before the episode ended."
    task.step(action={"type": "error" if error else "done"}, reasoning=error or verdict, screenshot=seen)
    outcome = "agent_error" if error else "success" if reward > 0 else "failure"
    return Ending(outcome, reward, steps, error, reason or verdict)


def attempt_task(run: Run, screen: BrowserScreen, html: Path, attempt: int, seed: int) -> Ending:
    """Record one episode of one task."""
    problem = None
    try:
        screen.start(html, f"{seed}/{html.stem}/{attempt}")
    except PlaywrightError as error:
        problem = f"the page could not be started: {first_line(error)}"
    domain = TASKS.get(html.stem, "other")
    with run.task(
        html.stem,
        worker=WORKER,
        attempt=attempt,
        max_steps=MAX_STEPS,
        instruction=screen.instruction,
        domain=domain,
    ) as task:
        ending = play(screen, task) if problem is None else Ending("infrastructure_error", None, 0, problem)
        task.finish(outcome=ending.outcome, score=ending.reward, error=ending.error, reason=ending.reason)
    return ending


def first_line(error: PlaywrightError) -> str:
    """Return the message of a browser error without its call log."""
    return error.message.strip().split("\n")[0]


def pages_of(names: list[str]) -> list[Path]:
    """Return the page of each task. Raises click's errors if the package or a task is missing."""
    if not names:
        raise click.BadParameter("no task is named")
    try:
        folder = Path(str(distribution("miniwob").locate_file("miniwob/html/miniwob")))
    except PackageNotFoundError:
        raise click.ClickException("the package miniwob is missing: pip install miniwob") from None
    there = {page.stem: page for page in folder.glob("*.html")}
    if unknown := [name for name in names if name not in there]:
        near = get_close_matches(unknown[0], there, n=3)
        raise click.BadParameter(f"MiniWoB++ has no task {unknown[0]!r}{'; near: ' if near else ''}{', '.join(near)}")
    return [there[name] for name in names]


def summary(endings: list[Ending], tasks: int) -> str:
    """Return the totals, one a line."""
    outcomes = Counter(ending.outcome for ending in endings)
    rewards = [ending.reward for ending in endings if ending.reward is not None]
    lines = {"tasks": tasks, "attempts": len(endings)}
    lines |= {kind: outcomes[kind] for kind in ("success", "failure", "agent_error", "infrastructure_error")}
    lines["steps"] = sum(ending.steps for ending in endings)
    mean = f"{sum(rewards) / len(rewards):.3f}" if rewards else "-"
    return "\n".join(f"{name:<22}{value}" for name, value in {**lines, "mean reward": mean}.items())


@click.command()
@click.option("--results", default="results", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--tasks", default=",".join(TASKS), show_default=f"{len(TASKS)} tasks", help="Names, joined by commas.")
@click.option("--episodes", default=2, show_default=True, type=click.IntRange(1), help="Attempts at each task.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same episodes.")
@click.option("--model", default="scripted", show_default=True, help="The model's name in the run log.")
@click.option("--chromium", default="chromium", show_default=True, help="The browser: a command or a path.")
def main(results: Path, tasks: str, episodes: int, seed: int, model: str, chromium: str) -> None:
    """Run MiniWoB++ in Chromium, record the run with evalgauge's tracker and print the totals."""
    pages = pages_of([name for name in dict.fromkeys(map(str.strip, tasks.split(","))) if name])
    if (browser_path := shutil.which(chromium)) is None:
        raise click.ClickException(
            f"no browser {chromium!r} here: apt-get install chromium, or name one with --chromium"
        )
    planned = [{"task_id": page.stem, "domain": TASKS.get(page.stem, "other")} for page in pages]
    endings: list[Ending] = []
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=browser_path, args=CHROMIUM_FLAGS)
        except PlaywrightError as error:
            raise click.ClickException(f"{browser_path} does not start: {first_line(error)}") from None
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
        page.set_default_timeout(10_000)
        screen = BrowserScreen(page)
        with track_run(
            results, benchmark="miniwob", model=model, agent="miniwob-scripted", tasks=planned, attempts=episodes
        ) as run:
            run.worker(WORKER, "idle")
            for attempt in range(1, episodes + 1):
                for html in pages:
                    ending = attempt_task(run, screen, html, attempt, seed)
                    endings.append(ending)
                    click.echo(f"{html.stem:<22}{ending.outcome:<22}{ending.steps:>3} steps  {ending.error or ''}")
            run.worker(WORKER, "stopped")
        browser.close()
    click.echo(f"\n{'run':<22}{results / run.run_id}\n{summary(endings, len(pages))}")


if __name__ == "__main__":
    main()
