"""Studies of AgentLab, and of BrowserGym's experiments, which it goes back to.

``<study>/<date>_<agent>_on_<task>_<seed>/{summary_info.json, experiment.log, screenshot_step_<n>.png, …}``. What to
know of them:

- Agents, steps and observations lie in pickles. Those run code when they are loaded, so they are not read: what is
  read is ``summary_info.json``, the log and the pictures.
- The log gives the times (naive, local) and, at the level at which it is kept by default, what the agent thought and
  did.
- A task with another seed is another episode, so the seed is part of the task's id; the same one again is an attempt.
- An error that nobody caught may be the agent's or the environment's, which the format can't tell.
- Cost is not read: it is 0 where the format knew no price.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from evalgauge.events import PlannedTask
from evalgauge.usage import parse_usage
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.layout import peek
from evalgauge_exporter.sources.parsing import (
    file_time,
    parse_count,
    parse_float,
    parse_timestamp,
    read_bytes,
    read_object,
    sanitize_id,
)
from evalgauge_exporter.sources.providers import provider_of

SUMMARY = "summary_info.json"
LOG = "experiment.log"
_NAME = re.compile(
    r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_(?P<agent>.+?)_on_(?P<task>.+?)_(?P<seed>\d+|None)(?:_(?P<again>\d+))?\Z"
)
_RECORD = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) - \d+ - \S+ - [A-Z]+ - ", re.MULTILINE)
_CALL = re.compile(r"\s*(\w+)\((.*)\)\s*\Z", re.DOTALL)
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ON_ELEMENTS = {"click", "dblclick", "hover", "fill", "select_option", "press", "focus", "clear", "drag_and_drop"}
LONGEST_LOG = 16 << 20
UNCAUGHT = "Exception uncaught by agent or environment"


class Episode(NamedTuple):
    """What the name of an experiment's folder says."""

    agent: str
    task_id: str
    domain: str


def episode_of(name: str) -> Episode | None:
    """What an experiment's folder is about; None for other folders."""
    found = _NAME.match(name)
    if found is None:
        return None
    parts = found["task"].split(".")
    domain = parts[1] if len(parts) > 2 else parts[0]
    return Episode(sanitize_id(found["agent"]), f"{found['task']}_{found['seed']}", sanitize_id(domain))


def discover_runs(folder: Path, names: frozenset[str]) -> list[Path]:
    """The runs in a folder: itself, or where several agents are in one study one for each, named below it."""
    agents = {found.agent for name in names if (found := episode_of(name)) is not None}
    if not agents or not any(_is_experiment(below) for below in peek(folder)):
        return []
    return [folder] if len(agents) == 1 else [folder / agent for agent in sorted(agents)]


def _is_experiment(folder: Path) -> bool:
    return any((folder / name).exists() for name in (SUMMARY, LOG, "exp_args.pkl"))


class AgentLabSource(FolderSource):
    """The experiments of one agent in a study."""

    source = "agentlab"
    task_files = (SUMMARY, LOG)

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """``place``: the study's folder, or below it the name of one of its agents."""
        alone = place.is_dir()
        super().__init__(place if alone else place.parent, success_threshold=success_threshold)
        self._agent = None if alone else place.name
        self._planned: tuple[PlannedTask, ...] = ()
        self._planned_of = 0

    def tasks(self) -> dict[str, TaskFiles]:
        """Each experiment's folder by its name; the names begin with the time, so attempts are in their order."""
        found: dict[str, TaskFiles] = {}
        times: dict[str, int] = {}
        for name in self.subfolders(self.folder):
            before = self.seen.get(name)
            if before is None:
                episode = episode_of(name)
                if episode is None or (self._agent is not None and episode.agent != self._agent):
                    continue
                folder = self.folder / name
                again = times.get(episode.task_id, 0) + 1
                before = TaskFiles(episode.task_id, folder, again, episode.domain)
            times[before.task_id] = before.attempt
            found[name] = before
        return found

    def info(self) -> RunInfo:
        """The agent and the tasks by the folders' names."""
        first = next(iter(self.seen), None)
        episode = episode_of(first) if first is not None else None
        if episode is None:
            return RunInfo()
        kind, _, model = episode.agent.partition("-")
        if self._planned_of != len(self.seen):
            self._planned_of = len(self.seen)
            first_attempts = (files for files in self.seen.values() if files.attempt == 1)
            self._planned = tuple(PlannedTask(sanitize_id(files.task_id), files.domain) for files in first_attempts)
        benchmark = sanitize_id(episode.task_id.split(".")[0])
        return RunInfo(benchmark, model or episode.agent, kind, planned=self._planned)

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """The steps that the log tells and the end that the summary tells."""
        records = self._records(files.folder / LOG)
        summary = read_object(files.folder / SUMMARY, self.report)
        if not records and summary is None:
            return None
        tale = AttemptBuilder(self.source, files.task_id, files.attempt)
        start = next((at for at, _ in records if at is not None), None)
        if start is None:
            start = file_time(files.folder / SUMMARY) or file_time(files.folder)
        tale.started(start, files.domain)
        below = self.relative(files.folder)
        actions = [(at, said) for at, said in records if "action:\n" in said]
        number_of_steps = parse_count((summary or {}).get("n_steps"))
        for index in range(max(len(actions), min(number_of_steps or 0, 10_000))):
            at, said = actions[index] if index < len(actions) else (None, "")
            thought, _, action = said.rpartition("action:\n")
            shot = files.folder / f"screenshot_step_{index}.png"
            tale.step(
                at,
                browser_action(action) if action else {"type": "unknown"},
                reasoning=thought.strip() or None,
                screenshot=f"{below}/{shot.name}" if shot.exists() else None,
            )
        if summary is not None:
            self._end(tale, files, summary, records, number_of_steps)
        return tale

    def _records(self, path: Path) -> list[tuple[float | None, str]]:
        data = read_bytes(path, self.report, LONGEST_LOG)
        if not data:
            return []
        text = data.decode("utf-8", "replace").replace("\r\n", "\n")
        text = text[: text.rfind("\n") + 1]  # a line without its end is still being written
        heads = list(_RECORD.finditer(text))
        ends = [head.start() for head in heads[1:]] + [len(text)]
        return [
            (parse_timestamp(f"{head[1]}.{head[2]}"), text[head.end() : end])
            for head, end in zip(heads, ends, strict=True)
        ]

    def _end(
        self,
        tale: AttemptBuilder,
        files: TaskFiles,
        summary: dict[str, Any],
        records: list[tuple[float | None, str]],
        steps: int | None,
    ) -> None:
        at = records[-1][0] if records else file_time(files.folder / SUMMARY)
        spent = {
            name: parse_count(summary.get(f"stats.cum_{name}"))
            for name in ("input_tokens", "output_tokens")
            if f"stats.cum_{name}" in summary
        }
        if spent:
            model = self.info().model
            tale.call(at, provider_of(model), model, parse_usage(spent))
        error = summary.get("err_msg")
        error = error if isinstance(error, str) and error else None
        score = parse_float(summary.get("cum_reward"))
        more: dict[str, Any] = {"steps": steps, "error": error}
        if error is not None and "KeyboardInterrupt" in error:
            tale.finished(at, "interrupted", **more)
        elif error is not None and error.startswith(UNCAUGHT):
            tale.finished(at, "infrastructure_error", **more)
        elif score is None:
            tale.finished(at, "evaluation_error", **more)
        elif error is not None and score < self.threshold:
            tale.finished(at, "agent_error", score=score, **more)
        else:
            tale.measured(at, score, self.threshold, **more)


def browser_action(code: str) -> dict[str, Any]:
    """The fields of a BrowserGym action such as ``fill('12', 'text')``; ``code`` is the action as it was."""
    code = code.strip()[:20_000]
    found = _CALL.match(code)
    if found is None:
        return {"type": "code", "code": code}
    quoted = [first or second for first, second in _QUOTED.findall(found[2])]
    fields: dict[str, Any] = {"type": found[1], "code": code}
    if found[1] in _ON_ELEMENTS and quoted:
        fields["bid"] = quoted.pop(0)
    if quoted:
        fields["key" if found[1] in ("press", "keyboard_press") else "text"] = quoted[0]
    return fields
