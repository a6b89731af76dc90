"""Experiments of cube-harness, which follows AgentLab: among others the OSWorld and Windows Agent Arena cubes.

``<experiment>/{experiment_record.json, experiment_config.json, experiment_status.json}`` and
``episodes/<task>_ep<n>/{status.json, episode.metadata.json, episode_record.json, steps/<nnn>_{obs,act}.msgpack.zst}``.
Traps:

- ``is_correct`` of a record means a score above 0. Partial credit is no success here: the threshold counts.
- A folder with ``.archived_`` in its name is an episode that was done again: it is left out.
- Episodes are numbered over the experiment: those of one task are its attempts, in that order.
- ``status.json`` is replaced at once, ``episode.metadata.json`` is written at the start and again at the end. Older
  releases have no status: an episode without an end is running, or its runner was killed.
- ``FAILED`` is an exception of the agent or of the environment; the last step says of which.
- Steps are MessagePack in zstd, before that JSON: an observation, or the agent's answer to it. Screenshots are in the
  observations: ``image`` gets them out.
- The prompt's tokens hold the cached ones. All zero is a call whose answer stated none; a cost of 0 an unknown price.
- AgentLab2, its name of before, wrote ``trajectories/<id>.jsonl``: that is not read.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from evalgauge.events import EndStatus
from evalgauge.model_names import ModelName, infer_provider, split_model_name
from evalgauge.usage import UNKNOWN, TokenUsage, parse_usage
from evalgauge.values import parse_count, parse_float, parse_id, parse_timestamp
from evalgauge_exporter.sources.attempt_builder import AttemptBuilder
from evalgauge_exporter.sources.documents import add_unjudged_finish, as_object
from evalgauge_exporter.sources.folders import FolderSource, RunInfo, TaskFiles
from evalgauge_exporter.sources.osworld.actions import parse_action
from evalgauge_exporter.sources.parsing import (
    get_mtime,
    list_names,
    parse_json,
    read_bytes,
    read_head,
    read_object,
)
from evalgauge_exporter.sources.sampling import Vote, most_fit

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

RECORD = "experiment_record.json"
CONFIG = "experiment_config.json"
STATUS = "experiment_status.json"
EPISODES = "episodes"
EPISODE_STATUS = "status.json"
EPISODE_METADATA = "episode.metadata.json"
EPISODE_RECORD = "episode_record.json"
STEPS = "steps"
ARCHIVED = ".archived_"
_NAME = re.compile(r"(?P<task>.+)_ep(?P<number>\d+)\Z")
_STEP = re.compile(r"(\d+)_(obs|act)\.(?:msgpack\.zst|json)\Z")
_MAX_STEP = 64 << 20
_MAX_STEPS = 10_000
_ENDS: dict[str, EndStatus] = {"COMPLETED": "completed", "INTERRUPTED": "aborted"}
_MODEL_KEYS = ("model_name", "model", "llm_model")


def matches(folder: Path, names: frozenset[str]) -> bool:
    """Return whether a folder is one experiment: it has episodes of this format."""
    if EPISODES not in names:
        return False
    if RECORD in names and b'"evaluation_id"' in read_head(folder / RECORD, 1 << 12):
        return True
    return most_fit(folder / EPISODES, _vote) is True


def _vote(episode: Path) -> Vote:
    names = list_names(episode)
    return EPISODE_METADATA in names if names else None


class CubeSource(FolderSource):
    """Reads one experiment."""

    source = "cube"
    run_files = (RECORD, CONFIG, STATUS)
    task_files = (EPISODE_STATUS, EPISODE_METADATA, EPISODE_RECORD, STEPS)
    tree = EPISODES

    def __init__(self, folder: Path, *, success_threshold: float = 1.0) -> None:
        """Start with nothing read.

        Args:
            folder: The experiment's folder.
            success_threshold: The least reward of a success.
        """
        super().__init__(folder, success_threshold=success_threshold)
        self._image_step: tuple[str, list[str]] | None = None

    def list_tasks(self) -> dict[str, TaskFiles]:
        """Return the episodes; those of one task are numbered in their order."""
        numbered: list[tuple[int, str, str]] = []
        for name in self.list_subfolders(self.folder / EPISODES):
            found = _NAME.match(name)
            if ARCHIVED not in name:
                numbered.append((int(found["number"]) if found else 0, found["task"] if found else name, name))
        attempts: dict[str, int] = {}
        tasks: dict[str, TaskFiles] = {}
        for _, task_id, name in sorted(numbered):
            attempts[task_id] = number = attempts.get(task_id, 0) + 1
            before = self.known_tasks.get(name)
            same = before is not None and before.attempt == number
            tasks[name] = before if before and same else TaskFiles(task_id, self.folder / EPISODES / name, number)
        return tasks

    def read_info(self) -> RunInfo:
        """Return what the record or the configuration of the experiment states."""
        record = self.read_cached(self.folder / RECORD) or {}
        config = self.read_cached(self.folder / CONFIG) or {}
        status = self.read_cached(self.folder / STATUS) or {}
        agent = as_object(record.get("agent"))
        settings = as_object(agent.get("config")) or as_object(config.get("agent_config"))
        kind = parse_id(agent.get("config_type")) or parse_id(settings.get("_type"))
        benchmark = parse_id(record.get("benchmark_name")) or _find_benchmark(config)
        total = parse_count(status.get("total_episodes"))
        return RunInfo(
            benchmark,
            self._model().model,
            parse_id(settings.get("agent_name")) or (kind.rpartition(".")[2].removesuffix("Config") if kind else None),
            parse_timestamp(status.get("started_at") or record.get("evaluation_timestamp")),
            total if total is not None else parse_count(as_object(record.get("benchmark_subset")).get("n_tasks")),
        )

    def _model(self) -> ModelName:
        """Return the agent's model, as the record or the configuration of the experiment names it."""
        agent = as_object((self.read_cached(self.folder / RECORD) or {}).get("agent"))
        config = self.read_cached(self.folder / CONFIG) or {}
        settings = as_object(agent.get("config")) or as_object(config.get("agent_config"))
        return _model_name(parse_id(agent.get("llm_model")) or _find_model(settings))

    def final_status(self) -> EndStatus | None:
        """Return what ``experiment_status.json`` states, once the experiment has ended."""
        status = (self.read_cached(self.folder / STATUS) or {}).get("status")
        return _ENDS.get(status) if isinstance(status, str) else None

    def read_attempt(self, files: TaskFiles) -> AttemptBuilder | None:
        """Return the steps, the model calls and, once there is one, the end of an episode."""
        status = read_object(files.folder / EPISODE_STATUS, self.report) or {}
        metadata = read_object(files.folder / EPISODE_METADATA, self.report) or {}
        record = read_object(files.folder / EPISODE_RECORD, self.report) or {}
        if status.get("status") == "QUEUED" or not (status or metadata or record):
            return None
        attempt = AttemptBuilder(self.source, files.task_id, files.attempt)
        steps = list(self._read_steps(files.folder))
        starts = (metadata.get("start_time"), status.get("started_at"), record.get("timestamp"))
        start = next((at for each in starts if (at := parse_timestamp(each)) is not None), None)
        file_time = get_mtime(files.folder / EPISODE_METADATA) or get_mtime(files.folder)
        attempt.add_start(start, None, record.get("task_description"), file_time=file_time)
        if steps and steps[-1][1] == "act" and _is_running(status, metadata, record):
            steps.pop()  # how long the environment took is known with the observation that follows
        number = self._add_steps(attempt, files, steps)
        if not number:
            self._add_sum(attempt, record, metadata)
        _add_finish(attempt, status, metadata, record, steps, self.threshold)
        return attempt

    def image(self, screenshot: str) -> bytes | None:
        """Return the bytes of a step's screenshot; None where there is no such image.

        Args:
            screenshot: ``<path of the step's file>/<number>.png``.
        """
        step, _, name = screenshot.rpartition("/")
        if self._image_step is None or self._image_step[0] != step:
            path = self.folder / step
            if not path.resolve().is_relative_to(self.folder.resolve()):
                return None
            content = _read_step(path, lambda *_: None)
            self._image_step = (step, _images_of(content) if content is not None else [])
        number = name.partition(".")[0]
        if not number.isdecimal() or int(number) >= len(self._image_step[1]):
            return None
        try:
            return base64.b64decode(self._image_step[1][int(number)].partition(",")[2], validate=True)
        except (binascii.Error, ValueError):
            return None

    def _read_steps(self, folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield the steps in their order: the path in the run, ``obs`` or ``act``, and the content."""
        names = list_names(folder / STEPS)
        found = sorted((int(match[1]), match[2], name) for name in names if (match := _STEP.match(name)))
        below = self.relative_path(folder)
        for _, kind, name in found[:_MAX_STEPS]:
            content = _read_step(folder / STEPS / name, self.report)
            if content is not None:
                yield f"{below}/{STEPS}/{name}", kind, content

    def _add_steps(
        self, attempt: AttemptBuilder, files: TaskFiles, steps: list[tuple[str, str, dict[str, Any]]]
    ) -> int:
        """Add the agent's actions and model calls; return the number of its answers."""
        number = 0
        screenshot: str | None = None
        for index, (path, kind, content) in enumerate(steps):
            output = as_object(content.get("output"))
            if kind == "obs":
                if _images_of(content):
                    screenshot = f"{path}/0.png"
                continue
            number += 1
            start, end = parse_timestamp(content.get("start_time")), parse_timestamp(content.get("end_time"))
            think = end - start if start is not None and end is not None else None
            following = steps[index + 1][2] if index + 1 < len(steps) and steps[index + 1][1] == "obs" else {}
            begun, ended = parse_timestamp(following.get("start_time")), parse_timestamp(following.get("end_time"))
            actions = output.get("actions")
            actions = [each for each in (actions if isinstance(actions, list) else ()) if isinstance(each, dict)]
            calls = output.get("llm_calls")
            calls = [each for each in (calls if isinstance(calls, list) else ()) if isinstance(each, dict)]
            if number == 1:
                _add_prompt(attempt, calls)
            reasoning = output.get("thoughts") or next((text for call in calls if (text := _text_of(call))), None)
            for position, action in enumerate(actions or [{}]):
                attempt.add_step(
                    end,
                    _parse_cube_action(action, output),
                    reasoning=reasoning if position == 0 else None,
                    observation=_observation_of(following) if position == len(actions or [{}]) - 1 else None,
                    screenshot=screenshot,
                    think_seconds=think if position == 0 else None,
                    env_seconds=ended - begun if ended is not None and begun is not None and position == 0 else None,
                )
            for call in calls:
                name = _model_name(as_object(call.get("llm_config")).get("model_name"))
                at = parse_timestamp(call.get("timestamp"))
                usage = call.get("usage")
                cost = as_object(usage).get("cost")
                attempt.add_call(at if at is not None else end, *name, _parse_cube_usage(usage), cost_usd=cost)
        return number

    def _add_sum(self, attempt: AttemptBuilder, record: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Add the calls of an episode whose steps are not there: their tokens are a sum."""
        usage, stats = as_object(record.get("usage")), as_object(metadata.get("summary_stats"))
        tokens = _parse_cube_usage(
            {
                "prompt_tokens": usage.get("input_tokens", stats.get("prompt_tokens")),
                "completion_tokens": usage.get("output_tokens", stats.get("completion_tokens")),
                "cached_tokens": usage.get("input_tokens_cache_read", stats.get("cached_tokens")),
                "cache_creation_tokens": usage.get("input_tokens_cache_write", stats.get("cache_creation_tokens")),
            }
        )
        requests = parse_count(usage.get("n_llm_calls", stats.get("total_llm_calls"))) or 0
        if tokens != UNKNOWN or requests:
            cost = usage.get("total_cost_usd", stats.get("cost"))
            attempt.add_call(None, *self._model(), tokens, requests=requests, cost_usd=cost)


def _is_running(status: Mapping[str, Any], metadata: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    state = status.get("status")
    return state == "RUNNING" or (state is None and parse_timestamp(metadata.get("end_time")) is None and not record)


def _add_finish(
    attempt: AttemptBuilder,
    status: Mapping[str, Any],
    metadata: Mapping[str, Any],
    record: Mapping[str, Any],
    steps: list[tuple[str, str, dict[str, Any]]],
    threshold: float,
) -> None:
    state = status.get("status")
    rewards = (record.get("score"), as_object(metadata.get("reward_info")).get("reward"), status.get("reward"))
    reward = next((found for each in rewards if (found := parse_float(each)) is not None), None)
    ends = (status.get("ended_at"), metadata.get("end_time"))
    end = next((at for each in ends if (at := parse_timestamp(each)) is not None), None)
    if _is_running(status, metadata, record):
        return
    error = status.get("error_type") or record.get("error")
    if status.get("error_message"):
        error = f"{error}: {status['error_message']}" if error else status["error_message"]
    counted = parse_count(record.get("n_agent_steps"))
    recorded = sum(kind == "act" for _, kind, _ in steps)
    more: dict[str, Any] = {
        "steps": counted if counted is not None else recorded or None,
        "duration_seconds": record.get("wall_time_s"),
        "error": error,
    }
    if state in ("CANCELLED", "STALE"):
        attempt.add_finish(end, "interrupted", **more)
    elif state == "FAILED" or (state is None and end is None and error):
        agents = bool(steps) and steps[-1][1] == "act" and bool(as_object(steps[-1][2].get("output")).get("error"))
        attempt.add_finish(end, "agent_error" if agents else "infrastructure_error", **more)
    elif reward is None:
        add_unjudged_finish(attempt, end, "the episode states no reward", **more)
    else:
        more["reason"] = "out of steps" if state == "MAX_STEPS_REACHED" else None
        attempt.add_scored_finish(end, reward, threshold, **more)


def _read_step(path: Path, report: Any) -> dict[str, Any] | None:
    data = read_bytes(path, report, _MAX_STEP)
    if data is None:
        return None
    try:
        if path.suffix == ".json":
            content = parse_json(data)
        else:
            content = msgspec.msgpack.decode(ZstdDecompressor().decompress(data, _MAX_STEP))
    except (ValueError, ZstdError, EOFError, msgspec.DecodeError, RecursionError) as error:
        report("torn_file", f"{path}: {str(error) or 'cut off'}")
        return None
    return content if isinstance(content, dict) else None


def _images_of(step: Mapping[str, Any]) -> list[str]:
    """Return the images in an observation, as ``data:`` addresses."""
    contents = as_object(as_object(step.get("output")).get("obs")).get("contents")
    return [
        data
        for content in (contents if isinstance(contents, list) else ())
        if isinstance(data := as_object(content).get("data"), str) and data.startswith("data:image/")
    ]


def _observation_of(step: Mapping[str, Any]) -> str | None:
    """Return the texts in an observation."""
    contents = as_object(as_object(step.get("output")).get("obs")).get("contents")
    texts = [as_object(content).get("data") for content in (contents if isinstance(contents, list) else ())]
    return "\n".join(text for text in texts if isinstance(text, str) and not text.startswith("data:")) or None


def _add_prompt(attempt: AttemptBuilder, calls: list[dict[str, Any]]) -> None:
    """Add what the agent was told: the messages of its first call."""
    messages = as_object(calls[0].get("prompt")).get("messages") if calls else None
    for message in messages if isinstance(messages, list) else ():
        role, content = as_object(message).get("role"), as_object(message).get("content")
        if isinstance(content, list):
            content = "\n".join(str(as_object(part).get("text") or "") for part in content)
        if role in ("system", "user"):
            attempt.add_message(None, role, content)


def _parse_cube_action(action: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    name = parse_id(action.get("name"))
    if name is None:
        return {"type": "error" if output.get("error") else "done"}
    arguments = as_object(action.get("arguments"))
    if name in ("run_pyautogui", "pyautogui") and isinstance(code := next(iter(arguments.values()), None), str):
        return parse_action(code)
    return {**arguments, "type": "done" if name in ("done", "fail", "final_step", "stop") else name}


def _parse_cube_usage(usage: object) -> TokenUsage:
    """Return the tokens of a call; all zero is how the format writes that none were stated."""
    stated = as_object(usage)
    if not any(parse_count(stated.get(key)) for key in ("prompt_tokens", "completion_tokens")):
        return UNKNOWN
    return parse_usage(
        {
            "prompt_tokens": stated.get("prompt_tokens"),
            "completion_tokens": stated.get("completion_tokens"),
            "prompt_tokens_details": {
                "cached_tokens": stated.get("cached_tokens"),
                "cache_write_tokens": stated.get("cache_creation_tokens"),
            },
        }
    )


def _text_of(call: Mapping[str, Any]) -> str | None:
    output = as_object(call.get("output"))
    text = output.get("reasoning_content") or output.get("content")
    return text if isinstance(text, str) and text else None


def _model_name(value: object) -> ModelName:
    name = split_model_name(parse_id(value))
    return ModelName(name.provider or infer_provider(name.model), name.model)


def _find_model(config: Mapping[str, Any]) -> str | None:
    for place in (config, as_object(config.get("llm_config")), as_object(config.get("llm"))):
        for key in _MODEL_KEYS:
            if (name := parse_id(place.get(key))) is not None:
                return name
    return None


def _find_benchmark(config: Mapping[str, Any]) -> str | None:
    for key in ("benchmark_config", "benchmark"):
        place = as_object(config.get(key))
        name = parse_id(as_object(place.get("benchmark_metadata")).get("name")) or parse_id(place.get("name"))
        if name is not None:
            return name
    return None
