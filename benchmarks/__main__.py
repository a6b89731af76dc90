"""``make bench``: run every benchmark, or those named, and print each measurement as soon as it is there.

    make bench                                        all of them
    make bench ARGS='tracker replay'                  these
    make bench ARGS='--write docs/performance.md'     all of them, and put their tables into the page

What was measured is in .cache/bench.json too.

**To add a benchmark**: a module ``benchmarks/<name>.py`` with a function ``rows() -> Iterator[Row]``, and a section of
docs/performance.md that says what its ratios mean to a user and holds the line ``<!-- bench <name> -->`` and, after it,
``<!-- /bench -->``; ``--write`` puts the table between them. That is all: nothing is registered, and a test holds that
the page has a section with a table for each benchmark.

Each benchmark runs in a new process (its memory is its own, and so is its crash), one after the other. Yield a row when
it is measured, not all at the end: a benchmark that fails or takes longer than ``runner.LIMIT_SECONDS`` keeps the rows
that it yielded (without any, the page keeps its table), the failure is printed and written, and the others run. All
together have to stay below 15 minutes on two cores. Take ratios in one process, side by side; nothing may need the
network. A peer that is no dependency of evalgauge comes from ``benchmarks.peers``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import format_line, save, write_section
from benchmarks.runner import available, run

RESULTS = Path(__file__).parents[1] / ".cache" / "bench.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 1 where one failed, 2 where a name is unknown."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description="Measure, each figure beside another.")
    parser.add_argument("names", nargs="*", help="the benchmarks to run; all without a name")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into the sections of this page")
    given = parser.parse_args(arguments)
    found = available()
    if unknown := [name for name in given.names if name not in found]:
        print(f"unknown benchmark {', '.join(unknown)}; available: {', '.join(found)}", file=sys.stderr)
        return 2
    names = given.names or found
    failed, begun = [], time.monotonic()
    for number, name in enumerate(names, 1):
        print(f"\n[{number}/{len(names)}] {name}", flush=True)
        measured = run(f"benchmarks.{name}", lambda row: print(f"  {format_line(row)}", flush=True))
        if measured.failure:
            failed.append(name)
            print(f"  FAILED: {measured.failure}", flush=True)
        print(f"  {measured.seconds:.0f} s", flush=True)
        save(RESULTS, name, measured)
        if given.write is not None and measured.rows:  # at once: it stays, whatever becomes of the others
            write_section(given.write, name, measured)
    print(f"\n{len(names)} benchmarks, {time.monotonic() - begun:.0f} s; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
