"""Every command of ours that a remedy, a message or the catalogue names is one that the real
parsers take, and no finding leaves out what it measured, wanted or advises."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import storage_agent
from storage_agent.cli import arguments as local
from storage_agent.coordinator_cli import arguments as fleet
from storage_agent.model.errors import UsageError

PACKAGE = Path(storage_agent.__file__).parent
PARSERS: dict[str, Callable[[list[str]], argparse.Namespace]] = {
    "storage-agent": local.parse_arguments,
    "storage-coordinator": fleet.parse_arguments,
}
# A command begins here, and a word follows it: `storage-agent's`, `storage-agentd` are prose.
BEGIN = re.compile(r"(?<![\w/.-])(storage-agent|storage-coordinator) (?=[a-z-])")
# ... and ends here; `{…}` is filled in.
END = re.compile(r"[;,`()\n]| && |: |$")
FILLED = "data"
# By a word of the expression.
FILLINGS = {
    "known": "7",
    "asked": "7",
    "NUMBER": "7",
    "roles": "operate",
    "command": "promote data",
    "kind": "promote",
    "verb": "switchover",
}
PLACEHOLDERS = {"NUMBER": "7", "OPERATION": "promote", "ROLE": "operate"}


def _subcommands(parser: argparse.ArgumentParser) -> frozenset[str]:
    found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return frozenset(found[0].choices)


KNOWN = {
    "storage-agent": _subcommands(local.build_parser()),
    "storage-coordinator": _subcommands(fleet.build_parser()),
}


def strings(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Line and text of each string but docstrings, with what is filled in as a word; whether it is
    a remedy, where nothing else than a command may follow the program's name."""
    skipped: set[int] = set()
    advice: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr):
                skipped.add(id(first.value))
        if isinstance(node, ast.keyword) and node.arg in ("remedy", "next_steps"):
            advice |= {id(part) for part in ast.walk(node.value)}
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield node.lineno, "".join(map(_filled, node.values)), id(node) in advice
        elif isinstance(node, ast.Constant) and id(node) not in skipped:
            yield node.lineno, str(node.value), id(node) in advice


def _filled(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    shown = ast.unparse(part)
    for word, filling in FILLINGS.items():
        if word in shown:
            return filling
    return FILLED


def commands(text: str, *, is_advice: bool = True) -> Iterator[list[str]]:
    for begin in BEGIN.finditer(text):
        rest = text[begin.start() :]
        end = END.search(rest)
        words = rest[: end.start() if end else None].rstrip(".:'").split()
        is_name = text[: begin.start()].endswith("`")
        if is_advice or (words[1] in KNOWN[words[0]] and not is_name):
            yield [PLACEHOLDERS.get(word, word) for word in words]


def named() -> list[tuple[str, list[str]]]:
    return [
        (f"{path.relative_to(PACKAGE)}:{line}", words)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text, is_advice in strings(ast.parse(path.read_text()))
        for words in commands(text, is_advice=is_advice)
    ]


def why_not(words: list[str]) -> str:
    """Empty for a command that its program takes."""
    try:
        PARSERS[words[0]](words[1:])
    except UsageError as exc:
        return exc.message
    except SystemExit as exc:
        return "" if exc.code == 0 else f"exit {exc.code}"
    return ""


def test_every_command_that_is_advised_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    found = named()
    wrong = {f"{place} {' '.join(words)}": why for place, words in found if (why := why_not(words))}
    assert not wrong
    assert len(found) > 100
    capsys.readouterr()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on beta: storage-agent demote data; then again", [["storage-agent", "demote", "data"]]),
        ("storage-agent's own; storage-agentd answers", []),
        ("see storage-agent status.", [["storage-agent", "status"]]),
        ("as root: storage-agent epoch restore data NUMBER, which …",
         [["storage-agent", "epoch", "restore", "data", "7"]]),
        ("(storage-coordinator adopt p/data) or storage-coordinator status",
         [["storage-coordinator", "adopt", "p/data"], ["storage-coordinator", "status"]]),
    ],
)  # fmt: skip
def test_the_scan_finds_each_command(text: str, expected: list[list[str]]) -> None:
    assert list(commands(text)) == expected


@pytest.mark.parametrize(
    "command",
    [
        "storage-agent plan create data --role join",
        "storage-agent create data --first|--join",
        "storage-agent epoch restore data",
        "storage-agent status shows it",
        "storage-coordinator failover data",
        "storage-coordinator failover data --to the other host",
        "storage-coordinator explode",
    ],
)
def test_what_cannot_be_typed_is_noticed(command: str) -> None:
    (words,) = commands(command)
    assert why_not(words)


ERASES = re.compile(r"wipefs (?!--no-act)-|drbdadm wipe-md|mdadm --zero-superblock")
# Who has seen by a fresh look that nobody has the disk.
MAY_ERASE = {"policy/creating/creation.py", "operations/creation_steps.py"}


def test_no_advice_erases_what_somebody_may_have() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        for _, text, _ in strings(ast.parse(path.read_text()))
        if ERASES.search(text)
    }
    assert found == MAY_ERASE


def test_no_finding_is_silent() -> None:
    """That the three are given is mypy's; that they say something is held here."""
    silent = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {keyword.arg}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("blocker", "warning", "make", "Finding", "error_finding")
        for keyword in node.keywords
        if keyword.arg in ("measured", "limit", "remedy")
        if isinstance(keyword.value, ast.Constant) and not keyword.value.value
    ]
    assert not silent
