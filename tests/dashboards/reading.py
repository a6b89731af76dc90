"""Reading dashboards and expressions: what the tests of this folder share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser

GENERATED = Path(__file__).parents[2] / "dashboards" / "generated"
Json = dict[str, Any]

WINDOWS = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h", "__range_s": "3600", "__interval_ms": "15000"}


def load_dashboards() -> list[Json]:
    """The generated dashboards as Grafana reads them."""
    return [json.loads(path.read_text()) for path in sorted((GENERATED / "dashboards").glob("*.json"))]


def panels(dashboard: Json) -> list[Json]:
    """Its panels, without the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def targets() -> Iterator[tuple[Json, Json, Json]]:
    """Every query of every panel of every dashboard: dashboard, panel, target."""
    for dashboard in load_dashboards():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield dashboard, panel, target


def fill_variables(expression: str, values: dict[str, str]) -> str:
    """An expression with its variables replaced, as Prometheus gets to see it.

    Raises:
        KeyError: for a variable that has no value.
    """
    known = WINDOWS | values
    return re.sub(r"\$(?:\{([a-z_]\w*)(?::\w+)?\}|([a-z_]\w*))", lambda match: known[match[1] or match[2]], expression)


def select_variables(query: Callable[[str], list[Json]], dashboard: Json) -> dict[str, str]:
    """The dashboard's variables as Grafana would set them when it is opened; ``query`` asks Prometheus."""
    values: dict[str, str] = {}
    for variable in dashboard["templating"]["list"]:
        if variable.get("includeAll"):
            values[variable["name"]] = variable["allValue"]
        elif label := re.fullmatch(r"label_values\((.+), (\w+)\)", str(variable.get("definition"))):
            found = query(f"group by ({label[2]}) ({fill_variables(label[1], values)})")
            values[variable["name"]] = min(series["metric"][label[2]] for series in found)
        elif variable["type"] == "query":
            function = re.fullmatch(r"query_result\((.+)\)", variable["query"]["query"])
            assert function
            first = query(fill_variables(function[1], values))[0]["metric"]
            pattern = re.compile(variable["regex"].strip("/"))
            match = pattern.search(",".join(f'{name}="{value}"' for name, value in first.items()))
            assert match
            values[variable["name"]] = match[1]
    return values


def nodes(tree: object, parents: tuple[object, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every node of a parsed expression, with those above it."""
    yield tree, parents
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        child = getattr(tree, name, None)
        if child is not None and type(child).__module__ == type(tree).__module__ and not isinstance(child, str):
            yield from nodes(child, (*parents, tree))
    for child in getattr(tree, "args", None) or ():
        yield from nodes(child, (*parents, tree))


def metrics_of(expression: str) -> set[str]:
    """The names of the series that an expression reads."""
    return {
        node.name
        for node, _ in nodes(promql_parser.parse(expression))
        if isinstance(node, promql_parser.VectorSelector) and node.name
    }
