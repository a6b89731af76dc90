"""Runs OpenAdapt's own agents with the real client against a local server; see test_openadapt.

Run by the Python of its environment: ``python agent_calls.py``. Prints how many calls the server answered for each.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from evalgauge.integrations import openadapt

model_server: Any = importlib.import_module("model_server")


def main() -> None:
    answered = {"api": 0, "computer_use": 0}
    running = ""
    message = model_server._message

    def counted(*args: Any) -> Any:
        answered[running] += 1
        return message(*args)

    model_server._message = counted
    with model_server.model_server() as url, openadapt.instrument():
        os.environ.update(ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="none")
        evals: Any = importlib.import_module("openadapt_evals")
        runner: Any = importlib.import_module("openadapt_evals.benchmarks.runner")
        computer_use: Any = importlib.import_module("openadapt_evals.agents.claude_computer_use_agent")
        agents = {
            "api": evals.ApiAgent(provider="anthropic", api_key="none"),
            "computer_use": computer_use.ClaudeComputerUseAgent(api_key="none"),
        }
        for running, agent in agents.items():
            config = runner.EvaluationConfig(run_name=running, max_steps=2, verbose=False)
            runner.evaluate_agent_on_benchmark(agent, evals.WAAMockAdapter(num_tasks=2), config=config)
    print(json.dumps(answered))


if __name__ == "__main__":
    main()
