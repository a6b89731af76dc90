"""The floors of the house: which package may import which. Imports run downwards, and never in a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "evalgauge": ROOT / "instrumentation",
    "evalgauge_exporter": ROOT / "exporter",
    "evalgauge_dashboards": ROOT / "dashboards",
}
FLOORS: tuple[tuple[str, ...], ...] = (
    ("evalgauge_exporter.__main__",),
    ("evalgauge_exporter.cli",),
    ("evalgauge_exporter.web",),
    ("evalgauge_exporter.exporter",),
    ("evalgauge_exporter.ingest", "evalgauge_exporter.views", "evalgauge_exporter.export", "evalgauge_exporter.replay"),
    ("evalgauge_exporter.sources", "evalgauge_exporter.analysis", "evalgauge_exporter.demo"),
    ("evalgauge_exporter.state", "evalgauge_exporter.config"),
    ("evalgauge_exporter.errors",),
    ("evalgauge_dashboards",),
    ("evalgauge",),
)
"""Top to bottom. A room imports from rooms on lower floors and from itself, not from others on its own floor."""
LAZY_DOORS = {("evalgauge.stats", "evalgauge_exporter"), ("evalgauge.results", "evalgauge_exporter")}
"""Modules of ``evalgauge`` that hand on what the exporter computes and reads; ``import evalgauge`` opens none."""


def modules() -> dict[str, Path]:
    """Every module of the three packages, by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in (folder / package).rglob("*.py"):
            name = ".".join(path.relative_to(folder).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports_of(name: str) -> Iterator[str]:
    """The modules of the project that a module imports, at its top, inside functions and for types alike."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def packages_of(target: str, importer: str) -> Iterator[str]:
    """The packages that are imported with a module, but for those that the importing module lies in."""
    parts = target.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if not f"{importer}.".startswith(f"{package}."):
            yield package


def edges_of(name: str) -> set[str]:
    direct = {target for target in imports_of(name) if target in MODULES}
    packages = {package for target in direct for package in packages_of(target, name)}
    return (direct | packages) - {name}


EDGES = {name: edges_of(name) for name in MODULES}


def room_of(name: str) -> tuple[int, str]:
    """The floor of a module, counted from the top, and its room."""
    for floor, rooms in enumerate(FLOORS):
        for room in rooms:
            if name == room or name.startswith(f"{room}."):
                return floor, room
    raise AssertionError(f"{name} lies in no room: put it into one, or add its room to FLOORS and to the design")


def is_lazy_door(name: str, target: str) -> bool:
    return any(name == door and target.startswith(package) for door, package in LAZY_DOORS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_import_runs_upwards(name: str) -> None:
    if name == "evalgauge_exporter":
        assert not EDGES[name]
        return
    floor, room = room_of(name)
    for target in EDGES[name]:
        if is_lazy_door(name, target):
            continue
        below, other = room_of(target) if target != "evalgauge_exporter" else (floor + 1, target)
        assert other == room or below > floor, f"{name} imports {target}, which is not on a lower floor"


def test_no_import_runs_in_a_circle() -> None:
    parents = {name: {t for t in EDGES[name] if not is_lazy_door(name, t)} for name in MODULES}
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_the_dashboards_know_the_catalogue_and_nothing_of_the_exporter() -> None:
    for name, targets in EDGES.items():
        if name.startswith("evalgauge_dashboards"):
            outside = {target for target in targets if not target.startswith("evalgauge_dashboards")}
            assert outside <= {"evalgauge", "evalgauge.metrics", "evalgauge.errors"}, name
