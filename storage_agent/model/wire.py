"""Frozen dataclasses to JSON values and back, by their type hints."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from storage_agent.model.observed import Unobserved

T = TypeVar("T")
_SCALARS = frozenset({str, int, float, bool, type(None)})
_NAMES: dict[type, tuple[str, ...]] = {}


class WireError(ValueError):
    """The JSON value does not have the shape that the type asks for."""


def to_wire(value: object) -> Any:
    """Dataclass, enum, tuple, dict, scalar -> what json.dumps takes."""
    # Most values are these, and every step of an operation sends its whole record.
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Unobserved):
        return {"unobserved": value.reason}
    if names := _field_names(type(value)):
        return {name: to_wire(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list | frozenset):
        return [to_wire(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_wire(item) for key, item in value.items()}
    return value


def _field_names(kind: type) -> tuple[str, ...]:
    """Empty where it is no dataclass."""
    if kind not in _NAMES:
        is_dataclass = dataclasses.is_dataclass(kind)
        _NAMES[kind] = tuple(f.name for f in dataclasses.fields(kind)) if is_dataclass else ()
    return _NAMES[kind]


def from_wire(kind: type[T], value: object) -> T:
    """Builds a `kind` of a JSON value. Unknown and missing keys, wrong types: WireError."""
    return typing.cast(T, _build(kind, value, kind.__name__))


def _build(kind: Any, value: object, where: str) -> object:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _build_union(typing.get_args(kind), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise WireError(f"{where}: a list is wanted")
        return tuple(_build(typing.get_args(kind)[0], item, where) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise WireError(f"{where}: an object is wanted")
        item_kind = typing.get_args(kind)[1]
        return {k: _build(item_kind, v, f"{where}.{k}") for k, v in value.items()}
    if kind is Any or kind is object:
        return value
    return _build_plain(kind, value, where)


def _build_plain(kind: Any, value: object, where: str) -> object:
    if kind is Unobserved and isinstance(value, dict) and set(value) == {"unobserved"}:
        return Unobserved(reason=str(value["unobserved"]))
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            raise WireError(f"{where}: {value!r} is not one of {[e.value for e in kind]}") from None
    if kind is float and type(value) is int:
        return float(value)
    # type() and not isinstance(): True is an int.
    if kind is types.NoneType and value is None:
        return None
    if type(value) is not kind:
        raise WireError(f"{where}: {kind.__name__} is wanted, not {type(value).__name__}")
    return value


def _build_union(kinds: tuple[Any, ...], value: object, where: str) -> object:
    problems = []
    for kind in kinds:
        try:
            return _build(kind, value, where)
        except WireError as exc:
            problems.append(str(exc))
    raise WireError(problems[0])


def _build_dataclass(kind: Any, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise WireError(f"{where}: an object is wanted")
    hints = _hints(kind)
    required = {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if unknown := set(value) - set(hints):
        raise WireError(f"{where}: unknown key {sorted(unknown)[0]!r}")
    if missing := required - set(value):
        raise WireError(f"{where}: key {sorted(missing)[0]!r} is missing")
    return kind(**{k: _build(hints[k], v, f"{where}.{k}") for k, v in value.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
