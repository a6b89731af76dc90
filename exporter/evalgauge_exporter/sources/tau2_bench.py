"""Results of tau2-bench: one document, or ``<run>/{results.json, simulations/<id>.json}``.

``{timestamp, info, tasks, simulations}``; in the second form, which voice runs take, each simulation is a file. Traps:

- ``trial`` counts from 0: it is the attempt, less one.
- Times are naive and local. ``duration`` is of the simulation.
- A simulation without ``reward_info`` was not judged. One that ended with ``infrastructure_error``,
  ``context_window_exceeded`` or ``unexpected_error`` has a reward of 0 at most and is left out by the benchmark.
- Messages hold tokens and cost of the agent and of the simulated user, each with a model of its own. A cost of 0 is a
  model without a known price. Voice runs have ``ticks`` in place of messages, and no tokens.
- Where a voice run names its model as ``openai:gpt-realtime``, ``audio_native_config`` has the two parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalgauge.events import PlannedTask
from evalgauge.model_names import ModelName, infer_provider, split_model_name
from evalgauge.usage import UNKNOWN, parse_call
from evalgauge.values import parse_count, parse_float, parse_id, parse_text, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import RunSource
from evalgauge_exporter.sources.documents import (
    DocumentSource,
    Record,
    add_unjudged_finish,
    as_object,
    digest_files,
)
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.parsing import fingerprint, get_mtime, is_directory, read_head, read_object
from evalgauge_exporter.sources.tau_bench import SOLVED, add_conversation

SUFFIX = ".json"
RESULTS = "results.json"
SIMULATIONS = "simulations"
_HEAD = re.compile(
    rb'\A\s*\{\s*"timestamp"\s*:\s*[^{}\[\]]{1,100}"info"\s*:\s*\{\s*"git_commit"\s*:[^{}\[\]]{1,200}"num_trials"\s*:'
)
_SORTED_HEAD = re.compile(rb'\A\s*\{\s*"info"\s*:\s*\{\s*"(?:agent_info|audio_native_config)"')
"""How a document begins that was written again with its keys in order."""
_INFO_KEYS = (b'"environment_info"', b'"git_commit"', b'"num_trials"', b'"user_info"')
_NOT_EVALUABLE = frozenset({"infrastructure_error", "context_window_exceeded", "unexpected_error"})


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder is one run: it has its ``results.json``."""
    return RESULTS in names and matches_file(folder / RESULTS)


def matches_file(path: Path) -> bool:
    """Return whether a file holds such results."""
    head = read_head(path, 1 << 12)
    if _HEAD.match(head):
        return True
    return _SORTED_HEAD.match(head) is not None and all(key in read_head(path, 1 << 18) for key in _INFO_KEYS)


def open_run(place: Path, *, success_threshold: float = 1.0) -> RunSource:
    """Return what reads a run.

    Args:
        place: The document, or the folder with ``results.json``.
        success_threshold: The least reward of a success.
    """
    if is_directory(place) and is_directory(place / SIMULATIONS):
        return Tau2FolderSource(place, success_threshold=success_threshold)
    document = place / RESULTS if is_directory(place) else place
    return Tau2DocumentSource(document, success_threshold=success_threshold)


class Tau2DocumentSource(DocumentSource):
    """Reads a run that is one document."""

    source = "tau2_bench"

    def parse_info(self, content: Any) -> RunInfo:
        """Return what the document states about the run."""
        self._sides = _Sides(content)
        return _parse_info(content)

    def parse_records(self, content: Any) -> Iterable[Record]:
        """Return the simulations."""
        domain = _domain_of(content)
        simulations = content.get("simulations") if isinstance(content, dict) else None
        for simulation in simulations if isinstance(simulations, list) else ():
            task_id = parse_id(simulation.get("task_id")) if isinstance(simulation, dict) else None
            if task_id is not None:
                yield Record(task_id, (parse_count(simulation.get("trial")) or 0) + 1, simulation, domain)

    def add_events(self, record: Record, attempt: AttemptBuilder) -> None:
        """Add the events of a simulation."""
        _add_simulation(attempt, record.content, self._sides, record.domain, self.path, self.threshold)


class Tau2FolderSource(FolderSource):
    """Reads a run whose simulations are a file each."""

    source = "tau2_bench"
    run_files = (RESULTS,)
    task_files = ()
    tree = SIMULATIONS

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return the simulations by the names of their files; where there is an index, those in it."""
        index = (self.read_cached(self.folder / RESULTS) or {}).get("simulation_index")
        listed = {entry.get("id") for entry in index if isinstance(entry, dict)} if isinstance(index, list) else set()
        return {
            path.stem: self.known_tasks.get(path.stem) or TaskFiles(path.stem, path)
            for path in sorted((self.folder / SIMULATIONS).glob("*.json"))
            if not listed or path.stem in listed
        }

    def attempt_fingerprint(self, files: TaskFiles) -> object:
        """Return the fingerprint of a simulation's file."""
        return fingerprint(files.folder)

    def fingerprint(self) -> str | None:
        """Return a digest of the times and sizes of all files; None where the folder is not there."""
        if not is_directory(self.folder):
            return None
        return digest_files([self.folder / RESULTS, *sorted((self.folder / SIMULATIONS).glob("*.json"))])

    def read_info(self) -> RunInfo:
        """Return what ``results.json`` states."""
        return _parse_info(self.read_cached(self.folder / RESULTS))

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the events of a simulation."""
        simulation = read_object(files.folder, self.report)
        task_id = parse_id(simulation.get("task_id")) if simulation is not None else None
        if simulation is None or task_id is None:
            return None
        content = self.read_cached(self.folder / RESULTS)
        attempt = AttemptBuilder(self.source, task_id, (parse_count(simulation.get("trial")) or 0) + 1)
        _add_simulation(attempt, simulation, _Sides(content), _domain_of(content), files.folder, self.threshold)
        return attempt


class _Sides:
    """The agent and the simulated user: their models, and what the agent is told."""

    def __init__(self, content: Any) -> None:
        info = as_object(as_object(content).get("info"))
        self.agent = _model_of(as_object(info.get("agent_info")).get("llm"), as_object(info.get("audio_native_config")))
        self.user = _model_of(as_object(info.get("user_info")).get("llm"), {})
        self.policy = as_object(info.get("environment_info")).get("policy")
        """What the agent is told first."""


def _model_of(name: object, native: Mapping[str, Any]) -> ModelName:
    text = parse_id(name)
    model, provider = parse_id(native.get("model")), parse_id(native.get("provider"))
    if model is not None and provider is not None and text in (None, f"{provider}:{model}"):
        return ModelName(provider, model)
    found = split_model_name(text)
    return found if found.provider is not None else ModelName(infer_provider(found.model), found.model)


def _parse_info(content: Any) -> RunInfo:
    stated = as_object(content)
    info = as_object(stated.get("info"))
    tasks = stated.get("tasks")
    domain = _domain_of(content)
    planned = tuple(
        PlannedTask(task_id, domain)
        for task in (tasks if isinstance(tasks, list) else ())
        if isinstance(task, dict) and (task_id := parse_id(task.get("id"))) is not None
    )
    user = parse_id(as_object(info.get("user_info")).get("llm"))
    return RunInfo(
        "tau2-bench",
        _Sides(content).agent.model,
        parse_id(as_object(info.get("agent_info")).get("implementation")),
        None,
        None,
        planned,
        max(1, min(parse_count(info.get("num_trials")) or 1, 1000)),
        {"user_model": user} if user is not None else {},
    )


def _domain_of(content: Any) -> str | None:
    return parse_id(as_object(as_object(as_object(content).get("info")).get("environment_info")).get("domain_name"))


def _add_simulation(
    attempt: AttemptBuilder,
    simulation: Mapping[str, Any],
    sides: _Sides,
    domain: str | None,
    path: Path,
    threshold: float,
) -> None:
    start, end = parse_timestamp(simulation.get("start_time")), parse_timestamp(simulation.get("end_time"))
    attempt.add_start(start, domain, file_time=get_mtime(path))
    messages = _messages_of(simulation)
    attempt.add_message(None, "system", sides.policy)
    turns = add_conversation(attempt, messages)
    counted = False
    for message in messages:
        counted |= _add_call(attempt, message, sides)
    if not counted:
        _add_sums(attempt, simulation, sides)
    _add_finish(attempt, simulation, end, turns, threshold)


def _messages_of(simulation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages, of a voice run those of its ticks in which something was said or done."""
    messages = simulation.get("messages")
    if isinstance(messages, list):
        return [message for message in messages if isinstance(message, dict)]
    found: list[dict[str, Any]] = []
    ticks = simulation.get("ticks")
    for tick in ticks if isinstance(ticks, list) else ():
        chunk = as_object(as_object(tick).get("agent_chunk"))
        calls = as_object(tick).get("agent_tool_calls") or chunk.get("tool_calls")
        if calls or chunk.get("content"):
            found.append({**chunk, "role": "assistant", "tool_calls": calls})
    return found


def _add_call(attempt: AttemptBuilder, message: Mapping[str, Any], sides: _Sides) -> bool:
    """Add the model call that made a message; return whether there was one: greetings are canned."""
    usage = message.get("usage")
    if message.get("role") not in ("assistant", "user") or not isinstance(usage, dict):
        return False
    name = sides.agent if message["role"] == "assistant" else sides.user
    seconds = message.get("generation_time_seconds")
    at = parse_timestamp(message.get("timestamp"))
    counted, cost = parse_call(usage, provider=name.provider, model=name.model), message.get("cost")
    attempt.add_call(at, name.provider, name.model, counted, duration_seconds=seconds, cost_usd=cost)
    return True


def _add_sums(attempt: AttemptBuilder, simulation: Mapping[str, Any], sides: _Sides) -> None:
    """Add the calls of a simulation whose messages state no tokens: for each side a sum of unknown usage."""
    for name, cost in ((sides.agent, "agent_cost"), (sides.user, "user_cost")):
        if parse_float(simulation.get(cost)) is not None or name.model is not None:
            attempt.add_call(None, name.provider, name.model, UNKNOWN, requests=0, cost_usd=simulation.get(cost))


def _add_finish(
    attempt: AttemptBuilder, simulation: Mapping[str, Any], end: float | None, turns: int, threshold: float
) -> None:
    why = parse_id(simulation.get("termination_reason"))
    more: dict[str, Any] = {
        "steps": turns or None,
        "duration_seconds": simulation.get("duration"),
        "reason": None if why is None else f"ended by {why}",
    }
    stated = simulation.get("reward_info")
    reward = parse_float(stated.get("reward")) if isinstance(stated, dict) else None
    if why in _NOT_EVALUABLE:
        info = as_object(simulation.get("info"))
        attempt.add_finish(end, "infrastructure_error", **more, error=parse_text(info.get("error")) or why)
    elif reward is not None:
        score = 1.0 if abs(reward - 1.0) <= 1.0 - SOLVED else reward
        parts = as_object(as_object(stated).get("reward_breakdown"))
        scores = {str(name): part for name, value in parts.items() if (part := parse_float(value)) is not None}
        attempt.add_scored_finish(end, score, threshold, scores=scores, **more)
    elif why == "agent_error":
        attempt.add_finish(end, "agent_error", **more, error=why)
    else:
        add_unjudged_finish(attempt, end, "the simulation was not evaluated", **more)
