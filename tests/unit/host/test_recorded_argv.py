"""Each parser is tried on what the command prints that the product runs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.unit.host.recorded_argv import DATA, READ, ROWS, Row, fits, recorded, table

HOST = Path(__file__).parents[3] / "storage_agent/host"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.parser)
def test_recordings_are_of_the_argv_that_runs(row: Row) -> None:
    own = set()
    for slug in row.slugs:
        for version, argv in recorded(slug):
            if fits(argv, row.argv):
                own.add(version)
            else:
                assert any(fits(argv, other) for other in row.otherwise), (slug, argv)
    for version in row.on:
        assert version in own or (not version and own), f"record anew: {row.argv} on {version}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.parser)
def test_nothing_is_excused_that_is_not_there(row: Row) -> None:
    every = [argv for slug in row.slugs for _, argv in recorded(slug)]
    for other in row.otherwise:
        assert any(fits(argv, other) for argv in every), other


def test_every_folder_of_recordings_is_somebodys() -> None:
    folders = {path.name for path in DATA.iterdir() if path.is_dir()}
    assert folders == {slug for row in ROWS for slug in row.slugs} | set(READ)


def test_every_command_that_is_run_and_read_has_a_row() -> None:
    """By the words that the host's rooms begin an argv with."""
    found = set()
    for path in HOST.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple) and len(node.elts) > 1:
                first, second = node.elts[:2]
                if all(isinstance(x, ast.Constant) and isinstance(x.value, str)
                       for x in (first, second)):  # fmt: skip
                    found.add((first.value, second.value))  # type: ignore[attr-defined]
    tools = {row.argv[0] for row in ROWS}
    begun = {pair for pair in found if pair[0] in tools}
    known = {row.argv[:2] for row in ROWS} | ACTS
    assert begun <= known, begun - known


# What changes something: believed by a look alone, and of its words only a refusal's are read.
ACTS = {
    # The two names of one tool, in what `drbdadm -d` prints.
    ("drbdsetup", "drbdsetup-84"),
    ("drbdsetup", "down"),
    ("drbdsetup", "get-gi"),
    ("drbdsetup", "primary"),
    ("drbdsetup", "secondary"),
    ("drbdadm", "connect"),
    ("drbdadm", "primary"),
    ("mdadm", "--create"),
    ("mdadm", "--assemble"),
    ("mdadm", "--stop"),
    ("mdadm", "--readwrite"),
    ("mdadm", "--zero-superblock"),
    ("systemctl", "start"),
    ("systemctl", "--no-ask-password"),
    ("wipefs", "--all"),
    ("ip", "-batch"),
}


def test_the_table_can_be_printed() -> None:
    assert "drbdadm dump-xml NAME" in table()
