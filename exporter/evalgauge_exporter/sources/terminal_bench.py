"""Runs of Terminal-Bench 1, the ``tb`` command. (Terminal-Bench 2 runs on Harbor: ``atif``.)

``<run>/{run_metadata.json, results.json}`` and ``<run>/<task>/<trial>/results.json``. Traps:

- ``is_resolved`` is null where the tests could not be judged (``test_timeout``, ``parse_error``). The benchmark's own
  accuracy counts these as not resolved; here they are evaluation errors.
- ``failure_mode`` is not the outcome: a trial that ran into ``agent_timeout`` may be resolved, the tests decide.
- Token counts are the sum over a trial, and 0 where the agent reports none, as most installed agents do: unknown.
- The steps are in terminal recordings only, so their number is unknown.
- ``start_time`` of the run lies before the data set is fetched: the run starts here with its first trial.
- ``results.json`` of the run repeats all trials. It is rewritten at each end of a trial, so it is read only once the
  run has ended, for trials whose own results are missing. Published results may lack it, or the metadata, or both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalgauge.events import EndStatus, PlannedTask
from evalgauge.model_names import split_model_name
from evalgauge.usage import UNKNOWN, TokenUsage
from evalgauge.values import parse_count, parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.parsing import get_mtime, list_names, read_head, read_object
from evalgauge_exporter.sources.sampling import Vote, most_fit

METADATA = "run_metadata.json"
RESULTS = "results.json"
_TRIAL = re.compile(r".+\.(\d+)-of-\d+\.")
_ALL_RESULTS = re.compile(rb'"results"\s*:\s*\[')
_TRIAL_KEYS = (b'"trial_name"', b'"is_resolved"', b'"failure_mode"')
_AGENT_ERRORS = frozenset(
    {"unknown_agent_error", "fatal_llm_parse_error", "context_length_exceeded", "output_length_exceeded"}
)
_MODELLESS_AGENTS = frozenset({"oracle", "nop"})


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder is one run, by the files of the run itself."""
    if METADATA in names:
        head = read_head(folder / METADATA, 1 << 14)
        if b'"agent_name"' in head and (b'"dataset_name"' in head or b'"dataset_path"' in head):
            return True
    if RESULTS not in names:
        return False
    head = read_head(folder / RESULTS, 1 << 16)
    return _ALL_RESULTS.search(head) is not None and all(key in head for key in _TRIAL_KEYS)


def fits(folder: Path, _names: frozenset[str]) -> bool:
    """Return whether most folders in most folders of a folder are trials, as in results without the run's own files."""
    return most_fit(folder, lambda task: most_fit(task, _vote)) is True


def _vote(trial: Path) -> Vote:
    if not list_names(trial):
        return None
    head = read_head(trial / RESULTS, 1 << 16)
    return _TRIAL.match(trial.name) is not None and all(key in head for key in _TRIAL_KEYS)


class TerminalBenchSource(FolderSource):
    """Reads one run."""

    source = "terminal_bench"
    run_files = (METADATA, RESULTS)
    task_files = (RESULTS,)
    levels = 2

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return the trials by the names of their folders, and those that only the run's own results have."""
        found: dict[str, TaskFiles] = {}
        for task in self.list_subfolders(self.folder):
            for name in self.list_subfolders(self.folder / task):
                if (trial := _TRIAL.match(name)) is not None:
                    before = self.known_tasks.get(name)
                    found[name] = before or TaskFiles(task, self.folder / task / name, int(trial[1]))
        if self._has_ended():
            for name, result in self._published().items():
                trial, task_id = _TRIAL.match(name), parse_id(result.get("task_id"))
                if task_id is not None and name not in found:
                    found[name] = TaskFiles(task_id, self.folder / task_id / name, int(trial[1]) if trial else 1)
        return found

    def read_info(self) -> RunInfo:
        """Return what ``run_metadata.json`` states."""
        metadata = self.read_cached(self.folder / METADATA) or {}
        ids = metadata.get("task_ids")
        ids = ids if isinstance(ids, list) else []
        planned = tuple(PlannedTask(task_id) for each in ids if (task_id := parse_id(each)) is not None)
        path = metadata.get("dataset_path")
        path = Path(path).name if isinstance(path, str) else None
        benchmark = parse_id(metadata.get("dataset_name")) or parse_id(path)
        version = parse_id(metadata.get("dataset_version"))
        return RunInfo(
            benchmark or "terminal-bench",
            split_model_name(parse_id(metadata.get("model_name"))).model,
            parse_id(metadata.get("agent_name")),
            None,
            None if planned else parse_count(metadata.get("dataset_size")),
            planned,
            max(1, min(parse_count(metadata.get("n_attempts")) or 1, 1000)),
            {"dataset_version": version} if version is not None else {},
        )

    def final_status(self) -> EndStatus | None:
        """Return ``completed`` once the run states when it ended."""
        metadata = self.read_cached(self.folder / METADATA) or {}
        return "completed" if parse_timestamp(metadata.get("end_time")) is not None else None

    def _has_ended(self) -> bool:
        """Return whether the run states that it has ended, or nothing of itself: then these are published results."""
        return self.read_cached(self.folder / METADATA) is None or self.final_status() is not None

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the start, the tokens and the end of a trial; the start alone while it is running."""
        result: Mapping[str, Any] | None = read_object(files.folder / RESULTS, self.report)
        if result is None and self._has_ended():
            result = self._published().get(files.folder.name)
        attempt = AttemptBuilder(self.source, files.task_id, files.attempt)
        if result is None:
            if self._has_ended():
                return None  # nothing says when it started, or what became of it
            attempt.add_start(None, file_time=get_mtime(files.folder))
            return attempt
        start = parse_timestamp(result.get("trial_started_at"))
        attempt.add_start(start, None, result.get("instruction"), file_time=get_mtime(files.folder / RESULTS))
        self._add_tokens(attempt, result)
        _add_finish(attempt, result)
        return attempt

    def _add_tokens(self, attempt: AttemptBuilder, result: Mapping[str, Any]) -> None:
        """Add the model calls of a trial, of which there is only a sum."""
        metadata = self.read_cached(self.folder / METADATA) or {}
        if metadata.get("agent_name") in _MODELLESS_AGENTS:
            return
        tokens = TokenUsage(
            parse_count(result.get("total_input_tokens")), None, None, parse_count(result.get("total_output_tokens"))
        )
        name = split_model_name(parse_id(metadata.get("model_name")))
        at = parse_timestamp(result.get("agent_ended_at"))
        known = tokens if tokens.input or tokens.output else UNKNOWN
        attempt.add_call(at, name.provider, name.model, known, requests=0)

    def _published(self) -> dict[str, Mapping[str, Any]]:
        """Return the trials in the run's own results, by name."""
        results = (self.read_cached(self.folder / RESULTS) or {}).get("results")
        results = [result for result in (results if isinstance(results, list) else ()) if isinstance(result, dict)]
        names = [result.get("trial_name") for result in results]
        return {
            name: result
            for name, result in zip(names, results, strict=True)
            if isinstance(name, str) and name and "/" not in name
        }


def _add_finish(attempt: AttemptBuilder, result: Mapping[str, Any]) -> None:
    end = parse_timestamp(result.get("trial_ended_at"))
    mode = parse_id(result.get("failure_mode")) or "unset"
    error = None if mode in ("unset", "none") else mode
    tests = result.get("parser_results")
    tests = tests if isinstance(tests, dict) else {}
    failed = [str(name) for name, status in tests.items() if status != "passed"]
    reason = f"{len(failed)} of {len(tests)} tests failed: {', '.join(failed)}" if failed else None
    resolved = result.get("is_resolved")
    if resolved is True:
        attempt.add_finish(end, "success", error=error, reason=reason)
    elif mode == "agent_installation_failed":
        attempt.add_finish(end, "infrastructure_error", error=error, reason=reason)
    elif mode in _AGENT_ERRORS:
        attempt.add_finish(end, "agent_error", error=error, reason=reason)
    elif resolved is False:
        attempt.add_finish(end, "failure", error=error, reason=reason)
    else:
        attempt.add_finish(end, "evaluation_error", error=f"no verdict of the tests: {mode}", reason=reason)
