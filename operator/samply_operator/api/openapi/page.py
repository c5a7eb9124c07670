"""The OpenAPI document as one HTML page: no script, nothing loaded from anywhere. Document in, text out. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]

STYLE = Path(__file__).with_name("page.css").read_text()
_digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def render(document: Json) -> str:
    info = document["info"]
    tags = [tag["name"] for tag in document["tags"]]
    operations = list(_list_operations(document))
    groups = {tag: [each for each in operations if tag in each[2]["tags"]] for tag in tags}
    body = [
        f"<h1>{escape(info['title'])} <span class=soft>{escape(info['version'])}</span></h1>",
        f'<p class=soft>OpenAPI {escape(document["openapi"])}: <a href="openapi.json">openapi.json</a></p>',
        _text(info["description"]),
    ]
    for tag in document["tags"]:
        body += [f"<h2>{escape(tag['name'])}</h2>", _text(tag["description"])]
        body += [_render_operation(*each) for each in groups[tag["name"]]]
    body.append("<h2>Schemas</h2>")
    body += [_render_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} HTTP interface</title><style>{STYLE}</style></head>\n"
        f"<body>{_render_navigation(document, groups)}\n<main>{''.join(body)}</main></body></html>\n"
    )


def _list_operations(document: Json) -> Iterable[tuple[str, str, Json]]:
    """Without HEAD, which is like GET."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "head":
                yield method, path, operation


def _render_navigation(document: Json, groups: Mapping[str, list[tuple[str, str, Json]]]) -> str:
    parts = ["<nav><strong>HTTP interface</strong>"]
    for tag, operations in groups.items():
        rows = (
            f'<li><a href="#{escape(each["operationId"])}">{escape(each["summary"])}</a></li>'
            for _, _, each in operations
        )
        parts.append(f"<h2>{escape(tag)}</h2><ul>{''.join(rows)}</ul>")
    names = (f'<li><a href="#{escape(name)}">{escape(name)}</a></li>' for name in document["components"]["schemas"])
    parts.append(f"<h2>Schemas</h2><ul>{''.join(names)}</ul></nav>")
    return "".join(parts)


def _render_operation(method: str, path: str, operation: Json) -> str:
    parts = [
        f'<article id="{escape(operation["operationId"])}"><header>',
        f"<span class='method {method}'>{method}</span><code>{escape(path)}</code>",
        f"<h3>{escape(operation['summary'])}</h3></header>",
        _text(operation.get("description", "")),
    ]
    if not operation["security"]:
        parts.append("<p class=soft>Needs no token.</p>")
    rows = [
        (
            f"<code>{escape(param['name'])}</code>",
            f"{_name(param['schema'])}<br><span class=soft>{_describe_place(param)}</span>",
            _text(param["description"], is_inline=True),
        )
        for param in operation.get("parameters", ())
    ]
    parts.append(_table(("Parameter", "Value", ""), rows))
    parts.append(_table(("Status", "", ""), [_row(*each) for each in operation["responses"].items()]))
    parts += [_render_example(status, each) for status, each in operation["responses"].items()]
    return "".join(parts) + "</article>"


def _describe_place(param: Json) -> str:
    return f"{param['in']}, required" if param["required"] else str(param["in"])


def _row(status: str, response: Json) -> tuple[str, str, str]:
    content = response.get("content", {})
    kinds = (
        "<br>".join(f"<span class=soft>{escape(media)}</span>" for media in content) or "<span class=soft>empty</span>"
    )
    headers = ", ".join(f"<code>{escape(name)}</code>" for name in response["headers"])
    return (
        f"<code>{status}</code>",
        kinds,
        f"{_text(response['description'], is_inline=True)}<br><small>{headers}</small>",
    )


def _render_example(status: str, response: Json) -> str:
    examples = [
        each["value"]
        for media in response.get("content", {}).values()
        for each in media.get("examples", {}).values()
        if "value" in each
    ]
    if not examples:
        return ""
    shown = "".join(f"<pre>{escape(json.dumps(value, indent=2))}</pre>" for value in examples)
    return f"<details><summary>Example of {status}</summary>{shown}</details>"


def _render_schema(name: str, schema: Json) -> str:
    parts = [f'<article id="{escape(name)}"><header><h3>{escape(name)}</h3></header>']
    text = schema.get("description", "")
    parts.append(_list(text) if text.startswith("- ") else _text(text))
    rows = [
        (f"<code>{escape(key)}</code>", _name(value), _text(value.get("description", ""), is_inline=True))
        for key, value in schema.get("properties", {}).items()
    ]
    parts.append(_table(("Property", "Value", ""), rows))
    return "".join(parts) + "</article>"


def _name(schema: Json) -> str:
    """A short description of a schema."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "allOf"):
        if key in schema:
            return " or ".join(_name(each) for each in schema[key])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_name(schema['items'])}"
    kinds = schema.get("type", "anything")
    text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    least, most = schema.get("minimum"), schema.get("maximum")
    return escape(f"{text}, {least} to {most}" if None not in (least, most) else text)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    lines = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>" + "".join(lines) + "</table>"


def _text(text: str, *, is_inline: bool = False) -> str:
    """Paragraphs; text between backticks is code."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    if is_inline or not text:
        return marked.replace("\n", "<br>")
    return "".join(f"<p>{part}</p>" for part in marked.split("\n\n"))


def _list(text: str) -> str:
    lines = (f"<li>{_text(line.removeprefix('- '), is_inline=True)}</li>" for line in text.splitlines())
    return f"<ul>{''.join(lines)}</ul>"
