"""Line numbers of keys, which tomllib does not tell."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from storage_agent.configuration.positions import KeyPath, dotted, key_lines

TEXT = '''\
# comment with [brackets] and key = "value"
host = "al]pha" # [not.a.table]

[hosts.alpha]
address = "10.8.0.1"
[ hosts . "be ta" ]
'add\\ress' = 1
[volumes.data]
mount_point = """
a = 1
[x]
\\""" b = 2
""""
other = \'\'\'
c = 3\'\'\'
array.level = "raid1"
array.disks = { alpha = ["a", "b#"], "be\\u0074a" = [
    "c", # "d"
    "e",
  [ 1,
    2 ],
] }
date = 2026-11-21T00:41:14Z
number = -1_000.5e3
empty = []
none = {}
[[volumes.list]]
a = 1
[[volumes.list]]
a = 2
'''

LINES: dict[KeyPath, int] = {
    ("host",): 2,
    ("hosts",): 4,
    ("hosts", "alpha"): 4,
    ("hosts", "alpha", "address"): 5,
    ("hosts", "be ta"): 6,
    ("hosts", "be ta", "add\\ress"): 7,
    ("volumes",): 8,
    ("volumes", "data"): 8,
    ("volumes", "data", "mount_point"): 9,
    ("volumes", "data", "other"): 14,
    ("volumes", "data", "array"): 16,
    ("volumes", "data", "array", "level"): 16,
    ("volumes", "data", "array", "disks"): 17,
    ("volumes", "data", "array", "disks", "alpha"): 17,
    ("volumes", "data", "array", "disks", "alpha", 0): 17,
    ("volumes", "data", "array", "disks", "alpha", 1): 17,
    ("volumes", "data", "array", "disks", "beta"): 17,
    ("volumes", "data", "array", "disks", "beta", 0): 18,
    ("volumes", "data", "array", "disks", "beta", 1): 19,
    ("volumes", "data", "array", "disks", "beta", 2): 20,
    ("volumes", "data", "array", "disks", "beta", 2, 0): 20,
    ("volumes", "data", "array", "disks", "beta", 2, 1): 21,
    ("volumes", "data", "date"): 23,
    ("volumes", "data", "number"): 24,
    ("volumes", "data", "empty"): 25,
    ("volumes", "data", "none"): 26,
    ("volumes", "list"): 27,
    ("volumes", "list", 0): 27,
    ("volumes", "list", 0, "a"): 28,
    ("volumes", "list", 1): 29,
    ("volumes", "list", 1, "a"): 30,
}


def paths_of(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    found = {path} if path else set()
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            found |= paths_of(value[key], (*path, key))
    return found


def test_lines() -> None:
    assert key_lines(TEXT) == LINES


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n"), TEXT.rstrip(), "", "# only"])
def test_every_value_that_tomllib_finds_has_a_line(text: str) -> None:
    assert set(key_lines(text)) == paths_of(tomllib.loads(text))


@pytest.mark.parametrize("text", ["[", "a", "a = [", 'a = "', "= 1", "a = {b", '"\\', "[[a]"])
def test_text_that_is_not_toml_ends_too(text: str) -> None:
    assert set(key_lines(text).values()) <= {1}


def test_dotted_quotes_what_a_person_would_have_to_quote() -> None:
    assert dotted(("volumes", "data", "nfs", "clients", 0)) == "volumes.data.nfs.clients"
    assert dotted(("hosts", "a.b\n")) == 'hosts."a.b\\n"'
