"""Screenshots of a pretend desktop, drawn with the standard library: 960 × 600 pixels, a few kilobytes each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from evalgauge_exporter.demo import documents, font, system
from evalgauge_exporter.demo.app import BOTTOM, GREY, INK, LEFT, LINE, MENU_HEIGHT, RIGHT, TOP, App
from evalgauge_exporter.demo.canvas import Canvas
from evalgauge_exporter.demo.scene import HEIGHT, WIDTH, Scene

APPS: dict[str, App] = {
    "chrome": system.CHROME,
    "clock": system.CLOCK,
    "file_explorer": system.EXPLORER,
    "libreoffice_calc": documents.CALC,
    "libreoffice_writer": documents.WRITER,
    "microsoft_paint": documents.PAINT,
    "msedge": system.EDGE,
    "notepad": documents.NOTEPAD,
    "settings": system.SETTINGS,
    "vlc": system.VLC,
    "vs_code": documents.VS_CODE,
}
"""The program of each domain."""

TITLE_BAR = 34
TASK_BAR = 44

_ICON_NAMES = ("Trash", "Work", "Photos", "Notes")
_ICON_COLOURS = ("#9fb6cc", "#f0b93a", "#d98f5b", "#5b8fd9")


@cache
def places(domain: str) -> Mapping[str, tuple[float, float]]:
    """The places of a domain's program that can be clicked, each by its middle as parts of width and height."""
    return {
        name: (round((x + width / 2) / WIDTH, 4), round((y + height / 2) / HEIGHT, 4))
        for name, (x, y, width, height) in APPS[domain].places().items()
    }


def draw(scene: Scene) -> bytes:
    """The screenshot of a scene as a PNG. Raises KeyError for a domain that has no program."""
    app = APPS[scene.domain]
    canvas = _window(scene.domain).copy()
    canvas.text(LEFT + 42, TOP - TITLE_BAR + 10, f"{scene.title} - {app.name}", INK, room=620)
    app.content(canvas, scene)
    last = scene.touched[-1] if scene.touched else ""
    if last in app.menus:
        _open_menu(canvas, app, last)
    elif " > " in last:
        _toast(canvas, last.split(" > ")[1])
    canvas.text(WIDTH - 76, HEIGHT - 30, scene.time, "#ffffff")
    if scene.pointer is not None:
        canvas.pointer(*scene.pixel(*scene.pointer))
    return canvas.png()


@cache
def _window(domain: str) -> Canvas:
    """The desktop with the empty window of a program: what is the same in all its scenes."""
    app = APPS[domain]
    canvas = _desktop().copy()
    canvas.rounded(LEFT - 1, TOP - TITLE_BAR - 1, RIGHT - LEFT + 2, BOTTOM - TOP + TITLE_BAR + 2, "#2b3f5c", 9)
    canvas.rounded(LEFT, TOP - TITLE_BAR, RIGHT - LEFT, BOTTOM - TOP + TITLE_BAR, "#e9edf3", 8)
    canvas.fill(LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP, "#ffffff")
    canvas.rounded(LEFT + 12, TOP - 26, 20, 20, app.colour, 5)
    canvas.disc(LEFT + 22, TOP - 16, 5, "#ffffff")
    y = TOP - 18
    canvas.fill(RIGHT - 118, y, 14, 2, GREY)
    canvas.frame(RIGHT - 76, y - 6, 13, 13, GREY, 2)
    for step in range(13):
        canvas.fill(RIGHT - 34 + step, y - 6 + step, 2, 1, GREY)
        canvas.fill(RIGHT - 22 - step, y - 6 + step, 2, 1, GREY)
    if app.menus:
        canvas.fill(LEFT, TOP, RIGHT - LEFT, MENU_HEIGHT, "#f8f9fb")
        canvas.fill(LEFT, TOP + MENU_HEIGHT - 1, RIGHT - LEFT, 1, LINE)
        for menu, (x, top, _, _) in app.menu_boxes().items():
            canvas.text(x + 10, top + 7, menu, INK)
    app.furniture(canvas)
    return canvas


@cache
def _desktop() -> Canvas:
    canvas = Canvas(WIDTH, HEIGHT)
    for y in range(0, HEIGHT, 6):
        part = y / HEIGHT
        canvas.fill(0, y, WIDTH, 6, _mix((28, 58, 110), (126, 170, 214), part))
    for radius in range(330, 90, -40):
        canvas.disc(90, 620, radius, _mix((58, 110, 180), (150, 205, 240), (330 - radius) / 240))
    for row, (name, colour) in enumerate(zip(_ICON_NAMES, _ICON_COLOURS, strict=True)):
        y = 30 + row * 92
        canvas.rounded(38, y, 44, 44, colour, 9)
        canvas.rounded(47, y + 10, 26, 5, "#ffffff", 2)
        canvas.rounded(47, y + 20, 26, 5, "#ffffff", 2)
        canvas.text(60 - font.width(name, 2) // 2, y + 52, name, "#ffffff")
    canvas.fill(0, HEIGHT - TASK_BAR, WIDTH, TASK_BAR, "#1d2b44")
    colours = ["#4cc2ff", *(app.colour for app in APPS.values())]
    start = (WIDTH - len(colours) * 38) // 2
    for index, colour in enumerate(colours):
        canvas.rounded(start + index * 38, HEIGHT - 35, 26, 26, colour, 6)
        if index:
            canvas.rounded(start + index * 38 + 8, HEIGHT - 25, 10, 6, "#ffffff", 2)
    return canvas


def _mix(first: tuple[int, int, int], second: tuple[int, int, int], part: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(first, second, strict=True))


def _open_menu(canvas: Canvas, app: App, menu: str) -> None:
    x, y, width, height = app.menu_boxes()[menu]
    canvas.rounded(x + 2, y + 3, width - 4, height - 6, "#dbe4ee", 4)
    canvas.text(x + 10, y + 7, menu, INK)
    entries = app.menus[menu]
    canvas.rounded(x - 1, y + height + 1, 192, len(entries) * 30 + 6, "#aab4c0", 6)
    canvas.rounded(x, y + height + 2, 190, len(entries) * 30 + 4, "#ffffff", 5)
    for row, entry in enumerate(entries):
        canvas.text(x + 18, y + height + 12 + row * 30, entry, INK)


def _toast(canvas: Canvas, text: str) -> None:
    width = font.width(text, 2) + 64
    canvas.rounded(RIGHT - width - 16, BOTTOM - 62, width, 40, "#24303f", 8)
    canvas.text(RIGHT - width + 2, BOTTOM - 50, "✓", "#2cc295")
    canvas.text(RIGHT - width + 26, BOTTOM - 50, text, "#ffffff")
