"""Expressions: what is wrong cannot be written, what can be written is PromQL."""

from __future__ import annotations

import re
from collections.abc import Callable

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalgauge import metrics as m
from evalgauge_dashboards.errors import ExpressionError
from evalgauge_dashboards.promql import (
    NOW,
    Expression,
    Not,
    Operator,
    Pattern,
    Variable,
    buckets,
    histogram_part,
    select,
)


def test_a_selection_writes_its_matchers() -> None:
    chosen = select(m.RUN_TASKS, run_id=Variable("run"), status=("success", "failure"), domain=Not("chrome"))
    assert str(chosen) == 'agent_eval_run_tasks{run_id="$run",status=~"success|failure",domain!="chrome"}'
    assert str(select(m.RUN_INFO, model=Variable("model", many=True))) == 'agent_eval_run_info{model=~"$model"}'
    assert str(select(m.RUN_INFO, model=Pattern("claude.+"))) == 'agent_eval_run_info{model=~"claude.+"}'
    assert str(select(m.RUN_STEPS, action=Not(("done", "error")))) == 'agent_eval_run_steps_total{action!~"done|error"}'


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: select(m.RUN_TASKS, worker_id="w"), "has no label worker_id"),
        (lambda: select(m.RUN_TASKS, status="passed"), "status of agent_eval_run_tasks is never passed"),
        (lambda: select(m.RUN_TASKS, status=("success", "skipped")), "is never skipped"),
        (lambda: select(m.RUN_TASK_DURATION), "select its buckets"),
        (lambda: buckets(m.RUN_COST), "has no series agent_eval_run_cost_usd_bucket"),
        (lambda: select(m.RUN_TASKS).sum("worker_id"), "has no label worker_id"),
        (lambda: select(m.RUN_TASKS).sum("run_id").max("domain"), "has no label domain"),
        (lambda: select(m.RUN_TASKS) / select(m.RUN_TASKS), "is aggregated before it meets"),
        (lambda: select(m.RUN_TASKS).sum("run_id") / select(m.RUN_BUDGET), "is aggregated before it meets"),
        (lambda: select(m.RUN_TASKS).sum("run_id") / select(m.RUN_TASKS).sum("domain"), "say which to match on"),
        (lambda: select(m.RUN_TASKS).sum("run_id").rate(), "only a selection has a window"),
        (lambda: select(m.RUN_STEPS).rate().rate(), "only a selection has a window"),
        (lambda: select(m.RUN_TASKS).sum("run_id").where(select(m.VM_INFO).max("vm"), on=("run_id",)), "no label"),
        (lambda: buckets(m.RUN_TASK_DURATION).sum("run_id").quantile(0.5), "has no label le"),
        (lambda: NOW.combine("+", 1, on=()), "not matched on labels"),
        (lambda: select(m.WORKER_STATE).derive_label("vm", "worker_id", "(.*)"), "is aggregated before it meets"),
        (lambda: select(m.VM_RUNS).max("vm").derive_label("x", "target", "(.*)"), "has no label target"),
        (lambda: select(m.RUN_TASKS).sum("run_id").deduplicate(), "only a selection is deduplicated"),
        (lambda: select(m.RUN_TASKS).sum("run_id").targets(), "only a selection has the labels of its target"),
        (lambda: select(m.RUN_SCORE), "is a summary"),
        (lambda: select(m.VM_RUNS).join_labels("machine", "vm"), "is aggregated before it meets"),
        (lambda: select(m.VM_RUNS).max("vm").join_labels("machine", "resource_group"), "has no label resource_group"),
    ],
)
def test_what_does_not_exist_or_would_mean_something_else_is_refused(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(ExpressionError, match=says):
        wrong()


def test_labels_are_known_through_every_step() -> None:
    cost = select(m.RUN_COST).sum("run_id")
    info = select(m.RUN_INFO).max("run_id", "model")
    joined = cost.combine("*", info, on=("run_id",), carry=("model",))
    assert joined.labels == frozenset({"run_id", "model"})
    assert str(joined) == (
        "sum by (run_id) (agent_eval_run_cost_usd) * on (run_id) group_left (model) "
        "max by (run_id, model) (agent_eval_run_info)"
    )
    assert joined.sum("model").labels == frozenset({"model"})
    machine = select(m.VM_RUNS).max("vm", "resource_group").join_labels("machine", "resource_group", "vm")
    assert machine.labels == frozenset({"vm", "resource_group", "machine"})
    assert str(machine.max("machine")) == (
        "max by (machine) (label_join(max by (vm, resource_group) (agent_eval_vm_runs), "
        '"machine", "/", "resource_group", "vm"))'
    )
    assert cost.derive_label("study", "run_id", "([^.]+).*").labels == frozenset({"run_id", "study"})
    assert str(select(m.BUILD_INFO).targets()) == "group by (job, instance) (agent_eval_exporter_build_info)"
    assert str(select(m.RUN_COST).over("last_over_time", "5m", offset="1h").deduplicate().sum("run_id")) == (
        "sum by (run_id) (max by (component, run_id, service_instance_id) "
        "(last_over_time(agent_eval_run_cost_usd[5m] offset 1h)))"
    )
    assert str((cost > 1).subquery("avg_over_time", "6h", "5m")) == (
        "avg_over_time((sum by (run_id) (agent_eval_run_cost_usd) > 1)[6h:5m])"
    )
    assert buckets(m.RUN_TASK_DURATION).sum("run_id", "le").quantile(0.9).labels == frozenset({"run_id"})
    assert histogram_part(m.RUN_TASK_DURATION, "sum").labels == frozenset({"run_id", "domain"})
    assert (NOW - cost).labels == frozenset({"run_id"})
    assert cost.count_values("usd").labels == frozenset({"usd"})


_SIDES = st.sampled_from([select(m.RUN_COST).sum("run_id"), select(m.RUN_BUDGET).max("run_id"), NOW])
_OPERATORS: tuple[Operator, ...] = ("+", "-", "*", "/", ">", "<", ">=", "<=", "and", "or", "unless")


@st.composite
def _trees(draw: st.DrawFn, depth: int = 4) -> tuple[Expression, str]:
    """An expression, and the same with every operation in parentheses."""
    if depth == 0 or draw(st.booleans()):
        leaf = draw(_SIDES)
        return leaf, str(leaf)
    (left, left_text), (right, right_text) = draw(_trees(depth - 1)), draw(_trees(depth - 1))
    operator = draw(st.sampled_from(_OPERATORS))
    if left.labels is None or right.labels is None:
        operator = "+" if operator in ("and", "or", "unless") or (left.labels is right.labels is None) else operator
    return left.combine(operator, right), f"({left_text} {operator} {right_text})"


def _unwrapped(node: object) -> object:
    """A tree without parentheses and text positions, for comparing what binds to what."""
    if isinstance(node, promql_parser.ParenExpr):
        return _unwrapped(node.expr)
    if isinstance(node, promql_parser.BinaryExpr):
        return (str(node.op), _unwrapped(node.lhs), _unwrapped(node.rhs))
    return str(node)


@given(_trees())
def test_parentheses_stand_where_precedence_needs_them(tree: tuple[Expression, str]) -> None:
    written, spelled_out = tree
    assert _unwrapped(promql_parser.parse(str(written))) == _unwrapped(promql_parser.parse(spelled_out))


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1) | st.sampled_from(["a\nb", '"'])


@given(st.sampled_from(m.CATALOGUE), st.data())
def test_every_selection_of_every_metric_parses(metric: m.Metric, data: st.DataObject) -> None:
    closed = dict(metric.values)
    where = {
        label: data.draw(st.sampled_from(closed[label]) if label in closed else _TEXTS)
        for label in data.draw(st.sets(st.sampled_from(metric.labels)) if metric.labels else st.just(set[str]()))
    }
    if metric.kind == "histogram":
        chosen = buckets(metric, **where)
    elif metric.kind == "summary":
        chosen = histogram_part(metric, "sum", **where)
    else:
        chosen = select(metric, **where)
    tree = promql_parser.parse(str(chosen))
    assert isinstance(tree, promql_parser.VectorSelector)
    assert tree.name in metric.series
    assert {matcher.name: matcher.value for matcher in tree.matchers.matchers} == where


@given(st.sets(_TEXTS, min_size=2))
def test_several_values_match_themselves_and_nothing_else(values: set[str]) -> None:
    tree = promql_parser.parse(str(select(m.RUN_INFO, model=tuple(sorted(values)))))
    assert isinstance(tree, promql_parser.VectorSelector)
    (matcher,) = tree.matchers.matchers
    pattern = re.compile(matcher.value, re.DOTALL)
    assert all(pattern.fullmatch(value) for value in values)
    assert not pattern.fullmatch("".join(sorted(values)) + "x")
