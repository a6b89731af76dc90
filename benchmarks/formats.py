"""Reading of many runs of other formats by an exporter that knows none of them yet."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from backports.zstd import zipfile

from benchmarks.rows import Row, peak_memory
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.sources.inspect.eval_zip import EvalZipReader

DATA = Path(__file__).parents[1] / "tests" / "data"
LOG = DATA / "inspect-0.3.285" / "tools.eval"
RUN = DATA / "openadapt-0.98.0" / "benchmark_results" / "mock_eval_20261121_193054"


def rows() -> Iterator[Row]:
    """First start over each format."""
    sizes: list[tuple[str, Callable[[Path], None], Callable[[Path], int]]] = [
        ("100 Inspect logs of 200 samples", lambda root: write_inspect(root, 100, 200), _parse_inspect),
        ("50 OpenAdapt runs of 154 tasks", lambda root: write_openadapt(root, 50, 154), _parse_files),
        (
            "3 OSWorld runs of 361 tasks × 15 steps, 9.7 GB of screenshots",
            lambda root: write_osworld(root, 3, 361, 15),
            _parse_files,
        ),
    ]
    for what, write, parse in sizes:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write(root)
            start = time.perf_counter()
            size = parse(root)
            floor = time.perf_counter() - start
            taken, memory = measure_start(root)
        yield Row(
            f"first start, {what}",
            f"{taken:.1f} s, {memory:.0f} MB",
            f"reading and orjson.loads of the same {size / 1e6:.0f} MB: {floor:.1f} s",
            taken / floor,
        )


def measure_start(root: Path) -> tuple[float, float]:
    """Return how long an exporter in a process of its own takes to know all runs, in seconds, and its memory in MB."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_start, (str(root),))


def _start(root: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_CACHE_HOME"] = os.environ["XDG_STATE_HOME"] = state
        exporter = Exporter(load_config(None, results=(Path(root),)))
        start = time.perf_counter()
        exporter.collector.start()
        exporter.wait_caught_up()
        taken = time.perf_counter() - start
        exporter.collector.stop()
    return taken, peak_memory() / (1 << 20)


def write_inspect(root: Path, logs: int, samples: int, turns: int = 0) -> None:
    """Write logs with the samples of a real one, as Inspect compresses them.

    Args:
        root: Takes the logs.
        logs: Their number.
        samples: Samples of each, of 13 to 67 kB.
        turns: With a number each sample has a conversation of so many turns of the agent, each with the tool's answer.
    """
    with EvalZipReader(LOG) as log:
        header = json.loads(log.read("header.json"))
        documents = [json.loads(log.read(name)) for name in log.members if name.startswith("samples/")]
    if turns:
        documents = [_lengthen(documents[1], turns)]
    root.mkdir(parents=True, exist_ok=True)
    base = root / "base"
    with zipfile.ZipFile(base, "w", zipfile.ZIP_ZSTANDARD) as archive:
        for number in range(samples):
            document = {**documents[number % len(documents)], "id": f"s{number}"}
            archive.writestr(f"samples/s{number}_epoch_1.json", json.dumps(document))
    header["eval"]["dataset"]["sample_ids"] = [f"s{number}" for number in range(samples)]
    for number in range(logs):
        header["eval"]["task_id"] = f"task-{number}"
        path = shutil.copy(base, root / f"log-{number:04d}.eval")
        with zipfile.ZipFile(path, "a", zipfile.ZIP_ZSTANDARD) as archive:
            archive.writestr("header.json", json.dumps(header))
    base.unlink()


def _lengthen(sample: dict[str, Any], turns: int) -> dict[str, Any]:
    """Return a sample whose model calls and answers of tools are repeated, each with a screenshot of its own."""
    pair = [event for event in sample["events"] if event["event"] in ("model", "tool")][:2]
    call = pair[0]["output"]["choices"][0]["message"]["tool_calls"][0]["id"]
    events = []
    attachments = dict(sample["attachments"])
    for number in range(turns):
        text = json.dumps(pair).replace(call, f"{call}-{number}")
        for name, content in sample["attachments"].items():
            text = text.replace(name, f"{name}{number}")
            attachments[f"{name}{number}"] = content
        events += json.loads(text)
    conversation = [message for message in sample["messages"] if message["role"] in ("assistant", "tool")][:2]
    conversation = sample["messages"][:1] + conversation * turns
    return {**sample, "events": events, "messages": conversation, "attachments": attachments}


def write_openadapt(root: Path, runs: int, tasks: int) -> None:
    """Write runs with the tasks of a real one."""
    folders = sorted((RUN / "tasks").iterdir())
    metadata = json.loads((RUN / "metadata.json").read_text())
    for number in range(runs):
        run = root / f"run_{number:03d}"
        for index in range(tasks):
            source, task_id = folders[index % len(folders)], f"task_{index:03d}"
            target = run / "tasks" / task_id
            target.mkdir(parents=True)
            for name in ("execution.json", "task.json"):
                text = (source / name).read_text().replace(source.name, task_id)
                (target / name).write_text(text)
        (run / "metadata.json").write_text(json.dumps({**metadata, "run_name": run.name}))
        summary = json.loads((RUN / "summary.json").read_text())
        (run / "summary.json").write_text(
            json.dumps({**summary, "run_name": run.name, "num_tasks": tasks, "tasks": []})
        )


def write_osworld(root: Path, runs: int, tasks: int, steps: int) -> None:
    """Write runs whose screenshots are empty files of 600 kB, which take no room."""
    for number in range(runs):
        run = root / "pyautogui" / "screenshot" / f"model-{number}"
        run.mkdir(parents=True)
        arguments = {"action_space": "pyautogui", "observation_type": "screenshot", "max_steps": steps}
        (run / "args.json").write_text(json.dumps({**arguments, "model": run.name}))
        for task in range(tasks):
            folder = run / f"domain-{task % 10}" / f"task-{task:03d}"
            folder.mkdir(parents=True)
            lines = []
            for step in range(steps):
                stamp = f"20260105@10{task % 60:02d}{step:02d}000000"
                shot = f"step_{step + 1}_{stamp}.png"
                with (folder / shot).open("wb") as file:
                    file.truncate(600_000)
                action = f"pyautogui.click({step}, {task})"
                entry = {"step_num": step + 1, "action_timestamp": stamp, "action": action, "response": action * 20}
                lines.append(json.dumps({**entry, "reward": 0, "done": False, "info": {}, "screenshot_file": shot}))
            (folder / "traj.jsonl").write_text("\n".join(lines) + "\n")
            (folder / "result.txt").write_text("1.0\n" if task % 3 else "0.0\n")


def _parse_inspect(root: Path) -> int:
    size = 0
    for path in root.glob("*.eval"):
        with EvalZipReader(path) as log:
            for name in log.members:
                data = log.read(name)
                size += len(data)
                orjson.loads(data)
    return size


def _parse_files(root: Path) -> int:
    size = 0
    for path in [*root.rglob("*.json"), *root.rglob("*.jsonl")]:
        data = path.read_bytes()
        size += len(data)
        for document in data.splitlines() if path.suffix == ".jsonl" else [data]:
            orjson.loads(document)
    return size
