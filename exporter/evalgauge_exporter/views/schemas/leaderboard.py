"""JSON schemas of the leaderboard. What was not measured is null, never 0."""

from __future__ import annotations

from pydantic import BaseModel, Field

from evalgauge_exporter.analysis.summary import RATE, SCORE
from evalgauge_exporter.views.schemas.run import Verdict


class LeaderboardRow(BaseModel):
    """The runs of one model, agent or tag value."""

    rank: int = Field(description="From 1, by success rate, else by mean score.")
    name: str
    run_ids: list[str]
    tasks: int = Field(description="Tasks measured by any of the runs.")
    attempts: int = Field(description="Measured attempts.")
    success_rate: float | None = Field(description=RATE)
    success_rate_low: float | None = Field(description="95 % interval, cluster-robust over tasks.")
    success_rate_high: float | None
    mean_score: float | None = Field(description=SCORE)
    score_low: float | None = Field(description="95 % interval over tasks.")
    score_high: float | None
    cost_usd: float | None = Field(description="Known cost of the runs, machines included.")
    cost_is_complete: bool = Field(description="Whether every call and machine is in cost_usd.")
    cost_per_success_usd: float | None = Field(description="Null where the cost is not complete.")
    on_front: bool = Field(description="On the Pareto front of success against cost per success.")


class LeaderboardPair(BaseModel):
    """Comparison of two rows; the verdict is on the candidate, Holm-corrected for the number of pairs."""

    baseline: str
    candidate: str
    change: float | None = Field(description="Difference of the success rates, candidate minus baseline.")
    change_low: float | None = Field(description="95 % interval, not corrected.")
    change_high: float | None
    paired_tasks: int
    p_value: float = Field(description="Holm-corrected.")
    verdict: Verdict
    score_change: float | None = Field(description="Difference of the mean scores, candidate minus baseline.")
    score_p_value: float | None = Field(description="Holm-corrected.")
    score_verdict: Verdict | None


class Leaderboard(BaseModel):
    """The rows of one benchmark, by rank, and their pairwise comparisons."""

    benchmark: str
    rows: list[LeaderboardRow]
    pairs: list[LeaderboardPair]


class Leaderboards(BaseModel):
    """The leaderboard of each benchmark."""

    by: str = Field(description="model, agent or tag:NAME.")
    leaderboards: list[Leaderboard]
