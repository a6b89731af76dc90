"""What the fuzzers share: damage, an exporter over a good run and hostile ones, and what must hold then.

``make test`` runs the same examples each time, about two minutes of them over all files; ``make fuzz`` other ones each
time, and many times as many.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.app import create_app
from tests.exporter.runs import exporter_of, small_run

FUZZ_FACTOR = int(os.environ.get("EVALGAUGE_FUZZ", "1"))
"""How many times as many examples as in ``make test`` are tried."""
GOOD = {"success": 2, "failure": 1}
ADDRESSES = (
    *("/metrics", "/readyz", "/api/benchmark/runs", "/api/benchmark/frame", "/api/vms"),
    *(
        f"/api/benchmark/{name}?run_id={{}}"
        for name in ("status", "costs", "workers", "metrics", "tasks", "task-detail", "compare", "frame")
    ),
)
VALUES = [
    *("null", "true", "-1", "0", "1e999", "-1e308", "NaN", '""', '"text"', "[]", "{}", "[[[]]]", '"\\ud800"'),
    *("99999999999999999999", '"\\u0000"', '"\\u001b[31m"', '"<script>alert(1)</script>"', '"../../etc/passwd"'),
    *("1795308290124", '{"a":' * 150 + "1" + "}" * 150, '"' + "x" * 5000 + '"'),
]


def fuzzed(max_examples: int) -> settings:
    """Return the settings of a fuzzer that tries so many examples in ``make test``."""
    return settings(
        max_examples=max_examples * FUZZ_FACTOR,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


Fault = tuple[str, float, int, bytes]
FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "noise", "value", "double", "end"]),
        st.floats(0, 1),
        st.integers(0, 60),
        st.binary(max_size=12) | st.sampled_from([value.encode() for value in VALUES]),
    ),
    min_size=1,
    max_size=4,
)


def mutated(content: bytes, faults: list[Fault]) -> bytes:
    """A file with faults: bytes cut, doubled or changed, values replaced. Their places are parts of its length."""
    for kind, place, length, put in faults:
        start = round(place * len(content))
        end = min(len(content), start + length)
        if kind == "cut":
            content = content[:start] + content[end:]
        elif kind == "noise":
            content = content[:start] + put + content[end:]
        elif kind == "double":
            content = content[:end] + content[start:]
        elif kind == "end":
            content = content[:start]
        else:
            colon = content.find(b":", start)
            comma = min((at for at in (content.find(mark, colon) for mark in (b",", b"}")) if at > 0), default=-1)
            if 0 < colon < comma:
                content = content[: colon + 1] + put + content[comma:]
    return content


def check(exporter: Exporter, run_ids: list[str], headers: dict[str, str] | None = None) -> None:
    """Ask for everything; the good run is as ever."""
    with TestClient(create_app(exporter), base_url="http://127.0.0.1", headers=headers) as client:
        for address in ADDRESSES:
            for run_id in run_ids if "{}" in address else [""]:
                answer = client.get(address.format(quote(run_id, safe="")))
                assert answer.status_code < 500, (address, run_id, answer.text[:500])
    assert exporter.state.runs["good"].statuses(time.time(), 600) == GOOD
    assert not exporter.collector.has_died()


def serve(results: Path, **options: object) -> Exporter:
    exporter = exporter_of(results, **options)
    exporter.start()
    assert exporter.wait_caught_up(60)
    return exporter


DAMAGE = st.lists(st.tuples(st.floats(0, 0.999), FAULTS), min_size=1, max_size=3)


def check_damaged_run(
    make: Callable[[Path], Path], damage: list[tuple[float, list[Fault]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Damage files of a run that lies beside a good one, and serve both."""
    results = tmp_path_factory.mktemp("fuzz")
    (results / "other").mkdir()
    run = make(results / "other")
    small_run(results, "good")
    files = [path for path in sorted((results / "other").rglob("*")) if path.is_file() and path.suffix != ".png"]
    assert files, run
    for which, faults in damage:
        path = files[int(which * len(files))]
        path.write_bytes(mutated(path.read_bytes(), faults))
    exporter = serve(results)
    check(exporter, list(exporter.state.runs))
    exporter.stop()
    assert not any("defect" in health.errors for health in exporter.state.sources.values())
    shutil.rmtree(results)
