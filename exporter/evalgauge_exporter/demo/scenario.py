"""The course of a simulated evaluation: its tasks, their steps and their outcomes.

The benchmark (tasks, texts, difficulty) is always the same; ``seed`` is the randomness of one run and ``skill`` the
ability of its agent. Two runs over the same tasks therefore agree on most of them, as real ones do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from statistics import NormalDist
from typing import Any

from evalgauge_exporter.demo.domains import (
    AGENT_ERRORS,
    DOMAINS,
    DOUBTS,
    EVALUATION_ERRORS,
    INFRASTRUCTURE_ERRORS,
    OBSERVATIONS,
    WORDS,
)
from evalgauge_exporter.demo.scene import Scene
from evalgauge_exporter.demo.screens import click_points

MAX_STEPS = 15
MIN_STEPS = 3
MAX_TASKS = 10_000
ERROR_SHARES = {"agent_error": 0.05, "infrastructure_error": 0.03, "evaluation_error": 0.02}
"""Fractions of the tasks with these outcomes; a run of 20 or more tasks has at least one of each."""
TASK_CORRELATION = 0.9
"""Correlation of the outcomes of one task in two runs of equal skill: the share that lies in the task."""
RETRIES = 0.03
"""Fraction of the model calls that are retried."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step: the screen, the action, the reasoning, the durations in seconds and the tokens of the model call."""

    scene: Scene
    """The screen on which the agent decides; ``screens.draw`` draws its screenshot."""
    action: Mapping[str, Any]
    """``type`` (click, type, key, scroll, drag, done or error) and its arguments; coordinates are 0 to 1."""
    reasoning: str
    think_seconds: float
    env_seconds: float
    usage: Mapping[str, int]
    """Tokens of the model call, by the field names of Anthropic's API."""
    retry: bool
    """Whether the first model call was rejected and sent again."""
    first_action_correct: bool | None
    """Of a task's first step only, and even there not always known."""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task: its instruction, its steps and its outcome."""

    task_id: str
    domain: str
    instruction: str
    max_steps: int
    steps: tuple[StepPlan, ...]
    outcome: str
    score: float | None
    error: str | None
    reason: str | None

    @property
    def seconds(self) -> float:
        """Duration of the task in seconds."""
        return sum(step.think_seconds + step.env_seconds for step in self.steps)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run: its tasks in the order in which they start, and its workers."""

    tasks: tuple[TaskPlan, ...]
    workers: tuple[str, ...]
    seed: int
    skill: float


def plan(tasks: int = 154, workers: int = 4, seed: int = 7, skill: float = 0.0) -> Scenario:
    """Plan a run. The same arguments give the same run.

    Args:
        tasks: Number of tasks, 1 to 10,000.
        workers: Number of workers, at least 1.
        seed: Randomness of this run.
        skill: Added to each domain's success rate, -1 to 1; with 0 about 45 % of the tasks succeed.

    Raises:
        ValueError: An argument is out of range.
    """
    if not 1 <= tasks <= MAX_TASKS:
        raise ValueError(f"tasks must be 1 to {MAX_TASKS}, not {tasks}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if not -1 <= skill <= 1:
        raise ValueError(f"skill must be between -1 and 1, not {skill}")
    names = _task_names(tasks)
    errors = _assign_errors(names, seed)
    planned = tuple(_plan_task(domain, task_id, errors.get(task_id), seed, skill) for domain, task_id in names)
    return Scenario(planned, tuple(f"worker-{number}" for number in range(1, workers + 1)), seed, skill)


def _task_names(tasks: int) -> list[tuple[str, str]]:
    """Return domain and id of each task, shuffled: counts by the largest remainder method."""
    whole = sum(domain.share for domain in DOMAINS.values())
    exact = {name: domain.share * tasks / whole for name, domain in DOMAINS.items()}
    counts = {name: math.floor(share) for name, share in exact.items()}
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[: tasks - sum(counts.values())]:
        counts[name] += 1
    names = [(name, f"{name}_{number:03d}") for name, count in counts.items() for number in range(1, count + 1)]
    Random("order").shuffle(names)
    return names


def _assign_errors(names: list[tuple[str, str]], seed: int) -> dict[str, str]:
    left = [task_id for _, task_id in names]
    Random(f"errors {seed}").shuffle(left)
    found: dict[str, str] = {}
    for outcome, share in ERROR_SHARES.items():
        for _ in range(max(round(share * len(names)), int(len(names) >= 20))):
            found[left.pop()] = outcome
    return found


def _succeeds(domain: str, task_id: str, seed: int, skill: float) -> bool:
    """Return whether a task is solved, by a Gaussian copula: the success rate is exact, runs are correlated.

    The difficulties of a domain's tasks are a low-discrepancy sequence (multiples of the golden ratio modulo 1), so
    that a few tasks are as hard on average as many.
    """
    number = int(task_id.rpartition("_")[2])
    spread = (Random(f"hard {domain}").random() + number * (math.sqrt(5) - 1) / 2) % 1
    hard = NormalDist().inv_cdf(min(max(spread, 1e-9), 1 - 1e-9))
    luck = Random(f"luck {seed} {task_id}").gauss()
    chance = min(max(DOMAINS[domain].success + skill, 0.02), 0.98)
    return math.sqrt(TASK_CORRELATION) * hard + math.sqrt(1 - TASK_CORRELATION) * luck < NormalDist().inv_cdf(chance)


def _plan_task(domain: str, task_id: str, error: str | None, seed: int, skill: float) -> TaskPlan:
    text, chance = Random(f"text {task_id}"), Random(f"run {seed} {task_id}")
    words = {name: text.choice(choices) for name, choices in WORDS.items()}
    instruction = text.choice(DOMAINS[domain].instructions).format(**words)
    outcome = error or ("success" if _succeeds(domain, task_id, seed, skill) else "failure")
    steps = _plan_steps(domain, words, outcome, chance)
    proof = DOMAINS[domain].proof
    score: float | None = None
    message = reason = None
    if outcome == "success":
        score, reason = 1.0, f"checked {proof}: as expected"
    elif outcome == "failure":
        score = chance.choices((0.0, 0.33, 0.5), (85, 8, 7))[0]
        given_up = steps[-1].action["type"] == "done"
        reason = f"checked {proof}: not as expected" + ("" if given_up else f", after {MAX_STEPS} steps")
    elif outcome == "agent_error":
        score, message = 0.0, chance.choice(AGENT_ERRORS)
    elif outcome == "infrastructure_error":
        message = chance.choice(INFRASTRUCTURE_ERRORS)
    else:
        message = chance.choice(EVALUATION_ERRORS)
    return TaskPlan(task_id, domain, instruction, MAX_STEPS, tuple(steps), outcome, score, message, reason)


def _step_count(domain: str, outcome: str, chance: Random) -> int:
    median = DOMAINS[domain].steps * (1.0 if outcome == "success" else 1.5)
    return min(max(round(chance.lognormvariate(math.log(median), 0.35)), MIN_STEPS), MAX_STEPS)


def _plan_moves(domain: str, count: int, chance: Random) -> list[str]:
    """Return ``count`` moves: the opening, then other routes, none twice in a row."""
    first, *others = DOMAINS[domain].routes
    moves, last = list(first), first
    while len(moves) < count:
        last = chance.choice([route for route in others if route is not last])
        moves += last
    return moves[:count]


def _plan_steps(domain: str, words: Mapping[str, str], outcome: str, chance: Random) -> list[StepPlan]:
    count = _step_count(domain, outcome, chance)
    ends = {"success": "done", "evaluation_error": "done", "agent_error": "error"}.get(outcome)
    if outcome == "failure" and count < MAX_STEPS:
        ends = "done"
    moves = _plan_moves(domain, count - (ends is not None), chance) + ([ends] if ends else [])
    opened = 60 * chance.randrange(8 * 60, 17 * 60)
    scene = Scene(domain, DOMAINS[domain].title.format(**words), time=_format_time(opened // 60))
    read, written = (3600, 1500) if chance.random() < 0.8 else (0, 5100)
    plans: list[StepPlan] = []
    clock = 0.0
    for index, move in enumerate(moves):
        action, reasoning = _plan_action(domain, move.format(**words), chance)
        if index and move != ends:
            doubtful = outcome != "success" and chance.random() < 0.4
            reasoning = f"{chance.choice(DOUBTS if doubtful else OBSERVATIONS)} {reasoning}"
        seconds = min(max(chance.lognormvariate(math.log(18 * DOMAINS[domain].pace), 0.35), 10.0), 40.0)
        thinking = seconds * chance.uniform(0.35, 0.65)
        output = round(min(max(chance.lognormvariate(math.log(170), 0.5), 30), 1500))
        usage = {
            "input_tokens": chance.randrange(4, 300),
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "output_tokens": output,
        }
        right = None
        if index == 0 and chance.random() < 0.9:
            right = chance.random() < (0.93 if outcome == "success" else 0.6)
        think, env = round(thinking, 3), round(seconds - thinking, 3)
        plans.append(StepPlan(scene, action, reasoning, think, env, usage, chance.random() < RETRIES, right))
        read, written = read + written, output + chance.randrange(950, 1150)
        clock += seconds
        scene = replace(_apply(scene, action), time=_format_time(int(opened + clock) // 60))
    return plans


def _plan_action(domain: str, move: str, chance: Random) -> tuple[dict[str, Any], str]:
    """Return the action of a move and the reasoning for it. A move is verb and object: ``click the address bar``."""
    verb, _, rest = move.partition(" ")
    match verb:
        case "click":
            x, y = click_points(domain)[rest]
            plain = rest.startswith(("the ", "cell ")) or " > " in rest
            return {"type": "click", "x": x, "y": y, "target_name": rest}, f"I click {rest if plain else repr(rest)}."
        case "type":
            return {"type": "type", "text": rest}, f"I type {rest!r}."
        case "press":
            return {"type": "key", "key": rest}, f"I press {rest}."
        case "scroll":
            place = {"x": 0.55, "y": 0.55}
            return {"type": "scroll", **place, "scroll_direction": "down", "scroll_amount": 3}, "I look further down."
        case "drag":
            x, y, end_x, end_y = (round(chance.uniform(low, low + 0.15), 4) for low in (0.3, 0.35, 0.55, 0.55))
            return {"type": "drag", "x": x, "y": y, "end_x": end_x, "end_y": end_y}, "I drag from here to there."
        case "done":
            return {"type": "done"}, "Everything that was asked for seems to be in place."
        case _:
            return {"type": "error"}, "I could not decide on a valid action."


def _apply(scene: Scene, action: Mapping[str, Any]) -> Scene:
    """Return the screen after an action."""
    match action["type"]:
        case "click":
            touched = (*scene.touched, action["target_name"])
            return replace(scene, touched=touched, pointer=(action["x"], action["y"]))
        case "type":
            return replace(scene, lines=(*scene.lines, action["text"]))
        case "scroll":
            return replace(scene, scrolled=scene.scrolled + 1, pointer=(action["x"], action["y"]))
        case "drag":
            drag = (action["x"], action["y"], action["end_x"], action["end_y"])
            return replace(scene, drags=(*scene.drags, drag), pointer=drag[2:])
        case _:
            return scene


def _format_time(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
