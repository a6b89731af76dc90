"""Programs for documents: Notepad, Calc, Writer, Paint, Visual Studio Code."""

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
    Box,
    Canvas,
    column_of,
    draw_bars,
    draw_button,
    row_of,
    text_width,
)
from evalgauge_exporter.demo.scene import Scene


def _draw_notepad(canvas: Canvas, scene: Scene) -> None:
    for row, line in enumerate(scene.lines[-17:]):
        canvas.write(LEFT + 16, TOP + 42 + row * 24, line, INK, room=780)
    last = scene.lines[-1] if scene.lines else ""
    row = min(len(scene.lines), 17)
    canvas.block(LEFT + 18 + text_width(last), TOP + 16 + max(row, 1) * 24, 2, 20, INK)
    canvas.block(LEFT, BOTTOM - 28, RIGHT - LEFT, 28, "#f3f4f6")
    canvas.write(LEFT + 16, BOTTOM - 21, f"Ln {max(len(scene.lines), 1)}, Col {len(last) + 1}", GREY)
    canvas.write(RIGHT - 80, BOTTOM - 21, "UTF-8", GREY)


_CELL_W, _CELL_H, _GRID_Y = 94, 26, TOP + 136
_TABLE = (
    ("Month", "Units", "Price"),
    ("Jan", "120", "4.50"),
    ("Feb", "98", "4.50"),
    ("Mar", "143", "4.75"),
    ("Apr", "131", "4.75"),
    ("May", "160", "4.90"),
    ("Jun", "152", "4.90"),
)


def _cell(column: int, row: int) -> Box:
    return (LEFT + 44 + column * _CELL_W, _GRID_Y + row * _CELL_H, _CELL_W, _CELL_H)


_CALC_CELLS = {f"cell {'ABCDEFGH'[column]}{row + 1}": _cell(column, row) for column in (3, 4, 5) for row in range(8)}
_CALC_TOOLS = row_of(("Bold", "Sum", "Sort", "Filter", "Chart"), LEFT + 10, TOP + 34)
_OFFICE_MENUS = {
    "File": ("New", "Open", "Save", "Save as", "Export"),
    "Edit": ("Undo", "Copy", "Paste", "Find"),
    "Insert": ("Row", "Column", "Image", "Table"),
    "Format": ("Cells", "Text", "Columns", "Page"),
    "Tools": ("Spelling", "Options"),
}


def _draw_calc_frame(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP + MENU_HEIGHT, RIGHT - LEFT, 84, "#f5f7fa")
    for name, box in _CALC_TOOLS.items():
        draw_button(canvas, box, name)
    canvas.rounded(LEFT + 10, TOP + 72, 796, 30, "#ffffff", 4)
    canvas.write(LEFT + 20, TOP + 80, "fx", GREY)
    canvas.block(LEFT + 44, _GRID_Y, 8 * _CELL_W, 13 * _CELL_H, "#ffffff")
    canvas.block(LEFT, _GRID_Y - 26, RIGHT - LEFT, 26, "#eef1f5")
    for column, letter in enumerate("ABCDEFGH"):
        canvas.write(_cell(column, 0)[0] + 42, _GRID_Y - 20, letter, GREY)
    for row in range(13):
        y = _GRID_Y + row * _CELL_H
        canvas.block(LEFT, y, 44, _CELL_H - 1, "#eef1f5")
        canvas.write(LEFT + 12, y + 7, str(row + 1), GREY)
        canvas.block(LEFT + 44, y + _CELL_H - 1, RIGHT - LEFT - 44, 1, LINE)
    for column in range(9):
        canvas.block(LEFT + 43 + column * _CELL_W, _GRID_Y - 26, 1, 14 * _CELL_H, LINE)
    for row, cells in enumerate(_TABLE):
        for column, text in enumerate(cells):
            x, y, _, _ = _cell(column, row)
            canvas.write(x + 8, y + 7, text, "#0b5d3b" if row == 0 else INK)


def _draw_calc(canvas: Canvas, scene: Scene) -> None:
    canvas.write(LEFT + 60, TOP + 80, scene.lines[-1] if scene.lines else "", INK, room=720)
    cells = [name for name in scene.touched if name in _CALC_CELLS] or ["cell D1"]
    for index, line in enumerate(scene.lines):  # each was typed into the cell that was clicked before
        x, y, _, _ = _CALC_CELLS[cells[min(index, len(cells) - 1)]]
        canvas.write(x + 8, y + 7, line.lstrip("="), "#0b5d3b", room=_CELL_W - 14)
    canvas.outline(*_CALC_CELLS[cells[-1]], "#16803c", 2)
    if "Chart" in scene.touched:
        x, y = LEFT + 470, _GRID_Y + 60
        canvas.rounded(x, y, 320, 220, "#ffffff", 4)
        canvas.outline(x, y, 320, 220, FAINT)
        for index, (_, units, _) in enumerate(_TABLE[1:]):
            high = int(units)
            canvas.block(x + 30 + index * 45, y + 200 - high, 30, high, ("#16803c", "#5aa36f")[index % 2])
        canvas.block(x + 20, y + 200, 284, 2, GREY)


_WRITER_TOOLS = row_of(("Style", "Bold", "Italic", "Underline", "Centre", "Bullets"), LEFT + 10, TOP + 34)


def _draw_writer_frame(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP + MENU_HEIGHT, RIGHT - LEFT, 44, "#f5f7fa")
    for name, box in _WRITER_TOOLS.items():
        draw_button(canvas, box, name)
    canvas.block(LEFT, TOP + 72, RIGHT - LEFT, BOTTOM - TOP - 72, "#d4d9e0")
    canvas.block(LEFT + 124, TOP + 90, 572, BOTTOM - TOP - 90, "#b9c0c9")
    canvas.block(LEFT + 120, TOP + 86, 572, BOTTOM - TOP - 86, "#ffffff")


def _draw_writer(canvas: Canvas, scene: Scene) -> None:
    canvas.write(LEFT + 160, TOP + 116, scene.title.split(".")[0].capitalize(), INK, HEADING, room=500)
    bold = "Bold" in scene.touched
    y = TOP + 176
    for line in scene.lines[-8:]:
        end = canvas.write(LEFT + 160, y, line, INK, room=490)
        if bold:
            canvas.write(LEFT + 161, y, line, INK, room=490)
        if "Underline" in scene.touched:
            canvas.block(LEFT + 160, y + 18, end - LEFT - 160, 2, INK)
        y += 26
    draw_bars(canvas, LEFT + 160, y + 8, (480, 492, 470, 486, 300, 0, 478, 490, 465, 240)[: (BOTTOM - y - 10) // 20])


_PAINTS = {"black": INK, "red": "#d13438", "orange": "#f7851e", "yellow": "#f2c811", "green": "#16803c", "blue": BLUE}
_PAINT = {
    **{f"the colour {name}": (LEFT + 480 + i * 44, TOP + 40, 34, 34) for i, name in enumerate(_PAINTS)},
    **row_of(("Brush", "Fill", "Line", "Rectangle"), LEFT + 12, TOP + 42),
}


def _draw_paint_frame(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP + MENU_HEIGHT, RIGHT - LEFT, 56, "#f5f7fa")
    for name in ("Brush", "Fill", "Line", "Rectangle"):
        draw_button(canvas, _PAINT[name], name)
    for name, colour in _PAINTS.items():
        x, y, _, _ = _PAINT[f"the colour {name}"]
        canvas.circle((x + 17, y + 17), 16, colour)
    canvas.block(LEFT, TOP + 84, RIGHT - LEFT, BOTTOM - TOP - 84, "#d4d9e0")
    canvas.block(LEFT + 60, TOP + 100, 696, 366, "#ffffff")


def _draw_paint(canvas: Canvas, scene: Scene) -> None:
    chosen = next((name for name in reversed(scene.touched) if name.startswith("the colour")), "the colour black")
    x, y, width, height = _PAINT[chosen]
    canvas.outline(x - 2, y - 2, width + 4, height + 4, BLUE, 2)
    for index, (x1, y1, x2, y2) in enumerate(scene.drags):
        colour = list(_PAINTS.values())[(index + list(_PAINTS).index(chosen.split()[-1])) % len(_PAINTS)]
        (ax, ay), (bx, by) = scene.pixel(x1, y1), scene.pixel(x2, y2)
        if "Rectangle" in scene.touched and index % 2:
            canvas.outline(min(ax, bx), min(ay, by), abs(bx - ax), abs(by - ay), colour, 5)
        else:
            steps = max(abs(bx - ax), abs(by - ay), 1) // 3 + 1
            for step in range(steps + 1):
                canvas.circle((ax + (bx - ax) * step // steps, ay + (by - ay) * step // steps), 5, colour)


_CODE_FILES = ("app.py", "models.py", "settings.json", "test_app.py", "README.md")
_CODE = {
    **column_of(_CODE_FILES, LEFT + 56, TOP + 70, 170, 34),
    "the search": (LEFT + 6, TOP + 44, 36, 36),
    "the extensions": (LEFT + 6, TOP + 92, 36, 36),
    "Run": (RIGHT - 74, TOP + 36, 60, 28),
    "the editor": (LEFT + 290, TOP + 76, 500, 220),
    "the terminal": (LEFT + 250, BOTTOM - 118, 560, 100),
}
_SOURCE = ("import json", "from pathlib import Path", "", "def load(path):", "    text = Path(path).read_text()")


def _draw_code_frame(canvas: Canvas) -> None:
    canvas.block(LEFT, TOP + MENU_HEIGHT, RIGHT - LEFT, BOTTOM - TOP - MENU_HEIGHT, "#1e1e1e")
    canvas.block(LEFT, TOP + MENU_HEIGHT, 48, BOTTOM - TOP - MENU_HEIGHT, "#333338")
    canvas.block(LEFT + 48, TOP + MENU_HEIGHT, 186, BOTTOM - TOP - MENU_HEIGHT, "#252529")
    canvas.write(LEFT + 60, TOP + 44, "EXPLORER", "#9da3ad")
    for top in (44, 92, 140):
        canvas.rounded(LEFT + 12, TOP + top + 6, 24, 24, "#8a9099", 5)
        canvas.rounded(LEFT + 16, TOP + top + 10, 16, 16, "#333338", 3)
    canvas.block(LEFT + 234, TOP + MENU_HEIGHT, RIGHT - LEFT - 234, 44, "#2b2b30")
    draw_button(canvas, _CODE["Run"], "Run", "#16803c", "#ffffff")
    canvas.block(LEFT + 234, BOTTOM - 142, RIGHT - LEFT - 234, 1, "#4a4a52")
    canvas.write(LEFT + 250, BOTTOM - 134, "TERMINAL", "#9da3ad")
    canvas.block(LEFT, BOTTOM - 4, RIGHT - LEFT, 4, BLUE)


def _draw_code(canvas: Canvas, scene: Scene) -> None:
    opened = next((name for name in reversed(scene.touched) if name in _CODE_FILES), "app.py")
    for name in _CODE_FILES:
        x, y, width, height = _CODE[name]
        if name == opened:
            canvas.block(x - 8, y, width + 16, height, "#37373d")
        canvas.write(x + 8, y + 8, name, "#d4d4d4")
    canvas.block(LEFT + 234, TOP + MENU_HEIGHT, text_width(opened) + 40, 44, "#1e1e1e")
    canvas.write(LEFT + 254, TOP + 44, opened, "#ffffff")
    lines = [*_SOURCE, *scene.lines][-11:]
    for row, line in enumerate(lines):
        y = TOP + 82 + row * 23
        canvas.write(LEFT + 244, y, str(row + 1), "#6e7681")
        first, space, rest = line.partition(" ")
        keyword = first in ("import", "from", "def", "return", "for", "if")
        x = canvas.write(LEFT + 284, y, first, "#c586c0" if keyword else "#9cdcfe")
        canvas.write(x + (8 if space else 0), y, rest, "#d4d4d4", room=RIGHT - x - 20)
    canvas.write(LEFT + 250, BOTTOM - 106, f"> python {opened}" if "Run" in scene.touched else ">", "#d4d4d4")
    if "Run" in scene.touched:
        canvas.write(LEFT + 250, BOTTOM - 80, "3 rows read", "#8bc78b")


_NOTEPAD_MENUS = {
    "File": ("New", "Open", "Save", "Save as", "Print"),
    "Edit": ("Undo", "Find", "Replace", "Font"),
    "View": ("Zoom in", "Status bar", "Word wrap"),
}

NOTEPAD = App(
    "Notepad",
    "#5b8fd9",
    _NOTEPAD_MENUS,
    {"the text": (LEFT + 20, TOP + 60, 700, 300)},
    lambda canvas: None,
    _draw_notepad,
)
CALC = App("LibreOffice Calc", "#16803c", _OFFICE_MENUS, {**_CALC_CELLS, **_CALC_TOOLS}, _draw_calc_frame, _draw_calc)
WRITER = App("LibreOffice Writer", "#1f5fa8", _OFFICE_MENUS, _WRITER_TOOLS, _draw_writer_frame, _draw_writer)
PAINT = App(
    "Paint",
    "#d13438",
    {"File": ("New", "Open", "Save", "Save as"), "View": ("Zoom in", "Zoom out", "Grid")},
    _PAINT,
    _draw_paint_frame,
    _draw_paint,
)
VS_CODE = App(
    "Visual Studio Code",
    "#0a7bbd",
    {"File": ("New", "Open folder", "Save"), "View": ("Themes", "Word wrap"), "Terminal": ("New", "Split")},
    _CODE,
    _draw_code_frame,
    _draw_code,
)
