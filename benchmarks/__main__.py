"""``make bench``: run every benchmark of this package, or those named, and print one table."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.rows import Row


def available() -> dict[str, Callable[[], Iterator[Row]]]:
    """Return the benchmarks by name: each module of this package with a function ``rows``."""
    modules = {
        info.name: importlib.import_module(f"benchmarks.{info.name}")
        for info in pkgutil.iter_modules(benchmarks.__path__)
        if info.name not in ("__main__", "rows")
    }
    return {name: module.rows for name, module in modules.items() if hasattr(module, "rows")}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; exit 2 where a name is unknown."""
    found = available()
    if unknown := [name for name in names if name not in found]:
        print(f"unknown benchmark {', '.join(unknown)}; available: {', '.join(sorted(found))}", file=sys.stderr)
        return 2
    console = Console(width=150)
    for name in names or sorted(found):
        start = time.perf_counter()
        table = Table("what", "measured", "beside", "ratio", "aim", title=name, title_justify="left")
        for row in found[name]():
            ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
            table.add_row(row.what, row.measured, row.beside, ratio, row.aim)
        console.print(table)
        console.print(f"[dim]{name}: {time.perf_counter() - start:.0f} s[/dim]\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
