"""An Inspect evaluation with a made-up model, run by the test in a process of its own; prints Inspect's own summary."""

from __future__ import annotations

import json
import sys
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ContentImage, ContentText, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver, use_tools
from inspect_ai.tool import Tool, tool

PICTURE = "data:image/png;base64,iVBORw0KGgo="


@tool
def press() -> Tool:
    """A button."""

    async def execute(key: str) -> list[Any]:
        """Press a key.

        Args:
            key: The key.
        """
        return [ContentText(text=f"pressed {key}"), ContentImage(image=PICTURE)]

    return execute


@solver
def breaking() -> Solver:
    """Breaks in the last sample, is cut off in the one before."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if state.sample_id == "broken":
            raise RuntimeError("the machine is gone")
        if state.sample_id == "cancelled":
            raise RuntimeError("CancelledError()")  # what Inspect notes of a sample that was under way at Ctrl-C
        return state

    return solve


def output(text: str) -> ModelOutput:
    """An answer with its tokens."""
    made = ModelOutput.from_content("mockllm/model", text)
    made.usage = ModelUsage(input_tokens=100, input_tokens_cache_read=40, output_tokens=7, total_tokens=147)
    return made


def call() -> ModelOutput:
    """An answer that calls the tool."""
    made = ModelOutput.for_tool_call("mockllm/model", "press", {"key": "Enter"})
    made.usage = ModelUsage(input_tokens=100, output_tokens=7, total_tokens=107)
    return made


def main(logs: str) -> None:
    """Samples of two epochs each: of three a tool call and then an answer, two that break."""
    answers = [output(text) for text in ("yes", "no", "yes", "yes", "no", "yes")]
    model = get_model("mockllm/model", custom_outputs=[one for answer in answers for one in (call(), answer)])
    samples = [Sample(id=f"s{n}", input="Say yes.", target="yes", metadata={"domain": "words"}) for n in range(3)]
    samples += [Sample(id=name, input="Say yes.", target="yes") for name in ("cancelled", "broken")]
    task = Task(
        dataset=samples, solver=[breaking(), use_tools(press()), generate()], scorer=match(), epochs=2, name="words"
    )
    (log,) = eval(task, model=model, display="none", log_dir=logs, max_samples=1, fail_on_error=False)
    assert log.results is not None
    usage = log.stats.model_usage["mockllm/model"]
    print(
        json.dumps(
            {
                "status": log.status,
                "accuracy": log.results.scores[0].metrics["accuracy"].value,
                "samples": len(log.samples or []),
                "input": usage.input_tokens,
                "cache_read": usage.input_tokens_cache_read,
                "output": usage.output_tokens,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
