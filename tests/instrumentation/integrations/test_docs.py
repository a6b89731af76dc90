"""The blocks of docs/integrations.md do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evalgauge.events import LlmCall, RunFinished, TaskFinished
from evalgauge.runlog import read_events
from tests.instrumentation.integrations.conftest import ROOT, Program
from tests.instrumentation.integrations.model_server import model_server
from tests.instrumentation.otel.otlp import receiver

PAGE = (ROOT / "docs" / "integrations.md").read_text()


def blocks(heading: str, language: str) -> list[str]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, f"no {language} block below {heading!r}"
    return found


def runs(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/events"))


def test_the_block_of_otlp_sends_both_signals(tmp_path: Path) -> None:
    (block,) = blocks("OTLP: Prometheus, Tempo and other receivers", "python")
    (tmp_path / "block.py").write_text(block)
    with receiver() as received:
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, "PYTHONPATH": str(ROOT / "instrumentation")}
        subprocess.run([sys.executable, "block.py"], cwd=tmp_path, env={**os.environ, **where}, check=True, timeout=180)
    assert {span.name for span in received.spans()} == {"evaluation waa", "invoke_agent m"}
    assert "agent_eval_run_tasks" in {metric.name for _, metric in received.by_instance()}


def test_the_blocks_of_openadapt_run(program: Program, tmp_path: Path) -> None:
    for number, block in enumerate(blocks("OpenAdapt", "python")):
        (tmp_path / f"block{number}.py").write_text(block)
        program(f"block{number}.py")
    (command,) = blocks("OpenAdapt", "bash")
    program(*command.split()[1:])
    finished = [
        [event for event in read_events(run) if isinstance(event, TaskFinished)]
        for run in runs(tmp_path / "benchmark_results")
    ]
    assert sorted(map(len, finished)) == [2, 3, 3]
    assert all(
        [event.status for event in read_events(run) if isinstance(event, RunFinished)] == ["completed"]
        for run in runs(tmp_path / "benchmark_results")
    )


@pytest.mark.parametrize(
    ("heading", "calls"),
    [
        ("A runner of your own", 1),
        ("Anthropic and OpenAI clients", 1),
        ("OpenTelemetry's own instrumentation", 1),
        ("Machines without a shared folder", 0),
    ],
)
def test_the_other_blocks_run(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heading: str, calls: int
) -> None:
    (block,) = blocks(heading, "python")
    (tmp_path / "block.py").write_text(block)
    with model_server() as url:
        monkeypatch.setitem(os.environ, "ANTHROPIC_BASE_URL", url)
        monkeypatch.setitem(os.environ, "ANTHROPIC_API_KEY", "none")
        output = program("block.py").stdout
    found = [event for run in runs(tmp_path / "results") for event in read_events(run) if isinstance(event, LlmCall)]
    assert len(found) == calls
    assert all(call.task_id == "notepad_1" and call.tokens.output for call in found)
    if not calls:
        assert "no run log found" in output, "the block prints one line with the problem"
