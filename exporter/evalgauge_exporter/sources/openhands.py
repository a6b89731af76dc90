"""Results of OpenHands: ``output.jsonl``, a line for each instance, and of its resolver, a line for each issue.

``metadata.json`` may lie beside it, and what judged it: ``output.swebench_eval.jsonl``, ``report.json``,
``output.report.json``. Traps:

- A line appears when its instance has ended. Lines hold the whole history: they may have many megabytes.
- ``test_result`` of SWE-bench is the patch. Whether it is right says ``test_result.report``, in older releases
  ``report``, a file beside it, or nothing yet. The resolver's ``success`` is a model's opinion, and all there is.
- ``accumulated_cost`` is 0 for models without a known price.
- ``token_usages`` has the tokens of each call; ``prompt_tokens`` holds the cached ones. Before there were such, the
  history has the answers to the calls that used a tool, and ``response_latencies`` their ids in the order of ``costs``.
  The resolver has only the money of each call: its tokens are unknown.
- Lines of old resolvers have ``issue``, ``history`` and ``metrics`` as texts in Python's notation.
- Times are naive and local. The resolver states none.
- ``history`` is a list of events, of pairs (action, observation), or since 1.0 of events with a ``kind``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalgauge.events import Role
from evalgauge.model_names import ModelName, infer_provider, split_model_name
from evalgauge.usage import UNKNOWN, parse_usage
from evalgauge.values import parse_count, parse_float, parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.base import ReadResult
from evalgauge_exporter.sources.documents import add_unjudged_finish, as_object, digest_files
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.parsing import (
    FileFingerprint,
    fingerprint,
    get_mtime,
    is_regular_file,
    parse_json,
    read_head,
)
from evalgauge_exporter.sources.swebench.reports import Reports, Verdict

SUFFIX = ".jsonl"
OUTPUT = "output.jsonl"
_INSTANCE = re.compile(
    rb'\A\s*\{\s*"instance_id"\s*:\s*(?:"[^"]*"|\d+)\s*,\s*(?:"attempt"\s*:\s*\d+\s*,\s*)?"(?P<next>\w+)"\s*:'
)
_NEXT = frozenset({b"test_result", b"instruction"})
_OLD_NEXT = frozenset({b"instance", b"swe_instance", b"git_patch", b"task"})
"""What follows the instance in a line, and what did in releases before 0.10; data sets have such keys too."""
_ISSUE = re.compile(rb'\A\s*\{\s*"issue"\s*:')
_JUDGED = "swebench_eval"
_MAX_LINE = 256 << 20
_MAX_LITERAL = 4 << 20
_BLOCK = 4 << 20
_VERDICT_KEYS = ("resolved", "success", "score", "correct", "passed", "result")
_AGENT_ERRORS = re.compile(
    r"maximum iteration|stuck in (?:a )?loop|AgentStuckInLoop|max(?:imum)? budget", re.IGNORECASE
)
_ANSWER_KEYS = ("model_answer", "git_patch")
_NO_ACTIONS = frozenset({"system", "recall", "change_agent_state", "condensation"})
_NO_FIELDS = frozenset({"thought", "action", "id", "timestamp", "source", "message", "cause"})
_MAX_CALLS = 100_000


def matches_file(path: Path) -> bool:
    """Return whether a file holds such results; of several beside each other only ``output.jsonl`` is a run."""
    if path.name != OUTPUT and (_JUDGED in path.name or is_regular_file(path.parent / OUTPUT)):
        return False
    head = read_head(path, 1 << 12)
    if found := _INSTANCE.match(head):
        more = read_head(path, 1 << 20)
        keys = [key in more for key in (b'"history"', b'"metadata"')]
        if found["next"] in _NEXT:
            return any(keys) or len(more) == 1 << 20
        return found["next"] in _OLD_NEXT and all(keys)
    return _ISSUE.match(head) is not None and b'"git_patch"' in read_head(path, 1 << 18)


class OpenHandsSource(FolderSource):
    """Reads one file of results."""

    source = "openhands"
    task_files = ()
    levels = 0

    def __init__(self, place: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            place: The file.
            success_threshold: The least score of a success, where the benchmark gives scores only.
        """
        super().__init__(place.parent, success_threshold=success_threshold)
        self.path = place
        self._index: list[tuple[int, int]] = []
        """Where each line is: offset and length."""
        self._offset = 0
        self._inode: int | None = None
        self._numbers: dict[int, tuple[str, int]] = {}
        """Instance and attempt, by the number of the line."""
        self._reports = Reports(self.folder)
        self._verdicts: dict[str, Verdict] = {}
        self._judged: FileFingerprint | None = None
        self._judged_digest = ""
        self._info = RunInfo()

    def read(self, *, full_scan: bool = False) -> ReadResult:
        """Return the instances that have ended since the last call."""
        if not is_regular_file(self.path):
            return ReadResult(missing=True)
        return super().read(full_scan=full_scan)

    def fingerprint(self) -> str | None:
        """Return a digest of the times and sizes of the file and of what judged it; None where it is not there."""
        if not is_regular_file(self.path):
            return None
        self._refresh_verdicts()
        return digest_files([self.path, self._judged_path(), *self._reports.paths])

    def attempt_fingerprint(self, files: TaskFiles) -> object:
        """Return where the line is, and what the verdicts on all instances are."""
        return self._inode, self._index[int(files.folder.name)], self._judged_digest

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return the lines, by their numbers."""
        now = fingerprint(self.path)
        if now is not None and (now.inode != self._inode or now.size < self._offset):
            self._index, self._offset, self._inode, self._numbers = [], 0, now.inode, {}
        if now is not None and now.size > self._offset:
            self._index_lines(now.size)
        self._refresh_verdicts()
        return {
            str(number): self.known_tasks.get(str(number)) or TaskFiles(str(number), self.path / str(number))
            for number in range(len(self._index))
        }

    def _index_lines(self, size: int) -> None:
        """Find the lines that were added; one without its end is still being written, unless it is whole JSON."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            start, position = self._offset, self._offset
            while position < size and (block := file.read(min(_BLOCK, size - position))):
                begin = 0
                while (end := block.find(b"\n", begin)) >= 0:
                    self._index.append((start, position + end - start))
                    start, begin = position + end + 1, end + 1
                position += len(block)
            if start < position and position - start <= _MAX_LINE:
                file.seek(start)
                try:
                    parse_json(file.read(position - start))
                except ValueError:
                    pass
                else:
                    self._index.append((start, position - start))
                    start = position
            self._offset = start

    def read_info(self) -> RunInfo:
        """Return what the first line states about the run."""
        return self._info

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the events of an instance."""
        number = int(files.folder.name)
        row = self._read_line(number)
        if row is None:
            return None
        task_id = _task_id_of(row)
        if task_id is None:
            self.report("foreign_line", f"{self.path}: line {number + 1} names no instance")
            return None
        if number not in self._numbers:
            count = sum(earlier == task_id for earlier, _ in self._numbers.values())
            self._numbers[number] = (task_id, count + 1)
        metadata = as_object(row.get("metadata"))
        name = _model_of(metadata)
        if self._info == RunInfo():
            self._info = _parse_info(metadata, name)
        attempt = AttemptBuilder(self.source, task_id, self._numbers[number][1])
        self._add_events(attempt, row, name)
        return attempt

    def _read_line(self, number: int) -> dict[str, Any] | None:
        offset, length = self._index[number]
        if length > _MAX_LINE:
            self.report("long_line", f"{self.path}: line {number + 1} has more than {_MAX_LINE >> 20} MiB")
            return None
        with self.path.open("rb") as file:
            file.seek(offset)
            line = file.read(length)
        if not line.strip():
            return None
        try:
            row = parse_json(line)
        except ValueError:
            self.report("torn_line", f"{self.path}: line {number + 1} is not whole JSON")
            return None
        if not isinstance(row, dict):
            self.report("foreign_line", f"{self.path}: line {number + 1} is not a JSON object")
            return None
        return row

    def _add_events(self, attempt: AttemptBuilder, row: Mapping[str, Any], name: ModelName) -> None:
        history = _literal(row.get("history"))
        events = list(_flatten(history))
        times = [at for event in events if (at := parse_timestamp(event.get("timestamp"))) is not None]
        start = times[0] if times else parse_timestamp(as_object(row.get("metadata")).get("start_time"))
        instruction = row.get("instruction")
        limit = parse_count(as_object(row.get("metadata")).get("max_iterations"))
        attempt.add_start(start, None, instruction, limit, file_time=get_mtime(self.path))
        steps = 0
        task_is_first = bool(events) and events[0].get("action") == "message" and "source" not in events[0]
        seen = _Observations(events)
        for event in events[task_is_first:]:
            at, action = parse_timestamp(event.get("timestamp")), _parse_action(event)
            if action is not None:
                steps += action["type"] != "done"
                attempt.add_step(at, action, reasoning=_thought_of(event), observation=seen.after(event))
            elif not steps and (message := _parse_message(event)) is not None:
                attempt.add_message(at, *message)
        _add_calls(attempt, as_object(_literal(row.get("metrics"))), name, events)
        self._add_finish(attempt, row, times[-1] if times else None, steps or None)

    def _add_finish(
        self, attempt: AttemptBuilder, row: Mapping[str, Any], end: float | None, steps: int | None
    ) -> None:
        error = row.get("error")
        error = str(error) if error else None
        result = as_object(row.get("test_result"))
        answer = next((result[key] for key in _ANSWER_KEYS if isinstance(result.get(key), str)), row.get("git_patch"))
        more: dict[str, Any] = {"steps": steps, "error": error, "answer": answer, "target": result.get("ground_truth")}
        verdict = self._verdict_of(row)
        if verdict is None and error is not None:
            agents = _AGENT_ERRORS.search(error) is not None
            attempt.add_finish(end, "agent_error" if agents else "infrastructure_error", **more)
        elif isinstance(verdict, bool):
            more["reason"] = row.get("result_explanation")
            attempt.add_finish(end, "success" if verdict else "failure", **more)
        elif isinstance(verdict, float):
            attempt.add_scored_finish(end, verdict, self.threshold, **more)
        elif isinstance(verdict, Verdict) and verdict.resolved is not None:
            attempt.add_finish(end, "success" if verdict.resolved else "failure", **more, reason=verdict.reason)
        elif isinstance(verdict, Verdict):
            attempt.add_finish(end, "evaluation_error", **{**more, "error": verdict.reason})
        else:
            add_unjudged_finish(attempt, end, "no verdict on the instance yet", **more)

    def _verdict_of(self, row: Mapping[str, Any]) -> bool | float | Verdict | None:
        """Return what is known of how an instance went: beside the file, or in the line itself."""
        instance = parse_id(row.get("instance_id"))
        if instance is not None:
            beside = self._verdicts.get(instance) or self._reports.verdict(instance)
            if beside is not None:
                return beside
        result = as_object(row.get("test_result"))
        reports = (as_object(result.get("report")), as_object(row.get("report")), as_object(result.get("result")))
        for place in (*reports, result, row if "issue" in row else {}):
            for key in _VERDICT_KEYS:
                value = place.get(key)
                if isinstance(value, bool) or (key == "resolved" and value in (0, 1)):
                    return bool(value)
                if (score := parse_float(value)) is not None:
                    return score
        points = as_object(result.get("final_score"))  # of checkpoints, which a task may have none of
        reached, total = parse_float(points.get("result")), parse_float(points.get("total"))
        return reached / total if reached is not None and total else None

    def _judged_path(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.{_JUDGED}.jsonl")

    def _refresh_verdicts(self) -> None:
        """Read what judged the results, where it has changed."""
        self._reports.refresh(())
        path = self._judged_path()
        now = fingerprint(path)
        if now != self._judged:
            self._judged = now
            self._verdicts = dict(_read_judged(path)) if now is not None else {}
        self._judged_digest = digest_files([path, *self._reports.paths])


def _read_judged(path: Path) -> Iterator[tuple[str, Verdict]]:
    """Yield the verdicts of ``output.swebench_eval.jsonl``."""
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(_MAX_LINE), b""):
                try:
                    row = parse_json(line)
                except ValueError:
                    continue
                report = as_object(as_object(as_object(row).get("test_result")).get("report"))
                instance = parse_id(as_object(row).get("instance_id"))
                if instance is not None and isinstance(report.get("resolved"), bool):
                    reason = "empty patch" if report.get("empty_generation") is True else None
                    yield instance, Verdict(report["resolved"], reason)
    except OSError:
        return


def _task_id_of(row: Mapping[str, Any]) -> str | None:
    instance = parse_id(row.get("instance_id"), accept_unknown=True)
    if instance is not None:
        return instance
    issue = as_object(_literal(row.get("issue")))
    parts = [parse_id(issue.get(key)) for key in ("owner", "repo")]
    number = parse_id(issue.get("number"))
    return None if number is None else "/".join(part for part in parts if part) + f"#{number}"


def _parse_info(metadata: Mapping[str, Any], name: ModelName) -> RunInfo:
    dataset = parse_id(metadata.get("dataset"))
    agent = parse_id(metadata.get("agent_class")) or "openhands"
    return RunInfo(dataset or "openhands", name.model, agent)


def _model_of(metadata: Mapping[str, Any]) -> ModelName:
    config = as_object(metadata.get("llm_config")) or as_object(metadata.get("llm"))
    name = split_model_name(parse_id(config.get("model")))
    return ModelName(name.provider or infer_provider(name.model), name.model)


def _literal(value: Any) -> Any:
    """Return a value that old resolvers wrote as a text in Python's notation; other values as they are."""
    if not isinstance(value, str) or not value.startswith(("{", "[")) or len(value) > _MAX_LITERAL:
        return value
    try:
        return ast.literal_eval(value)  # takes literals only: nothing is run
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _flatten(history: Any) -> Iterator[Mapping[str, Any]]:
    for event in history if isinstance(history, list) else ():
        if isinstance(event, list | tuple):
            yield from (each for each in event if isinstance(each, dict))
        elif isinstance(event, dict):
            yield event


def _parse_action(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the agent did; None for what it saw, and for what others said or did."""
    if "kind" in event:
        action = event.get("action")
        if event.get("kind") != "ActionEvent" or not isinstance(action, dict):
            return None
        fields = {key: value for key, value in action.items() if key != "kind"}
        kind = parse_id(event.get("tool_name")) or parse_id(action.get("kind")) or "unknown"
        return {**fields, "type": "done" if kind in ("finish", "FinishAction") else kind}
    name = event.get("action")
    if not isinstance(name, str) or event.get("source") == "user" or name in _NO_ACTIONS:
        return None
    arguments = event.get("args")  # old releases have them in the event itself
    arguments = arguments if isinstance(arguments, dict) else event
    fields = {key: value for key, value in arguments.items() if key not in _NO_FIELDS}
    return {**fields, "type": "done" if name in ("finish", "reject") else name}


class _Observations:
    """What the agent got to see after each action: by the action's id where the event names it, else what follows."""

    def __init__(self, events: list[Mapping[str, Any]]) -> None:
        self._by_cause: dict[str, Mapping[str, Any]] = {}
        self._following: dict[int, Mapping[str, Any]] = {}
        for before, event in zip([None, *events], events, strict=False):
            if "observation" in event:
                cause = event.get("cause", event.get("action_id"))
                if cause is not None:
                    self._by_cause[str(cause)] = event
                elif before is not None:
                    self._following[id(before)] = event

    def after(self, action: Mapping[str, Any]) -> str | None:
        """Return the text of the observation that an action led to."""
        found = self._by_cause.get(str(action.get("id"))) or self._following.get(id(action))
        if found is None:
            return None
        content, seen = found.get("content"), as_object(found.get("observation"))
        return next((text for text in (content, seen.get("output")) if isinstance(text, str)), None) or _join_parts(
            seen.get("content")
        )


def _parse_message(event: Mapping[str, Any]) -> tuple[Role, str] | None:
    """Return what the system or the user said in an event."""
    arguments = as_object(event.get("args"))
    if event.get("action") == "system" and isinstance(arguments.get("content"), str):
        return "system", arguments["content"]
    if event.get("action") == "message" and event.get("source") == "user" and isinstance(arguments.get("content"), str):
        return "user", arguments["content"]
    if event.get("kind") == "SystemPromptEvent":
        text = as_object(event.get("system_prompt")).get("text")
        return ("system", text) if isinstance(text, str) else None
    if event.get("kind") == "MessageEvent" and event.get("source") == "user":
        text = _join_parts(as_object(event.get("llm_message")).get("content"))
        return ("user", text) if text is not None else None
    return None


def _join_parts(content: object) -> str | None:
    parts = [as_object(part).get("text") for part in (content if isinstance(content, list) else ())]
    return "\n".join(part for part in parts if isinstance(part, str)) or None


def _thought_of(event: Mapping[str, Any]) -> str | None:
    thought = event.get("thought") or as_object(event.get("args")).get("thought") or event.get("reasoning_content")
    if isinstance(thought, list):
        thought = _join_parts(thought)
    return thought if isinstance(thought, str) and thought else None


def _add_calls(
    attempt: AttemptBuilder, metrics: Mapping[str, Any], name: ModelName, history: list[Mapping[str, Any]]
) -> None:
    usages, costs = metrics.get("token_usages"), metrics.get("costs")
    usages = usages[:_MAX_CALLS] if isinstance(usages, list) else []
    costs = [_cost_of(cost) for cost in costs[:_MAX_CALLS]] if isinstance(costs, list) else []
    each = costs if len(costs) == len(usages) else [None] * len(usages)  # else which cost is whose is not known
    for usage, cost in zip(usages, each, strict=True):
        called = split_model_name(parse_id(as_object(usage).get("model")))
        called = called if called.model is not None else name
        provider = called.provider or infer_provider(called.model)
        attempt.add_call(None, provider, called.model, parse_usage(as_object(usage)), cost_usd=cost)
    if usages:
        return
    total, spent = as_object(metrics.get("accumulated_token_usage")), metrics.get("accumulated_cost")
    if parse_count(total.get("prompt_tokens")) or parse_count(total.get("completion_tokens")):
        attempt.add_call(None, name.provider, name.model, parse_usage(total), requests=len(costs), cost_usd=spent)
        return
    answers = _list_answers(metrics, history)
    for cost, answer in zip(costs, answers if len(answers) == len(costs) else [None] * len(costs), strict=True):
        counted = parse_usage(answer) if answer is not None else UNKNOWN
        attempt.add_call(None, name.provider, name.model, counted, cost_usd=cost)
    if costs:
        return
    ids = {made for event in history if isinstance(made := event.get("llm_response_id"), str)}
    if ids or parse_float(spent):
        attempt.add_call(None, name.provider, name.model, UNKNOWN, requests=len(ids), cost_usd=spent)


def _list_answers(metrics: Mapping[str, Any], history: list[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """Return the usage that each model call's answer states; None for an answer that is not in the history."""
    usages: dict[object, dict[str, Any]] = {}
    for event in history:
        answer = as_object(as_object(event.get("tool_call_metadata")).get("model_response"))
        if isinstance(answer.get("id"), str) and isinstance(usage := answer.get("usage"), dict):
            usages[answer["id"]] = usage
    calls = metrics.get("response_latencies")
    ids = [as_object(call).get("response_id") for call in (calls if isinstance(calls, list) else ())]
    return [usages.get(each) if isinstance(each, str) else None for each in ids]


def _cost_of(cost: object) -> float | None:
    return parse_float(cost.get("cost") if isinstance(cost, dict) else cost)
