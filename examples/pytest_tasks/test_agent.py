"""An agent's tests, each a task of a run: ``pytest examples/pytest_tasks``."""

from __future__ import annotations

import pytest

from evalgauge import Task


def ask(question: str, task: Task) -> str:
    """Stand in for an agent: answer by rule and record the step."""
    answer = {"2 + 2": "4", "capital of Norway": "Oslo"}.get(question, "I don't know")
    task.step(action={"type": "answer", "text": answer}, reasoning=f"I was asked {question!r}.")
    return answer


@pytest.mark.parametrize(("question", "answer"), [("2 + 2", "4"), ("capital of Norway", "Oslo")])
def test_answers(question: str, answer: str, task: Task) -> None:
    """The agent answers."""
    assert ask(question, task) == answer
