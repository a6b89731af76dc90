"""What only the header of an Inspect log states: scores of samples that were not logged, and tokens of no sample.

- With ``--no-log-samples`` a log has no samples, but ``reductions`` has their scores. They are reduced over epochs, so
  they stand for attempts only where there is one epoch.
- Batch processing and, for OpenAI, the service tier are options of the run: no call states them.
- ``stats.model_usage`` counts every call. What its samples do not account for was spent in samples that were cancelled
  or retried: calls of the run, of no task.
- ``dataset.samples`` is the size of the whole data set in some releases: ``results`` and ``config.limit`` tell how many
  samples were planned.
- In the place of the model vitals writes its solver, with the model in brackets: ``generate(chat()) (gpt-4.1)``. It
  writes its logs at the end, so that ``created`` may be later than ``stats.started_at``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_json

from evalgauge.model_names import ModelName, split_model_name
from evalgauge.usage import CallUsage, TokenUsage
from evalgauge.usage_shapes import STANDARD_TIERS, resolve_requested_tier
from evalgauge.values import parse_count, parse_id, parse_timestamp, sanitize_id
from evalgauge_exporter.sources.documents import as_object
from evalgauge_exporter.sources.inspect.sample_document import SampleDocument
from evalgauge_exporter.sources.inspect.samples import parse_model_usage

_MAX_TAGS = 50
_VITALS_MODEL = re.compile(r".+ \(([^()\s]+)\)\Z", re.DOTALL)
Counts = dict[ModelName, list[int]]
"""Tokens by model: the four kinds of ``TokenUsage``."""


def parse_model(task: Mapping[str, Any]) -> ModelName:
    """Return the model of a run.

    Args:
        task: ``eval`` of the header.
    """
    stated = parse_id(task.get("model"))
    solver_model = _VITALS_MODEL.match(stated) if stated is not None else None
    return split_model_name(solver_model[1] if solver_model else stated)


def count_samples(header: Mapping[str, Any], epochs: int) -> int | None:
    """Return how many samples were planned, without those of further epochs; None where that is not known.

    Args:
        header: The log's header, or its start.
        epochs: The number of epochs.
    """
    task = as_object(header.get("eval"))
    if (run := parse_count(as_object(header.get("results")).get("total_samples"))) is not None:
        return run // epochs
    total, limit = (
        parse_count(as_object(task.get("dataset")).get("samples")),
        as_object(task.get("config")).get("limit"),
    )
    if isinstance(limit, list) and len(limit) == 2 and all(type(end) is int for end in limit):
        first, last = limit
        limit = max(0, last - first)
    bounds = [bound for bound in (total, parse_count(limit)) if bound is not None]
    return min(bounds) if total is not None else None


def find_start(header: Mapping[str, Any]) -> float | None:
    """Return when a run began, in Unix seconds; None where its header does not tell."""
    stated = (as_object(header.get("eval")).get("created"), as_object(header.get("stats")).get("started_at"))
    return min((at for each in stated if (at := parse_timestamp(each)) is not None), default=None)


def parse_tags(task: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run: the solver, the tags and, as ``task_args.<name>``, the arguments of its task.

    Args:
        task: ``eval`` of the header.
    """
    tags: dict[str, str] = {}
    if (solver := parse_id(task.get("solver"))) is not None:
        tags["solver"] = solver
    stated = task.get("tags")
    named = [tag for tag in stated if isinstance(tag, str) and tag] if isinstance(stated, list) else []
    if named:
        tags["tags"] = ", ".join(named)
    for name, value in as_object(task.get("task_args")).items():
        text = value if isinstance(value, str) else to_json(value, inf_nan_mode="constants").decode()
        tags[f"task_args.{name}"] = text
    return {sanitize_id(key): sanitize_id(text) for key, text in list(tags.items())[:_MAX_TAGS]}


def parse_modifiers(header: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Return whether a run uses the batch APIs of its providers, and the service tier of its own model.

    Args:
        header: The log's header, or what is written at its start.
    """
    task = as_object(header.get("eval"))
    configs = (as_object(header.get("plan")).get("config"), task.get("model_generate_config"))
    tier = as_object(task.get("model_args")).get("service_tier")
    tier = resolve_requested_tier(tier.strip().lower()) if isinstance(tier, str) else ""
    batch = any(as_object(config).get("batch") for config in configs)
    return batch, None if tier in STANDARD_TIERS else parse_id(tier)


def list_reduced_samples(header: Mapping[str, Any], reductions: Any) -> list[SampleDocument]:
    """Return the samples of a log without samples, as far as their scores are known.

    Args:
        header: The log's header.
        reductions: The log's reductions.

    Returns:
        For each sample what its log would hold: its id, its scores, and as its time the end of the run.
    """
    config = as_object(as_object(header.get("eval")).get("config"))
    if (parse_count(config.get("epochs")) or 1) != 1:
        return []
    end = as_object(header.get("stats")).get("completed_at")
    samples: dict[str, SampleDocument] = {}
    for reduction in reductions if isinstance(reductions, list) else ():
        scorer, scored = as_object(reduction).get("scorer"), as_object(reduction).get("samples")
        for score in scored if isinstance(scored, list) and isinstance(scorer, str) else ():
            sample_id = parse_id(as_object(score).get("sample_id"), accept_unknown=True)
            if sample_id is not None:
                found = samples.setdefault(
                    sample_id, SampleDocument(id=sample_id, epoch=1, started_at=end, completed_at=end, scores={})
                )
                found.scores[scorer] = score
    return list(samples.values())


def list_unlogged_usage(header: Mapping[str, Any], counted: Counts) -> Iterator[tuple[ModelName, CallUsage]]:
    """Yield for each model the tokens that the header states beyond those of the samples, as a sum of calls.

    Args:
        header: The log's header.
        counted: The tokens that the samples account for.
    """
    for name, stated in parse_model_usage(as_object(header.get("stats")).get("model_usage")):
        known = counted.get(name, [0, 0, 0, 0])
        rest = [(total or 0) - part for total, part in zip(stated.tokens, known, strict=True)]
        if any(rest) and min(rest) >= 0:  # else samples and header count these tokens in different ways
            yield name, CallUsage(TokenUsage(*rest), requests=0)
