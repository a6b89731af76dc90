"""Results of tau-bench: ``<strategy>-<model>-<temperature>_range_<a>-<b>_user-<model>-<strategy>_<time>.json``.

A list of ``{task_id, reward, info, traj, trial}``. Traps:

- ``trial`` counts from 0: it is the attempt, less one.
- An exception, whosever fault it was, is written as a reward of 0 with ``info.error`` and no trajectory, which the
  benchmark counts as a failure. Nothing was measured then: here it is an infrastructure error.
- The file states neither model nor times: the model is in its name, the time too, but without its year. That is taken
  from the time of the file where the two agree to within a week, else no time is known but the file's.
- Tokens are not recorded, and of the money only what the simulated user cost. The answers in an attempt are counted.
- The file is read and rewritten as a whole at each end of an attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from evalgauge.model_names import infer_provider
from evalgauge.usage import UNKNOWN
from evalgauge.values import parse_count, parse_float, parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.documents import DocumentSource, Record
from evalgauge_exporter.sources.folders import RunInfo
from evalgauge_exporter.sources.parsing import get_mtime, parse_json, read_head

SUFFIX = ".json"
_HEAD = re.compile(
    rb'\A\s*\[\s*\{\s*"task_id"\s*:\s*"?[^",\s]{1,80}"?\s*,\s*"reward"\s*:\s*[-\d.eE]+\s*,\s*"info"\s*:\s*\{'
)
_NAME = re.compile(
    r"(?P<strategy>tool-calling|few-shot|[a-z]+(?:-tool-calling)?)-(?P<model>.+)-\d+\.\d+_range_-?\d+--?\d+"
    r"_user-(?P<user>.+)-(?P<user_strategy>[a-z]+)_(?P<time>\d{10})\Z"
)
_WEEK = 7 * 86400.0
SOLVED = 1.0 - 1e-6
"""The benchmark's own bound: rewards are products of floats."""


def matches_file(path: Path) -> bool:
    """Return whether a file holds such results."""
    return _HEAD.match(read_head(path, 1 << 12)) is not None


class TauBenchSource(DocumentSource):
    """Reads one file of results."""

    source = "tau_bench"

    def parse_info(self, content: Any) -> RunInfo:
        """Return what the file's name states."""
        name = _NAME.match(self.path.stem)
        trials = [parse_count(row.get("trial")) or 0 for row in _rows(content)]
        return RunInfo(
            "tau-bench",
            parse_id(name["model"]) if name else None,
            parse_id(name["strategy"]) if name else None,
            self._start(),
            attempts=max(1, min(max(trials, default=0) + 1, 1000)),
            tags={"user_model": name["user"]} if name else {},
        )

    def parse_records(self, content: Any) -> Iterable[Record]:
        """Return the attempts: each trial at a task."""
        for row in _rows(content):
            task_id = parse_id(row.get("task_id"))
            if task_id is not None:
                yield Record(task_id, (parse_count(row.get("trial")) or 0) + 1, row)

    def add_events(self, record: Record, attempt: AttemptBuilder) -> None:
        """Add the turns of the agent, the model calls as far as they are known, and the reward."""
        row = record.content
        info = row.get("info")
        info = info if isinstance(info, dict) else {}
        task = info.get("task")
        instruction = task.get("instruction") if isinstance(task, dict) else None
        attempt.add_start(self._start(), record.domain, instruction, file_time=get_mtime(self.path))
        messages = row.get("traj")
        messages = [each for each in (messages if isinstance(messages, list) else ()) if isinstance(each, dict)]
        turns = add_conversation(attempt, messages)
        name = _NAME.match(self.path.stem)
        if turns:
            model = parse_id(name["model"]) if name else None
            attempt.add_call(None, infer_provider(model), model, UNKNOWN, requests=turns)
        if parse_float(info.get("user_cost")):
            user = parse_id(name["user"]) if name else None
            said = sum(message.get("role") == "user" for message in messages)
            attempt.add_call(None, infer_provider(user), user, UNKNOWN, requests=said, cost_usd=info["user_cost"])
        reward = parse_float(row.get("reward"))
        if info.get("error"):
            attempt.add_finish(None, "infrastructure_error", error=info["error"])
        elif reward is None:
            attempt.add_finish(None, "evaluation_error", error="the result states no reward")
        else:
            score = 1.0 if abs(reward - 1.0) <= 1.0 - SOLVED else reward
            target = _format_target(task if isinstance(task, dict) else {})
            attempt.add_scored_finish(None, score, self.threshold, steps=turns or None, target=target)

    def _start(self) -> float | None:
        """Return when the run started: the time in the file's name, in the year of the file; None where they differ."""
        name, written = _NAME.match(self.path.stem), get_mtime(self.path)
        if name is None or written is None:
            return None
        try:
            year = datetime.fromtimestamp(written).year
            times = [
                datetime.strptime(f"{each}{name['time']}", "%Y%m%d%H%M%S").timestamp() for each in (year, year - 1)
            ]
        except (ValueError, OverflowError, OSError):
            return None
        return next((at for at in times if 0 <= written - at <= _WEEK), None)


def add_conversation(attempt: AttemptBuilder, messages: list[dict[str, Any]]) -> int:
    """Add what an agent was told, then its turns, each with what it got to see after it.

    Args:
        attempt: Takes the events.
        messages: The conversation, in the form of OpenAI's API or of tau2-bench.

    Returns:
        The number of turns.
    """
    turns = [index for index, message in enumerate(messages) if message.get("role") == "assistant"]
    for message in messages[: turns[0] if turns else None]:
        if message.get("role") in ("system", "user"):
            attempt.add_message(parse_timestamp(message.get("timestamp")), message["role"], message.get("content"))
    for index, following in zip(turns, [*turns[1:], len(messages)], strict=False):
        message = messages[index]
        seen = [each.get("content") for each in messages[index + 1 : following]]
        observation = "\n".join(text for text in seen if isinstance(text, str))
        actions = parse_turn(message)
        for position, action in enumerate(actions):
            attempt.add_step(
                parse_timestamp(message.get("timestamp")),
                action,
                observation=observation if position == len(actions) - 1 else None,
                think_seconds=message.get("generation_time_seconds") if position == 0 else None,
            )
    return len(turns)


def _format_target(task: Mapping[str, Any]) -> str | None:
    """Return the actions that would have been right, and what the user should have been told."""
    wanted = {key: task[key] for key in ("actions", "outputs") if task.get(key)}
    return to_json(wanted, inf_nan_mode="constants").decode() if wanted else None


def parse_turn(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the actions of an assistant's message: each tool that it calls, else what it says to the user."""
    calls = message.get("tool_calls")
    actions: list[dict[str, Any]] = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = parse_json(arguments.encode("utf-8", "replace"))
            except ValueError:
                arguments = {"arguments": arguments}
        arguments = arguments if isinstance(arguments, dict) else {}
        actions.append({**arguments, "type": parse_id(function.get("name")) or "unknown"})
    if not actions:
        content = message.get("content")
        actions.append({"type": "message", "text": content[:4000] if isinstance(content, str) else ""})
    return actions


def _rows(content: Any) -> list[dict[str, Any]]:
    return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []
