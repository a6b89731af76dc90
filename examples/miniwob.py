"""A real benchmark under the tracker: MiniWoB++ in Chromium, solved by a small scripted agent.

Run ``python examples/miniwob.py`` and then ``evalgauge serve results``. It needs the packages ``miniwob`` (which brings
the pages of the tasks) and ``playwright``, and an installed Chromium; no network and no model. The agent reads the
page's elements and follows rules: good with forms and links, bad with pictures, and it gives up where it has no rule.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from evalgauge import Run, Task, track_run

try:
    from playwright.sync_api import Error as PlaywrightError
    from playwright.sync_api import TimeoutError as PlaywrightTimeout
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
"""The tasks that are run by default, with what they are about. Any other MiniWoB++ task can be named too."""

WIDTH, HEIGHT, SCALE = 160, 210, 2
"""The benchmark's page in CSS pixels, and the device pixels for each of them in a screenshot."""
MAX_STEPS = 25
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


# --- the page ---------------------------------------------------------------------------------------------------------


class Element(NamedTuple):
    """A visible element of the page; ``x, y, width, height`` are parts of the screenshot, x and y its middle."""

    tag: str
    name: str
    """Its id, classes, ARIA role and input type in one text."""
    text: str
    value: str
    fill: str
    x: float
    y: float
    width: float
    height: float


class Move(NamedTuple):
    """What the agent does next and why."""

    action: dict[str, Any]
    reasoning: str


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

# A busy machine must not decide the outcome, so the 10 s that an episode has become 60 s. Once it is over, the page
# covers itself with a START sign: not doing that leaves its end for the last screenshot.
START_EPISODE = """seed => {
  Math.seedrandom(seed);
  core.EPISODE_MAX_TIME = 60000;
  core.startEpisodeReal();
  core.startEpisode = () => {};
}"""


# Until nothing has moved for two frames and no animation goes on, or a second is over.
STAND_STILL = """async () => {
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


class Screen:
    """What the agent sees and touches: one MiniWoB++ page in a browser."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.instruction = ""

    def start(self, html: Path, seed: str) -> None:
        """Load a task and begin an episode that depends on ``seed`` only."""
        self._page.goto(html.as_uri())
        self._page.evaluate(START_EPISODE, seed)
        self.instruction = str(self._page.evaluate("core.getUtterance()"))

    def elements(self) -> list[Element]:
        """Every visible element, in document order."""
        return [Element(*fields) for fields in self._page.evaluate(READ_ELEMENTS, [WIDTH, HEIGHT])]

    def screenshot(self) -> bytes:
        """The page as a PNG."""
        return self._page.screenshot()

    def result(self) -> tuple[bool, float, str | None]:
        """Whether the episode is over, the reward without its time penalty (-1 to 1), and the page's reason."""
        done, reward, reason = self._page.evaluate("[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL, WOB_REWARD_REASON]")
        return bool(done), float(reward), reason if isinstance(reason, str) else None

    def linger(self) -> None:
        """Wait for the end of the episode, which some pages show for a moment before they count it; 1.5 s at most."""
        with contextlib.suppress(PlaywrightTimeout):
            self._page.wait_for_function("WOB_DONE_GLOBAL", timeout=1500)

    def perform(self, action: dict[str, Any]) -> None:
        """Carry out an action with mouse and keyboard and wait until the page stands still (1 s at most)."""
        mouse, keyboard = self._page.mouse, self._page.keyboard
        if "x" in action:
            x, y = action["x"] * WIDTH, action["y"] * HEIGHT
        match action["type"]:
            case "click":
                mouse.click(x, y)
            case "drag":
                mouse.move(x, y)
                mouse.down()
                mouse.move(action["end_x"] * WIDTH, action["end_y"] * HEIGHT, steps=8)
                mouse.up()
            case "scroll":
                mouse.move(x, y)
                mouse.wheel(0, action["scroll_amount"])
                self._page.wait_for_timeout(150)  # the page answers a wheel some frames later
            case "type":
                keyboard.type(action["text"])
            case "key":
                keyboard.press(action["key"])
        self._page.evaluate(STAND_STILL)


# --- the agent --------------------------------------------------------------------------------------------------------


class NoRuleError(Exception):
    """The agent has no rule for what it sees."""


Moves = Iterator[Move]


def press(element: Element, why: str) -> Move:
    """A click in the middle of an element."""
    return Move({"type": "click", "x": round(element.x, 4), "y": round(element.y, 4)}, why)


def with_text(screen: Screen, text: str) -> Element | None:
    """The smallest element that reads exactly ``text``."""
    found = [e for e in screen.elements() if e.text == text]
    return min(found, key=lambda e: e.width * e.height, default=None)


def named(screen: Screen, word: str, tag: str = "") -> list[Element]:
    """The elements with ``word`` among their ids, classes, roles and types."""
    return [e for e in screen.elements() if word in e.name.split() and e.tag.startswith(tag)]


def fields(screen: Screen) -> list[Element]:
    """The text fields, from top to bottom."""
    return [e for e in screen.elements() if e.tag == "input" and re.search(r"\b(text|password|number)\b", e.name)]


def click_text(screen: Screen, text: str) -> Moves:
    """Click what reads ``text``, scrolling down to it where needed."""
    for _ in range(6):
        element = with_text(screen, text)
        if element is None:
            raise NoRuleError(f"nothing on the page reads {text!r}")
        if element.y < 0.98:
            yield press(element, f"It reads {text!r}.")
            return
        yield Move({"type": "scroll", "x": 0.5, "y": 0.7, "scroll_amount": 80}, f"{text!r} is further down.")


def fill_in(screen: Screen, *texts: str, button: str = "Submit") -> Moves:
    """Type each text into the field of its turn, then press the button."""
    for index, text in enumerate(texts):
        yield press(fields(screen)[index], f"Field {index + 1} takes {text!r}.")
        yield Move({"type": "type", "text": text}, "It has the focus.")
    yield from click_text(screen, button)


def click_first_button(screen: Screen) -> Moves:
    """Click the first button there is: right where there is one, a guess where there are more."""
    buttons = [e for e in screen.elements() if e.tag == "button"]
    if not buttons:
        raise NoRuleError("no button to press")
    why = "It is the only button." if len(buttons) == 1 else "I cannot see shapes, so I guess the first answer."
    yield press(buttons[0], why)


def click_each(screen: Screen, *texts: str) -> Moves:
    """Click what reads each of the texts, one after the other."""
    for text in texts:
        yield from click_text(screen, text)


def select_boxes(screen: Screen, wanted: str) -> Moves:
    """Tick every named box, then submit."""
    yield from click_each(screen, *(() if wanted == "nothing" else wanted.split(", ")), "Submit")


def find_hidden(screen: Screen, text: str) -> Moves:
    """Click what reads ``text``; where it is not in sight, open tabs, sections and folders one by one."""
    opened: set[str] = set()
    while with_text(screen, text) is None:
        closed = [
            e for e in screen.elements() if {"tab", "folder"} & set(e.name.split()) and e.text and e.text not in opened
        ]
        if not closed:
            raise NoRuleError(f"opened everything, {text!r} is nowhere")
        opened.add(closed[0].text)
        yield press(closed[0], f"{text!r} is not in sight; it may be in {closed[0].text!r}.")
    yield from click_text(screen, text)


def choose_from_list(screen: Screen, wanted: str) -> Moves:
    """Type the option's name into the focused list; a second option would need a held key, which is beyond me."""
    yield press(next(e for e in screen.elements() if e.tag == "select"), "This is the list.")
    yield Move({"type": "type", "text": wanted.split(", ")[0]}, "A list jumps to what is typed.")
    yield Move({"type": "key", "key": "Enter"}, "Take it.")
    yield from click_text(screen, "Submit")


def set_slider(screen: Screen, wanted: str) -> Moves:
    """Step the slider with the arrow keys until it shows the wanted value."""
    yield press(named(screen, "ui-slider-handle")[0], "The slider takes arrow keys once it has the focus.")
    for _ in range(MAX_STEPS):
        shown = int(next(e.text for e in screen.elements() if e.name.startswith("val")))
        if shown == int(wanted):
            break
        key = "ArrowRight" if shown < int(wanted) else "ArrowLeft"
        yield Move({"type": "key", "key": key}, f"It shows {shown}, {wanted} is wanted.")
    yield from click_text(screen, "Submit")


def set_spinner(screen: Screen, wanted: str) -> Moves:
    """Press the spinner's arrow as often as the value says; it starts at 0."""
    arrow = named(screen, "ui-spinner-up" if int(wanted) > 0 else "ui-spinner-down")[0]
    for count in range(abs(int(wanted))):
        yield press(arrow, f"{count + 1} of {abs(int(wanted))}.")
    yield from click_text(screen, "Submit")


def find_word(screen: Screen, ordinal: str) -> Moves:
    """Type the n-th word of the paragraph."""
    words = next(e.text for e in screen.elements() if e.tag == "p").split()
    yield from fill_in(screen, words[int(ordinal) - 1].strip(".,"))


def last_word(screen: Screen) -> Moves:
    """Type the last word of the text area."""
    yield from fill_in(screen, next(e.value for e in screen.elements() if e.tag == "textarea").split()[-1])


def read_table(screen: Screen, label: str) -> Moves:
    """Type what stands beside the label."""
    cells = [e.text for e in screen.elements() if e.tag == "td"]
    yield from fill_in(screen, cells[cells.index(label) + 1])


def read_letters(screen: Screen) -> Moves:
    """Type the letters of the picture, which are text all the same."""
    yield from fill_in(screen, next(e.text for e in named(screen, "captcha")))


def calculate(screen: Screen) -> Moves:
    """Solve ``a op b =`` or ``x op a = b`` (x on either side of op)."""
    problem = next(e.text for e in named(screen, "math-problem"))
    if sides := re.fullmatch(r"(x|\d+) ([+-]) (x|\d+) = (-?\d+)", problem):
        left, sign, right, total = sides.groups()
        if left == "x":
            answer = int(total) - int(right) if sign == "+" else int(total) + int(right)
        else:
            answer = int(total) - int(left) if sign == "+" else int(left) - int(total)
    elif sides := re.fullmatch(r"(\d+) ([x+-]) (\d+) =", problem):
        a, b = int(sides[1]), int(sides[3])
        answer = {"+": a + b, "-": a - b, "x": a * b}[sides[2]]
    else:
        raise NoRuleError(f"cannot solve {problem!r}")
    yield from fill_in(screen, str(answer))


def focus_field(screen: Screen, ordinal: str) -> Moves:
    """Click into the n-th field."""
    yield press(fields(screen)[int(ordinal) - 1], f"It is field {ordinal}.")


def delete_mail(screen: Screen, sender: str) -> Moves:
    """Click the bin that is nearest to the sender's name, scrolling down to it where needed."""
    for _ in range(6):
        row = with_text(screen, sender)
        bins = [e for e in named(screen, "trash") if row and e.y < 0.98]
        if row and bins and row.y < 0.95:
            yield press(min(bins, key=lambda e: abs(e.y - row.y)), f"The bin beside {sender}.")
            return
        yield Move({"type": "scroll", "x": 0.5, "y": 0.7, "scroll_amount": 60}, f"{sender} is further down.")


def react_to_post(screen: Screen, user: str, button: str) -> Moves:
    """Click the named sign under the user's post; what is inside a menu I do not find."""
    for _ in range(8):
        post = with_text(screen, f"@{user}")
        signs = [e for e in named(screen, button.lower()) if post and post.y < e.y < 0.98]
        if signs:
            yield press(min(signs, key=lambda e: e.y), f"The first {button!r} below @{user}.")
            return
        yield Move({"type": "scroll", "x": 0.5, "y": 0.7, "scroll_amount": 60}, f"No {button!r} of @{user} in sight.")


def search(screen: Screen, text: str, ordinal: str) -> Moves:
    """Search, then click the n-th result of the first page; I do not turn pages."""
    yield from fill_in(screen, text, button="Search")
    results = named(screen, "search-title")
    if int(ordinal) > len(results):
        raise NoRuleError(f"result {ordinal} is not among the {len(results)} that I see")
    yield press(results[int(ordinal) - 1], f"It is result {ordinal}.")


def drag_into(screen: Screen) -> Moves:
    """Drag the box named s into the middle of the box named L."""
    small, large = named(screen, "draggableSmall")[0], named(screen, "draggableLarge")[0]
    start, end = press(small, "").action, press(large, "").action
    action = {**start, "type": "drag", "end_x": end["x"], "end_y": end["y"]}
    yield Move(action, "The middle of the small box belongs in the middle of the large one.")
    yield from click_text(screen, "Submit")


def click_coordinate(screen: Screen, coordinate: str) -> Moves:
    """Click the point of the grid that is named after its coordinate."""
    yield press(named(screen, coordinate)[0], f"The point {coordinate}.")


def click_shape(screen: Screen, words: str) -> Moves:
    """Click the first figure of the named kind and colour; sizes I cannot tell."""
    tags = {"rectangle": "rect", "circle": "circle", "triangle": "polygon", "letter": "text", "digit": "text"}
    kind = next((tag for word, tag in tags.items() if word in words), "")
    shapes = [e for e in screen.elements() if e.tag in ({kind} if kind else set(tags.values()))]
    shapes = [e for e in shapes if e.fill in words.split()] or shapes
    if not shapes:
        raise NoRuleError(f"no figure for {words!r}")
    yield press(shapes[0], f"The first {shapes[0].fill} {shapes[0].tag} for {words!r}.")


def guess_number(screen: Screen, low: str, high: str) -> Moves:
    """Halve the range by what the page answers."""
    least, most = int(low), int(high)
    while least <= most:
        guess = (least + most) // 2
        yield press(fields(screen)[0], f"It is between {least} and {most}.")
        yield Move({"type": "key", "key": "Control+a"}, "Replace the last guess.")
        yield Move({"type": "type", "text": str(guess)}, "The middle.")
        yield from click_text(screen, "Submit")
        if any("lower than" in e.text for e in screen.elements()):
            most = guess - 1
        else:
            least = guess + 1


def tic_tac_toe(screen: Screen) -> Moves:
    """Take middle, corners, edges in a fixed order, whatever the opponent does."""
    for cell in (4, 0, 8, 2, 6, 1, 7, 3, 5):
        yield press(named(screen, f"ttt-{cell}")[0], f"Cell {cell} is next in my order.")


RULES: list[tuple[str, Callable[..., Moves]]] = [
    (r"Click the button\.", click_first_button),
    (r"Click button (\w+), then click button (\w+)\.", click_each),
    (r'Click on the "(.+)" button\.', click_each),
    (r'.*(?:link|folder or file named) "(.+)"\.', find_hidden),
    (r"Select (.+) from the (?:scroll )?list and click Submit\.", choose_from_list),
    (r"Select (\S+) with the slider.*", set_slider),
    (r"Select (\S+) with the spinner.*", set_spinner),
    (r"Select (.+) and click Submit\.", select_boxes),
    (r'Enter "(.+)" into the text field and press Submit\.', fill_in),
    (r'Enter the password "(.+)" into both text fields.*', lambda s, word: fill_in(s, word, word)),
    (r'Enter the username "(.+)" and the password "(.+)" into.*', lambda s, *words: fill_in(s, *words, button="Login")),
    (r"Focus into the (\d+)\w\w input textbox\.", focus_field),
    (r"Find the (\d+)\w\w word in the paragraph.*", find_word),
    (r"Find the last word in the text area.*", last_word),
    (r"Enter the value of (.+) into the text field.*", read_table),
    (r"Type the text below into the text field.*", read_letters),
    (r"(?:Solve the math problem|Solve for x) and type.*", calculate),
    (r"Find the email by (\w+) and click the trash icon.*", delete_mail),
    (r'For the user @(\w+), click on the "(\w+)" button\.', react_to_post),
    (r'Use the textbox to enter "(.+)" and press "Search", then find and click the (\d+).*', search),
    (r"Drag the smaller box.*", drag_into),
    (r"Click on the grid coordinate (\S+)\.", click_coordinate),
    (r"Click on an? (.+)", click_shape),
    (r"(?:How many .+\?|Click the button that best describes.*)", click_first_button),
    (r"Guess the number between (\d+)-(\d+).*", guess_number),
    (r"Playing as 'X', win.*", tic_tac_toe),
]


def moves_for(screen: Screen) -> Moves:
    """What the agent will do on this screen. Raises NoRuleError where it does not understand the instruction."""
    for pattern, rule in RULES:
        if match := re.fullmatch(pattern, screen.instruction):
            return rule(screen, *match.groups())
    raise NoRuleError(f"no rule for {screen.instruction!r}")


# --- the run ----------------------------------------------------------------------------------------------------------


class Ending(NamedTuple):
    """How an attempt ended; ``reward`` is None where the browser failed."""

    outcome: str
    reward: float | None
    steps: int
    error: str | None = None
    reason: str | None = None


def play(screen: Screen, task: Task) -> Ending:
    """Let the agent act until the page ends the episode or the agent is at its end, and record each step.

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
                    screen.linger()
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
        except NoRuleError as problem:
            error = str(problem)
        ended, reward, reason = screen.result()
    except PlaywrightError as problem:
        return Ending("infrastructure_error", None, steps, f"the browser failed: {first_line(problem)}")
    said = (
        f"The episode ended with reward {reward:g}." if ended else "I am done, but the page has not ended the episode."
    )
    task.step(action={"type": "error" if error else "done"}, reasoning=error or said, screenshot=seen)
    outcome = "agent_error" if error else "success" if reward > 0 else "failure"
    return Ending(outcome, reward, steps, error, reason or said)


def attempt_task(run: Run, screen: Screen, html: Path, attempt: int, seed: int) -> Ending:
    """One episode of one task under the tracker."""
    problem = None
    try:
        screen.start(html, f"{seed}/{html.stem}/{attempt}")
    except PlaywrightError as error:
        problem = f"the page could not be started: {first_line(error)}"
    said = {"instruction": screen.instruction, "domain": TASKS.get(html.stem, "other")}
    with run.task(html.stem, worker=WORKER, attempt=attempt, max_steps=MAX_STEPS, **said) as task:
        ending = play(screen, task) if problem is None else Ending("infrastructure_error", None, 0, problem)
        task.finish(outcome=ending.outcome, score=ending.reward, error=ending.error, reason=ending.reason)
    return ending


def first_line(error: PlaywrightError) -> str:
    """What a browser error says, without its call log."""
    return error.message.strip().split("\n")[0]


def pages_of(names: list[str]) -> list[Path]:
    """The page of each task. Raises click's errors where the package or a task is missing."""
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
    """The totals, one a line."""
    outcomes = Counter(ending.outcome for ending in endings)
    rewards = [ending.reward for ending in endings if ending.reward is not None]
    lines = {"tasks": tasks, "attempts": len(endings)}
    lines |= {kind: outcomes[kind] for kind in ("success", "failure", "agent_error", "infrastructure_error")}
    lines["steps"] = sum(ending.steps for ending in endings)
    mean = f"{sum(rewards) / len(rewards):.3f}" if rewards else "-"
    return "\n".join(f"{name:<22}{value}" for name, value in {**lines, "mean reward": mean}.items())


@click.command()
@click.option("--results", default="results", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--tasks", default=",".join(TASKS), show_default="34 tasks", help="Names of tasks, joined by commas.")
@click.option("--episodes", default=2, show_default=True, type=click.IntRange(1), help="Attempts at each task.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same episodes.")
@click.option("--model", default="scripted", show_default=True, help="The model's name in the run log.")
@click.option("--chromium", default="chromium", show_default=True, help="The browser: a command or a path.")
def main(results: Path, tasks: str, episodes: int, seed: int, model: str, chromium: str) -> None:
    """Run MiniWoB++ in Chromium under evalgauge's tracker and print the totals."""
    pages = pages_of([name.strip() for name in tasks.split(",") if name.strip()])
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
        screen = Screen(page)
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
