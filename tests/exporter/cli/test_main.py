"""The command: its output, its exit codes and its error messages."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import click
import pytest

from evalgauge import track_run
from evalgauge.events import Step
from evalgauge.runlog import read_events, safe_name
from evalgauge_exporter.cli.main import COMMANDS, cli
from evalgauge_exporter.cli.output import format_usd
from evalgauge_exporter.demo.history import EARLIER_RUNS
from evalgauge_exporter.demo.player import draw_screenshots, write_finished_run
from evalgauge_exporter.demo.scenario import plan
from tests.exporter.cli.invoking import complaint, evalgauge, evalgauge_process
from tests.exporter.runs import small_run
from tests.exporter.scraping import get
from tests.exporter.sources.reading import DATA
from tests.exporter.waiting import wait_for


def test_the_group_lists_the_first_line_of_each_command_s_help_uncut() -> None:
    lines = {line.strip() for line in evalgauge("--help").stdout.splitlines()}
    for name, summary in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert (command.name, (command.help or "").partition("\n")[0]) == (name, summary)
        assert f"{name:<{max(map(len, COMMANDS)) + 2}}{summary}" in lines


def complete(words: str, shell: str = "bash") -> list[str]:
    """What a shell offers after these words."""
    environment = {
        **os.environ,
        "_EVALGAUGE_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    code = (
        "import sys\nfrom evalgauge_exporter.cli.main import main\n"
        "try:\n    main()\nfinally:\n    assert 'scipy' not in sys.modules, 'a shell waits for it'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_shells_complete_commands_and_options() -> None:
    assert complete("evalgauge ") == list(COMMANDS)
    assert complete("evalgauge co") == ["compare", "convert"]
    assert complete("evalgauge --v") == ["--version"]
    assert complete("evalgauge schema r") == ["runlog"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_each_shell_is_printed(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_EVALGAUGE_COMPLETE", f"{shell}_source")
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("no bash here")
    assert f"{shell}_complete" in evalgauge_process().stdout


def test_help_of_the_group_imports_no_command() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from evalgauge_exporter.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0\n"
        "print(*(name for name in sys.modules if name.startswith(('evalgauge_exporter.', 'rich', 'scipy'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {f"evalgauge_exporter.cli{name}" for name in ("", ".logs", ".main", ".output")}


@pytest.mark.parametrize("command", [[], ["serve"], ["runs"], ["demo"]])
def test_help_has_the_usage_of_each_command(command: list[str]) -> None:
    done = evalgauge(*command, "--help")
    assert done.returncode == 0
    assert "Usage: evalgauge" in done.stdout


@pytest.mark.parametrize("command", ["serve", "runs"])
def test_a_missing_folder_is_one_line_and_exit_2(command: str, tmp_path: Path) -> None:
    said = complaint(evalgauge(command, tmp_path / "nowhere"), 2)
    assert said.count("\n") == 1
    assert "nowhere" in said


def test_a_file_instead_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in complaint(evalgauge("serve", tmp_path / "file"), 2)


def test_runs_lists_a_run_that_is_a_file() -> None:
    done = evalgauge("runs", DATA / "inspect-0.3.285" / "tools.eval")
    assert "tools " in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--stall-after", "soon"], "30s, 10m, 1h30m"),
        (["--linger", "ever"], "30s, 10m, 1h30m"),
        (["--listen", "9909"], "host:port"),
        (["--listen", ":x"], "host:port"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--listen", "256.1.1.1:80"], "--listen"),
        (["--token-file", "nowhere.txt"], "token"),
    ],
)
def test_an_invalid_option_value_is_one_line(tmp_path: Path, options: list[str], says: str) -> None:
    said = complaint(evalgauge("serve", tmp_path, *options), 1)
    assert said.count("\n") == 1
    assert says in said


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (["juggle"], "no such command 'juggle'; see evalgauge --help"),
        (
            ["serve"],
            "name at least one folder with runs, or set results in the configuration; see evalgauge serve --help",
        ),
        (["runs", ".", "--jsno"], "no such option '--jsno'"),
        (
            ["demo", "--tasks", "0"],
            "invalid value for '--tasks': 0 is not in the range 1<=x<=10000; see evalgauge demo",
        ),
        (["demo", "--speed", "nan"], "invalid value for '--speed'"),
        (["replay"], "missing argument 'RUN...'; see evalgauge replay --help"),
        (["serve", ".", "--port", "1", "--listen", ":2"], "use --port or --listen, not both"),
        (["dashboards", "build"], "name a folder with --out, or use --check; see evalgauge dashboards build --help"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(call: list[str], line: str) -> None:
    said = complaint(evalgauge(*call), 2)
    assert said.count("\n") == 1
    assert said.startswith(f"evalgauge: {line}")


def test_without_a_command_the_help_is_printed() -> None:
    done = evalgauge()
    assert "Usage: evalgauge" in done.stdout + done.stderr


def test_an_unknown_key_is_reported_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "evalgauge.toml").write_text("stal_after = '5m'\n")
    said = complaint(evalgauge("serve", tmp_path, "--config", tmp_path / "evalgauge.toml"), 1)
    assert "'stal_after'" in said
    assert "'stall_after'" in said


def test_runs_lists_every_run(tmp_path: Path) -> None:
    small_run(tmp_path, "first")
    small_run(tmp_path, "second", outcomes="fff")
    done = evalgauge("runs", tmp_path)
    assert done.returncode == 0
    assert re.search(r"first .*claude-sonnet-4-5 .*completed .*3 of 3 .*67%", done.stdout)
    assert re.search(r"second .* 0%", done.stdout)


def test_runs_lists_scores_and_repeats_where_there_are_any(tmp_path: Path) -> None:
    small_run(tmp_path, "plain")
    assert "score" not in evalgauge("runs", tmp_path).stdout
    with track_run(tmp_path, benchmark="b", model="m", run_id="repeated", tasks=["t"], attempts=2) as run:
        run.task("t", attempt=1).finish(success=True, score=0.5)
        run.task("t", attempt=2).finish(success=False, score=0.0)
    printed = evalgauge("runs", tmp_path).stdout
    assert re.search(r"repeated .* 50% +0\.25 +pass@2 100%, pass\^2 0%", printed)


def test_runs_as_json_equals_the_api_answer(tmp_path: Path) -> None:
    small_run(tmp_path, "only", outcomes="sfi")
    (row,) = json.loads(evalgauge("runs", tmp_path, "--json").stdout)["runs"]
    expected = {"run_id", "model_id", "created_at", "total_tasks", "success_rate", "success_rate_all", "avg_steps"}
    assert expected | {"state", "source"} <= set(row)
    assert (row["success_rate"], row["success_rate_all"]) == (0.5, pytest.approx(1 / 3))


def test_runs_reports_an_empty_folder(tmp_path: Path) -> None:
    done = evalgauge("runs", tmp_path)
    assert done.returncode == 0
    assert "no runs" in done.stderr


def test_text_of_an_agent_is_not_interpreted_in_a_table(tmp_path: Path) -> None:
    small_run(tmp_path, "r", model="[red]m[/] \x1b[31m")
    done = evalgauge("runs", tmp_path)
    assert "[red]m[/]" in done.stdout
    assert "\x1b[31m" not in done.stdout


def test_serve_prints_its_address_and_waits_for_a_first_run(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "evalgauge_exporter", "serve", str(tmp_path), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        url = re.search(r"http://[\d.:]+", process.stderr.readline())
        assert url
        assert "no runs yet; waiting" in process.stderr.readline()
        assert get(f"{url[0]}/readyz") == (200, "ready\n")
        assert get(f"{url[0]}/healthz") == (200, "ok\n")
        small_run(tmp_path, "first")
        wait_for(lambda: 'run_id="first"' in get(f"{url[0]}/metrics")[1])
        with urllib.request.urlopen(
            urllib.request.Request(f"{url[0]}/metrics", headers={"accept": "application/openmetrics-text"}), timeout=60
        ) as answer:
            assert answer.headers["content-type"].startswith("application/openmetrics-text")
            assert answer.read().endswith(b"# EOF\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=180) == 0


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    from evalgauge_exporter.web.server import listening_socket

    taken = listening_socket("127.0.0.1", 0)
    port = taken.getsockname()[1]
    said = complaint(evalgauge("serve", tmp_path, "--listen", f"127.0.0.1:{port}"), 1)
    assert "choose another" in said
    said = evalgauge("demo", "--port", str(port), "--no-browser", "--once", "--tasks", "1").stderr
    assert "--port" in said
    taken.close()


def test_the_demo_plays_an_evaluation_and_ends_with_commands_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = evalgauge_process(
        "demo", "--port", "0", "--tasks", "20", "--speed", "3000", "--once", "--no-browser", "--results", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"http://127\.0\.0\.1:\d+/", done.stdout)
    assert "20 of 20 tasks" in done.stdout
    rows = json.loads(evalgauge("runs", tmp_path, "--json").stdout)["runs"]
    newest = rows[0]
    assert newest["state"] == "completed"
    assert len(newest["outcomes"]) >= 4, "several outcome types"
    assert newest["cost_usd"] > 0
    ids = [row["run_id"] for row in rows]
    assert len([run_id for run_id in ids if run_id.endswith("-earlier")]) == 2, "to compare with"
    assert len(ids) == 4 + len(EARLIER_RUNS)
    (second,) = [row for row in rows if row["pass_ratios"]]
    assert second["unpriced_calls"] > 0
    _, _, following = done.stdout.partition("What you can do with them:\n")
    commands = [shlex.split(line, comments=True) for line in following.splitlines()]
    assert [command[3] for command in commands] == ["runs", "compare", "check", "replay", "serve"]
    monkeypatch.chdir(tmp_path)
    for _, _, _, name, *arguments in commands[:4]:
        assert evalgauge(name, *arguments).returncode in (0, 4), name
    assert (tmp_path / "site" / "index.html").exists()
    shots = list((tmp_path / newest["run_id"] / "screenshots").rglob("*.png"))
    assert len(shots) > 40
    assert all(shot.read_bytes().startswith(b"\x89PNG") for shot in shots[:5])


def test_a_terminated_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "evalgauge_exporter", "demo", "--port", "0", "--tasks", "20", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("The live page: ")
        wait_for(lambda: len(list(tmp_path.glob("*/waa-demo-*/events/*.jsonl"))) > len(EARLIER_RUNS))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=180)
    assert "Traceback" not in said
    assert list(tmp_path.glob("evalgauge-demo-*")) == []


def test_a_demo_whose_port_is_taken_writes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = complaint(evalgauge("demo", "--port", str(port), "--results", tmp_path / "results"), 1)
    assert "--port" in said
    assert list((tmp_path / "results").iterdir()) == []


def test_missing_screenshots_of_an_earlier_demo_run_are_drawn(tmp_path: Path) -> None:
    scenario = plan(3, workers=2, seed=1)
    runs = [
        write_finished_run(tmp_path, "earlier", scenario, model="m", speed=60.0, ended_at=float(end))
        for end in (9000, 9500)
    ]
    draw_screenshots(runs[0], scenario, threading.Event())
    shots = sorted(runs[0].folder.rglob("*.png"))
    named = {event.screenshot for event in read_events(runs[0].folder) if isinstance(event, Step)}
    assert {shot.relative_to(runs[0].folder).as_posix() for shot in shots} == named
    shots[0].unlink()
    draw_screenshots(runs[1], scenario, threading.Event())
    assert sorted(runs[0].folder.rglob("*.png")) == shots
    assert [event.ts for event in read_events(runs[0].folder)][-1] == 9000, "the log is written once"


def test_a_missing_extra_is_one_line_with_the_pip_command(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError('no', name='rich')")
    done = subprocess.run(
        [sys.executable, "-m", "evalgauge_exporter", "runs", str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 1
    assert "pip install 'evalgauge[exporter]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_safe_names_keep_safe_characters() -> None:
    assert safe_name("waa-demo_1.2@x") == "waa-demo_1.2@x"


def test_a_table_of_runs_leaves_out_columns_before_it_is_stacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_run(tmp_path, "a-run-with-a-name-of-some-length")
    monkeypatch.setenv("COLUMNS", "200")
    assert {"model", "took", "started"} <= set(evalgauge("runs", tmp_path).stdout.split())
    monkeypatch.setenv("COLUMNS", "75")
    head, *_ = evalgauge("runs", tmp_path).stdout.strip().splitlines()
    assert head.split() == ["run", "state", "finished", "success", "cost"]
    monkeypatch.setenv("COLUMNS", "40")
    assert "  model: " in evalgauge("runs", tmp_path).stdout


@pytest.mark.parametrize(
    ("usd", "text"), [(0.0, "$0.00"), (0.00042, "$0.00042"), (0.0051, "$0.0051"), (1234.5, "$1,234.50")]
)
def test_a_cost_below_a_cent_is_not_zero(usd: float, text: str) -> None:
    assert format_usd(usd) == text
    assert format_usd(usd, incomplete=True) == f"≥ {text}"
