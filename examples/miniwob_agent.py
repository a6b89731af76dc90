"""A small scripted agent for MiniWoB++: it reads the page's elements and follows one rule for each kind of instruction.

A rule is a generator: it looks at the screen, yields its next move, and looks again once the move is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

MAX_STEPS = 25
"""The most moves of an attempt."""


class Element(NamedTuple):
    """A visible element of the page; ``x, y, width, height`` are fractions of the screenshot, x and y its centre."""

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
    """The next action of the agent and its reason."""

    action: dict[str, Any]
    reasoning: str


class Screen(Protocol):
    """What the agent sees."""

    instruction: str

    def elements(self) -> list[Element]:
        """Every visible element, in document order."""
        ...


class NoRuleError(Exception):
    """The agent has no rule for what it sees."""


Moves = Iterator[Move]


def press(element: Element, why: str) -> Move:
    """Return a click in the middle of an element."""
    return Move({"type": "click", "x": round(element.x, 4), "y": round(element.y, 4)}, why)


def with_text(screen: Screen, text: str) -> Element | None:
    """Return the smallest element with exactly this text."""
    found = [e for e in screen.elements() if e.text == text]
    return min(found, key=lambda e: e.width * e.height, default=None)


def named(screen: Screen, word: str, tag: str = "") -> list[Element]:
    """Return the elements with ``word`` in their ids, classes, roles or types."""
    return [e for e in screen.elements() if word in e.name.split() and e.tag.startswith(tag)]


def fields(screen: Screen) -> list[Element]:
    """Return the text fields, from top to bottom."""
    return [e for e in screen.elements() if e.tag == "input" and re.search(r"\b(text|password|number)\b", e.name)]


def click_text(screen: Screen, text: str) -> Moves:
    """Click the element with this text; scroll down to it if needed."""
    for _ in range(6):
        element = with_text(screen, text)
        if element is None:
            raise NoRuleError(f"nothing on the page reads {text!r}")
        if element.y < 0.98:
            yield press(element, f"It reads {text!r}.")
            return
        yield Move({"type": "scroll", "x": 0.5, "y": 0.7, "scroll_amount": 80}, f"{text!r} is further down.")


def fill_in(screen: Screen, *texts: str, button: str = "Submit") -> Moves:
    """Type the texts into the fields in order, then press the button."""
    for index, text in enumerate(texts):
        yield press(fields(screen)[index], f"Field {index + 1} takes {text!r}.")
        yield Move({"type": "type", "text": text}, "It has the focus.")
    yield from click_text(screen, button)


def click_first_button(screen: Screen) -> Moves:
    """Click the first button: a guess if there are several."""
    buttons = [e for e in screen.elements() if e.tag == "button"]
    if not buttons:
        raise NoRuleError("no button to press")
    why = "It is the only button." if len(buttons) == 1 else "I cannot see shapes, so I guess the first answer."
    yield press(buttons[0], why)


def click_each(screen: Screen, *texts: str) -> Moves:
    """Click the element with each of the texts, one after the other."""
    for text in texts:
        yield from click_text(screen, text)


def select_boxes(screen: Screen, wanted: str) -> Moves:
    """Tick every named box, then submit."""
    yield from click_each(screen, *(() if wanted == "nothing" else wanted.split(", ")), "Submit")


def find_hidden(screen: Screen, text: str) -> Moves:
    """Click the element with this text; if none is visible, open tabs, sections and folders one by one."""
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
    """Type the option's name into the focused list; a second option would need a held key, which is not supported."""
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
    """Press the spinner's arrow as often as the value requires; it starts at 0."""
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
    """Type the text beside the label."""
    cells = [e.text for e in screen.elements() if e.tag == "td"]
    yield from fill_in(screen, cells[cells.index(label) + 1])


def read_letters(screen: Screen) -> Moves:
    """Type the letters of the picture, which are text elements."""
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
    """Click the named button under the user's post; buttons inside a menu are not found."""
    for _ in range(8):
        post = with_text(screen, f"@{user}")
        signs = [e for e in named(screen, button.lower()) if post and post.y < e.y < 0.98]
        if signs:
            yield press(min(signs, key=lambda e: e.y), f"The first {button!r} below @{user}.")
            return
        yield Move({"type": "scroll", "x": 0.5, "y": 0.7, "scroll_amount": 60}, f"No {button!r} of @{user} in sight.")


def search(screen: Screen, text: str, ordinal: str) -> Moves:
    """Search, then click the n-th result of the first page; other pages are not opened."""
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
    """Click the first figure of the named kind and colour; sizes are not distinguished."""
    tags = {"rectangle": "rect", "circle": "circle", "triangle": "polygon", "letter": "text", "digit": "text"}
    kind = next((tag for word, tag in tags.items() if word in words), "")
    shapes = [e for e in screen.elements() if e.tag in ({kind} if kind else set(tags.values()))]
    shapes = [e for e in shapes if e.fill in words.split()] or shapes
    if not shapes:
        raise NoRuleError(f"no figure for {words!r}")
    yield press(shapes[0], f"The first {shapes[0].fill} {shapes[0].tag} for {words!r}.")


def guess_number(screen: Screen, low: str, high: str) -> Moves:
    """Halve the range after each response of the page."""
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
    """Return the agent's moves for this screen. Raises NoRuleError if it does not understand the instruction."""
    for pattern, rule in RULES:
        if match := re.fullmatch(pattern, screen.instruction):
            return rule(screen, *match.groups())
    raise NoRuleError(f"no rule for {screen.instruction!r}")
