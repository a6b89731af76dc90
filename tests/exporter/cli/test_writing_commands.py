"""``replay``, ``export``, ``convert`` and ``dashboards``: their files and their error messages."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from evalgauge_exporter.export.table import COLUMNS
from tests.exporter.cli.invoking import complaint, evalgauge
from tests.exporter.runs import small_run
from tests.exporter.sources.reading import DATA, write


def test_replay_writes_a_site_and_then_only_what_changed(tmp_path: Path) -> None:
    small_run(tmp_path / "results", "r")
    first = evalgauge("replay", tmp_path / "results", "--out", tmp_path / "site")
    assert "3 attempts (3 written, 0 unchanged)" in first.stdout, first.stderr
    assert (tmp_path / "site" / "index.html").exists()
    second = evalgauge("replay", tmp_path / "results" / "r", "--out", tmp_path / "site")
    assert "(0 written, 3 unchanged)" in second.stdout


def test_replay_writes_one_file_with_one_task(tmp_path: Path) -> None:
    run = small_run(tmp_path / "results", "r")
    out = tmp_path / "one.html"
    done = evalgauge("replay", run.folder, "--out", out, "--single-file", "--task", "t1")
    assert done.returncode == 0, done.stderr
    assert "t1" in out.read_text()
    unknown = evalgauge("replay", run.folder, "--out", out, "--single-file", "--task", "t11")
    assert "did you mean" in complaint(unknown, 1)


def test_a_run_that_is_named_twice_is_written_once(tmp_path: Path) -> None:
    run = small_run(tmp_path / "results", "r")
    (tmp_path / "link").symlink_to(tmp_path / "results")
    done = evalgauge("replay", run.folder, tmp_path / "results", tmp_path / "link", "--out", tmp_path / "site")
    assert "1 run, 3 attempts" in done.stdout, done.stderr


@pytest.mark.parametrize("option", [["--thumbnails"], ["--screenshot-base-url", "https://blob.example/"]])
def test_a_single_file_takes_no_option_of_a_site(tmp_path: Path, option: list[str]) -> None:
    run = small_run(tmp_path / "results", "r")
    done = evalgauge("replay", run.folder, "--out", tmp_path / "one.html", "--single-file", *option)
    assert done.returncode == 2
    assert "contains its screenshots" in done.stderr
    assert not (tmp_path / "one.html").exists()


def test_a_folder_without_runs_and_a_full_folder_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no run" in complaint(evalgauge("replay", tmp_path / "empty", "--out", tmp_path / "site"), 1)
    run = small_run(tmp_path / "results", "r")
    assert "are not a replay" in complaint(evalgauge("replay", run.folder, "--out", run.folder), 1)
    assert "no such file or folder" in complaint(evalgauge("replay", tmp_path / "gone", "--out", tmp_path / "site"), 2)


def test_export_writes_the_tasks_as_a_table(tmp_path: Path) -> None:
    run = small_run(tmp_path, "r", outcomes="sfa")
    done = evalgauge("export", run.folder, "--format", "csv", "--out", tmp_path / "tasks.csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tasks.csv").read_text())))
    assert tuple(rows[0]) == COLUMNS
    assert [row["outcome"] for row in rows] == ["success", "failure", "agent_error"]
    assert float(rows[0]["cost_usd"]) == pytest.approx((1000 * 3 + 100 * 15) / 1e6)


def test_export_counts_open_tasks_of_a_dead_process_as_interrupted(tmp_path: Path) -> None:
    begun = {"v": 1, "seq": 1, "ts": 1e9, "type": "task_started", "task_id": "t", "attempt": 1}
    (tmp_path / "r" / "events").mkdir(parents=True)
    (tmp_path / "r" / "events" / "w.jsonl").write_text(json.dumps(begun) + "\n")
    whole = json.loads(evalgauge("export", tmp_path / "r", "--format", "json", "--out", "-").stdout)
    assert [task["outcome"] for task in whole["tasks"]] == ["interrupted"]
    assert whole["run"]["outcomes"]["interrupted"] == 1


def test_export_writes_the_whole_run_as_json_and_its_attempts_as_atif(tmp_path: Path) -> None:
    run = small_run(tmp_path, "r")
    whole = json.loads(evalgauge("export", run.folder, "--format", "json", "--out", "-").stdout)
    assert whole["run"]["run_id"] == "r"
    assert len(whole["tasks"]) == 3
    trajectories = json.loads(evalgauge("export", run.folder, "--format", "atif", "--out", "-").stdout)
    assert len(trajectories) == 3
    assert all(one["schema_version"].startswith("ATIF-v1") for one in trajectories)


def test_several_runs_are_one_table_but_not_one_json(tmp_path: Path) -> None:
    small_run(tmp_path, "a")
    small_run(tmp_path, "b")
    assert "2 runs found (a, b)" in complaint(evalgauge("export", str(tmp_path), "--format", "json", "--out", "-"), 1)
    rows = list(csv.DictReader(io.StringIO(evalgauge("export", str(tmp_path), "--format", "csv", "--out", "-").stdout)))
    assert {row["run_id"] for row in rows} == {"a", "b"}


def test_an_export_to_a_terminal_has_no_escape_sequences(tmp_path: Path) -> None:
    small_run(tmp_path, "r", model="\x1b[31mred", outcomes="s")
    main, other = pty.openpty()
    command = [sys.executable, "-m", "evalgauge_exporter", "export", str(tmp_path), "--format", "csv", "--out", "-"]
    done = subprocess.run(command, stdout=other, stderr=subprocess.PIPE, check=True, timeout=180)
    os.close(other)
    shown = os.read(main, 100_000).decode()
    os.close(main)
    assert "\N{REPLACEMENT CHARACTER}[31mred" in shown, done.stderr
    assert "\x1b" not in shown


def test_runs_without_events_do_not_keep_others_from_being_converted(tmp_path: Path) -> None:
    models = tmp_path / "r" / "pyautogui" / "screenshot"
    for model in ("a", "b", "c"):
        write(
            models / model / "args.json",
            '{"model": "m", "action_space": "pyautogui", "observation_type": "screenshot", "max_steps": 5}',
        )
    write(models / "b" / "os" / "t1" / "result.txt", "1.0")
    done = evalgauge("convert", tmp_path / "r", "--out", tmp_path / "logs")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("holds no events") == 2
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_a_run_that_is_a_file_is_exported_and_converted(tmp_path: Path) -> None:
    log = DATA / "inspect-0.3.285" / "tools.eval"
    whole = json.loads(evalgauge("export", log, "--format", "json", "--out", "-").stdout)
    assert whole["run"]["source"] == "inspect"
    assert "tools (inspect)" in evalgauge("convert", log, "--out", tmp_path).stdout
    (row,) = json.loads(evalgauge("runs", tmp_path, "--json").stdout)["runs"]
    assert row["success_rate"] == whole["run"]["success_rate"]


def test_dashboards_are_built_and_checked(tmp_path: Path) -> None:
    done = evalgauge("dashboards", "build", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dashboards" / "evaluation.json").exists()
    assert (tmp_path / "prometheus" / "rules.yml").exists()
    assert evalgauge("dashboards", "build", "--check", "--out", tmp_path).returncode == 0
    elsewhere = ("--out", tmp_path, "--exporter-url", "https://eval.example.org")
    assert "--exporter-url https://eval" in complaint(evalgauge("dashboards", "build", "--check", *elsewhere), 1)
    assert evalgauge("dashboards", "build", *elsewhere).returncode == 0
    assert evalgauge("dashboards", "build", "--check", *elsewhere).returncode == 0
    assert "http://" in complaint(evalgauge("dashboards", "build", "--out", tmp_path, "--exporter-url", "eval:80"), 2)
    (tmp_path / "prometheus" / "rules.yml").write_text("groups: []")
    assert "rules.yml" in complaint(evalgauge("dashboards", "build", "--check", "--out", tmp_path), 1)
