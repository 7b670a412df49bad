"""Every code that anybody may see can be explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import storage_agent
from storage_agent.policy.catalogue import CATALOGUE
from storage_agent.policy.catalogue.agent import AGENT
from storage_agent.policy.catalogue.agreement import AGREEMENT
from storage_agent.policy.catalogue.array import ARRAY
from storage_agent.policy.catalogue.coordinator import COORDINATOR
from storage_agent.policy.catalogue.creation import CREATION
from storage_agent.policy.catalogue.doctor import DOCTOR
from storage_agent.policy.catalogue.guard import GUARD
from storage_agent.policy.catalogue.host import HOST
from storage_agent.policy.catalogue.kernel import KERNEL
from storage_agent.policy.catalogue.replica import REPLICA
from storage_agent.policy.catalogue.volume import VOLUME

PACKAGE = Path(storage_agent.__file__).parent
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
# Which argument is a code.
MAKERS = {"blocker": 0, "warning": 0, "make": 0, "_Meaning": 1, "unusable_epoch": 1, "_failure": 0}


def used_codes(source: str) -> Iterator[str]:
    """`code="X"`, `default_code = "X"`, `blocker("X", …)`; lower-case ones are JSON-RPC's."""
    for node in ast.walk(ast.parse(source)):
        values: list[ast.expr] = []
        if isinstance(node, ast.keyword) and node.arg == "code":
            values = [node.value]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == "default_code" for t in targets):
                values = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            place = MAKERS.get(node.func.id)
            values = [] if place is None else node.args[place : place + 1]
        for value in values:
            for part in ast.walk(value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def all_codes() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for code in used_codes(path.read_text()):
            if CODE.fullmatch(code):
                found.setdefault(code, str(path.relative_to(PACKAGE)))
    return found


def test_every_code_has_an_entry() -> None:
    missing = {code: file for code, file in all_codes().items() if code not in CATALOGUE}
    assert not missing, f"codes without an entry in policy/catalogue.py: {missing}"


def test_no_code_is_explained_twice() -> None:
    parts = (AGENT, AGREEMENT, ARRAY, REPLICA, COORDINATOR, CREATION, DOCTOR, GUARD, VOLUME, HOST)
    assert sum(len(part) for part in (*parts, KERNEL)) == len(CATALOGUE)


def test_the_scan_sees_each_form() -> None:
    source = (
        'blocker("ONE", "x"); Finding(code="TWO"); code = 1\n'
        'class X:\n    default_code: str = "THREE"\n'
        'raise Busy("x", code="FOUR" if a else "FIVE")'
    )
    assert set(used_codes(source)) >= {"ONE", "TWO", "THREE", "FOUR", "FIVE"}


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_an_entry_says_what_to_do(code: str) -> None:
    entry = CATALOGUE[code]
    assert CODE.fullmatch(code)
    assert entry.meaning.endswith(".")
    assert entry.next_steps
    assert not entry.risk.endswith(".")
