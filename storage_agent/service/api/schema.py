"""The API as JSON Schema (2020-12), made of the classes that decode requests and build answers.

`python3 -m storage_agent.service.api.schema` prints it; the package has it as
/usr/share/storage-agent/api.json.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from enum import Enum
from typing import Any

from storage_agent import __version__
from storage_agent.model.bounds import (
    COUNT_LIMIT,
    ITEMS_LIMIT,
    KEY_LIMIT_CHARS,
    TEXT_LIMIT_CHARS,
    Bound,
    Text,
    Whole,
    items_limit,
    number_range,
)
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRecord
from storage_agent.service.api import connection, rpc
from storage_agent.service.api.access import Role
from storage_agent.service.api.answers import Changed
from storage_agent.service.api.lanes import THREADS
from storage_agent.service.api.methods import METHODS
from storage_agent.service.api.pace import RATES
from storage_agent.service.api.places import PLACES
from storage_agent.service.observing.changes import Event

Schema = dict[str, Any]
NOTIFICATIONS: dict[str, tuple[type, str]] = {
    "operation.progress": (OperationRecord, "to the session that asked for the operation"),
    "changed": (Changed, "to subscribers: a volume looks different now"),
    "event": (Event, "to subscribers: what the agent itself did, and how operations ended"),
}
LIMITS = {
    "request_bytes": rpc.FRAME_LIMIT_BYTES,
    "answer_bytes": rpc.ANSWER_LIMIT_BYTES,
    "depth": rpc.DEPTH_LIMIT,
    "id_chars": rpc.ID_LIMIT_CHARS,
    "text_chars": TEXT_LIMIT_CHARS,
    "items": ITEMS_LIMIT,
    "request_deadline_s": connection.FRAME_DEADLINE_S,
    "reader_deadline_s": connection.WRITE_DEADLINE_S,
    "idle_deadline_s": connection.IDLE_DEADLINE_S,
    **{f"sessions_of_{role}": most for role, most in PLACES.items() if role is not Role.NONE},
    **{f"requests_a_second_of_a_key_{role}": int(rate.a_second) for role, rate in RATES.items()},
    **{f"requests_at_once_of_a_key_{role}": int(rate.burst) for role, rate in RATES.items()},
    **{f"questions_at_work_{role}": threads for role, threads in THREADS.items()},
}
_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number", types.NoneType: "null"}


def api() -> Schema:
    """The whole document. As a schema it takes one line that is sent to the agent."""
    types_ = _Types()
    methods: dict[str, Schema] = {
        method.name: {
            "role": str(method.needs),
            "parameters": types_.of(method.parameters, is_closed=True),
            "answer": types_.of(method.answers),
        }
        for method in METHODS.values()
    }
    notifications = {
        name: {"parameters": types_.of(kind), "sent": sent}
        for name, (kind, sent) in NOTIFICATIONS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "storage-agent: JSON-RPC 2.0, one object a line",
        "version": __version__,
        "protocol": rpc.PROTOCOL_VERSION,
        "limits": LIMITS,
        "methods": methods,
        "notifications": notifications,
        "anyOf": [_request(name, method["parameters"]) for name, method in methods.items()],
        "$defs": {"Error": _error(types_), **dict(sorted(types_.found.items()))},
    }


def _request(name: str, parameters: Schema) -> Schema:
    known = {
        "jsonrpc": {"const": "2.0"},
        "id": {
            "anyOf": [
                {"type": "integer", "minimum": -COUNT_LIMIT, "maximum": COUNT_LIMIT},
                {"type": "string", "maxLength": rpc.ID_LIMIT_CHARS},
            ]
        },
        "method": {"const": name},
        "params": parameters,
    }
    return _object(known, required=["jsonrpc", "id", "method"], is_closed=True)


def _error(types_: _Types) -> Schema:
    """The `error` of an answer."""
    data = {
        "code": types_.of(str),
        "remedy": types_.of(str),
        "exit_status": {"type": "integer", "minimum": 0, "maximum": 255},
        "findings": types_.of(tuple[Finding, ...], "findings"),
    }
    known = {
        "code": {"type": "integer", "minimum": -32_767, "maximum": 0},
        "message": types_.of(str),
        "data": _object(data),
    }
    return _object(known) | {
        "description": "code: JSON-RPC's own where it has one, else -32000 minus exit_status. "
        "data.code is what to branch on: `storage-agent explain CODE`."
    }


def _object(
    properties: Schema, *, required: list[str] | None = None, is_closed: bool = False
) -> Schema:
    made: Schema = {"type": "object", "properties": properties}
    made["required"] = list(properties) if required is None else required
    # Open ones have more in later versions.
    return made | ({"additionalProperties": False} if is_closed else _names(ITEMS_LIMIT))


def _names(most: int) -> Schema:
    return {"maxProperties": most, "propertyNames": {"maxLength": KEY_LIMIT_CHARS}}


def _bounds_of(bound: Bound, kind: str) -> Schema:
    if isinstance(bound, Text):
        return {"maxLength": bound.most, "pattern": "^[ -~]*$"}
    if isinstance(bound, Whole):
        return {"minimum": bound.least, "maximum": bound.most}
    what = "Items" if kind == "array" else "Properties"
    return {f"min{what}": bound.least, f"max{what}": bound.most}


def _bounds_under(key: str, kind: Any) -> Schema:
    """Of a scalar whose type has none of its own."""
    if kind is str:
        return {"maxLength": TEXT_LIMIT_CHARS}
    if kind in (int, float):
        low, high = number_range(key)
        return {"minimum": low, "maximum": high}
    return {}


class _Types:
    """Each dataclass and enum once, under its name. is_closed: of parameters, where an unknown key
    is refused and what has a default may be left out."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {}
        self._kinds: dict[str, type] = {}

    def of(self, kind: Any, key: str = "", *, is_closed: bool = False) -> Schema:
        """key: under which it lies."""
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            found = self.of(arguments[0], key)
            return found | _bounds_of(arguments[1], found["type"])
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self.of(item, key) for item in arguments]}
        if origin is tuple:
            items = self.of(arguments[0], key)
            return {"type": "array", "items": items, "maxItems": items_limit(key)}
        if origin is dict:
            items = self.of(arguments[1], key)
            return {"type": "object", "additionalProperties": items, **_names(ITEMS_LIMIT)}
        if kind in _SCALARS:
            return {"type": _SCALARS[kind], **_bounds_under(key, kind)}
        if self._kinds.setdefault(kind.__name__, kind) is not kind:
            raise TypeError(f"two types of the API are called {kind.__name__}")
        if kind.__name__ not in self.found:
            # Before it is made: a type may hold itself.
            self.found[kind.__name__] = {}
            self.found[kind.__name__].update(self._define(kind, is_closed=is_closed))
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def _define(self, kind: type, *, is_closed: bool) -> Schema:
        text = inspect.cleandoc(kind.__doc__ or "")
        # dataclass writes a signature where there is no docstring.
        described = {} if text.startswith(f"{kind.__name__}(") else {"description": text}
        if issubclass(kind, Enum):
            return {**described, "enum": [item.value for item in kind]}
        if not dataclasses.is_dataclass(kind):
            raise TypeError(f"{kind} has no form on the wire")
        if kind is Unobserved:
            return {**described, **_object({"unobserved": self.of(str)})}
        hints = typing.get_type_hints(kind, include_extras=True)
        properties: Schema = {}
        required: list[str] = []
        for field in dataclasses.fields(kind):
            properties[field.name] = self.of(hints[field.name], field.name)
            if is_closed and field.default is not dataclasses.MISSING:
                properties[field.name] |= {"default": field.default}
            else:
                required.append(field.name)
        return {**described, **_object(properties, required=required, is_closed=is_closed)}


def main() -> None:
    print(json.dumps(api(), indent=1))


if __name__ == "__main__":
    main()
