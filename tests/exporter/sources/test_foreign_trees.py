"""No foreign tree is taken for a run: others use the same names for other things."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from evalgauge_exporter.sources.discovery import MARKED, SAMPLED, Discovery
from tests.exporter.runs import small_run
from tests.exporter.sources.reading import write

ROOT = Path(__file__).parents[3]
PATCH = {"django__django-1": {"model_name_or_path": "m", "instance_id": "django__django-1", "model_patch": "diff"}}
REPORT = {"django__django-1": {"patch_exists": True, "resolved": True, "tests_status": {}}}
SUMMARY = {"total_instances": 1, "resolved_ids": ["django__django-1"], "unresolved_ids": [], "schema_version": 2}

TREES: dict[str, dict[str, Any]] = {
    "a web project": {
        "package.json": {"name": "x", "version": "1.0.0", "scripts": {}},
        "tsconfig.json": {"compilerOptions": {}},
        "coverage/report.json": {"total": {"lines": {"pct": 80}}},
        "results.json": {"numTotalTests": 3, "success": True, "testResults": []},
        "src/episodes/one/steps/a.json": {"title": "x"},
    },
    "reports of test runners": {
        "report.json": {"created": 1.0, "summary": {"passed": 3}, "tests": []},
        "run-1/report.json": {"created": 1.0, "tests": []},
        "run-2/report.json": {"created": 2.0, "tests": []},
        "results.json": {"results": [{"test_name": "a", "status": "passed"}], "accuracy": 1.0},
    },
    "what the SWE-bench harness keeps": {
        "preds.json": PATCH,
        "all_preds.jsonl": PATCH["django__django-1"],
        "m.night.json": SUMMARY,
        "logs/run_evaluation/night/m/django__django-1/report.json": REPORT,
        "logs/run_evaluation/night/m/django__django-1/run_instance.log": "text",
    },
    "data sets": {
        "train.jsonl": {"instance_id": "django__django-1", "repo": "django/django", "patch": "diff"},
        "output.jsonl": {"id": 1, "output": "x", "history": []},
        "predictions/output.jsonl": {"instance_id": "a", "prediction": "x"},
        "tasks.json": [{"task_id": 1, "instruction": "do it", "reward": 1.0}],
        "tau.json": [{"task_id": "a", "user_id": "u", "actions": []}],
    },
    "training of models": {
        "run_metadata.json": {"run_id": "x", "model_name": "m", "start_time": "2026-01-01T00:00:00"},
        "metadata.json": {"model": "m"},
        "args.json": {"lr": 0.1},
        "eval.json": {"version": 1, "status": "ok", "eval": {"loss": 0.1}},
        "checkpoint-1/trainer_state.json": {"epoch": 1},
        "results.json": {"timestamp": "2026-01-01", "info": {"version": 2}, "tasks": []},
    },
    "simulations of physics": {
        "results.json": {"timestamp": "2026-01-01T00:00:00", "energy": []},
        "simulations/a.json": {"id": "a", "steps": 10},
        "water.traj": "- of Ulm\u0001",
        "trajectories/a/a.traj": {"positions": [], "cell": []},
        "trajectories/a/a.traj.json": {"info": {}, "messages": []},
    },
    "experiment trackers": {
        "wandb/run-20260105_100000-ab12/files/wandb-summary.json": {"eval/success": 0.5, "_step": 10},
        "wandb/run-20260105_100000-ab12/files/wandb-metadata.json": {"program": "train.py", "args": ["--model", "m"]},
        "wandb/latest-run/logs/debug.log": "text",
        "mlruns/0/ab12/meta.yaml": "run_id: ab12",
        "mlruns/0/ab12/metrics/reward": "1767607200000 0.5 1",
        "mlruns/0/ab12/artifacts/results.json": {"results": [{"task_id": "a", "reward": 1.0}]},
        "ray/PPO_1/result.json": {"trial_id": "ab12", "episode_reward_mean": 1.0, "config": {"env": "x"}},
        "ray/PPO_1/params.json": {"lr": 0.1},
        "ray/PPO_2/result.json": {"trial_id": "cd34", "trial_name": "PPO_2", "done": True},
        "ray/PPO_2/params.json": {"lr": 0.2},
    },
    "other harnesses": {
        "lm-eval/m/results_2026-01-05T10-00-00.json": {"results": {"gsm8k": {"exact_match": 0.5}}, "config": {}},
        "lm-eval/m/samples_gsm8k_2026-01-05.jsonl": {"doc_id": 0, "target": "4", "filtered_resps": ["4"]},
        "helm/runs/v1/mmlu/stats.json": [{"name": {"name": "exact_match"}, "count": 1}],
        "helm/runs/v1/mmlu/scenario_state.json": {"adapter_spec": {"model": "openai/gpt-4"}, "request_states": []},
        "evals/2026.jsonl": {"spec": {"completion_fns": ["gpt-4"], "eval_name": "match"}},
        "promptfoo/output.json": {"evalId": "x", "results": {"version": 3, "results": [], "stats": {}}},
        "bfcl/m/BFCL_v3_simple_result.json": {"id": "simple_0", "result": "f()", "input_token_count": 1},
        "garak/report.jsonl": {"entry_type": "attempt", "status": 2},
    },
    "caches and notebooks": {
        "models--a--b/snapshots/0a1b/config.json": {"model_type": "llama", "task": {"name": "x"}},
        "models--a--b/refs/main": "0a1b",
        "datasets--a--b/snapshots/0a1b/data/train.jsonl": {"instance_id": "a", "instance": {}, "metadata": {}},
        ".pytest_cache/v/cache/lastfailed": {"tests/test_a.py": True},
        "analysis.ipynb": {"cells": [], "metadata": {}, "nbformat": 4},
        "node_modules/a/package.json": {"name": "a", "version": "1.0.0"},
        "node_modules/a/results.json": {"trial_name": 1, "is_resolved": 1, "failure_mode": 1},
    },
    "trials of medicines": {
        "arm/a/a.1-of-2.2026/results.json": {"trial_name": "a", "outcome": "improved"},
        "arm/b/b.1-of-2.2026/results.json": {"trial_name": "b", "outcome": "none"},
        "sites/one/config.json": {"site": 1},
        "sites/one/result.json": {"trial_name": "b", "outcome": "none"},
        "trajs/a.traj": {"trajectory": [1, 2]},
        "results/results.json": {"resolved": ["a"], "no_logs": []},
    },
    "a series of podcasts": {
        "episodes/one/status.json": {"status": "PUBLISHED"},
        "episodes/one/audio.txt": "x",
        "episodes/two/status.json": {"status": "DRAFT"},
    },
}


@pytest.mark.parametrize("name", TREES)
def test_an_unrelated_tree_holds_no_run(tmp_path: Path, name: str) -> None:
    for path, content in TREES[name].items():
        write(tmp_path / "tree" / path, content if isinstance(content, str) else json.dumps(content) + "\n")
    small_run(tmp_path / "tree", "mine")
    found, problems = Discovery([tmp_path]).scan()
    assert [run.folder.name for run in found] == ["mine"], "a run beside it is found all the same"
    assert problems == []


@pytest.mark.parametrize(
    "tree", [sysconfig.get_path("purelib"), str(ROOT / "docs"), str(ROOT / "exporter"), sysconfig.get_path("stdlib")]
)
def test_the_packages_of_this_machine_hold_no_run(tree: str) -> None:
    found, problems = Discovery([Path(tree)]).scan()
    assert [str(run.folder) for run in found] == []
    assert [problem for problem in problems if problem.reason == "defect"] == []


def test_empty_and_hostile_files_of_every_name_that_a_format_knows_are_no_run(tmp_path: Path) -> None:
    known = (
        *("report.json", "results.json", "run_metadata.json", "preds.json", "x.traj", "x.traj.json", "output.jsonl"),
        *("x.json", "x.eval", "x.jsonl", "status.json", "episode.metadata.json", "experiment_record.json"),
    )
    contents = (b"", b"{", b"{}", b"[]", b"[{}]", b"null", b"\x00" * 100, b"[" * 10_000, b'{"a": ' * 10_000)
    for number, content in enumerate(contents):
        for name in known:
            write(tmp_path / f"t{number}" / name, content)
            write(tmp_path / f"t{number}" / "below" / name, content)
    found, problems = Discovery([tmp_path]).scan()
    assert [run.folder for run in found] == []
    assert problems == []
    assert len(MARKED) + len(SAMPLED) > 10
