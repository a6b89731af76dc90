"""The domains of the simulated benchmark: their tasks, and the moves of an agent that works on them."""

from __future__ import annotations

from typing import NamedTuple

WORDS: dict[str, tuple[str, ...]] = {
    "topic": (
        "weather in Oslo",
        "train times to Basel",
        "how to repot a fern",
        "used bicycles",
        "opening hours city library",
        "sourdough recipe",
        "python dataclasses",
        "museum tickets",
        "noise cancelling headphones",
        "hiking trails nearby",
    ),
    "file": ("draft.txt", "notes.docx", "budget.xlsx", "report.pdf", "holiday.png"),
    "folder": ("Invoices", "Archive 2025", "Trip photos", "Old drafts", "Receipts", "For review"),
    "heading": ("Meeting notes", "Shopping list", "Ideas", "Open questions", "Weekly plan"),
    "line": (
        "- call the printer about paper",
        "- budget approved for the third quarter",
        "- next meeting on Tuesday at 10",
        "- ask Ana for the photos",
        "- order two more chairs",
    ),
    "sentence": (
        "The project started in spring with a small team.",
        "Costs fell by eight per cent within a year.",
        "Two of the three goals were reached in time.",
        "The survey was answered by 212 people.",
        "A second site will open in autumn.",
    ),
    "minutes": ("5", "10", "15", "25", "40", "45"),
    "colour": ("red", "orange", "yellow", "green", "blue"),
    "switch": ("Night light", "Notifications", "Bluetooth", "Storage sense", "Dark mode", "Location"),
    "page": ("System", "Devices", "Network", "Personalise", "Privacy"),
    "film": ("holiday.mp4", "lecture_03.mkv", "concert.mp4", "trailer.avi"),
    "column": ("Total", "Tax", "Share", "Change", "Rank"),
    "code": (
        "def total(rows):",
        "    return sum(row['price'] for row in rows)",
        "def newest(rows):",
        "    return max(rows, key=lambda r: r['day'])",
        "if __name__ == '__main__':",
    ),
    "module": ("app.py", "models.py", "test_app.py", "settings.json"),
}
"""The values of the placeholders in braces."""


class Domain(NamedTuple):
    """One kind of program in the benchmark."""

    share: int
    """Number of tasks among 154."""
    success: float
    """Success rate of an agent with skill 0."""
    steps: float
    """The median number of steps of a success."""
    pace: float
    """Duration of a step relative to the average."""
    title: str
    instructions: tuple[str, ...]
    routes: tuple[tuple[str, ...], ...]
    """Sequences of moves: the first opens the task, the others follow in any order."""
    proof: str
    """What the evaluator checks at the end."""


_BROWSING = (
    ("click the address bar", "type {topic}", "press Enter", "click the first result"),
    ("click Back", "click the second result"),
    ("scroll", "scroll"),
    ("click Bookmark",),
    ("click the browser menu", "press Escape"),
    ("click Reload",),
    ("click Sign in", "press Escape"),
)
_SAVING = ("click File", "click File > Save")

DOMAINS: dict[str, Domain] = {
    "chrome": Domain(
        17,
        0.55,
        6,
        1.05,
        "New tab",
        (
            "Search for '{topic}' and bookmark the first result.",
            "Find a page about '{topic}' and leave it open in the current tab.",
            "Open the second result for '{topic}' and scroll to its end.",
            "Make the browser ask before it opens pages about '{topic}' in a new window.",
        ),
        _BROWSING,
        "the address of the open page",
    ),
    "clock": Domain(
        4,
        0.75,
        5,
        0.9,
        "Clock",
        (
            "Set a timer for {minutes} minutes and start it.",
            "Add an alarm that rings in {minutes} minutes.",
            "Start the stopwatch and reset it after {minutes} seconds.",
        ),
        (
            ("click Timer", "click Add", "type 00:{minutes}:00", "press Enter"),
            ("click Start",),
            ("click Reset", "click Start"),
            ("click Alarm", "click Timer"),
        ),
        "the timer in the clock's settings",
    ),
    "file_explorer": Domain(
        19,
        0.60,
        6,
        0.95,
        "Documents",
        (
            "Create a folder named '{folder}' in Documents and move {file} into it.",
            "Delete {file} from Downloads and empty the bin.",
            "Sort the Documents folder by date and rename the newest file to '{folder}'.",
            "Copy {file} from Documents to Pictures.",
        ),
        (
            ("click Documents", "click {file}", "click Copy"),
            ("click New", "type {folder}", "press Enter"),
            ("click Downloads", "press Ctrl+V"),
            ("click {file}", "click Rename", "press Escape"),
            ("click Sort",),
            ("scroll",),
            ("click {file}", "drag"),
        ),
        "the file in the folder",
    ),
    "libreoffice_calc": Domain(
        24,
        0.32,
        8,
        1.15,
        "sales.ods",
        (
            "Add a column '{column}' that multiplies units by price for each month.",
            "Make a bar chart of the units sold, with the months along its axis.",
            "Fill column D with the '{column}' of each month and make its heading bold.",
            "Sort the table by units, largest first, and save it as {folder}.ods.",
        ),
        (
            ("click cell D1", "type {column}", "press Enter"),
            ("click cell D2", "type =B2*C2", "press Enter"),
            ("click cell D3", "type =B3*C3", "press Enter"),
            ("click cell D4", "type =B4*C4", "press Enter"),
            ("click Bold",),
            ("click Sort",),
            ("click Chart", "drag"),
            ("click Sum", "press Enter"),
            ("scroll",),
            _SAVING,
        ),
        "the values of column D",
    ),
    "libreoffice_writer": Domain(
        19,
        0.38,
        7,
        1.10,
        "report.odt",
        (
            "Add the sentence '{sentence}' as a new paragraph and underline it.",
            "Centre the heading, make it bold and export the document as a PDF.",
            "Replace the second paragraph by '{sentence}'.",
            "Turn the list under '{heading}' into bullets.",
        ),
        (
            ("click Style", "type {sentence}", "press Enter"),
            ("type {sentence}",),
            ("click Bold",),
            ("click Underline",),
            ("click Centre",),
            ("drag", "click Italic"),
            ("scroll",),
            ("click Format", "click Format > Text"),
            _SAVING,
        ),
        "the paragraphs of the document",
    ),
    "microsoft_paint": Domain(
        3,
        0.35,
        7,
        1.0,
        "untitled",
        ("Draw a {colour} rectangle and save the picture as {folder}.png.", "Draw two {colour} lines that cross."),
        (
            ("click Rectangle", "click the colour {colour}", "drag"),
            ("drag",),
            ("click Line", "drag"),
            ("click Brush", "drag"),
            _SAVING,
        ),
        "the colours of the saved picture",
    ),
    "msedge": Domain(
        13,
        0.55,
        6,
        1.05,
        "New tab",
        (
            "Look up '{topic}' and save the page as a favourite.",
            "Open the third result for '{topic}'.",
            "Search for '{topic}' and go back to the start page.",
        ),
        (*_BROWSING, ("click Back", "click the third result")),
        "the list of favourites",
    ),
    "notepad": Domain(
        5,
        0.80,
        5,
        0.85,
        "untitled",
        (
            "Write '{line}' under the heading '{heading}' and save the file.",
            "Write a note with the heading '{heading}' and two entries, then save it in Documents.",
        ),
        (
            ("click the text", "type {heading}", "press Enter", "type {line}"),
            ("press Enter", "type {line}"),
            _SAVING,
            ("click Edit", "click Edit > Find", "press Escape"),
            ("click View", "click View > Word wrap"),
        ),
        "the text of the saved file",
    ),
    "settings": Domain(
        5,
        0.80,
        5,
        0.9,
        "Settings",
        (
            "Turn on '{switch}'.",
            "Turn '{switch}' off and go back to the page {page}.",
            "Switch on '{switch}' in {page}.",
        ),
        (
            ("click {page}", "click {switch}"),
            ("scroll",),
            ("click System", "click {page}"),
            ("click {switch}", "click {switch}"),
            ("click Apps",),
        ),
        "the value in the registry",
    ),
    "vlc": Domain(
        21,
        0.42,
        6,
        1.0,
        "{film}",
        (
            "Play {film} from its middle and take a snapshot.",
            "Play {film} at twice the speed, in a loop.",
            "Save the playlist with {film} as '{folder}'.",
            "Make the player forget what was played last.",
        ),
        (
            ("click Media", "click Media > Open file", "type {film}", "press Enter"),
            ("click Play",),
            ("click Playback", "click Playback > Faster"),
            ("click Video", "click Video > Take snapshot"),
            ("click Tools", "click Tools > Preferences", "press Escape"),
            ("click the time line",),
            ("click Loop",),
            ("drag",),
            ("click Playlist",),
        ),
        "the player's settings file",
    ),
    "vs_code": Domain(
        24,
        0.58,
        7,
        1.0,
        "orders",
        (
            "Add a function to {module} that adds up the prices, and run it.",
            "Rename the function in {module} and run the tests.",
            "Open {module}, wrap long lines and save it.",
            "Install the extension for Python and open {module}.",
        ),
        (
            ("click {module}", "click the editor", "press Ctrl+End"),
            ("type {code}", "press Enter", "type {code}"),
            ("press Ctrl+S",),
            ("click Run",),
            ("click the search", "press Escape"),
            ("click the extensions",),
            ("click View", "click View > Word wrap"),
            ("scroll",),
            ("click the terminal", "press Enter"),
        ),
        "the lines of the file",
    ),
}
"""The domains of the simulated benchmark, by name."""

OBSERVATIONS = (
    "The window shows what I expected.",
    "The last step worked.",
    "This is the right place.",
    "The next part of the task is open.",
    "I compare the screen with what was asked.",
)
DOUBTS = (
    "Nothing has changed yet.",
    "That was not it; I try another way.",
    "The screen did not change as I expected.",
    "I may have missed an option.",
    "I cannot find it here.",
)

AGENT_ERRORS = (
    "no action could be read from the model's reply: expected one code block, found none",
    "the agent repeated the same click 5 times and was stopped",
    "the model named the action 'hover', which does not exist",
)
INFRASTRUCTURE_ERRORS = (
    "the machine did not answer on port 5000 for 120 s",
    "the screenshot could not be taken: connection reset by peer",
    "the machine was taken back by its provider",
)
EVALUATION_ERRORS = (
    "the check failed: KeyError: 'expected'",
    "the check could not fetch the file from the machine: 404",
    "the check ran longer than 300 s and was stopped",
)
