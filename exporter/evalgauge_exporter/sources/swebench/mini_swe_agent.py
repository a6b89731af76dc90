"""Trajectories of mini-swe-agent: ``<run>/{preds.json, <instance>/<instance>.traj.json}``, or one file alone.

Formats ``mini-swe-agent-1`` and ``-1.1`` (from release 2.0 on). Traps:

- ``exit_status: Submitted`` says that there is a patch, not that it is right: see ``reports``. Forks leave it out.
- From 2.0 on the file is rewritten after each step, before that it appears at the end.
- Times stand in ``extra.timestamp`` of each message, in forks in ``timestamp``, in others nowhere.
- Tokens are in the answers that were kept (``extra.response.usage``), else only ``api_calls`` and the money are known.
  ``instance_cost`` is 0 for models without a known price.
- Commands are ``extra.actions``, tool calls, or a block of code in the text. The last one only says that the agent is
  done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalgauge.events import LlmCall
from evalgauge.model_names import ModelName, infer_provider, split_model_name
from evalgauge.usage import UNKNOWN, parse_call
from evalgauge.values import parse_count, parse_float, parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.documents import as_object
from evalgauge_exporter.sources.parsing import get_mtime, parse_json, read_head
from evalgauge_exporter.sources.swebench.source import TrajectorySource, find_trajectories

SUFFIX = ".traj.json"
PREDICTIONS = "preds.json"
_HEAD = re.compile(rb'\A\s*\{\s*"(?:info|messages|trajectory_format|instance_id)"\s*:')
_FORMAT = re.compile(
    rb'"(?:trajectory_format"\s*:\s*"mini-swe-agent-1|mini_version"\s*:)|"model_stats"\s*:\s*\{\s*"instance_cost"'
)
_BLOCK = re.compile(r"```[\w-]*\s*\n(.*?)\n?```", re.DOTALL)
_DONE = re.compile(r"COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT|MINI_SWE_AGENT_FINAL_OUTPUT")
_TAIL = 1 << 13


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder is a run."""
    return find_trajectories(folder, names, SUFFIX, _is_trajectory)


def _is_trajectory(path: Path) -> bool:
    head = read_head(path, _TAIL)
    if _HEAD.match(head) is None:
        return False
    if _FORMAT.search(head):
        return True
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return _FORMAT.search(file.read(_TAIL)) is not None


class MiniSweAgentSource(TrajectorySource):
    """Reads a folder of trajectories."""

    source = "mini_swe_agent"
    suffix = SUFFIX

    def read_predictions(self) -> dict[str, str]:
        """Return what ``preds.json`` has."""
        content = self.read_cached(self.folder / PREDICTIONS) or {}
        return {
            instance: parse_id(entry.get("model_name_or_path")) or ""
            for instance, entry in content.items()
            if isinstance(entry, dict)
        }

    def has_finished(self, content: Mapping[str, Any]) -> bool:
        """Return whether there is an exit status, or a submission."""
        info = as_object(content.get("info"))
        return bool(info.get("exit_status") or info.get("submission"))

    def add_trajectory(self, content: Mapping[str, Any], attempt: AttemptBuilder, path: Path) -> int:
        """Add a step for each answer of the model."""
        config = as_object(as_object(content.get("info")).get("config"))
        self._note_config(config)
        messages = content.get("messages")
        messages = [each for each in (messages if isinstance(messages, list) else ()) if isinstance(each, dict)]
        times = [_time_of(message) for message in messages]
        start = next((at for at in times if at is not None), None)
        task = next((_text_of(message) for message in messages if message.get("role") == "user"), None)
        limit = parse_count(as_object(config.get("agent")).get("step_limit"))
        attempt.add_start(start, None, task, limit or None, file_time=get_mtime(path))
        answers = [index for index, message in enumerate(messages) if _is_answer(message)]
        ends = [*answers[1:], len(messages)]
        if answers and answers[-1] == len(messages) - 1 and not self.has_finished(content):
            answers.pop()  # what the agent sees then is still to come
        for message, at in zip(messages[: answers[0] if answers else None], times, strict=False):
            if message.get("role") in ("system", "user"):
                attempt.add_message(at, message["role"], _text_of(message))
        for index, following in zip(answers, ends, strict=False):
            message, at, text = messages[index], times[index], _text_of(messages[index])
            seen = "\n".join(filter(None, map(_text_of, messages[index + 1 : following])))
            attempt.add_step(at, _parse_action(message, text), reasoning=text, observation=seen)
            self._add_call(attempt, message, at)
        return len(answers)

    def _note_config(self, config: Mapping[str, Any]) -> None:
        model = config.get("model")
        name = split_model_name(parse_id(as_object(model).get("model_name") if isinstance(model, dict) else model))
        if name.model is not None and self.model.model is None:
            self.model = ModelName(name.provider or infer_provider(name.model), name.model)
        agent = config.get("agent")
        self.agent = self.agent or (parse_id(agent) if isinstance(agent, str) else None) or "mini-swe-agent"

    def _add_call(self, attempt: AttemptBuilder, message: Mapping[str, Any], at: float | None) -> None:
        """Add the model call that made a message, where its answer was kept."""
        response = as_object(as_object(message.get("extra")).get("response")) or (
            message if message.get("object") == "response" else {}
        )
        usage = response.get("usage")
        if not isinstance(usage, dict):
            return
        model = self.model.model or parse_id(response.get("model"))
        cost = as_object(message.get("extra")).get("cost")
        usage = {"service_tier": response.get("service_tier"), **usage}
        counted = parse_call(usage, provider=self.model.provider, model=model)
        attempt.add_call(at, self.model.provider, model, counted, cost_usd=cost)

    def add_sum(self, content: Mapping[str, Any], attempt: AttemptBuilder, steps: int) -> None:
        """Add one call for all that were made, of which only their number and the money are known."""
        if any(isinstance(event, LlmCall) for event in attempt.events):
            return
        stats = as_object(as_object(content.get("info")).get("model_stats"))
        if steps or parse_count(stats.get("api_calls")) or parse_float(stats.get("instance_cost")):
            attempt.add_call(
                None,
                self.model.provider,
                self.model.model,
                UNKNOWN,
                requests=parse_count(stats.get("api_calls")) or steps,
                cost_usd=stats.get("instance_cost"),
            )


def _is_answer(message: Mapping[str, Any]) -> bool:
    """Return whether the model said this; the second form is that of OpenAI's responses."""
    return message.get("role") == "assistant" or message.get("object") == "response"


def _time_of(message: Mapping[str, Any]) -> float | None:
    at = parse_timestamp(as_object(message.get("extra")).get("timestamp"))
    return at if at is not None else parse_timestamp(message.get("timestamp") or message.get("created_at"))


def _text_of(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    if isinstance(content, str):
        return content or None
    parts = [part.get("text") for part in (content if isinstance(content, list) else ()) if isinstance(part, dict)]
    return "\n".join(part for part in parts if isinstance(part, str)) or None


def _parse_action(message: Mapping[str, Any], text: str | None) -> dict[str, Any]:
    """Return the command of a message, or what it says where it has none."""
    actions = as_object(message.get("extra")).get("actions")
    commands = [
        command
        for action in (actions if isinstance(actions, list) else ())
        if isinstance(command := action.get("command") if isinstance(action, dict) else action, str)
    ]
    calls = message.get("tool_calls")
    for call in calls if not commands and isinstance(calls, list) else ():
        arguments = as_object(as_object(call).get("function")).get("arguments")
        try:
            parsed = parse_json(arguments.encode("utf-8", "replace")) if isinstance(arguments, str) else arguments
        except ValueError:
            continue
        if isinstance(parsed, dict) and isinstance(parsed.get("command"), str):
            commands.append(parsed["command"])
    if not commands and text:
        commands = _BLOCK.findall(text)[-1:]
    if not commands:
        return {"type": "message", "text": (text or "")[:4000]}
    code = "\n".join(commands)[:20_000]
    return {"type": "done" if _DONE.search(code) else "bash", "code": code}
