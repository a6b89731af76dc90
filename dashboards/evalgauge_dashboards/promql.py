"""PromQL built from the metric catalogue, so that a wrong metric, label or label value cannot be written.

A selection of a metric carries labels that the catalogue does not know (``job``, ``instance``, what a collector adds),
so two selections never meet in an operation: each is aggregated first, by labels that it has. The labels of an
expression are therefore always known, and a series means the same whether it was scraped or pushed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

from evalgauge.metrics import CATALOGUE, Metric
from evalgauge_dashboards.errors import ExpressionError

RATE_INTERVAL = "$__rate_interval"
"""The window of a rate in a panel: Grafana makes it wide enough for the scrape interval and the zoom."""
PUSHED_BY = "service_instance_id"
"""The label that tells the series of pushing processes apart (Prometheus' ``promote_resource_attributes``)."""
RANGE = "$__range"
"""The window that is as long as the time range of the dashboard."""

UP = Metric("up", "gauge", "", ("job", "instance"), "1 where Prometheus could scrape the target.")
SCRAPE_DURATION = Metric("scrape_duration_seconds", "gauge", "seconds", ("job", "instance"), "Length of the scrape.")
SCRAPE_SAMPLES = Metric("scrape_samples_scraped", "gauge", "samples", ("job", "instance"), "Samples in the scrape.")
ALERTS = Metric(
    "ALERTS",
    "gauge",
    "",
    ("alertname", "alertstate", "severity", "component", "run_id", "worker_id", "vm", "domain", "source", "target"),
    "1 for each alert that Prometheus' own rules raise.",
)
RULES_LOADED = Metric(
    "evalgauge:alert_rules:count",
    "gauge",
    "rules",
    (),
    "Alerts that Prometheus evaluates; absent without the rules.",
)
PROMETHEUS_OWN = (UP, SCRAPE_DURATION, SCRAPE_SAMPLES, ALERTS, RULES_LOADED)
"""What Prometheus writes by itself: the only metrics beside the catalogue that an expression may use."""

_OR, _AND, _COMPARE, _ADD, _MULTIPLY, _ATOM = range(6)
_LEVELS = {
    "or": _OR,
    "and": _AND,
    "unless": _AND,
    **dict.fromkeys(("==", "!=", ">", "<", ">=", "<="), _COMPARE),
    **dict.fromkeys(("+", "-"), _ADD),
    **dict.fromkeys(("*", "/"), _MULTIPLY),
}
Operator = Literal["or", "and", "unless", "==", "!=", ">", "<", ">=", "<=", "+", "-", "*", "/"]


@dataclasses.dataclass(frozen=True)
class Variable:
    """A dashboard's variable as the value of a matcher; ``many`` where more than one value may be selected."""

    name: str
    many: bool = False


@dataclasses.dataclass(frozen=True)
class Not:
    """Matches everything but the value or values."""

    value: str | tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Matches a regular expression, anchored at both ends as PromQL does it."""

    regex: str


LabelMatch = str | tuple[str, ...] | Variable | Not | Pattern
Operand: TypeAlias = "Expression | float"


@dataclasses.dataclass(frozen=True)
class Expression:
    """PromQL text with the labels of its result. Build it with `select`, `scalar` and the methods here."""

    text: str
    labels: frozenset[str] | None
    """The labels of the result, or ``None`` for a scalar."""
    raw: bool = False
    """True for a selection, which has labels beside ``labels`` and may be given a window."""
    level: int = _ATOM

    def __str__(self) -> str:
        return self.text

    # -- aggregation -------------------------------------------------------------------------------------------

    def _aggregate(self, function: str, by: tuple[str, ...]) -> Expression:
        grouped = f" by ({', '.join(by)}) " if by else ""
        return Expression(f"{function}{grouped}({self.text})", self._require_labels(by))

    def sum(self, *by: str) -> Expression:
        """The sum over everything but the labels ``by``."""
        return self._aggregate("sum", by)

    def max(self, *by: str) -> Expression:
        """The largest value for each set of the labels ``by``: it merges a series that two exporters expose."""
        return self._aggregate("max", by)

    def min(self, *by: str) -> Expression:
        """The smallest value for each set of the labels ``by``."""
        return self._aggregate("min", by)

    def avg(self, *by: str) -> Expression:
        """The mean for each set of the labels ``by``."""
        return self._aggregate("avg", by)

    def count(self, *by: str) -> Expression:
        """The number of series for each set of the labels ``by``."""
        return self._aggregate("count", by)

    def topk(self, count: int, *by: str) -> Expression:
        """The ``count`` largest series (for each set of the labels ``by``), with all their labels."""
        self._require_labels(by)
        return self._call(f"topk by ({', '.join(by)}) " if by else "topk", f"{count}, ", "")

    def bottomk(self, count: int, *by: str) -> Expression:
        """The ``count`` smallest series (for each set of the labels ``by``), with all their labels."""
        self._require_labels(by)
        return self._call(f"bottomk by ({', '.join(by)}) " if by else "bottomk", f"{count}, ", "")

    def count_values(self, label: str) -> Expression:
        """The number of series for each value, with the value as the new label: a number for a legend."""
        return Expression(f'count_values("{label}", {self.text})', frozenset({label}))

    def quantile(self, fraction: float) -> Expression:
        """The quantile of a histogram's buckets, which are aggregated by ``le`` among others.

        Raises:
            ExpressionError: where ``le`` is not among the labels.
        """
        self._require_labels(("le",))
        return dataclasses.replace(
            self._call("histogram_quantile", f"{fraction:g}, ", ""), labels=(self.labels or frozenset()) - {"le"}
        )

    def native_quantile(self, fraction: float) -> Expression:
        """The quantile of an aggregated native histogram."""
        return self._call("histogram_quantile", f"{fraction:g}, ", "")

    # -- over time ---------------------------------------------------------------------------------------------

    def over(self, function: str, window: str, *, offset: str | None = None) -> Expression:
        """A range function (``rate``, ``increase``, ``delta``, ``max_over_time``, …) over a selection.

        Args:
            function: Its name.
            window: Its window, such as ``5m``.
            offset: How long before the time of evaluation the window ends.

        Raises:
            ExpressionError: On anything but a selection.
        """
        if not self.raw or self.level != _ATOM or self.text.endswith(")"):
            raise ExpressionError(f"only a selection has a window: {self.text}")
        shifted = f" offset {offset}" if offset else ""
        return dataclasses.replace(self, text=f"{function}({self.text}[{window}]{shifted})")

    def deduplicate(self) -> Expression:
        """Merge the series that several exporters of one folder expose; what several processes push stays apart.

        A pushed series has the label ``service_instance_id`` where the receiver promotes it, a scraped one has not.

        Raises:
            ExpressionError: On anything but a selection.
        """
        if not self.raw:
            raise ExpressionError(f"only a selection is deduplicated: {self.text}")
        labels = ", ".join((*sorted(self.labels or ()), PUSHED_BY))
        return dataclasses.replace(self, text=f"max by ({labels}) ({self.text})", level=_ATOM)

    def subquery(self, function: str, window: str, step: str) -> Expression:
        """A range function over the values that this expression had in a window, one every ``step``."""
        inner = self.text if self.text.endswith(")") and self.level == _ATOM else f"({self.text})"
        return dataclasses.replace(self, text=f"{function}({inner}[{window}:{step}])", level=_ATOM)

    def rate(self, window: str = RATE_INTERVAL) -> Expression:
        """Growth a second of a counter."""
        return self.over("rate", window)

    # -- functions ---------------------------------------------------------------------------------------------

    def _call(self, function: str, before: str, after: str) -> Expression:
        return dataclasses.replace(self, text=f"{function}({before}{self.text}{after})", level=_ATOM)

    def clamp_min(self, value: float) -> Expression:
        """Not below ``value``."""
        return self._call("clamp_min", "", f", {value:g}")

    def clamp_max(self, value: float) -> Expression:
        """Not above ``value``."""
        return self._call("clamp_max", "", f", {value:g}")

    def sqrt(self) -> Expression:
        """The square root."""
        return self._call("sqrt", "", "")

    def floor(self) -> Expression:
        """Rounded down to an integer."""
        return self._call("floor", "", "")

    def sort(self, descending: bool = False) -> Expression:
        """Sorted by value (only an instant query's result has an order)."""
        return self._call("sort_desc" if descending else "sort", "", "")

    def absent(self, **labels: str) -> Expression:
        """1 where there is no such series, else no series; ``labels`` are those that the selection's matchers set."""
        return Expression(f"absent({self.text})", frozenset(labels))

    def derive_label(self, new: str, source: str, pattern: str) -> Expression:
        """With one more label ``new``: what the first group of ``pattern`` matched in the label ``source``.

        A value that the whole pattern does not match gives no label.

        Raises:
            ExpressionError: On a selection, and where there is no label ``source``.
        """
        self._require_aggregated()
        self._require_labels((source,))
        derived = self._call("label_replace", "", f', "{new}", "$1", "{source}", "{_escape_string(pattern)}"')
        return dataclasses.replace(derived, labels=(self.labels or frozenset()) | {new})

    def targets(self) -> Expression:
        """1 for each scrape target, as job and instance, that has such a series.

        Raises:
            ExpressionError: On anything but a selection.
        """
        if not self.raw:
            raise ExpressionError(f"only a selection has the labels of its target: {self.text}")
        return Expression(f"group by (job, instance) ({self.text})", frozenset({"job", "instance"}))

    def join_labels(self, new: str, *labels: str) -> Expression:
        """With one more label ``new``: the values of ``labels`` with a slash between them.

        Raises:
            ExpressionError: on a selection, and where one of the labels is not there.
        """
        self._require_aggregated()
        self._require_labels(labels)
        sources = ", ".join(f'"{label}"' for label in labels)
        joined = self._call("label_join", "", f', "{new}", "/", {sources}')
        return dataclasses.replace(joined, labels=(self.labels or frozenset()) | {new})

    # -- operators ---------------------------------------------------------------------------------------------

    def combine(
        self, operator: Operator, other: Operand, *, on: tuple[str, ...] | None = None, carry: tuple[str, ...] = ()
    ) -> Expression:
        """``self operator other``, matched on the labels ``on`` where they are named, else on all of them.

        ``carry`` are labels of ``other`` that the result gets too. Where ``self`` has more labels than ``on``, the
        match is many to one.

        Raises:
            ExpressionError: where a selection is combined with a vector, where the label sets differ and ``on`` is
                not given, or where ``on`` or ``carry`` are not labels of the sides.
        """
        right = other if isinstance(other, Expression) else scalar(other)
        level = _LEVELS[operator]
        words: str = operator
        labels = self.labels
        if self.labels is None or right.labels is None:
            if on is not None or (operator in ("or", "and", "unless")):
                raise ExpressionError(f"a scalar is not matched on labels: {self.text} {operator} {right.text}")
            labels = right.labels if self.labels is None else self.labels
        else:
            self._require_aggregated()
            right._require_aggregated()
            labels = self.labels
            if on is None:
                if self.labels != right.labels and operator != "or":
                    raise ExpressionError(f"{self.text} and {right.text} have other labels: say which to match on")
                labels = self.labels | right.labels
            else:
                self._require_labels(on)
                right._require_labels((*on, *carry))
                words += f" on ({', '.join(on)})"
                if operator not in ("or", "and", "unless"):
                    if self.labels != frozenset(on) or carry:
                        words += f" group_left ({', '.join(carry)})" if carry else " group_left ()"
                    labels = self.labels | set(carry)
        gap = "\n" if operator in ("or", "and", "unless") else " "
        return Expression(
            f"{self._parenthesize(level)}{gap}{words} {right._parenthesize(level + 1)}", labels, self.raw, level
        )

    def __add__(self, other: Operand) -> Expression:
        return self.combine("+", other)

    def __sub__(self, other: Operand) -> Expression:
        return self.combine("-", other)

    def __mul__(self, other: Operand) -> Expression:
        return self.combine("*", other)

    def __rmul__(self, other: float) -> Expression:
        return scalar(other).combine("*", self)

    def __rsub__(self, other: float) -> Expression:
        return scalar(other).combine("-", self)

    def __truediv__(self, other: Operand) -> Expression:
        return self.combine("/", other)

    def __gt__(self, other: Operand) -> Expression:
        return self.combine(">", other)

    def __lt__(self, other: Operand) -> Expression:
        return self.combine("<", other)

    def __ge__(self, other: Operand) -> Expression:
        return self.combine(">=", other)

    def __le__(self, other: Operand) -> Expression:
        return self.combine("<=", other)

    def equals(self, value: float) -> Expression:
        """Only the series that have the value."""
        return self.combine("==", value)

    def where(self, other: Expression, *, on: tuple[str, ...]) -> Expression:
        """Only the series for which ``other`` has one."""
        return self.combine("and", other, on=on)

    def unless(self, other: Expression, *, on: tuple[str, ...]) -> Expression:
        """Only the series for which ``other`` has none."""
        return self.combine("unless", other, on=on)

    def or_(self, other: Expression) -> Expression:
        """The series of this, and those of ``other`` that this has not."""
        return self.combine("or", other)

    # -- checks ------------------------------------------------------------------------------------------------

    def _parenthesize(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"

    def _require_aggregated(self) -> None:
        if self.raw:
            raise ExpressionError(f"a selection is aggregated before it meets another vector: {self.text}")

    def _require_labels(self, names: Iterable[str]) -> frozenset[str]:
        known = self.labels if self.labels is not None else frozenset()
        if unknown := sorted(set(names) - known):
            raise ExpressionError(f"{self.text} has no label {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        return frozenset(names)


def scalar(value: float) -> Expression:
    """A number."""
    return Expression(f"{value:.10g}", None)


NOW = Expression("time()", None)
"""The time of evaluation in Unix seconds."""


def vector(value: float) -> Expression:
    """One series without labels."""
    return Expression(f"vector({value:g})", frozenset())


def select(metric: Metric, **where: LabelMatch) -> Expression:
    """The series of a metric whose labels match; a histogram's are selected with `buckets`.

    Raises:
        ExpressionError: where the metric has no such label, or the label can never have the value.
    """
    if metric.kind in ("histogram", "summary"):
        raise ExpressionError(f"{metric.name} is a {metric.kind}: select its buckets, sum or count")
    return _select_series(metric.name, metric, where)


def buckets(metric: Metric, **where: LabelMatch) -> Expression:
    """The buckets of a histogram, with the label ``le``."""
    chosen = _select_series(f"{metric.name}_bucket", metric, where)
    return dataclasses.replace(chosen, labels=(chosen.labels or frozenset()) | {"le"})


def native_histogram(metric: Metric, **where: LabelMatch) -> Expression:
    """A histogram that Prometheus stores as a native one, which has one series under its own name."""
    return _select_series(metric.name, metric, where, native=True)


def histogram_part(metric: Metric, which: Literal["sum", "count"], **where: LabelMatch) -> Expression:
    """The sum or the count of a histogram or summary."""
    return _select_series(f"{metric.name}_{which}", metric, where)


def _select_series(series: str, metric: Metric, where: dict[str, LabelMatch], *, native: bool = False) -> Expression:
    if series not in metric.series and not (native and metric.kind == "histogram"):
        raise ExpressionError(f"{metric.name} is a {metric.kind} and has no series {series}")
    matchers = ",".join(_format_matcher(metric, label, value) for label, value in where.items())
    return Expression(f"{series}{{{matchers}}}" if matchers else series, frozenset(metric.labels), raw=True)


def _format_matcher(metric: Metric, label: str, value: LabelMatch) -> str:
    if label not in metric.labels:
        raise ExpressionError(f"{metric.name} has no label {label}; it has {', '.join(metric.labels)}")
    match value:
        case Variable(name, many):
            return f'{label}{"=~" if many else "="}"${name}"'
        case Pattern(regex):
            return f'{label}=~"{_escape_string(regex)}"'
        case Not(inner):
            values, one, several = inner, "!=", "!~"
        case _:
            values, one, several = value, "=", "=~"
    values = (values,) if isinstance(values, str) else values
    closed = dict(metric.values).get(label)
    if closed and (wrong := sorted(set(values) - set(closed))):
        raise ExpressionError(f"{label} of {metric.name} is never {', '.join(wrong)}; it is one of {', '.join(closed)}")
    if len(values) == 1:
        return f'{label}{one}"{_escape_string(values[0])}"'
    return f'{label}{several}"{_escape_string("|".join(_escape_regex(value) for value in values))}"'


def _escape_string(text: str) -> str:
    """Escape text for a PromQL string."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_regex(text: str) -> str:
    """Escape text for a regular expression, in which only these characters have a meaning (RE2)."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


_SERIES = re.compile(
    r'(?<![\w:"])('
    + "|".join(
        sorted(
            {
                name
                for metric in (*CATALOGUE, UP, SCRAPE_DURATION, SCRAPE_SAMPLES)
                for name in (*metric.series, metric.name)
            },
            key=len,
            reverse=True,
        )
    )
    + r")(?![\w:])(\{)?"
)


def add_matchers(text: str, matchers: str) -> str:
    """Add label matchers to every selection of a PromQL expression, or of a variable's query.

    Args:
        text: The expression, built by this module.
        matchers: Label matchers joined by commas, such as ``cluster="a"``; an empty text changes nothing.

    Returns:
        The expression with the matchers in front of those that each selection has. The alerts' own series are left
        alone: Prometheus gives them the labels of the alert, not those of the target.
    """
    if not matchers:
        return text

    def add(match: re.Match[str]) -> str:
        name, opened = match[1], match[2]
        return f"{name}{{{matchers}," if opened else f"{name}{{{matchers}}}"

    return _SERIES.sub(add, text)
