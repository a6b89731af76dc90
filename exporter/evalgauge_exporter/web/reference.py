"""The API's reference for people, made from its own OpenAPI document: one page without scripts."""

from __future__ import annotations

from html import escape
from typing import Any


def reference_page(document: dict[str, Any]) -> str:
    """HTML: each path with its parameters and the keys of its answer."""
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[str]] = {}
    contents = ""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation.get("tags", ["more"])[0], []).append(
                _operation(path, method, operation, schemas)
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
        "Times are Unix seconds; what was not measured is null. "
        'An error is <code>{"error": "…"}</code> with a status of 400 or more.</p>'
        f'<nav aria-label="Addresses">{contents}</nav>{body}</main></body></html>'
    )


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(item['name'])}</code></td><td>{escape(_kind(item['schema']))}</td>"
        f"<td>{escape(item.get('description') or '')}</td></tr>"
        for item in operation.get("parameters", [])
    )
    parameters = f"<table><caption>Parameters</caption>{rows}</table>" if rows else ""
    content = operation["responses"].get("200", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    inner = _inner(schema, schemas)
    answer = "" if inner is None else f"<p>Answers {_answer_kind(schema)}:</p>{_keys(inner, schemas)}"
    return (
        f'<article id="{escape(operation["operationId"])}">'
        f"<h3><code>{escape(method.upper())} {escape(path)}</code></h3>"
        f"<p>{escape(operation.get('summary', ''))}</p>{parameters}{answer}</article>"
    )


def _keys(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> str:
    rows = ""
    for name, value in schema.get("properties", {}).items():
        inner = _inner(value, schemas)
        below = _keys(inner, schemas, depth + 1) if inner is not None and depth < 4 else ""
        rows += (
            f"<li><code>{escape(name)}</code> <span>{escape(_kind(value))}</span> "
            f"{escape(value.get('description') or '')}{below}</li>"
        )
    return f"<ul>{rows}</ul>" if rows else ""


def _inner(value: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any] | None:
    """The object that a value is, or is a list or a map of."""
    for candidate in (value, value.get("items"), value.get("additionalProperties"), *value.get("anyOf", [])):
        if isinstance(candidate, dict) and "$ref" in candidate:
            found: dict[str, Any] | None = schemas.get(candidate["$ref"].rpartition("/")[2])
            return found
    return None


def _answer_kind(schema: dict[str, Any]) -> str:
    """An object, a list of them, or a map of them by name."""
    if schema.get("type") == "array":
        return "a list of objects with"
    return "an object of objects with" if "additionalProperties" in schema else "an object with"


def _kind(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return "object"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(part) for part in value["anyOf"]))
    if "enum" in value:
        return " | ".join(map(str, value["enum"]))
    kind = str(value.get("type", "any"))
    return f"list of {_kind(value['items'])}" if kind == "array" and "items" in value else kind
