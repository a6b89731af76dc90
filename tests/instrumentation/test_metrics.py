"""The catalogue keeps the rules of Prometheus' naming practice, and its page is fresh."""

import re
from pathlib import Path

import pytest

from evalgauge import metrics
from evalgauge.metrics import CATALOGUE, Metric

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_follows_the_naming_rules(metric: Metric) -> None:
    assert re.fullmatch(r"agent_eval_[a-z0-9_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert len(set(metric.labels)) == len(metric.labels)
    assert "task_id" not in metric.labels or metric is metrics.WORKER_TASK_INFO
    if metric.unit == "Unix seconds":
        assert metric.name.endswith("_timestamp_seconds")
    assert {label for label, _ in metric.values} <= set(metric.labels)


def test_names_are_unique() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE) == len(metrics.BY_NAME)


def test_a_histogram_has_its_three_series_and_the_others_one() -> None:
    assert metrics.RUN_TASK_DURATION.series == (
        "agent_eval_run_task_duration_seconds_bucket",
        "agent_eval_run_task_duration_seconds_sum",
        "agent_eval_run_task_duration_seconds_count",
    )
    assert metrics.RUN_TASKS.series == ("agent_eval_run_tasks",)


def test_durations_are_bucketed_up_to_an_hour() -> None:
    assert metrics.DURATION_BUCKETS[-1] == 3600
    assert list(metrics.DURATION_BUCKETS) == sorted(metrics.DURATION_BUCKETS)


def test_the_page_of_metrics_is_up_to_date() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert page == metrics.render_markdown(), "docs/metrics.md is stale; make docs writes it again"
