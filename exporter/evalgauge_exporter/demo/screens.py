"""Screenshots of a simulated desktop, drawn with Pillow: 960 × 600 pixels, a few kilobytes each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from evalgauge_exporter.demo import documents, system
from evalgauge_exporter.demo.app import BOTTOM, GREY, INK, LEFT, LINE, MENU_HEIGHT, RIGHT, TOP, App, Canvas, text_width
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
def click_points(domain: str) -> Mapping[str, tuple[float, float]]:
    """Return what can be clicked in a domain's program: the centre of each, as fractions of width and height."""
    return {
        name: (round((x + width / 2) / WIDTH, 4), round((y + height / 2) / HEIGHT, 4))
        for name, (x, y, width, height) in APPS[domain].boxes().items()
    }


def draw(scene: Scene) -> bytes:
    """Return the screenshot of a scene as a PNG.

    Raises:
        KeyError: The scene's domain has no program.
    """
    app = APPS[scene.domain]
    canvas = _draw_window(scene.domain).copy()
    canvas.write(LEFT + 42, TOP - TITLE_BAR + 10, f"{scene.title} - {app.name}", INK, room=620)
    app.draw_content(canvas, scene)
    last = scene.touched[-1] if scene.touched else ""
    if last in app.menus:
        _draw_menu(canvas, app, last)
    elif " > " in last:
        _draw_toast(canvas, last.split(" > ")[1])
    canvas.write(WIDTH - 76, HEIGHT - 30, scene.time, "#ffffff")
    if scene.pointer is not None:
        canvas.pointer(*scene.pixel(*scene.pointer))
    return canvas.png()


@cache
def _draw_window(domain: str) -> Canvas:
    """Return the desktop with the empty window of a program: what all its scenes share."""
    app = APPS[domain]
    canvas = _draw_desktop().copy()
    canvas.rounded(LEFT - 1, TOP - TITLE_BAR - 1, RIGHT - LEFT + 2, BOTTOM - TOP + TITLE_BAR + 2, "#2b3f5c", 9)
    canvas.rounded(LEFT, TOP - TITLE_BAR, RIGHT - LEFT, BOTTOM - TOP + TITLE_BAR, "#e9edf3", 8)
    canvas.block(LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP, "#ffffff")
    canvas.rounded(LEFT + 12, TOP - 26, 20, 20, app.colour, 5)
    canvas.circle((LEFT + 22, TOP - 16), 5, "#ffffff")
    y = TOP - 18
    canvas.block(RIGHT - 118, y, 14, 2, GREY)
    canvas.outline(RIGHT - 76, y - 6, 13, 13, GREY, 2)
    canvas.line([(RIGHT - 34, y - 6), (RIGHT - 22, y + 6)], GREY, 2)
    canvas.line([(RIGHT - 34, y + 6), (RIGHT - 22, y - 6)], GREY, 2)
    if app.menus:
        canvas.block(LEFT, TOP, RIGHT - LEFT, MENU_HEIGHT, "#f8f9fb")
        canvas.block(LEFT, TOP + MENU_HEIGHT - 1, RIGHT - LEFT, 1, LINE)
        for menu, (x, top, _, _) in app.menu_boxes().items():
            canvas.write(x + 10, top + 7, menu, INK)
    app.draw_frame(canvas)
    return canvas


@cache
def _draw_desktop() -> Canvas:
    canvas = Canvas.blank(WIDTH, HEIGHT)
    for y in range(0, HEIGHT, 6):
        part = y / HEIGHT
        canvas.block(0, y, WIDTH, 6, _mix((28, 58, 110), (126, 170, 214), part))
    for radius in range(330, 90, -40):
        canvas.circle((90, 620), radius, _mix((58, 110, 180), (150, 205, 240), (330 - radius) / 240))
    for row, (name, colour) in enumerate(zip(_ICON_NAMES, _ICON_COLOURS, strict=True)):
        y = 30 + row * 92
        canvas.rounded(38, y, 44, 44, colour, 9)
        canvas.rounded(47, y + 10, 26, 5, "#ffffff", 2)
        canvas.rounded(47, y + 20, 26, 5, "#ffffff", 2)
        canvas.write(60 - text_width(name) // 2, y + 52, name, "#ffffff")
    canvas.block(0, HEIGHT - TASK_BAR, WIDTH, TASK_BAR, "#1d2b44")
    colours = ["#4cc2ff", *(app.colour for app in APPS.values())]
    start = (WIDTH - len(colours) * 38) // 2
    for index, colour in enumerate(colours):
        canvas.rounded(start + index * 38, HEIGHT - 35, 26, 26, colour, 6)
        if index:
            canvas.rounded(start + index * 38 + 8, HEIGHT - 25, 10, 6, "#ffffff", 2)
    return canvas


def _mix(first: tuple[int, int, int], second: tuple[int, int, int], part: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(first, second, strict=True))


def _draw_menu(canvas: Canvas, app: App, menu: str) -> None:
    x, y, width, height = app.menu_boxes()[menu]
    canvas.rounded(x + 2, y + 3, width - 4, height - 6, "#dbe4ee", 4)
    canvas.write(x + 10, y + 7, menu, INK)
    entries = app.menus[menu]
    canvas.rounded(x - 1, y + height + 1, 192, len(entries) * 30 + 6, "#aab4c0", 6)
    canvas.rounded(x, y + height + 2, 190, len(entries) * 30 + 4, "#ffffff", 5)
    for row, entry in enumerate(entries):
        canvas.write(x + 18, y + height + 12 + row * 30, entry, INK)


def _draw_toast(canvas: Canvas, text: str) -> None:
    width = text_width(text) + 64
    canvas.rounded(RIGHT - width - 16, BOTTOM - 62, width, 40, "#24303f", 8)
    x, y = RIGHT - width, BOTTOM - 48
    canvas.line([(x, y + 6), (x + 5, y + 11), (x + 14, y)], "#2cc295", 3)
    canvas.write(RIGHT - width + 26, BOTTOM - 50, text, "#ffffff")
