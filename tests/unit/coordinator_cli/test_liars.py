"""One host is hostile or broken, in every way that is known: each command shows and serves all
others as if it were not there, says of it what is wrong, and prints nothing of it raw."""

from __future__ import annotations

import dataclasses
import io
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.cli.terminal import Screen
from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.watch import Event, Watch
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.main import run
from tests.unit.coordinator.liars import BAD, LIES, TwoPairs
from tests.unit.coordinator.pair import VOLUME
from tests.unit.service.parts import ThreadClock

COMMANDS = ("status", "preflight", "adopt", "ping")
# By what the host may say without a fault: what it says is untrue, or only ugly.
BELIEVED = frozenset({"a text of 256 KiB", "signs that steer a terminal, in each text"})
# A host that is asked for nothing but its version still has one.
OF_ONE_VOLUME = frozenset({
    "an epoch that is a text", "an epoch that is a list", "a coordinator that is a number",
    "an unknown role", "a verdict that is a list",
})  # fmt: skip
# Of everything that a command prints: one host's part of a screen.
OUTPUT_LIMIT_CHARS = 64 << 10


class Desk:
    def __init__(self, pairs: TwoPairs) -> None:
        self.pairs = pairs
        self.out, self.err = io.StringIO(), io.StringIO()

    def run(self, *arguments: str) -> int:
        self.out, self.err = io.StringIO(), io.StringIO()
        coordinator = self.pairs.make()
        context = Context(
            out=Screen(stream=self.out),
            err=Screen(stream=self.err),
            stdin=io.StringIO(),
            clock=ThreadClock(),
            settings=lambda: self.pairs.settings,
            problems=lambda: (),
            coordinator=lambda: coordinator,
            offered_key=lambda _host, _timeout_s: ("", b""),
            replace_file=lambda _path, _content: None,
            run_command=lambda _argv, _stdin, _timeout_s: Ended(exit_status=0),
        )
        try:
            return run(arguments, context)
        finally:
            coordinator.fleet.close()

    def text(self) -> str:
        return self.out.getvalue() + self.err.getvalue()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    pairs = TwoPairs(tmp_path)
    yield Desk(pairs)
    pairs.coordinator.fleet.close()


def office(text: str, *, is_json: bool) -> list[str]:
    """What was printed of the healthy pair."""
    if is_json:
        found = []
        for line in text.splitlines():
            document = json.loads(line)
            rows = document.get("data") or {document.get("volume"): document}
            found += [json.dumps(rows.get(name)) for name in (VOLUME.key, *VOLUME.hosts)]
        return [row for row in found if row != "null"]
    lines = text.splitlines()
    begin = [n for n, line in enumerate(lines) if line.startswith(VOLUME.key)]
    if not begin:
        return [line for line in lines if line.strip().startswith(("alpha:", "beta:"))]
    end = [n for n, line in enumerate(lines) if n > begin[0] and BAD.key in line[:20]]
    return lines[begin[0] : end[0] if end else None]


def raw_signs(text: str) -> set[str]:
    """Whatever steers a terminal; also what turns the direction of a text."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")}


def epochless(rows: list[str]) -> list[str]:
    """An adoption takes an epoch each time."""
    digits = str.maketrans("", "", "0123456789.")
    return [row.translate(digits) for row in rows]


def asked(lie: str) -> list[tuple[str, ...]]:
    """Each command, as a table or as JSON in turn."""
    number = list(LIES).index(lie)
    return [
        (name, *(["--all"] if name == "adopt" else []), *(["--json"] if (n + number) % 2 else []))
        for n, name in enumerate(COMMANDS)
    ]


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], list[str]]:
    """What each command prints of the healthy pair while all is well."""
    made = Desk(TwoPairs(tmp_path_factory.mktemp("well")))
    # From the second adoption on the record goes on with itself.
    assert made.run("adopt", "--all") == 0
    rows = {}
    for lie in list(LIES)[:2]:
        for arguments in asked(lie):
            made.run(*arguments)
            shown = office(made.out.getvalue(), is_json="--json" in arguments)
            assert shown, arguments
            rows[arguments] = epochless(shown)
    return rows


@pytest.mark.parametrize("lie", LIES)
def test_all_others_are_served(
    desk: Desk, lie: str, well: dict[tuple[str, ...], list[str]]
) -> None:  # fmt: skip
    for volume in (BAD, VOLUME):
        desk.pairs.coordinator.adopt(volume)
    desk.pairs.lie = LIES[lie]
    for arguments in asked(lie):
        before = desk.pairs.good.epoch("alpha")
        status = desk.run(*arguments)
        said = desk.text()
        shown = office(desk.out.getvalue(), is_json="--json" in arguments)
        assert epochless(shown) == well[arguments], (arguments, said)
        assert "internal error" not in said, (arguments, said)
        assert "looking broke off" not in said, (arguments, said)
        assert len(said) < OUTPUT_LIMIT_CHARS, (arguments, len(said))
        assert not raw_signs(said), (arguments, raw_signs(said))
        if lie not in BELIEVED and not (arguments[0] == "ping" and lie in OF_ONE_VOLUME):
            assert status != 0, (arguments, said)
            assert BAD.key in said or "gamma" in said, (arguments, said)
        if arguments[0] == "adopt":
            assert desk.pairs.good.epoch("alpha") == (before or 0) + 1


@pytest.mark.parametrize("lie", LIES)
def test_the_service_watches_all_others(desk: Desk, lie: str) -> None:
    """Each has a thread of its own there; here one after the other, which must not be stopped."""
    desk.pairs.lie = LIES[lie]
    coordinator, events = desk.pairs.make(), list[Event]()
    watch = Watch(coordinator, events.append)
    record = coordinator.store.get(BAD.key)
    for _ in range(2):
        watch.try_to_look("gamma")
    for host in VOLUME.hosts:
        assert watch.try_to_look(host)
    desk.pairs.good.cut_link()
    assert watch.try_to_look("alpha")
    assert desk.pairs.good.serving() == ["alpha"]
    assert not [e for e in events if "please report" in e.text], events
    after = coordinator.store.get(BAD.key)
    assert record is not None
    assert after is not None
    assert dataclasses.replace(after, mark=None) == dataclasses.replace(record, mark=None)
    coordinator.fleet.close()
