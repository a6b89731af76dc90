"""The other programs: browsers, File Explorer, Settings, Clock, VLC."""

from __future__ import annotations

from evalgauge_exporter.demo.app import (
    BLUE,
    BOTTOM,
    FAINT,
    GREY,
    HEADING,
    INK,
    LEFT,
    LINE,
    MENU_HEIGHT,
    RIGHT,
    TOP,
    App,
    Canvas,
    column_of,
    draw_bars,
    draw_button,
    row_of,
    text_width,
)
from evalgauge_exporter.demo.scene import Scene

_WEB = {
    "Back": (LEFT + 12, TOP + 8, 30, 30),
    "Reload": (LEFT + 50, TOP + 8, 30, 30),
    "the address bar": (LEFT + 94, TOP + 6, 560, 34),
    "Bookmark": (RIGHT - 140, TOP + 8, 34, 30),
    "the browser menu": (RIGHT - 48, TOP + 8, 34, 30),
    "the first result": (LEFT + 70, TOP + 130, 420, 24),
    "the second result": (LEFT + 70, TOP + 230, 420, 24),
    "the third result": (LEFT + 70, TOP + 330, 420, 24),
    "Sign in": (RIGHT - 130, TOP + 64, 100, 34),
}


def _draw_browser_bar(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP, RIGHT - LEFT, 46, "#eef1f5")
    canvas.rounded(*_WEB["the address bar"], "#ffffff", 16)
    canvas.polygon([(LEFT + 20, TOP + 23), (LEFT + 34, TOP + 15), (LEFT + 34, TOP + 31)], GREY)
    canvas.circle((LEFT + 65, TOP + 23), 9, GREY)
    canvas.circle((LEFT + 65, TOP + 23), 6, "#eef1f5")
    canvas.block(LEFT + 65, TOP + 12, 10, 8, "#eef1f5")
    star = [(0, -12), (3, -4), (12, -4), (5, 2), (8, 11), (0, 6), (-8, 11), (-5, 2), (-12, -4), (-3, -4)]
    canvas.polygon([(RIGHT - 123 + x, TOP + 23 + y) for x, y in star], "#e0a800")
    for dot in range(3):
        canvas.circle((RIGHT - 31, TOP + 15 + dot * 8), 2, INK)
    draw_button(canvas, _WEB["Sign in"], "Sign in", BLUE, "#ffffff")


def _draw_paragraphs(canvas: Canvas, x: int, y: int) -> None:
    draw_bars(canvas, x, y, (660, 680, 640, 672, 300, 0, 0, 655, 668, 630, 676, 640, 400))


def _draw_browser(canvas: Canvas, scene: Scene) -> None:
    typed = scene.lines[-1] if scene.lines else ""
    canvas.write(LEFT + 112, TOP + 15, typed or "Search or type a URL", INK if typed else GREY, room=520)
    turns = [name for name in scene.touched if "result" in name or name == "Back"]
    if turns and turns[-1] != "Back":
        if scene.scrolled:
            canvas.write(LEFT + 70, TOP + 70, "More about it", INK, HEADING)
            _draw_paragraphs(canvas, LEFT + 70, TOP + 130)
            return
        canvas.write(LEFT + 70, TOP + 70, typed or scene.title, INK, HEADING, room=560)
        canvas.rounded(LEFT + 70, TOP + 128, 300, 150, "#bcd9f2", 8)
        canvas.polygon([(LEFT + 90, TOP + 262), (LEFT + 170, TOP + 170), (LEFT + 250, TOP + 262)], "#5b8f6a")
        canvas.polygon([(LEFT + 190, TOP + 262), (LEFT + 270, TOP + 200), (LEFT + 350, TOP + 262)], "#3f7a55")
        canvas.circle((LEFT + 320, TOP + 162), 18, "#f5c542")
        draw_bars(canvas, LEFT + 392, TOP + 136, (340, 360, 300, 352, 330, 348, 210))
        draw_bars(canvas, LEFT + 70, TOP + 306, (660, 680, 640, 672, 655, 668, 400))
    elif typed:
        for row, name in enumerate(("the first result", "the second result", "the third result")):
            x, y, _, _ = _WEB[name]
            canvas.write(x, y, f"{typed[:26]} - {('guide', 'answers', 'reference')[row]}", "#1a0dab", room=600)
            draw_bars(canvas, x, y + 30, (560 - 40 * row, 520, 300 + 60 * row), 18)
    else:
        for index, colour in enumerate(("#5b4bb5", "#1b8a8a", "#d98f5b", "#6b7280")):
            canvas.circle((LEFT + 318 + index * 60, TOP + 150), 24, colour)
        canvas.rounded(LEFT + 170, TOP + 220, 480, 44, "#eef1f5", 22)
        canvas.write(LEFT + 200, TOP + 235, "Search the web", GREY)


_FOLDERS = ("Desktop", "Documents", "Downloads", "Pictures", "This PC")
_FILES = ("Archive", "Projects", "budget.xlsx", "draft.txt", "holiday.png", "notes.docx", "report.pdf")
_EXPLORER = {
    **column_of(_FOLDERS, LEFT + 10, TOP + 54, 160, 40),
    **{name: (LEFT + 200, TOP + 92 + row * 36, 596, 34) for row, name in enumerate(_FILES)},
    **row_of(("New", "Cut", "Copy", "Rename", "Delete", "Sort"), LEFT + 12, TOP + 8),
}


def _draw_explorer_frame(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP, RIGHT - LEFT, 46, "#f5f7fa")
    for name in ("New", "Cut", "Copy", "Rename", "Delete", "Sort"):
        draw_button(canvas, _EXPLORER[name], name)
    canvas.block(LEFT, TOP + 46, 180, BOTTOM - TOP - 46, "#fafbfc")
    canvas.write(LEFT + 240, TOP + 66, "Name", GREY)
    canvas.write(LEFT + 540, TOP + 66, "Changed", GREY)
    canvas.write(LEFT + 710, TOP + 66, "Size", GREY)
    canvas.block(LEFT + 200, TOP + 88, 596, 1, LINE)


def _draw_explorer(canvas: Canvas, scene: Scene) -> None:
    folder = next((name for name in reversed(scene.touched) if name in _FOLDERS), "Documents")
    for name in _FOLDERS:
        x, y, width, height = _EXPLORER[name]
        if name == folder:
            canvas.rounded(x, y, width, height, "#d6e8fa", 5)
        canvas.rounded(x + 10, y + 9, 22, 16, "#f0b93a" if name != "This PC" else "#4c8bf5", 3)
        canvas.write(x + 42, y + 11, name, INK)
    chosen = next((name for name in reversed(scene.touched) if name in _FILES), None)
    gone = {scene.touched[i - 1] for i, name in enumerate(scene.touched) if name == "Delete" and i}
    names = [*(name for name in _FILES if name not in gone), *scene.lines]
    for row, name in enumerate(names[:10]):
        y = TOP + 92 + row * 36
        if name == chosen:
            canvas.rounded(LEFT + 200, y, 596, 34, "#d6e8fa", 4)
        plain = "." in name
        canvas.rounded(LEFT + 208, y + 8, 20 if plain else 24, 20, "#9fb6cc" if plain else "#f0b93a", 3)
        canvas.write(LEFT + 242, y + 11, name, INK, room=280)
        canvas.write(LEFT + 540, y + 11, f"{3 + row * 2}/11/2025", GREY)
        if plain:
            canvas.write(LEFT + 710, y + 11, f"{12 + 37 * row} KB", GREY)


_PAGES = ("System", "Devices", "Network", "Personalise", "Apps", "Accounts", "Privacy")
_SWITCHES = ("Night light", "Notifications", "Bluetooth", "Storage sense", "Dark mode", "Location")
_SETTINGS = {
    **column_of(_PAGES, LEFT + 12, TOP + 66, 190, 44),
    **{name: (RIGHT - 96, TOP + 82 + row * 62, 56, 28) for row, name in enumerate(_SWITCHES)},
}


def _draw_settings_frame(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP, "#f3f5f8")
    for row, name in enumerate(_SWITCHES):
        y = TOP + 68 + row * 62
        canvas.rounded(LEFT + 226, y, 570, 54, "#ffffff", 6)
        canvas.circle((LEFT + 256, y + 27), 11, ("#5b8fd9", "#d98f5b", "#0067c0", "#7a8794", "#3b3b58", "#16803c")[row])
        canvas.write(LEFT + 284, y + 20, name, INK)


def _draw_settings(canvas: Canvas, scene: Scene) -> None:
    page = next((name for name in reversed(scene.touched) if name in _PAGES), "System")
    canvas.write(LEFT + 226, TOP + 20, page, INK, HEADING)
    for name in _PAGES:
        x, y, width, height = _SETTINGS[name]
        if name == page:
            canvas.rounded(x, y, width, height, "#e2e8f0", 5)
            canvas.rounded(x, y + 10, 4, 18, BLUE, 2)
        canvas.circle((x + 24, y + 19), 7, FAINT)
        canvas.write(x + 44, y + 12, name, INK)
    for name in _SWITCHES:
        x, y, width, height = _SETTINGS[name]
        on = scene.touched.count(name) % 2 == 1
        canvas.rounded(x, y, width, height, BLUE if on else "#aeb6c0", 14)
        canvas.circle((x + (42 if on else 14), y + 14), 9, "#ffffff")


_CLOCK_PAGES = ("Timer", "Alarm", "Stopwatch", "World clock")
_CLOCK = {
    **column_of(_CLOCK_PAGES, LEFT + 12, TOP + 24, 190, 46),
    "Start": (LEFT + 390, TOP + 400, 110, 44),
    "Reset": (LEFT + 520, TOP + 400, 110, 44),
    "Add": (RIGHT - 100, TOP + 20, 76, 36),
}


def _draw_clock_frame(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP, 216, BOTTOM - TOP, "#f3f5f8")
    draw_button(canvas, _CLOCK["Start"], "Start", BLUE, "#ffffff")
    draw_button(canvas, _CLOCK["Reset"], "Reset")
    draw_button(canvas, _CLOCK["Add"], "Add")
    canvas.circle((LEFT + 510, TOP + 220), 150, BLUE)
    canvas.circle((LEFT + 510, TOP + 220), 136, "#ffffff")


def _draw_clock(canvas: Canvas, scene: Scene) -> None:
    page = next((name for name in reversed(scene.touched) if name in _CLOCK_PAGES), "Timer")
    for name in _CLOCK_PAGES:
        x, y, width, height = _CLOCK[name]
        if name == page:
            canvas.rounded(x, y, width, height, "#d6e8fa", 5)
        canvas.write(x + 18, y + 13, name, INK)
    shown = next((line for line in reversed(scene.lines) if line[:1].isdigit()), "00:05:00")
    canvas.write(LEFT + 510 - text_width(shown, HEADING) // 2, TOP + 200, shown, INK, HEADING)
    label = "running" if scene.touched.count("Start") % 2 else page
    canvas.write(LEFT + 510 - text_width(label) // 2, TOP + 252, label, GREY)


_VLC = {
    **row_of(("Play", "Stop", "Previous", "Next", "Playlist", "Loop"), LEFT + 12, BOTTOM - 42),
    "the volume": (RIGHT - 140, BOTTOM - 36, 120, 20),
    "the time line": (LEFT + 12, BOTTOM - 66, 792, 14),
}


def _draw_vlc_frame(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP + MENU_HEIGHT, RIGHT - LEFT, BOTTOM - TOP - MENU_HEIGHT - 74, "#0f1216")
    canvas.block(LEFT, BOTTOM - 74, RIGHT - LEFT, 74, "#f0f2f5")
    for name in ("Play", "Stop", "Previous", "Next", "Playlist", "Loop"):
        draw_button(canvas, _VLC[name], name)
    x, y, width, height = _VLC["the volume"]
    canvas.polygon([(x, y + height), (x + width, y + height), (x + width, y)], "#e08a1e")
    canvas.rounded(*_VLC["the time line"], "#cfd6de", 6)


def _draw_vlc(canvas: Canvas, scene: Scene) -> None:
    if "Play" in scene.touched or scene.lines:
        sky = ("#22304a", "#2c3e5f", "#3b5278", "#527094", "#7593ad", "#a3b5bd")
        for row, colour in enumerate(sky):
            canvas.block(LEFT + 90, TOP + 52 + row * 40, 636, 40, colour)
        canvas.circle((LEFT + 560 - 12 * len(scene.touched), TOP + 150), 34, "#f2d58a")
        ground = TOP + 292
        canvas.polygon([(LEFT + 90, ground), (LEFT + 260, TOP + 150), (LEFT + 430, ground)], "#2f5a4c")
        canvas.polygon([(LEFT + 330, ground), (LEFT + 520, TOP + 190), (LEFT + 726, ground)], "#24463c")
        canvas.block(LEFT + 90, ground, 636, 64, "#1a3029")
    else:
        x, y = LEFT + 408, TOP + 210
        canvas.circle((x, y), 84, "#f08a1d")
        canvas.circle((x, y), 74, "#0f1216")
        canvas.polygon([(x - 24, y - 42), (x - 24, y + 42), (x + 48, y)], "#f08a1d")
    x, y, width, height = _VLC["the time line"]
    canvas.rounded(x, y, min(width, 60 + 90 * len(scene.touched)), height, "#e08a1e", 6)


CHROME = App("Chrome", "#4c8bf5", {}, _WEB, _draw_browser_bar, _draw_browser)
EDGE = App("Edge", "#1b8a8a", {}, _WEB, _draw_browser_bar, _draw_browser)
EXPLORER = App("File Explorer", "#f0b93a", {}, _EXPLORER, _draw_explorer_frame, _draw_explorer)
SETTINGS = App("Settings", "#6b7280", {}, _SETTINGS, _draw_settings_frame, _draw_settings)
CLOCK = App("Clock", "#0067c0", {}, _CLOCK, _draw_clock_frame, _draw_clock)
VLC = App(
    "VLC media player",
    "#f08a1d",
    {
        "Media": ("Open file", "Open folder", "Save playlist"),
        "Playback": ("Faster", "Slower", "Jump to time"),
        "Video": ("Full screen", "Crop", "Take snapshot"),
        "Tools": ("Effects", "Preferences"),
    },
    _VLC,
    _draw_vlc_frame,
    _draw_vlc,
)
