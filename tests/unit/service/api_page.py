"""The published schema as tests use it, and the part of docs/api.md that is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema

from storage_agent.model.bounds import BYTES_LIMIT, COUNT_LIMIT, ITEMS_LIMIT, TEXT_LIMIT_CHARS
from storage_agent.model.wire import to_wire
from storage_agent.service.api.schema import api

ROLES = {
    "none": "the gateway itself, once",
    "observe": "observe",
    "operate": "operate",
    "grant": "grant",
    "local": "root on the host",
}


POWERS = {COUNT_LIMIT: "2^53-1", BYTES_LIMIT: "2^62"}

DOCUMENT = api()


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema.Draft202012Validator({**schema, "$defs": DOCUMENT["$defs"]})


def on_the_wire(value: object) -> Any:
    return json.loads(json.dumps(to_wire(value)))


def page() -> str:
    return "\n".join(_lines(DOCUMENT)) + "\n"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield "## Limits\n"
    yield "| limit | value |\n|---|---|"
    for name, value in document["limits"].items():
        yield f"| {name} | {value:g} |"
    yield "\n## Methods\n"
    yield "| method | role | parameters | answer |\n|---|---|---|---|"
    for name, method in document["methods"].items():
        links = [_type(method[part]) for part in ("parameters", "answer")]
        yield f"| `{name}` | {ROLES[method['role']]} | {links[0]} | {links[1]} |"
    yield "\n## Notifications\n"
    yield "| method | sent | parameters |\n|---|---|---|"
    for name, notification in document["notifications"].items():
        yield f"| `{name}` | {notification['sent']} | {_type(notification['parameters'])} |"
    yield "\n## Types"
    for name, definition in document["$defs"].items():
        yield from _type_lines(name, definition)


def _type_lines(name: str, definition: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {name}\n"
    if text := definition.get("description"):
        yield " ".join(text.split()) + "\n"
    if "enum" in definition:
        yield "one of " + ", ".join(f"`{value}`" for value in definition["enum"])
        return
    if not definition["properties"]:
        return
    yield "| key | value |\n|---|---|"
    for key, schema in definition["properties"].items():
        default = schema.get("default", "")
        left_out = "" if key in definition["required"] else f"; left out: {_default(default)}"
        yield f"| `{key}` | {_type(schema)}{left_out} |"


def _default(value: object) -> str:
    return "null" if value is None else str(value)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(item) for item in schema["anyOf"])
    if schema["type"] == "array":
        most = schema["maxItems"]
        least = schema.get("minItems", 0)
        many = "" if most == ITEMS_LIMIT else f"{most} " if least == most else f"up to {most} "
        return f"list of {many}{_type(schema['items'])}"
    if schema["type"] == "object":
        if "properties" in schema:
            inner = ", ".join(f"`{k}`: {_type(v)}" for k, v in schema["properties"].items())
            return f"object of {inner}"
        most = schema["maxProperties"]
        many = "" if most == ITEMS_LIMIT else f"up to {most} "
        return f"object of {many}name: {_type(schema['additionalProperties'])}"
    if schema["type"] == "string" and schema["maxLength"] != TEXT_LIMIT_CHARS:
        return f"string of up to {schema['maxLength']} characters"
    if "minimum" in schema and schema["minimum"] >= 0:
        most = POWERS.get(schema["maximum"], schema["maximum"])
        return f"{schema['type']} from {schema['minimum']} to {most}"
    return str(schema["type"])
