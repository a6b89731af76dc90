"""The API's reference for people, made from its own OpenAPI document: one page without scripts."""

from __future__ import annotations

from html import escape
from typing import Any


def reference_page(document: dict[str, Any]) -> str:
    """HTML: each path with its parameters and the keys of its answer."""
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation.get("tags", ["more"])[0], []).append(
                _operation(path, method, operation, schemas)
            )
    body = "".join(f"<section><h2>{escape(name)}</h2>{''.join(parts)}</section>" for name, parts in groups.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<title>evalgauge: API</title><link rel="stylesheet" href="/live/reference.css"></head><body><main>'
        f"<h1>API</h1><p>Version {escape(document['info']['version'])}. As a document for programs: "
        f'<a href="/openapi.json">/openapi.json</a>. The live page: <a href="/">/</a></p>{body}</main></body></html>'
    )


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(item['name'])}</code></td><td>{escape(_kind(item['schema']))}</td>"
        f"<td>{escape(item.get('description') or '')}</td></tr>"
        for item in operation.get("parameters", [])
    )
    parameters = f"<table><caption>Parameters</caption>{rows}</table>" if rows else ""
    content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    answer = _keys(schemas[reference], schemas) if reference in schemas else ""
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


def _kind(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return "object"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(part) for part in value["anyOf"]))
    if "enum" in value:
        return " | ".join(map(str, value["enum"]))
    kind = str(value.get("type", "any"))
    return f"list of {_kind(value['items'])}" if kind == "array" and "items" in value else kind
