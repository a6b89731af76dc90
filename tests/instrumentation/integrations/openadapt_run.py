"""Runs openadapt-evals' real runner on its mock benchmark, with tasks that end in every way; see test_openadapt.

Run by the Python of its environment: ``python openadapt_run.py TASKS SCENARIO...``. The log is checked outside.
"""

from __future__ import annotations

import importlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from evalgauge.integrations import openadapt

assert not any(name.startswith("openadapt_evals") for name in sys.modules), "nothing is imported beforehand"
evals: Any = importlib.import_module("openadapt_evals")
runner: Any = importlib.import_module("openadapt_evals.benchmarks.runner")
try:
    base: Any = importlib.import_module("openadapt_evals.adapters")
except ImportError:
    base = importlib.import_module("openadapt_evals.benchmarks")

ENDS = ("success", "failure", "gives up", "agent breaks", "machine breaks", "judge breaks", "success", "wrong domain")
ends: dict[str, str] = {}


def end_of(task: Any) -> str:
    """How a task ends: by its place among the tasks."""
    return ends[task.task_id]


class Agent:
    """Clicks twice and is done. Its notes are those of ApiAgent."""

    model = "claude-of-the-test"
    provider = "anthropic"

    def __init__(self, stop: bool = False) -> None:
        self._threads = threading.local()
        self._stop = stop
        self._tasks = 0

    @property
    def _last_step_logs(self) -> Any:
        return getattr(self._threads, "logs", None)

    def reset(self) -> None:
        self._threads.count = 0
        self._tasks += 1

    def act(self, observation: Any, task: Any, history: Any = None) -> Any:
        count = self._threads.count
        self._threads.count += 1
        self._threads.logs = {"token_usage": {"input_tokens": 100, "output_tokens": 10}, "plan_result": "I click"}
        if self._stop and self._tasks == 2 and count == 1:
            raise KeyboardInterrupt
        if end_of(task) == "agent breaks":
            raise ValueError("the agent broke")
        if end_of(task) == "gives up" and count == 1:
            return base.BenchmarkAction(type="error", raw_action={"reason": "gave up"})
        if count == 2:
            return base.BenchmarkAction(type="done")
        return base.BenchmarkAction(type="click", x=0.5, y=0.25, raw_action={"thought": "press it"})


class Adapter(base.WAAMockAdapter):  # type: ignore[misc]
    """The mock benchmark, which may be run in parallel and breaks where it is told to."""

    supports_parallel = True

    def list_tasks(self, domain: str | None = None) -> Any:
        tasks = super().list_tasks(domain)
        for number, task in enumerate(tasks):
            ends[task.task_id] = ENDS[number % len(ENDS)]
            if end_of(task) == "wrong domain":  # as on live runs
                task.domain, task.raw_config = "unknown", {"related_apps": ["notepad"]}
        return tasks

    def reset(self, task: Any) -> Any:
        if end_of(task) == "machine breaks":
            raise RuntimeError("the machine is gone")
        return super().reset(task)

    def evaluate(self, task: Any) -> Any:
        if end_of(task) == "judge breaks":
            raise RuntimeError("the judge broke")
        success = end_of(task) == "success"
        return base.BenchmarkResult(task_id=task.task_id, success=success, score=float(success))


def evaluate(name: str | None, parallel: int, tasks: int, stop: bool = False, **options: Any) -> Any:
    options = {"live_tracking_file": f"{name}_live.json", **options}
    config = runner.EvaluationConfig(parallel=parallel, verbose=False, run_name=name, max_steps=6, **options)
    return runner.evaluate_agent_on_benchmark(Agent(stop), Adapter(num_tasks=tasks), config=config)


def pool(workers: int, tasks: int) -> None:
    def work(number: int) -> None:
        output = "benchmark_results/pool_1"
        evaluate(f"pool_1_waa-pool-{number:02d}", 1, tasks, output_dir=output, live_tracking_file="pool_live.json")

    with ThreadPoolExecutor(workers) as executor:
        list(executor.map(work, range(workers)))


def own_loop(tasks: int) -> None:
    """A loop of the user's own, with the drop-in classes and nothing put in place."""
    collector = openadapt.TraceCollector("own", run_name="mine", model_id="claude-of-the-test")
    live = openadapt.LiveTracker(output_file="mine_live.json", total_tasks=tasks)
    agent, adapter = Agent(), Adapter(num_tasks=tasks)
    results = []
    for task in adapter.list_tasks()[:2]:
        collector.start_task(task)
        live.start_task(task)
        agent.reset()
        observation = adapter.reset(task)
        for number in range(3):
            action = agent.act(observation, task)
            collector.record_step(number, observation, action, "because")
            live.record_step(number, observation, action, "because")
            if action.type == "done":
                break
            observation, _, _ = adapter.step(action)
        results.append(adapter.evaluate(task))
        collector.finish_task(results[-1])
        live.finish_task(results[-1])
    collector.save_summary(results)
    live.finish()


def a_release_to_come() -> None:
    """What a later release may look like: one function takes other arguments than today's."""
    stock = runner._evaluate_sequential

    def renamed(performer: Any, *rest: Any, **more: Any) -> Any:
        return stock(performer, *rest, **more)

    runner._evaluate_sequential = renamed
    try:
        with openadapt.instrument():
            evaluate("later", 1, 2)
    finally:
        runner._evaluate_sequential = stock


def assert_as_before() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("openadapt_evals"):
            ours = [key for key, value in vars(module).items() if "evalgauge" in str(getattr(value, "__module__", ""))]
            assert not ours, f"{name} still has {ours}"
    assert not hasattr(runner._run_single_task, "__wrapped__")
    assert not hasattr(ThreadPoolExecutor.submit, "__wrapped__")


def main(scenarios: list[str], tasks: int) -> None:
    for scenario in scenarios:
        if scenario == "stock":
            evaluate("stock", 4, tasks)
        elif scenario == "own loop":
            own_loop(tasks)
        elif scenario == "later":
            a_release_to_come()
        else:
            with openadapt.instrument(budget_usd=5.0):
                assert runner._run_single_task.__module__ == "openadapt_evals.benchmarks.runner"
                if scenario == "sequential":
                    evaluate("sequential", 1, tasks)
                elif scenario == "parallel":
                    evaluate("parallel", 4, tasks)
                elif scenario == "no traces":
                    evaluate("untraced", 1, 2, save_execution_traces=False)
                elif scenario == "pool":
                    pool(2, 2)
                elif scenario == "interrupted":
                    try:
                        evaluate("interrupted", 1, 3, stop=True)
                    except KeyboardInterrupt:
                        print("interrupted")
        assert_as_before()


if __name__ == "__main__":
    main(sys.argv[2:], int(sys.argv[1]))
