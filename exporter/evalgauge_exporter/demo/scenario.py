"""The course of a made-up evaluation: which tasks there are, what is done in each step, and how each ends.

The benchmark (tasks, texts, how hard each is) is always the same; ``seed`` is the luck of one run and ``skill`` how
good its agent is. Two runs over the same tasks therefore agree on most of them, as real ones do.
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
    SEEN,
    WORDS,
)
from evalgauge_exporter.demo.scene import Scene
from evalgauge_exporter.demo.screens import click_points

MAX_STEPS = 15
MIN_STEPS = 3
MAX_TASKS = 10_000
ERROR_SHARES = {"agent_error": 0.05, "infrastructure_error": 0.03, "evaluation_error": 0.02}
"""The parts of all tasks that end so; from 20 tasks on there is at least one of each."""
COMMON_LUCK = 0.9
"""How much of a task's outcome lies in the task, not in the run: the correlation between runs of equal skill."""
RETRIES = 0.03


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step: what the agent sees, does and says, how long it takes and what its model call costs."""

    scene: Scene
    """The screen on which the agent decides; ``screens.draw`` draws its screenshot."""
    action: Mapping[str, Any]
    """``type`` (click, type, key, scroll, drag, done or error) and its arguments; coordinates are 0 to 1."""
    reasoning: str
    think_seconds: float
    env_seconds: float
    usage: Mapping[str, int]
    """Tokens of the model call under the names of Anthropic's API."""
    retry: bool
    """Whether the model had to be asked a second time, because the first call was turned away."""
    first_action_correct: bool | None
    """Only in a task's first step, and there not always known."""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task: what is asked, the steps and the end."""

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
        """How long the task takes."""
        return sum(step.think_seconds + step.env_seconds for step in self.steps)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole run: the tasks in the order in which they are begun, and who works on them."""

    tasks: tuple[TaskPlan, ...]
    workers: tuple[str, ...]
    seed: int
    skill: float


def plan(tasks: int = 154, workers: int = 4, seed: int = 7, skill: float = 0.0) -> Scenario:
    """A run of so many tasks (1 to 10,000). ``skill`` is added to the chance of success (-1 to 1), 0 gives about 45 %.

    The same arguments give the same run. Raises ValueError where an argument is out of range.
    """
    if not 1 <= tasks <= MAX_TASKS:
        raise ValueError(f"tasks must be 1 to {MAX_TASKS}, not {tasks}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if not -1 <= skill <= 1:
        raise ValueError(f"skill must be between -1 and 1, not {skill}")
    names = _task_names(tasks)
    errors = _errors(names, seed)
    planned = tuple(_task(domain, task_id, errors.get(task_id), seed, skill) for domain, task_id in names)
    return Scenario(planned, tuple(f"worker-{number}" for number in range(1, workers + 1)), seed, skill)


def _task_names(tasks: int) -> list[tuple[str, str]]:
    """Domain and id of each task: shares by the method of the largest remainder, the order well mixed."""
    whole = sum(domain.share for domain in DOMAINS.values())
    exact = {name: domain.share * tasks / whole for name, domain in DOMAINS.items()}
    counts = {name: math.floor(share) for name, share in exact.items()}
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[: tasks - sum(counts.values())]:
        counts[name] += 1
    names = [(name, f"{name}_{number:03d}") for name, count in counts.items() for number in range(1, count + 1)]
    Random("order").shuffle(names)
    return names


def _errors(names: list[tuple[str, str]], seed: int) -> dict[str, str]:
    left = [task_id for _, task_id in names]
    Random(f"errors {seed}").shuffle(left)
    found: dict[str, str] = {}
    for outcome, share in ERROR_SHARES.items():
        for _ in range(max(round(share * len(names)), int(len(names) >= 20))):
            found[left.pop()] = outcome
    return found


def _succeeds(domain: str, task_id: str, seed: int, skill: float) -> bool:
    """Whether a task is solved: a Gaussian copula, so that the chance is exact and runs are alike in part.

    How hard the tasks of a domain are is spread evenly by the golden ratio, so that a few tasks are as hard as many.
    """
    number = int(task_id.rpartition("_")[2])
    spread = (Random(f"hard {domain}").random() + number * (math.sqrt(5) - 1) / 2) % 1
    hard = NormalDist().inv_cdf(min(max(spread, 1e-9), 1 - 1e-9))
    luck = Random(f"luck {seed} {task_id}").gauss()
    chance = min(max(DOMAINS[domain].success + skill, 0.02), 0.98)
    return math.sqrt(COMMON_LUCK) * hard + math.sqrt(1 - COMMON_LUCK) * luck < NormalDist().inv_cdf(chance)


def _task(domain: str, task_id: str, error: str | None, seed: int, skill: float) -> TaskPlan:
    text, chance = Random(f"text {task_id}"), Random(f"run {seed} {task_id}")
    words = {name: text.choice(choices) for name, choices in WORDS.items()}
    instruction = text.choice(DOMAINS[domain].instructions).format(**words)
    outcome = error or ("success" if _succeeds(domain, task_id, seed, skill) else "failure")
    steps = _steps(domain, words, outcome, chance)
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


def _count(domain: str, outcome: str, chance: Random) -> int:
    median = DOMAINS[domain].steps * (1.0 if outcome == "success" else 1.5)
    return min(max(round(chance.lognormvariate(math.log(median), 0.35)), MIN_STEPS), MAX_STEPS)


def _moves(domain: str, count: int, chance: Random) -> list[str]:
    """So many moves: the opening, then other pieces of work, none twice in a row."""
    first, *others = DOMAINS[domain].routes
    moves, last = list(first), first
    while len(moves) < count:
        last = chance.choice([route for route in others if route is not last])
        moves += last
    return moves[:count]


def _steps(domain: str, words: Mapping[str, str], outcome: str, chance: Random) -> list[StepPlan]:
    count = _count(domain, outcome, chance)
    ends = {"success": "done", "evaluation_error": "done", "agent_error": "error"}.get(outcome)
    if outcome == "failure" and count < MAX_STEPS:
        ends = "done"
    moves = _moves(domain, count - (ends is not None), chance) + ([ends] if ends else [])
    opened = 60 * chance.randrange(8 * 60, 17 * 60)
    scene = Scene(domain, DOMAINS[domain].title.format(**words), time=_time(opened // 60))
    read, written = (3600, 1500) if chance.random() < 0.8 else (0, 5100)
    plans: list[StepPlan] = []
    clock = 0.0
    for index, move in enumerate(moves):
        action, reasoning = _action(domain, move.format(**words), chance)
        if index and move != ends:
            doubtful = outcome != "success" and chance.random() < 0.4
            reasoning = f"{chance.choice(DOUBTS if doubtful else SEEN)} {reasoning}"
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
        scene = replace(_after(scene, action), time=_time(int(opened + clock) // 60))
    return plans


def _action(domain: str, move: str, chance: Random) -> tuple[dict[str, Any], str]:
    """The action and the words for it. A move is a verb and what it is about, e.g. ``click the address bar``."""
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


def _after(scene: Scene, action: Mapping[str, Any]) -> Scene:
    """The screen once the action has been carried out."""
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


def _time(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
