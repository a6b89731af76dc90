"""The headline score of a chosen scorer, in run logs and in other formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge import track_run
from evalgauge.events import Event, Outcome, TaskFinished
from evalgauge_exporter.sources.base import ReadResult, RunSource
from evalgauge_exporter.sources.discovery import Discovery
from evalgauge_exporter.sources.scorers import ScorerSource
from evalgauge_exporter.state.run import RunState
from tests.exporter.runs import exporter_of
from tests.exporter.sources.reading import drain, folded, write


def scored_run(results: Path, *finishes: Mapping[str, Any], benchmark: str = "desk", run_id: str = "r") -> Path:
    run = track_run(results, benchmark=benchmark, model="m", run_id=run_id, fsync="never")
    for number, finish in enumerate(finishes):
        with run.task(f"t{number}") as task:
            task.finish(**finish)
    run.finish()
    return results


def read(results: Path, scorer: str | dict[str, str] | None, threshold: float = 1.0) -> RunState:
    (found,), problems = Discovery([results], threshold, scorer=scorer).scan()
    assert not problems
    return folded(found.source)


def results_of(run: RunState) -> list[tuple[str, float | None]]:
    return [(attempt.status, attempt.score) for _, attempt in sorted(run.attempts.items())]


BOTH = {"scores": {"match": 1.0, "style": 0.4}}


def test_without_a_choice_the_first_score_is_the_headline(tmp_path: Path) -> None:
    run = read(scored_run(tmp_path, BOTH), None)
    assert results_of(run) == [("success", 1.0)]
    assert (run.scorer, list(run.scorers)) == ("match", ["match", "style"])


@pytest.mark.parametrize(("threshold", "outcome"), [(1.0, "failure"), (0.4, "success")])
def test_the_chosen_scorer_gives_score_and_outcome(tmp_path: Path, threshold: float, outcome: str) -> None:
    run = read(scored_run(tmp_path, BOTH), "style", threshold)
    assert results_of(run) == [(outcome, 0.4)]
    assert run.scorer == "style"


@pytest.mark.parametrize("stated", [{"success": True}, {"outcome": "success"}, {"outcome": "agent_error"}])
def test_an_outcome_that_was_stated_is_kept(tmp_path: Path, stated: dict[str, Any]) -> None:
    run = read(scored_run(tmp_path, {**BOTH, **stated}), "style")
    assert results_of(run) == [(stated.get("outcome", "success"), 0.4)]


def test_an_attempt_without_a_score_of_the_chosen_scorer_is_not_measured(tmp_path: Path) -> None:
    run = read(scored_run(tmp_path, BOTH, {"scores": {"match": 1.0}}), "style")
    assert results_of(run) == [("failure", 0.4), ("evaluation_error", None)]
    assert run.attempts["t1", 1].error == "there is no score of 'style'; there are scores of 'match'"


def test_an_attempt_without_named_scores_keeps_its_score(tmp_path: Path) -> None:
    assert results_of(read(scored_run(tmp_path, {"score": 1.0}), "style")) == [("success", 1.0)]


def test_a_scorer_is_chosen_for_its_benchmark_alone(tmp_path: Path) -> None:
    scored_run(tmp_path / "a", BOTH, benchmark="desk")
    scored_run(tmp_path / "b", BOTH, benchmark="web")
    choice = {"desk": "style"}
    assert results_of(read(tmp_path / "a", choice)) == [("failure", 0.4)]
    assert results_of(read(tmp_path / "b", choice)) == [("success", 1.0)]


def test_a_scorer_that_no_attempt_has_is_one_problem(tmp_path: Path) -> None:
    (found,), _ = Discovery([scored_run(tmp_path, BOTH, BOTH)], scorer="speed").scan()
    events, problems = drain(found.source)
    assert [problem.reason for problem in problems] == ["unknown_scorer"]
    assert problems[0].detail.endswith("there is no score of 'speed'; there are scores of 'match', 'style'")
    assert {event.outcome for event in events if isinstance(event, TaskFinished)} == {"evaluation_error"}


def inspect_log(path: Path, *scores: Mapping[str, object]) -> Path:
    at = "2026-11-21T20:00:00+00:00"
    named = [{name: {"value": value} for name, value in each.items()} for each in scores]
    when = {"epoch": 1, "started_at": at, "completed_at": at}
    samples = [{"id": f"s{number}", **when, "scores": each} for number, each in enumerate(named)]
    head = {"task": "desk", "model": "openai/gpt-5.1", "created": at, "task_id": "x", "run_id": "y", "eval_id": "z"}
    content = {"version": 2, "status": "success", "eval": {**head, "dataset": {}}, "samples": samples}
    return write(path, json.dumps(content))


def test_inspects_scorers_are_chosen_from(tmp_path: Path) -> None:
    inspect_log(
        tmp_path / "2026-11-21T20-00-00_desk_x.json",
        {"match": "C", "judge": {"tone": 0.2, "facts": 1}},
        {"match": float("nan"), "judge": {"tone": 1, "facts": 0}},
        {"match": "I", "judge": {"tone": "none"}},
    )
    run = read(tmp_path, None)
    assert results_of(run) == [("success", 1.0), ("interrupted", None), ("failure", 0.0)]
    assert run.scorer == "match"
    assert results_of(read(tmp_path, "tone")) == [("failure", 0.2), ("success", 1.0), ("evaluation_error", None)]


def test_the_exporters_runs_have_the_chosen_scorer(tmp_path: Path) -> None:
    exporter = exporter_of(scored_run(tmp_path, BOTH), scorer="style", success_threshold=0.4)
    exporter.collector.start()
    assert exporter.wait_caught_up(60)
    exporter.collector.stop()
    assert results_of(exporter.state.runs["r"]) == [("success", 0.4)]


class Held:
    """A source that keeps its events."""

    source, folder, declared_run_id = "held", Path(), None

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def read(self, *, full_scan: bool = False) -> ReadResult:
        return ReadResult(list(self.events))

    def fingerprint(self) -> str | None:
        return None

    def watch_paths(self) -> list[Path]:
        return []


OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "agent_error", "evaluation_error", "interrupted")
numbers = st.floats(-10, 10)


@given(
    st.dictionaries(st.sampled_from("abc"), numbers),
    st.sampled_from(OUTCOMES),
    st.booleans(),
    st.none() | numbers,
    numbers,
)
def test_no_score_of_another_scorer_is_taken_and_the_sources_event_stays(
    scores: dict[str, float], outcome: Outcome, from_score: bool, score: float | None, threshold: float
) -> None:
    event = TaskFinished(
        ts=1.0, task_id="t", outcome=outcome, score=score, scores=scores or None, outcome_from_score=from_score
    )
    before = repr(event)
    source: RunSource = Held([event])
    (chosen,) = ScorerSource(source, "a", threshold).read().events
    assert isinstance(chosen, TaskFinished)
    assert repr(event) == before
    if not scores:
        assert chosen == event
        return
    assert chosen.score == scores.get("a")
    if not from_score or outcome == "agent_error":
        assert chosen.outcome == outcome
    elif "a" in scores:
        assert chosen.outcome == ("success" if scores["a"] >= threshold else "failure")
    else:
        assert chosen.outcome not in ("success", "failure")


def test_the_threshold_decides_on_a_run_log_with_scores_alone(tmp_path: Path) -> None:
    scored_run(tmp_path, {"score": 0.6}, {"score": 0.4}, {"score": 0.6, "success": False})
    assert results_of(read(tmp_path, None, 0.5)) == [("success", 0.6), ("failure", 0.4), ("failure", 0.6)]
    assert results_of(read(tmp_path, None)) == [("failure", 0.6), ("failure", 0.4), ("failure", 0.6)]
