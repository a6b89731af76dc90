"""``evalgauge schema``: the formats of evalgauge as JSON Schema, for programs in other languages."""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec

from evalgauge.events import VERSION, Event


@click.group("schema")
def command() -> None:
    """Print the JSON Schema of the run log."""


@command.command("runlog")
def runlog() -> None:
    """Print the JSON Schema of a line of the run log.

    Made from the events themselves. Readers skip fields that the schema does not have.
    """
    click.echo(json.dumps(runlog_schema(), indent=2))


def runlog_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a line of the run log."""
    (whole,), components = msgspec.json.schema_components([Event], ref_template="#/$defs/{name}")
    for schema in components.values():
        properties = schema.get("properties", {})
        if properties.pop("writer", None) is None:
            continue  # not an event: a planned task
        properties["v"] = {"const": VERSION, "description": "Version of the vocabulary."}
        schema["required"] = [name for name in schema["required"] if name != "writer"] + ["v", "seq"]
    # a number in place of a list: how many tasks there are
    tasks = components["RunStarted"]["properties"]["tasks"]
    components["RunStarted"]["properties"]["tasks"] = {"anyOf": [tasks, {"type": "integer", "minimum": 0}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of an evalgauge run log",
        **whole,
        "$defs": components,
    }
