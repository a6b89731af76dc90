"""Patches of frames: folded by a client they give the whole frame, whatever happened in between."""

from __future__ import annotations

import copy
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser

from evalgauge.events import Event
from evalgauge_exporter.state.run import RunState
from evalgauge_exporter.views.snapshot import snapshot
from evalgauge_exporter.views.wall import build_wall
from evalgauge_exporter.web.patches import find_patch, mark_clocks
from evalgauge_exporter.web.server import serving
from tests.exporter.analysis.test_run_analysis import analysis_of
from tests.exporter.runs import exporter_of
from tests.exporter.state.test_run import event

NAMES = st.sampled_from(["a", "b", "-", "+", "0", "1", "@a", "run_id", "__proto__", "constructor"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "-"]) | st.floats(-1, 1)
KEYED = st.lists(
    st.fixed_dictionaries({"task_id": st.sampled_from("abcdef"), "attempt": st.integers(1, 2), "n": SCALARS}),
    max_size=5,
)
VALUES = st.recursive(
    SCALARS | KEYED,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
FRAMES = st.dictionaries(NAMES, VALUES, max_size=5)


def apply_patch(target: Any, patch: dict[str, Any]) -> Any:
    """Apply a patch as docs/api.md describes it."""
    if isinstance(target, list):
        items = [item for index, item in enumerate(target) if index not in patch.get("-", ())]
        for index, item in patch.get("+", ()):
            items.insert(index, item)
        for name, change in patch.items():
            if name not in ("-", "+"):
                items[int(name)] = change[0] if isinstance(change, list) else apply_patch(items[int(name)], change)
        return items
    made = dict(target)
    for name, change in patch.items():
        if change == []:
            del made[name]
        else:
            made[name] = change[0] if isinstance(change, list) else apply_patch(made[name], change)
    return made


def exact(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@given(st.lists(FRAMES, min_size=2, max_size=5))
def test_the_patches_of_any_frames_give_the_last_one(frames: list[dict[str, Any]]) -> None:
    folded = frames[0]
    for before, after in itertools.pairwise(frames):
        kept = exact(before)
        patch = json.loads(json.dumps(find_patch(before, after)))
        folded = apply_patch(folded, patch)
        assert exact(folded) == exact(after)
        assert exact(before) == kept
        assert find_patch(after, after) == {}


def random_events(seed: int) -> list[Event]:
    """A run of six tasks by three workers, with what can happen in it in any order."""
    chance = random.Random(seed)
    tasks = [{"task_id": f"t{n}", "domain": f"d{n % 2}"} for n in range(6)]
    told = [event("run_started", 1000, run_id="r", benchmark="b", model="m", tasks=tasks, attempts=2)]
    for number in range(60):
        ts, task = 1001 + number * chance.choice([0.1, 1, 7]), f"t{chance.randrange(7)}"
        ids: dict[str, Any] = {
            "task_id": task,
            "attempt": chance.randrange(1, 3),
            "worker_id": f"w{chance.randrange(3)}",
        }
        kind = chance.choice(["task_started", "step", "step", "llm_call", "task_finished", "worker_state"])
        more: dict[str, dict[str, Any]] = {
            "step": {"action": "click"},
            "llm_call": {"provider": chance.choice(["p", "__proto__"]), "model": "m", "input_tokens": 5},
            "task_finished": {"outcome": chance.choice(["success", "failure"]), "duration_seconds": 3.5},
            "worker_state": {"state": chance.choice(["idle", "stopped"])},
        }
        told.append(event(kind, ts, **ids, **more.get(kind, {})))
    return [*told, event("run_finished", 2000)]


def frames_of(seed: int) -> list[dict[str, Any]]:
    """The whole frames of such a run, and its walls."""
    run = RunState("r", "runlog")
    analysis = analysis_of(run)
    frames = []
    for number, one in enumerate(random_events(seed)):
        run.apply(one)
        analysis.state.version += 1
        now = run.last_event_at + number % 3
        frames.append(json.loads(snapshot(run, analysis, now, None).model_dump_json()))
        frames[-1]["tiles"] = json.loads(build_wall(run, now, 600).model_dump_json())["tiles"]
    return frames


def test_the_frames_of_runs_come_out_of_their_patches() -> None:
    for seed in range(5):
        frames = [mark_clocks(frame) for frame in frames_of(seed)]
        folded = frames[0]
        for before, after in itertools.pairwise(frames):
            folded = apply_patch(folded, json.loads(json.dumps(find_patch(before, after))))
            assert exact(folded) == exact(after)


def test_time_alone_changes_nothing_but_the_time_of_a_frame() -> None:
    run = RunState("r", "runlog")
    for one in (
        event("run_started", 1000, run_id="r", benchmark="b", model="m", tasks=["a", "b"]),
        event("task_started", 1001, task_id="a", worker_id="w"),
        event("step", 1002, task_id="a", worker_id="w", action="click", reasoning="x"),
    ):
        run.apply(one)
    analysis = analysis_of(run)
    frames = [json.loads(snapshot(run, analysis, now, None).model_dump_json()) for now in (1003.25, 1010.75)]
    walls = [json.loads(build_wall(run, now, 600).model_dump_json()) for now in (1003.25, 1010.75)]
    for first, second in (frames, walls):
        assert find_patch(mark_clocks(first), mark_clocks(second)) == {"generated_at": [1010.75]}


def test_the_page_folds_patches_as_the_exporter_means_them(tmp_path: Path, browser: Browser) -> None:
    cases = []
    for seed in range(5):
        whole = frames_of(seed)
        marked = [mark_clocks(copy.deepcopy(frame)) for frame in whole]
        patches = [find_patch(*pair) for pair in itertools.pairwise(marked)]
        cases.append({"first": marked[0], "patches": patches, "whole": whole})
    with serving(exporter_of(tmp_path)) as url:
        page = browser.new_page()
        page.goto(f"{url}/live/login.html")
        folded = page.evaluate(
            """async (cases) => {
              const { applyPatch, readClocks } = await import(new URL("/live/patches.js", location));
              return cases.map((text) => {
                const { first, patches } = JSON.parse(text);
                let frame = first;
                const frames = [readClocks(frame)];
                for (const patch of patches) frames.push(readClocks((frame = applyPatch(frame, patch))));
                return JSON.stringify(frames);
              });
            }""",
            [json.dumps(case) for case in cases],
        )
        page.close()
    for case, frames in zip(cases, folded, strict=True):
        for shown, frame in zip(json.loads(frames), case["whole"], strict=True):
            assert_same(shown, frame)


def assert_same(shown: Any, meant: Any) -> None:
    """Compare JSON values; seconds come back to the millisecond."""
    if isinstance(meant, dict):
        assert shown.keys() == meant.keys()
        for name in meant:
            assert_same(shown[name], meant[name])
    elif isinstance(meant, list):
        for one, other in zip(shown, meant, strict=True):
            assert_same(one, other)
    else:
        assert shown == (pytest.approx(meant, abs=0.0006) if isinstance(meant, float) else meant)
