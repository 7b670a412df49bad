"""Every recording, with one word, line or key of it changed, in ways that a newer tool may choose:
only what was touched becomes unknown, and nothing but the parser's own error is raised.

What says *which* object is meant (a name, a number of a minor or volume) must stay: without it the
rest cannot be put anywhere, and the parser says so.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage_agent.host.block.devices import parse_probe
from storage_agent.host.doctor_facts import parse_units
from storage_agent.host.drbd.dump import parse_replica_settings
from storage_agent.host.drbd.events import parse_events2_now
from storage_agent.host.drbd.guards import parse_show
from storage_agent.host.drbd.status_json import parse_status_json
from storage_agent.host.filesystem.adapter import parse_blkid
from storage_agent.host.md.parse import parse_superblock, split_examine
from storage_agent.host.nfs.address import parse_ip_addresses
from storage_agent.host.sshd import parse_sshd
from storage_agent.host.system.services import parse_systemctl_show
from storage_agent.model.errors import ParseError
from storage_agent.model.replica import Replica

DATA = Path(__file__).parents[2] / "data"
ROUNDS = 12
# What no tool has ever said.
ODD = "Zwiebelsuppe"
Parse = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class Family:
    """spill: so many values may change with one word: what is told twice, or made of it."""

    slug: str
    parse: Parse
    mutate: Callable[[str, random.Random], Iterator[str]]
    spill: int = 1


# -- mutations ------------------------------------------------------------------------------------


def words(text: str, chance: random.Random, identity: str, value: str) -> Iterator[str]:
    """One value replaced; one left out, with its key. value: finds `(key)(value)`."""
    found = [m for m in re.finditer(value, text) if not re.search(identity, m[0])]
    for match in chance.sample(found, min(len(found), 6)):
        yield text[: match.start(2)] + ODD + text[match.end(2) :]
        yield text[: match.start()] + text[match.end() :]


def events(text: str, chance: random.Random) -> Iterator[str]:
    identity = r"name:|peer-node-id:|volume:|minor:"
    yield from words(text, chance, identity, r"( [a-z-]+:)(\S+)")
    yield text.replace("exists -", "exists comet name:r0 tail:long\nexists -")
    yield re.sub(r"(exists \w+ )", r"\1shiny ", text)
    yield re.sub(r"(?m)^(exists \w.*)$", r"\1 shiny:new", text)


def document(text: str, chance: random.Random) -> Iterator[str]:
    """A JSON document with one key replaced, taken out or added."""
    identity = {"name", "peer-node-id", "volume", "minor", "ifname", "device"}
    keep = {"devices", "connections", "peer_devices", "signatures"}

    def places(value: Any) -> Iterator[tuple[dict[str, Any], str]]:
        items = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict):
            for key in value:
                if key not in identity | keep:
                    yield value, key
        for item in items if isinstance(value, dict | list) else ():
            if isinstance(item, dict | list):
                yield from places(item)

    plain = re.sub(r":\s*-?nan", ": null", text)
    count = len(list(places(json.loads(plain))))
    for number in chance.sample(range(count), min(count, 8)):
        for what in ("replace", "remove", "add"):
            changed = json.loads(plain)
            folder, key = list(places(changed))[number]
            if what == "remove":
                del folder[key]
            else:
                folder["shiny" if what == "add" else key] = ODD
            yield json.dumps(changed)


def lines(text: str, chance: random.Random, identity: str, value: str) -> Iterator[str]:
    yield from words(text, chance, identity, value)
    some = text.splitlines(keepends=True)
    place = chance.randrange(1, len(some) + 1)
    # After a whole line, and in the form of its kind.
    yield "".join((*some[:place], f"Shiny{ODD}=yes\n", *some[place:]))


FAMILIES = (
    Family(
        "drbdsetup-events2-now/8.4.11",
        partial(parse_events2_now, resource="r0", driver_version="8.4.11"),
        events,
    ),
    Family(
        "drbdsetup-events2-now/9.1.23",
        partial(parse_events2_now, resource="r0", driver_version="9.1.23"),
        events,
    ),
    Family(
        "drbdsetup-status-json/9.1.23",
        partial(parse_status_json, resource="r0", driver_version="9.1.23"),
        document,
    ),
    Family(
        "drbdsetup-show-show-defaults/8.4.11",
        partial(parse_show, resource="data"),
        partial(
            lines, identity=r"resource|device|address", value=r"(?m)(^\s+[\w-]+\s+)([^{}\s;]+);$"
        ),
    ),
    Family(
        "drbdadm-dump-xml/8.4.11",
        parse_replica_settings,
        partial(words, identity=r"^ name=", value=r'( value=")([^"]*)"'),
    ),
    Family("ip-address/6.1.0", parse_ip_addresses, document, spill=2),
    Family(
        "wipefs/2.38.1",
        partial(parse_probe, names=("vda", "vdb", "vdc")),
        document,
    ),
    Family(
        "blkid/2.38.1",
        parse_blkid,
        partial(lines, identity=r"UUID|TYPE", value=r"(?m)^(\w+=)(.*)$\n"),
        spill=2,
    ),
    Family(
        "systemctl-show-units/252.39",
        parse_units,
        partial(lines, identity=r"^Id=", value=r"(?m)^(\w+=)(.+)$\n"),
    ),
    Family(
        "systemctl-show-property/252.39",
        parse_systemctl_show,
        partial(lines, identity=r"^Id=", value=r"(?m)^(\w+=)(.+)$\n"),
        spill=2,
    ),
    Family(
        "sshd/9.2p1",
        parse_sshd,
        partial(lines, identity=r"^pubkeyauthentication", value=r"(?m)^(\w+ )(.+)$\n"),
    ),
)


def of_superblocks() -> Iterator[tuple[str, str]]:
    for path in sorted((DATA / "mdadm-examine/4.2").glob("*.out")):
        argv = json.loads(path.with_suffix(".json").read_text())["argv"]
        paths = frozenset(argv[2:])
        for disk, section in split_examine(path.read_text(), paths).items():
            if "Magic : a92b4efc" in section:
                yield f"{path.stem} {disk}", section


# -- what may change ------------------------------------------------------------------------------


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.name != "unread"]
        found: dict[str, Any] = {}
        for name in names:
            found |= leaves(getattr(value, name), f"{path}.{name}")
        return found
    if isinstance(value, dict):
        return {k: v for key in value for k, v in leaves(value[key], f"{path}[{key}]").items()}
    if isinstance(value, tuple) and value and not isinstance(value[0], str | Enum):
        numbered = enumerate(value)
        return {k: v for n, item in numbered for k, v in leaves(item, f"{path}[{n}]").items()}
    return {path: value}


def changes(before: Any, after: Any) -> set[str]:
    old, new = leaves(before), leaves(after)
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def recordings(slug: str) -> list[tuple[str, str]]:
    found = []
    for path in sorted((DATA / slug).glob("*.out")):
        if json.loads(path.with_suffix(".json").read_text())["exit_status"] == 0:
            found.append((path.stem, path.read_text()))
    assert found, slug
    return found


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.slug)
def test_one_odd_word_hides_nothing_else(family: Family) -> None:
    seen = 0
    for name, text in recordings(family.slug):
        chance = random.Random(f"{family.slug}{name}")
        try:
            whole = family.parse(text)
        except ParseError:
            continue  # a recording of a refusal
        for _ in range(ROUNDS):
            for odd in family.mutate(text, chance):
                after = family.parse(odd)
                touched = changes(whole, after)
                assert len(touched) <= family.spill, (name, touched)
                if isinstance(after, Replica):
                    judged_alike(whole, after, touched)
                seen += 1
    assert seen > ROUNDS


def judged_alike(before: Replica, after: Replica, touched: set[str]) -> None:
    """A copy is never better for what is not known."""
    assert after.in_sync() <= before.in_sync(), touched
    assert after.peer_has_all() <= before.peer_has_all(), touched
    assert not (before.suspended and not after.suspended), touched


# Of a superblock: two texts for people, and the line that only a member being rebuilt has, which
# nobody can miss.
MAY_CHANGE = {".name", ".updated", ".recovering"}


@pytest.mark.parametrize(("name", "section"), list(of_superblocks()))
def test_one_odd_word_of_a_superblock(name: str, section: str) -> None:
    """mdadm prints the array's name as it is: what counts must be there once and whole, or the disk
    is not believed (`Look.error`), and no other disk is hidden by that."""
    chance = random.Random(name)
    whole = parse_superblock(section, disk="vdx", serial="x")
    needed = r"Magic|Version|UUID|Raid Level|Raid Devices|Events|Device Role|Array State|Checksum"
    value = r"(?m)^(\s*\S[^:\n]* : )(.+)$\n"
    for _ in range(ROUNDS):
        for odd in words(section, chance, f"{needed}|Array Size", value):
            assert changes(whole, parse_superblock(odd, disk="vdx", serial="x")) <= MAY_CHANGE
    for key in ("Device Role", "Array State"):
        odd = re.sub(rf"(?m)^(\s*{key} : ).+$", rf"\1{ODD}", section)
        touched = changes(whole, parse_superblock(odd, disk="vdx", serial="x"))
        # Whose place is not known is not said to be rebuilt.
        assert len(touched - {".recovering"}) <= 1, touched


def garbage(text: str, chance: random.Random) -> Iterator[str]:
    """No tool prints this: cut, joined, overwritten."""
    some = text.splitlines(keepends=True)
    for _ in range(4):
        yield text[: chance.randrange(len(text))]
        yield "".join(chance.sample(some, len(some)))
        yield text + text
        place = chance.randrange(len(text))
        yield text[:place] + chance.choice("\x00\xff{}[]:;=\"'\n ") * 3 + text[place + 1 :]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.slug)
def test_garbage_raises_the_parsers_own_error(family: Family) -> None:
    for name, text in recordings(family.slug):
        chance = random.Random(f"{family.slug}{name} garbage")
        for odd in garbage(text, chance):
            try:
                family.parse(odd)
            except ParseError:
                continue
