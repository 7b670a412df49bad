"""Frozen dataclasses to JSON values and back, by their type hints."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from storage_agent.model.bounds import TEXT_LIMIT_CHARS, Bound, cut
from storage_agent.model.observed import Unobserved

T = TypeVar("T")
Writer = Callable[[Any], Any]
Builder = Callable[[Any], Any]


class WireError(ValueError):
    """The JSON value does not have the shape that the type asks for."""


class BoundError(WireError):
    """It has the shape, and is too long, too large, or too many."""


class _MisfitError(Exception):
    """path: where, below the value that the builder got.  kind: what the caller gets."""

    def __init__(self, text: str, path: str = "", kind: type[WireError] = WireError) -> None:
        self.text = text
        self.path = path
        self.kind = kind


def to_wire(value: object) -> Any:
    """Dataclass, enum, tuple, dict, scalar -> what json.dumps takes. Texts of more than
    TEXT_LIMIT_CHARS are cut."""
    kind: Any = type(value)
    return _writer(kind)(value)


def from_wire(kind: type[T], value: object) -> T:
    """Builds a `kind` of a JSON value. Unknown and missing keys, wrong types: WireError. What its
    type bounds (model/bounds.py) and is beyond: BoundError."""
    hints: Any = kind
    try:
        return typing.cast(T, _builder(hints)(value))
    except _MisfitError as exc:
        name = getattr(kind, "__name__", str(kind))
        raise exc.kind(f"{name}{exc.path}: {exc.text}") from None


# What a type asks for is found out once: every step of an operation sends and keeps its record.


@cache
def _writer(kind: type) -> Writer:
    if kind is Unobserved:
        return lambda value: {"unobserved": value.reason}
    if dataclasses.is_dataclass(kind):
        return _dataclass_writer(tuple(f.name for f in dataclasses.fields(kind)))
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, tuple | list | frozenset):
        return lambda value: [to_wire(item) for item in value]
    if issubclass(kind, dict):
        return lambda value: {str(key): to_wire(item) for key, item in value.items()}
    if kind is str:
        return lambda value: cut(value, TEXT_LIMIT_CHARS)
    return lambda value: value


def _dataclass_writer(names: tuple[str, ...]) -> Writer:
    def write(value: Any) -> dict[str, Any]:
        found = {}
        for name in names:
            item = getattr(value, name)
            item_kind: Any = type(item)
            found[name] = _writer(item_kind)(item)
        return found

    return write


@cache
def _builder(kind: Any) -> Builder:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        inner, bound = typing.get_args(kind)
        return _bounded_builder(_builder(inner), bound)
    if origin in (typing.Union, types.UnionType):
        return _union_builder(tuple(_builder(k) for k in typing.get_args(kind)))
    if origin is tuple:
        return _tuple_builder(_builder(typing.get_args(kind)[0]))
    if origin is dict:
        return _dict_builder(_builder(typing.get_args(kind)[1]))
    if kind is Any or kind is object:
        return lambda value: value
    if kind is Unobserved:
        return _unobserved
    if dataclasses.is_dataclass(kind):
        return _dataclass_builder(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_builder(kind)
    return _none if kind is types.NoneType else _scalar_builder(kind)


def _union_builder(builders: tuple[Builder, ...]) -> Builder:
    takes_none = _none in builders

    def build(value: Any) -> Any:
        if value is None and takes_none:
            return None
        first = None
        for builder in builders:
            try:
                return builder(value)
            except _MisfitError as exc:
                first = first or exc
        assert first is not None
        raise first

    return build


def _bounded_builder(inner: Builder, bound: Bound) -> Builder:
    def build(value: Any) -> Any:
        built = inner(value)
        if text := bound.misfit(built):
            raise _MisfitError(text, kind=BoundError)
        return built

    return build


def _tuple_builder(item: Builder) -> Builder:
    def build(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _MisfitError("a list is wanted")
        return tuple(item(each) for each in value)

    return build


def _dict_builder(item: Builder) -> Builder:
    def build(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _MisfitError("an object is wanted")
        return {key: _below(key, item, each) for key, each in value.items()}

    return build


def _below(key: str, builder: Builder, value: Any) -> Any:
    try:
        return builder(value)
    except _MisfitError as exc:
        raise _MisfitError(exc.text, f".{key}{exc.path}", exc.kind) from None


def _dataclass_builder(kind: Any) -> Builder:
    def build(value: Any) -> Any:
        if type(value) is not dict:
            raise _MisfitError("an object is wanted")
        builders, required = _fields(kind)
        if unknown := value.keys() - builders.keys():
            raise _MisfitError(f"unknown key {min(unknown)!r}")
        if missing := required - value.keys():
            raise _MisfitError(f"key {min(missing)!r} is missing")
        return kind(**{key: _below(key, builders[key], each) for key, each in value.items()})

    return build


@cache
def _fields(kind: Any) -> tuple[dict[str, Builder], frozenset[str]]:
    """Of each field its builder, and which have no default. Asked when the first value is built,
    as a type may contain itself."""
    hints = typing.get_type_hints(kind, include_extras=True)
    required = frozenset(
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    return {name: _builder(hint) for name, hint in hints.items()}, required


def _enum_builder(kind: type[Enum]) -> Builder:
    def build(value: Any) -> Enum:
        try:
            return kind(value)
        except ValueError:
            raise _MisfitError(f"{value!r} is not one of {[e.value for e in kind]}") from None

    return build


def _scalar_builder(kind: type) -> Builder:
    def build(value: Any) -> Any:
        # type() and not isinstance(): True is an int.
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise _MisfitError(f"{kind.__name__} is wanted, not {type(value).__name__}")

    return build


def _none(value: Any) -> None:
    if value is not None:
        raise _MisfitError(f"NoneType is wanted, not {type(value).__name__}")


def _unobserved(value: Any) -> Unobserved:
    if type(value) is not dict or value.keys() != {"unobserved"}:
        raise _MisfitError("an object with the key 'unobserved' is wanted")
    return Unobserved(reason=str(value["unobserved"]))
