"""Studies of AgentLab, and the experiments of BrowserGym, on which it is built.

``<study>/<date>_<agent>_on_<task>_<seed>/{summary_info.json, experiment.log, screenshot_step_<n>.png, …}``; before
September 2024 six hexadecimal digits follow the seed, and the tokens have other names. Traps of the format:

- Agents, steps and observations lie in pickles. Loading a pickle runs code, so they are not read: only
  ``summary_info.json``, the log and the screenshots are.
- The log gives the times (naive, local) and, at its default level, what the agent thought and did. Where it is
  missing, the start is in the folder's name, and the summary has how long the agent and the environment took.
- A task with another seed is another task, so the seed is part of the task's id; the same one again is an attempt.
- An error that nobody caught may be the agent's or the environment's: the format does not state which.
- People write notes behind the folder's name.
- The agent's name ends with the model's, with ``_`` in the place of ``/``: ``GenericAgent-anthropic_claude-…``.
- Cost is not read: it is 0 where AgentLab knew no price.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from evalgauge.events import PlannedTask
from evalgauge.model_names import infer_provider
from evalgauge.usage import parse_usage
from evalgauge.values import parse_count, parse_float, parse_non_negative, parse_timestamp, sanitize_id
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.parsing import get_mtime, is_directory, list_names, read_bytes, read_object, stat_path
from evalgauge_exporter.sources.sampling import Vote, most_fit

SUMMARY = "summary_info.json"
LOG = "experiment.log"
_NAME = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_(?P<agent>.+?)_on_(?P<task>.+?)_(?P<seed>\d+|None)"
    r"(?:_\d+|_[0-9a-f]{6})?(?: (?!copy\b|\().+)?\Z"
)
_PROVIDER = re.compile(r"(?:anthropic|deepseek|google|meta-llama|mistralai|openai|qwen|x-ai)_(?=\w)", re.IGNORECASE)
_RECORD = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) - \d+ - \S+ - [A-Z]+ - ", re.MULTILINE)
_CALL = re.compile(r"\s*(\w+)\((.*)\)\s*\Z", re.DOTALL)
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ON_ELEMENTS = {"click", "dblclick", "hover", "fill", "select_option", "press", "focus", "clear", "drag_and_drop"}
_TOKENS = {
    "input_tokens": ("stats.cum_input_tokens", "stats.cum_openai_prompt_tokens"),
    "output_tokens": ("stats.cum_output_tokens", "stats.cum_openai_completion_tokens"),
}
"""Where the summary has the tokens: today, and in releases before September 2024."""
MAX_LOG = 16 << 20
UNCAUGHT = "Exception uncaught by agent or environment"


class Episode(NamedTuple):
    """What the name of an experiment's folder states."""

    agent: str
    task_id: str
    domain: str
    started_at: float | None
    """When it began, in Unix seconds."""


def parse_episode(name: str) -> Episode | None:
    """Parse the name of an experiment's folder; None for other folders."""
    found = _NAME.match(name)
    if found is None:
        return None
    parts = found["task"].split(".")
    domain = parts[1] if len(parts) > 2 else parts[0]
    date, _, time = found["time"].partition("_")
    started_at = parse_timestamp(f"{date}T{time.replace('-', ':')}")
    return Episode(sanitize_id(found["agent"]), f"{found['task']}_{found['seed']}", sanitize_id(domain), started_at)


def discover_runs(folder: Path, names: frozenset[str]) -> list[Path]:
    """Return the runs in a folder: itself, or one for each agent of a study with several, named below it."""
    agents = {found.agent for name in names if (found := parse_episode(name)) is not None}
    if not agents or most_fit(folder, _vote) is not True:
        return []
    return [folder] if len(agents) == 1 else [folder / agent for agent in sorted(agents)]


def _vote(folder: Path) -> Vote:
    names = list_names(folder)
    if parse_episode(folder.name) is None:
        return False if names else None
    return bool(names & {SUMMARY, LOG, "exp_args.pkl"}) if names else None


class AgentLabSource(FolderSource):
    """Reads the experiments of one agent in a study."""

    source = "agentlab"
    task_files = (SUMMARY, LOG)

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            place: The study's folder, or below it the name of one of its agents.
            success_threshold: The least reward of a success.
        """
        alone = is_directory(place)
        super().__init__(place if alone else place.parent, success_threshold=success_threshold)
        self._agent = None if alone else place.name
        self._planned: tuple[PlannedTask, ...] = ()
        self._planned_count = 0

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return each experiment's folder by its name; names begin with the time, so attempts are in order."""
        found: dict[str, TaskFiles] = {}
        times: dict[str, int] = {}
        for name in self.list_subfolders(self.folder):
            before = self.known_tasks.get(name)
            if before is None:
                episode = parse_episode(name)
                if episode is None or (self._agent is not None and episode.agent != self._agent):
                    continue
                folder = self.folder / name
                again = times.get(episode.task_id, 0) + 1
                before = TaskFiles(episode.task_id, folder, again, episode.domain)
            times[before.task_id] = before.attempt
            found[name] = before
        return found

    def read_info(self) -> RunInfo:
        """Return the agent and the tasks by the folders' names."""
        first = next(iter(self.known_tasks), None)
        episode = parse_episode(first) if first is not None else None
        if episode is None:
            return RunInfo()
        kind, _, model = episode.agent.partition("-")
        if self._planned_count != len(self.known_tasks):
            self._planned_count = len(self.known_tasks)
            first_attempts = (files for files in self.known_tasks.values() if files.attempt == 1)
            self._planned = tuple(PlannedTask(sanitize_id(files.task_id), files.domain) for files in first_attempts)
        benchmark = sanitize_id(episode.task_id.split(".")[0])
        if (provider := _PROVIDER.match(model)) is not None:
            model = model[provider.end() :]
        return RunInfo(benchmark, model or episode.agent, kind, planned=self._planned)

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the steps in the log and the end in the summary."""
        records = self._read_records(files.folder / LOG)
        summary = read_object(files.folder / SUMMARY, self.report)
        if not records and summary is None:
            return None
        attempt = AttemptBuilder(self.source, files.task_id, files.attempt)
        start = next((at for at, _ in records if at is not None), None)
        if start is None:
            episode = parse_episode(files.folder.name)
            start = episode.started_at if episode is not None else None
        attempt.add_start(start, files.domain, file_time=get_mtime(files.folder))
        below = self.relative_path(files.folder)
        actions = [(at, text) for at, text in records if "action:\n" in text]
        step_count = parse_count((summary or {}).get("n_steps"))
        for index in range(max(len(actions), min(step_count or 0, 10_000))):
            at, text = actions[index] if index < len(actions) else (None, "")
            thought, _, action = text.rpartition("action:\n")
            shot = files.folder / f"screenshot_step_{index}.png"
            attempt.add_step(
                at,
                parse_browser_action(action) if action else {"type": "unknown"},
                reasoning=thought.strip() or None,
                screenshot=f"{below}/{shot.name}" if stat_path(shot) is not None else None,
            )
        if summary is not None:
            self._add_end(attempt, summary, records, step_count)
        return attempt

    def _read_records(self, path: Path) -> list[tuple[float | None, str]]:
        data = read_bytes(path, self.report, MAX_LOG)
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

    def _add_end(
        self,
        attempt: AttemptBuilder,
        summary: dict[str, Any],
        records: list[tuple[float | None, str]],
        steps: int | None,
    ) -> None:
        seconds = [parse_non_negative(summary.get(f"stats.cum_{name}_elapsed")) for name in ("agent", "step")]
        took = None if records or None in seconds else sum(each or 0.0 for each in seconds)
        at = records[-1][0] if records else attempt.latest + (took or 0.0)
        spent = {
            name: parse_count(summary[key])
            for name, keys in _TOKENS.items()
            if (key := next((key for key in keys if key in summary), None)) is not None
        }
        if spent:
            model = self.read_info().model
            attempt.add_call(
                at, infer_provider(model), model, parse_usage(spent), requests=0, cost_usd=summary.get("stats.cum_cost")
            )
        error = summary.get("err_msg")
        error = error if isinstance(error, str) and error else None
        score = parse_float(summary.get("cum_reward"))
        more: dict[str, Any] = {"steps": steps, "error": error, "duration_seconds": took}
        if error is not None and "KeyboardInterrupt" in error:
            attempt.add_finish(at, "interrupted", **more)
        elif error is not None and error.startswith(UNCAUGHT):
            attempt.add_finish(at, "infrastructure_error", **more)
        elif score is None:
            attempt.add_finish(at, "evaluation_error", **more)
        elif error is not None and score < self.threshold:
            attempt.add_finish(at, "agent_error", score=score, **more)
        else:
            attempt.add_scored_finish(at, score, self.threshold, **more)


def parse_browser_action(code: str) -> dict[str, Any]:
    """Parse a BrowserGym action such as ``fill('12', 'text')``; the field ``code`` is the action as it was."""
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
