"""A line of an agent as a JSON value in which every number, text and list is bounded.

The one place where bytes of a host become values: what comes out of here can be printed, compared,
added up and turned into a date without a fault, whoever has sent it. What it means is for
`answers.py`. Texts that are too long are cut; everything else that is out of bounds is refused, and
the host with it, for its own volumes alone.
"""

from __future__ import annotations

import json
import math
from typing import Any

from storage_agent.model.bounds import (
    ITEMS_LIMIT,
    KEY_LIMIT_CHARS,
    TEXT_LIMIT_CHARS,
    cut,
    items_limit,
    number_range,
)

# Levels of lists and objects: an answer of the agent has ten at most.
DEPTH_LIMIT = 32
_NUMBER_LIMIT_CHARS = 32


class OutOfBoundsError(ValueError):
    """It is JSON, and nothing that an agent says."""


def decode(line: bytes) -> dict[str, Any]:
    """Raises ValueError, RecursionError."""
    value = json.loads(
        line.decode("utf-8"),
        parse_constant=_no_number,
        parse_int=_integer,
        parse_float=_real,
        object_pairs_hook=_once,
    )
    if not isinstance(value, dict):
        raise OutOfBoundsError("not an object")
    bounded: dict[str, Any] = _bounded(value, "", "", 0)
    return bounded


def _no_number(word: str) -> Any:
    raise OutOfBoundsError(f"{word} is no number")


def _integer(digits: str) -> int:
    if len(digits) > _NUMBER_LIMIT_CHARS:
        raise OutOfBoundsError(f"a number of {len(digits)} digits")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits[: _NUMBER_LIMIT_CHARS * 2])
    if not math.isfinite(value):
        raise OutOfBoundsError(f"{digits[:_NUMBER_LIMIT_CHARS]} is no number")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OutOfBoundsError("an object has a key twice")
    return found


def _bounded(value: Any, key: str, path: str, depth: int) -> Any:
    """key: under which it lies, or the list that it is in."""
    if isinstance(value, str):
        return cut(value, TEXT_LIMIT_CHARS)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        _require_in_range(value, key, path)
        return value
    if depth >= DEPTH_LIMIT:
        raise OutOfBoundsError(f"{_shown(path)}: more than {DEPTH_LIMIT} levels")
    limit = items_limit(key) if isinstance(value, list) else ITEMS_LIMIT
    if len(value) > limit:
        raise OutOfBoundsError(f"{_shown(path)}: {len(value)} items, of {limit} at most")
    if isinstance(value, list):
        return [_bounded(item, key, path, depth + 1) for item in value]
    if any(len(name) > KEY_LIMIT_CHARS for name in value):
        raise OutOfBoundsError(f"{_shown(path)}: a key of more than {KEY_LIMIT_CHARS} characters")
    # Epochs are a number by volume: its name says nothing of the number.
    return {
        name: _bounded(item, key if key == "epochs" else name, f"{path}.{name}", depth + 1)
        for name, item in value.items()
    }


def _require_in_range(value: float, key: str, path: str) -> None:
    low, high = number_range(key)
    if not low <= value <= high:
        raise OutOfBoundsError(f"{_shown(path)}: {value:.40g} is not from {low} to {high}")


def _shown(path: str) -> str:
    return ascii(cut(path.removeprefix("."), 120))[1:-1] or "the answer"
