"""No format's files can make its source raise, whatever was done to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge_exporter.sources.agentlab import AgentLabSource
from evalgauge_exporter.sources.atif.source import AtifSource
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.cube import CubeSource
from evalgauge_exporter.sources.inspect.json_log import InspectJsonLogSource
from evalgauge_exporter.sources.mobileworld import MobileWorldSource
from evalgauge_exporter.sources.openadapt.flow import OpenAdaptFlowSource
from evalgauge_exporter.sources.openadapt.models import OpenAdaptModelSource
from evalgauge_exporter.sources.openhands import OpenHandsSource
from evalgauge_exporter.sources.osworld.osworld import OSWorldSource
from evalgauge_exporter.sources.osworld.waa import WaaSource
from evalgauge_exporter.sources.swebench.mini_swe_agent import MiniSweAgentSource
from evalgauge_exporter.sources.swebench.swe_agent import SweAgentSource
from evalgauge_exporter.sources.tau2_bench import open_run as open_tau2_run
from evalgauge_exporter.sources.tau_bench import TauBenchSource
from evalgauge_exporter.sources.terminal_bench import TerminalBenchSource
from evalgauge_exporter.state.run import fold
from tests.exporter.sources import (
    test_agentlab,
    test_cube,
    test_mobileworld,
    test_openhands,
    test_tau2_bench,
    test_tau_bench,
    test_terminal_bench,
)
from tests.exporter.sources.atif import test_source as test_atif
from tests.exporter.sources.inspect import test_json_log
from tests.exporter.sources.openadapt import test_flow
from tests.exporter.sources.openadapt import test_models as test_openadapt_models
from tests.exporter.sources.osworld import test_osworld, test_waa
from tests.exporter.sources.reading import drain, write
from tests.exporter.sources.swebench import test_trajectories
from tests.faults.fuzzing import fuzzed


def _copied(source: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(source, folder / "run"))


FORMATS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], RunSource]]] = {
    "osworld": (test_osworld.make_run, OSWorldSource),
    "waa": (test_waa.make_run, WaaSource),
    "mobileworld": (test_mobileworld.make_run, MobileWorldSource),
    "openadapt_models": (
        lambda folder: test_openadapt_models.make_run(folder) / "model_a",
        OpenAdaptModelSource,
    ),
    "atif": (_copied(test_atif.JOB), AtifSource),
    "agentlab": (_copied(test_agentlab.STUDY), AgentLabSource),
    "inspect_json": (test_json_log.make_run, InspectJsonLogSource),
    "terminal_bench": (test_terminal_bench.make_run, TerminalBenchSource),
    "mini_swe_agent": (test_trajectories.make_mini, MiniSweAgentSource),
    "swe_agent": (test_trajectories.make_swe, SweAgentSource),
    "openhands": (
        lambda folder: test_openhands.make_run(folder, test_openhands.line("a"), test_openhands.issue(1, True, True)),
        OpenHandsSource,
    ),
    "tau_bench": (test_tau_bench.make_run, TauBenchSource),
    "tau2_bench": (test_tau2_bench.make_document, open_tau2_run),
    "tau2_bench_folder": (test_tau2_bench.make_folder, open_tau2_run),
    "openadapt_flow": (test_flow.make_run, OpenAdaptFlowSource),
    "cube": (test_cube.make_run, CubeSource),
}
VALUES = [
    "null",
    "true",
    "-1",
    "1e999",
    "NaN",
    '"text"',
    "[]",
    "{}",
    "[[[]]]",
    '"\\ud800"',
    "99999999999999999999",
    '"\\u0000"',
]


@pytest.mark.parametrize("name", FORMATS)
@fuzzed(40)
@given(data=st.data())
def test_a_run_whose_files_were_damaged_is_read_without_an_exception(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make, source = FORMATS[name]
    folder = tmp_path_factory.mktemp(name)
    place = make(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png")
    followed = source(place)
    events, _ = drain(followed)
    for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=4, unique=True)):
        path.write_bytes(damaged(data, path.read_bytes()))
    anew, problems = drain(source(place))
    run = fold("run", name, anew)
    assert len(run.attempts) <= 20
    assert all(problem.reason and problem.detail for problem in problems)
    again = followed.read(full_scan=True)  # what was told before may no longer stand; that is all that may happen
    if not again.restarted:
        fold("run", name, events + again.events)
    shutil.rmtree(folder)


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """The content cut off, with other bytes in it, or with another value in the place of one."""
    way = data.draw(st.sampled_from(["cut", "bytes", "value", "node", "node", "node", "empty", "binary"]))
    if way == "empty" or not content:
        return b""
    if way == "binary":
        return bytes(range(256))
    place = data.draw(st.integers(0, len(content) - 1))
    if way == "cut":
        return content[:place]
    if way == "bytes":
        return content[:place] + data.draw(st.binary(min_size=1, max_size=3)) + content[place + 1 :]
    if way == "node":
        try:
            return json.dumps(with_another_node(data, json.loads(content))).encode()
        except ValueError:
            pass  # no JSON document: lines, or a text
    begin = content.find(b": ", place)
    end = min((found for mark in (b",", b"\n", b"}") if (found := content.find(mark, begin)) >= 0), default=-1)
    if begin < 0 or end < 0:
        return content
    return content[: begin + 2] + data.draw(st.sampled_from(VALUES)).encode() + content[end:]


def with_another_node(data: st.DataObject, content: Any) -> Any:
    """A JSON value with another value somewhere in it."""
    if not isinstance(content, dict | list) or not content or data.draw(st.integers(0, 5)) == 0:
        return json.loads(data.draw(st.sampled_from([value for value in VALUES if "1e999" not in value])))
    if isinstance(content, list):
        index = data.draw(st.integers(0, len(content) - 1))
        return [*content[:index], with_another_node(data, content[index]), *content[index + 1 :]]
    key = data.draw(st.sampled_from(sorted(content)))
    return {**content, key: with_another_node(data, content[key])}


@pytest.mark.parametrize("name", FORMATS)
def test_deep_nesting_long_names_and_loops_are_survived(name: str, tmp_path: Path) -> None:
    make, source = FORMATS[name]
    place = make(tmp_path)
    for path in sorted(tmp_path.rglob("*.json*"))[::2]:
        path.write_bytes(b"[" * 100_000)
    folder = place if place.is_dir() else place.parent
    (folder / ("x" * 200)).mkdir()
    (folder / "loop").symlink_to(folder)
    write(folder / b"caf\xe9".decode("utf-8", "surrogateescape") / "a" / "traj.jsonl", "\xff\n")
    events, _ = drain(source(place))
    run = fold("run", name, events)
    assert all(attempt.task_id.encode() for attempt in run.attempts.values())


def test_a_source_forgets_nothing_when_nothing_changed(tmp_path: Path) -> None:
    for name, (make, source) in FORMATS.items():
        followed: Any = source(make(tmp_path / name))
        drain(followed)
        for _ in range(3):
            assert drain(followed, full_scan=True) == ([], []), name
