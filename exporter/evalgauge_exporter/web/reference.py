"""The API reference for people: one page without scripts, rendered from the OpenAPI document."""

from __future__ import annotations

from html import escape
from typing import Any


def render_reference(document: dict[str, Any]) -> str:
    """Render the reference as HTML: each path with its parameters and the keys of its response.

    Args:
        document: The OpenAPI document of the application.
    """
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[str]] = {}
    contents = ""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation.get("tags", ["more"])[0], []).append(
                _render_operation(path, method, operation, schemas)
            )
            contents += f'<a href="#{escape(operation["operationId"])}">{escape(path)}</a> '
    body = "".join(f"<section><h2>{escape(name)}</h2>{''.join(parts)}</section>" for name, parts in groups.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        '<title>evalgauge: API</title><link rel="icon" href="live/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="live/base.css"><link rel="stylesheet" href="live/reference.css"></head>'
        "<body><main>"
        f"<h1>The HTTP API of evalgauge {escape(document['info']['version'])}</h1>"
        '<p>For programs: <a href="openapi.json">/openapi.json</a>. For people: <a href="./">the live page</a>. '
        "Times are Unix seconds; a value that was not measured is null. "
        'An error is <code>{"error": "…"}</code> with a status of 400 or more.</p>'
        f'<nav aria-label="Paths">{contents}</nav>{body}</main></body></html>'
    )


def _render_operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(item['name'])}</code></td><td>{escape(_describe_type(item['schema']))}</td>"
        f"<td>{escape(item.get('description') or '')}</td></tr>"
        for item in operation.get("parameters", [])
    )
    parameters = f"<table><caption>Parameters</caption>{rows}</table>" if rows else ""
    content = operation["responses"].get("200", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    inner = _find_object_schema(schema, schemas)
    answer = "" if inner is None else f"<p>Returns {_describe_answer(schema)}:</p>{_render_keys(inner, schemas)}"
    return (
        f'<article id="{escape(operation["operationId"])}">'
        f"<h3><code>{escape(method.upper())} {escape(path)}</code></h3>"
        f"<p>{escape(operation.get('summary', ''))}</p>{parameters}{answer}</article>"
    )


def _render_keys(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> str:
    rows = ""
    for name, value in schema.get("properties", {}).items():
        inner = _find_object_schema(value, schemas)
        below = _render_keys(inner, schemas, depth + 1) if inner is not None and depth < 4 else ""
        rows += (
            f"<li><code>{escape(name)}</code> <span>{escape(_describe_type(value))}</span> "
            f"{escape(value.get('description') or '')}{below}</li>"
        )
    return f"<ul>{rows}</ul>" if rows else ""


def _find_object_schema(value: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the object that a value is, or of the objects that it lists or maps to."""
    for candidate in (value, value.get("items"), value.get("additionalProperties"), *value.get("anyOf", [])):
        if isinstance(candidate, dict) and "$ref" in candidate:
            found: dict[str, Any] | None = schemas.get(candidate["$ref"].rpartition("/")[2])
            return found
    return None


def _describe_answer(schema: dict[str, Any]) -> str:
    """Describe the response: an object, a list of objects, or a map of objects by name."""
    if schema.get("type") == "array":
        return "a list of objects with"
    return "an object of objects with" if "additionalProperties" in schema else "an object with"


def _describe_type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return "object"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_describe_type(part) for part in value["anyOf"]))
    if "enum" in value:
        return " | ".join(map(str, value["enum"]))
    kind = str(value.get("type", "any"))
    return f"list of {_describe_type(value['items'])}" if kind == "array" and "items" in value else kind
