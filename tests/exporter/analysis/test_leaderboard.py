"""Leaderboards and comparisons of several runs."""

import concurrent.futures
import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from evalgauge.events import decode
from evalgauge.pricing import Price
from evalgauge_exporter.analysis.comparison import Comparison, Trial, compare, compare_all, compare_pairs, holm
from evalgauge_exporter.analysis.leaderboard import LeaderboardCache, find_front
from evalgauge_exporter.analysis.run_analysis import RunAnalysis
from evalgauge_exporter.state.run import RunState, State, fold
from evalgauge_exporter.views.leaderboard import leaderboards

STALL = 600.0
_seq = itertools.count()


def trials(outcomes: Sequence[int], scores: Sequence[float] | None = None) -> list[Trial]:
    return [
        Trial(f"t{n:03}", 1, "d", bool(won), 5, 60, None, float(n), None if scores is None else scores[n])
        for n, won in enumerate(outcomes)
    ]


def run_of(run_id: str, model: str, outcomes: Sequence[int], *, usd: str | None = "1", **tags: str) -> RunState:
    """A finished run of one call at each task, each at that price."""
    events: list[dict[str, Any]] = [{"ts": 1, "type": "run_started", "benchmark": "b", "model": model, "tags": tags}]
    for n, won in enumerate(outcomes):
        call = {"ts": 2, "type": "llm_call", "task_id": f"t{n:03}", "provider": "p", "model": model, "input_tokens": 1}
        outcome = "success" if won else "failure"
        events += [call, {"ts": 3 + n, "type": "task_finished", "task_id": f"t{n:03}", "outcome": outcome}]
    events.append({"ts": 5000, "type": "run_finished"})
    decoded = [decode({"v": 1, "seq": next(_seq), **one}, "w") for one in events]
    amount = None if usd is None else Decimal(usd)
    return fold(run_id, "runlog", decoded, lambda call: Price("priced" if amount else "unpriced", amount, "table"))


def analysis_of(*runs: RunState) -> RunAnalysis:
    state = State()
    state.runs = {run.run_id: run for run in runs}
    return RunAnalysis(state, stall_after=STALL)


def test_rows_are_ranked_and_compared_pairwise() -> None:
    good, weak, worst = [1] * 36 + [0] * 4, [1] * 18 + [0] * 22, [0] * 40
    analysis = analysis_of(run_of("w", "weak", weak), run_of("g", "good", good), run_of("x", "worst", worst))
    (board,) = LeaderboardCache(analysis).build(9000.0)
    assert [(row.rank, row.name, row.success_rate) for row in board.rows] == [
        (1, "good", 0.9),
        (2, "weak", 0.45),
        (3, "worst", 0.0),
    ]
    assert list(board.pairs) == [("good", "weak"), ("good", "worst"), ("weak", "worst")]
    assert {pair.verdict for pair in board.pairs.values()} == {"worse"}
    raw = [pair.comparison.p_value for pair in board.pairs.values()]
    assert [pair.adjusted_p_value for pair in board.pairs.values()] == holm(raw)
    # 40 dollars for 36 successes
    assert [row.cost_per_success_usd for row in board.rows] == [pytest.approx(40 / 36), pytest.approx(40 / 18), None]
    assert [row.on_front for row in board.rows] == [True, False, False]


def test_runs_of_one_model_are_pooled_as_repeats() -> None:
    analysis = analysis_of(run_of("one", "m", [1, 1, 0, 0]), run_of("two", "m", [1, 0, 0, 0]))
    (board,) = LeaderboardCache(analysis).build(9000.0)
    (row,) = board.rows
    assert (row.tasks, row.attempts, row.success_rate, set(row.run_ids)) == (4, 8, 0.375, {"one", "two"})


def test_runs_are_grouped_by_a_tag_and_those_without_it_are_left_out() -> None:
    runs = run_of("a", "m", [1] * 4, prompt="v1"), run_of("b", "m", [0] * 4, prompt="v2"), run_of("c", "m", [1] * 4)
    answer = leaderboards(LeaderboardCache(analysis_of(*runs)), 9000.0, "tag:prompt")
    assert [row.name for row in answer.leaderboards[0].rows] == ["v1", "v2"]
    assert answer.leaderboards[0].pairs[0].change == -1
    assert leaderboards(LeaderboardCache(analysis_of(*runs)), 9000.0, "model", "other").leaderboards == []
    with pytest.raises(ValueError, match="tag:NAME"):
        leaderboards(LeaderboardCache(analysis_of(*runs)), 9000.0, "colour")


def test_a_cost_that_is_not_complete_is_on_no_front() -> None:
    analysis = analysis_of(run_of("a", "m", [1] * 4, usd=None))
    (row,) = LeaderboardCache(analysis).build(9000.0)[0].rows
    assert (row.cost_usd, row.cost_is_complete, row.cost_per_success_usd, row.on_front) == (None, False, None, False)


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    assert find_front([(0.9, 5.0), (0.8, 1.0), (0.7, 2.0), (0.9, 6.0), (None, 0.1), (0.5, None)]) == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert find_front([(0.5, 1.0), (0.5, 1.0)]) == [True, True]


def test_several_candidates_are_corrected_for_their_number() -> None:
    baseline = trials([1] * 40)
    lost = {f"c{n}": trials([0] * (7 if n == 0 else 0) + [1] * (33 if n == 0 else 40)) for n in range(5)}
    alone = compare(baseline, lost["c0"])
    assert alone.verdict == "worse"
    assert alone.p_value == pytest.approx(2 / 2**7)
    found = compare_all(baseline, lost)
    assert found["c0"].adjusted_p_value == pytest.approx(5 * 2 / 2**7)
    assert found["c0"].verdict == "no_significant_difference"
    assert alone.ci_low is not None
    assert found["c0"].interval == (0.0, alone.ci_high)
    assert alone.ci_low > 0
    assert {one.verdict for one in found.values()} == {"no_significant_difference"}
    assert found["c0"].score_verdict is None


def test_scores_are_corrected_too() -> None:
    high, low = [0.8 + n / 1000 for n in range(20)], [0.2 + n / 1000 for n in range(20)]
    runs = {"a": trials([0] * 20, high), "b": trials([0] * 20, low), "c": trials([0] * 20)}
    found = compare_pairs(runs)
    assert found["a", "b"].score_verdict == "worse"
    assert found["a", "c"].score_verdict is None
    running = compare_pairs(runs, finished=False)
    assert running["a", "b"].score_verdict == "worse"


def test_only_pairs_whose_runs_changed_are_compared_again_and_without_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = [run_of(f"r{number}", f"model-{number}", [1, 0] * 4) for number in range(3)]
    analysis = analysis_of(*runs)
    compared: list[bool] = []
    real = compare

    def counted(*given: Any, **named: Any) -> Comparison:
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            compared.append(other.submit(analysis.state.lock.acquire, blocking=False).result())
            other.submit(analysis.state.lock.release).result()
        return real(*given, **named)

    monkeypatch.setattr("evalgauge_exporter.analysis.comparison.several.compare", counted)
    cache = LeaderboardCache(analysis)
    first = cache.build(9000.0)
    assert compared == [True] * 3
    assert cache.build(9001.0) == first
    assert len(compared) == 3
    runs[0].version += 1
    assert cache.build(9002.0) == first
    assert len(compared) == 5
