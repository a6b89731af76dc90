"""Trajectories of SWE-agent: ``<run>/<instance>.traj`` before 1.0, ``<run>/<instance>/<instance>.traj`` since.

Traps:

- ``exit_status: submitted`` says that there is a patch, not that it is right: see ``reports``. With ``submitted
  (exit_cost)`` the patch was taken when the budget was used up.
- Tokens are sums (``tokens_sent``, ``tokens_received``) over ``api_calls`` calls; 0 where the model was not known.
- There are no times, only how long commands took (``execution_time``, since 1.0): the file's time is all there is.
- The model is in ``replay_config`` (a JSON text in the JSON), before 1.0 in ``args.yaml`` beside it, and in the name of
  the folder, under which the predictions go: ``<configuration>__<model>__t-…``, before 1.0 ``<model>__<data
  set>__<configuration>__t-…``.
- With ``attempts`` an instance was tried several times: the rest of the document is of the one that was chosen.
- The last step, ``submit``, counts as a step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalgauge.events import Role
from evalgauge.model_names import ModelName, infer_provider, split_model_name
from evalgauge.usage import UNKNOWN, TokenUsage
from evalgauge.values import parse_count, parse_float, parse_id
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.documents import as_object
from evalgauge_exporter.sources.parsing import get_mtime, parse_json, read_head, read_objects
from evalgauge_exporter.sources.swebench.source import TrajectorySource, find_trajectories

SUFFIX = ".traj"
_HEAD = re.compile(rb'\A\s*\{\s*"(?:attempts|environment|trajectory|history|replay_config)"\s*:')
_FOLDER = re.compile(r"(?:(?P<old>.+?)__.+?__.+?|.+?__(?P<model>.+?))__t-[\d.]+__p-")
_MODEL = re.compile(rb"^\s*model_name:\s*['\"]?([^\s'\"#]+)", re.MULTILINE)


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder is a run."""
    return find_trajectories(folder, names, SUFFIX, _is_trajectory)


def _is_trajectory(path: Path) -> bool:
    head = read_head(path, 1 << 14)
    return _HEAD.match(head) is not None and any(key in head for key in (b'"action"', b'"observation"', b'"role"'))


class SweAgentSource(TrajectorySource):
    """Reads a folder of trajectories."""

    source = "swe_agent"
    suffix = SUFFIX

    def read_predictions(self) -> dict[str, str]:
        """Return what ``preds.json``, or before 1.0 ``all_preds.jsonl``, has."""
        content = self.read_cached(self.folder / "preds.json")
        rows = list(content.values()) if content is not None else []
        rows = rows or read_objects(self.folder / "all_preds.jsonl", self.report)
        return {
            instance: parse_id(row.get("model_name_or_path")) or ""
            for row in rows
            if isinstance(row, dict) and (instance := parse_id(row.get("instance_id"))) is not None
        }

    def has_finished(self, content: Mapping[str, Any]) -> bool:
        """Return whether there is an exit status."""
        return bool(as_object(content.get("info")).get("exit_status"))

    def add_trajectory(self, content: Mapping[str, Any], attempt: AttemptBuilder, path: Path) -> int:
        """Add the steps."""
        self.agent = "swe-agent"
        if self.model.model is None:
            self.model = self._read_model(content)
        messages = list(_list_prompts(content))
        task = next((text for role, text in messages if role == "user"), None)
        attempt.add_start(None, None, task, file_time=get_mtime(path))
        for role, text in messages:
            attempt.add_message(None, role, text)
        trajectory = content.get("trajectory")
        steps = [step for step in (trajectory if isinstance(trajectory, list) else ()) if isinstance(step, dict)]
        for step in steps:
            attempt.add_step(
                None,
                _parse_action(step.get("action")),
                reasoning=step.get("thought") or step.get("response"),
                observation=step.get("observation"),
                env_seconds=step.get("execution_time"),
            )
        return len(steps)

    def _read_model(self, content: Mapping[str, Any]) -> ModelName:
        config = content.get("replay_config")
        if isinstance(config, str):
            try:
                config = parse_json(config.encode("utf-8", "replace"))
            except ValueError:
                config = None
        stated = parse_id(as_object(as_object(as_object(config).get("agent")).get("model")).get("name"))
        if stated is None and (found := _MODEL.search(read_head(self.folder / "args.yaml", 1 << 20))):
            stated = parse_id(found[1].decode("utf-8", "replace"))
        if stated is None and (parts := _FOLDER.match(self.folder.absolute().name)):
            stated = parse_id(parts["old"] or parts["model"])
        name = split_model_name(stated)
        return ModelName(name.provider or infer_provider(name.model), name.model)

    def add_sum(self, content: Mapping[str, Any], attempt: AttemptBuilder, steps: int) -> None:
        """Add one call for all that were made: their tokens and their money are sums."""
        stats = as_object(as_object(content.get("info")).get("model_stats"))
        tokens = TokenUsage(
            parse_count(stats.get("tokens_sent")), None, None, parse_count(stats.get("tokens_received"))
        )
        known = bool(tokens.input or tokens.output)
        if known or steps or parse_count(stats.get("api_calls")) or parse_float(stats.get("instance_cost")):
            attempt.add_call(
                None,
                self.model.provider,
                self.model.model,
                tokens if known else UNKNOWN,
                requests=parse_count(stats.get("api_calls")) or 0,
                cost_usd=stats.get("instance_cost"),
            )


def _list_prompts(content: Mapping[str, Any]) -> Iterator[tuple[Role, str]]:
    """Yield what the agent was told before it answered, but for the demonstration of how a task is done."""
    history = content.get("history")
    for message in history if isinstance(history, list) else ():
        role = as_object(message).get("role")
        if role not in ("system", "user"):
            return
        text = message.get("content")
        if isinstance(text, list):
            text = "\n".join(str(as_object(part).get("text") or "") for part in text)
        if isinstance(text, str) and not message.get("is_demo"):
            yield role, text


def _parse_action(action: object) -> dict[str, Any]:
    code = action.strip()[:20_000] if isinstance(action, str) else ""
    word = code.split(None, 1)[0] if code else ""
    kind = word if re.fullmatch(r"[a-z_]{1,40}", word) else "bash"
    return {"type": "done" if kind == "submit" else kind if code else "unknown", "code": code}
