"""Every command against two real agents in memory: output, exit status, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage_agent.cli.terminal import Screen
from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.reaching.host_keys import HostKeys, fingerprint
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.views import VolumeView
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.main import run
from storage_agent.model.errors import AgentError, OutcomeUnknown
from storage_agent.model.nfs import ServerState
from tests.unit.cli.golden import assert_golden
from tests.unit.coordinator.pair import VOLUME, Pair, make_coordinator, make_settings
from tests.unit.service.parts import ThreadClock

NAME = b"ssh-ed25519"
BLOB = len(NAME).to_bytes(4, "big") + NAME + (32).to_bytes(4, "big") + bytes(range(32))


def write_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)


class Desk:
    """Runs commands and keeps what they print. make_out: a stream for each run."""

    make_out: Callable[[], io.StringIO] = io.StringIO

    def __init__(self, folder: Path) -> None:
        self.pair = Pair(folder)
        self.coordinator: Coordinator = make_coordinator(self.pair)
        self.settings = dataclasses.replace(
            make_settings(folder), known_hosts=str(folder / "known_hosts")
        )
        self.out, self.err = io.StringIO(), io.StringIO()
        self.commands: list[tuple[str, ...]] = []
        self.ends: Ended | AgentError = Ended(exit_status=0)

    def _run_command(self, argv: tuple[str, ...], stdin: bytes, _timeout_s: float) -> Ended:
        self.commands.append(argv)
        if isinstance(self.ends, AgentError):
            raise self.ends
        if not self.ends.exit_status and b"mount -t nfs" in stdin:
            self.pair.write_as_client(stdin.decode())
        return self.ends

    def run(self, *arguments: str) -> int:
        self.out, self.err = self.make_out(), io.StringIO()
        context = Context(
            out=Screen(stream=self.out),
            err=Screen(stream=self.err),
            stdin=io.StringIO(),
            clock=ThreadClock(),
            settings=lambda: self.settings,
            problems=lambda: ("coordinator.toml:3: error: unknown key",),
            coordinator=lambda: self.coordinator,
            offered_key=lambda _host, _timeout_s: ("ssh-ed25519", BLOB),
            replace_file=write_file,
            run_command=self._run_command,
        )
        return run(arguments, context)

    def golden(self, name: str) -> None:
        text = self.out.getvalue() + self.err.getvalue()
        text = re.sub(r"\d+\.\d s\b", "0.1 s", text)
        assert_golden(f"coordinator-{name}", text)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def adopted(desk: Desk) -> Desk:
    """Serves, and has gone live."""
    assert desk.run("adopt", "data") == 0
    assert desk.run("go-live", "data") == 0
    return desk


def test_a_volume_is_adopted_before_anything_else(desk: Desk) -> None:
    assert desk.run("switchover", "data", "--to", "beta") == 3
    assert "storage-coordinator adopt office/data" in desk.err.getvalue()
    assert desk.run("adopt", "--all") == 0
    desk.golden("adopt")
    assert desk.run("adopt") == 2


def test_status_of_a_healthy_pair(adopted: Desk) -> None:
    assert adopted.run("status") == 0
    adopted.golden("status")
    assert adopted.run("status", "--json") == 0
    (line,) = adopted.out.getvalue().splitlines()
    document = json.loads(line)
    assert document["hosts"]["alpha"]["is_serving"]
    assert document["findings"] == []


def test_go_live(desk: Desk) -> None:
    assert desk.run("adopt", "data") == 0
    assert desk.run("status") == 0
    desk.golden("unsealed")
    assert desk.run("preflight", "data") == 3
    assert "UNSEALED" in desk.out.getvalue()
    desk.ends = Ended(exit_status=1, text="mount.nfs: Connection timed out\n")
    assert desk.run("go-live", "data") == 1
    assert "Connection timed out" in desk.err.getvalue()
    desk.ends = Ended(exit_status=0)
    assert desk.run("go-live", "data", "--client", "desk7") == 0
    desk.golden("go-live")
    assert [argv[0] for argv in desk.commands] == ["sh", "ssh"]
    assert desk.run("go-live", "data", "--json") == 0
    document = json.loads(desk.out.getvalue())
    assert (document["changed"], document["data"]["is_already"]) == (False, True)
    assert desk.run("preflight", "data") == 0
    assert len(desk.commands) == 2


def test_status_names_what_contradicts(adopted: Desk) -> None:
    adopted.pair.kill("beta")
    other = make_coordinator(adopted.pair, adopted.pair.folder / "other")
    assert adopted.run("status", "office/data") == 1
    assert "NO FALLBACK" in adopted.out.getvalue()
    assert "HOST_UNREACHABLE" in adopted.out.getvalue()
    assert adopted.err.getvalue() == ""
    adopted.pair.alive.add("beta")
    adopted.pair.link_up = True
    other.adopt(VOLUME)
    adopted.coordinator = make_coordinator(adopted.pair)
    assert adopted.run("status", "--json") == 1
    codes = [f["code"] for f in json.loads(adopted.out.getvalue())["findings"]]
    assert "EPOCH_AHEAD" in codes


def test_both_primary_is_said_loudest(adopted: Desk) -> None:
    adopted.pair.link_up = False
    adopted.pair.serve("beta")
    assert adopted.run("status") == 1
    assert "BLOCKER BOTH_PRIMARY" in adopted.out.getvalue()


def cut_link(pair: Pair) -> None:
    pair.link_up = False


def stop_server(pair: Pair) -> None:
    pair.hosts["alpha"].server = ServerState.ABSENT


@pytest.mark.parametrize("harm", [Pair.cut_link, cut_link, stop_server])
def test_status_fails_for_a_volume_at_risk(adopted: Desk, harm: Callable[[Pair], None]) -> None:
    """Frozen; without a fallback; primary and not served."""
    assert adopted.run("status", "--json") == 0
    harm(adopted.pair)
    assert adopted.run("status", "--json") == 1
    (line,) = adopted.out.getvalue().splitlines()
    assert json.loads(line)["volume"] == "office/data"


def test_preflight(adopted: Desk) -> None:
    assert adopted.run("preflight", "data") == 0
    adopted.golden("preflight")
    adopted.pair.hosts["beta"].mount_point_state = "not-empty"
    assert adopted.run("preflight") == 3
    assert "MOUNT_POINT" in adopted.out.getvalue()
    assert adopted.run("preflight", "--json") == 3
    assert json.loads(adopted.out.getvalue())["switchover"]["target"] == "beta"


def test_a_preflight_that_breaks_off_hides_no_other(adopted: Desk) -> None:
    """One host goes while it is asked for its plan; its pair stands first."""
    settings = adopted.coordinator.settings
    settings.volumes.clear()
    for volume in (dataclasses.replace(VOLUME, key="lost/data"), VOLUME):
        settings.volumes[volume.key] = volume
    checked: list[str] = []

    def goes(volume: VolumeSettings, *_: object, **__: object) -> VolumeView:
        checked.append(volume.key)
        if volume.key == "lost/data":
            raise OutcomeUnknown("beta went", remedy="look", code="HOST_DISCONNECTED")
        return look(volume)

    look = adopted.coordinator.look
    adopted.coordinator.look = goes  # type: ignore[method-assign]
    adopted.settings = settings
    for options in (("--json",), ()):
        assert adopted.run("preflight", *options) == OutcomeUnknown.exit_status
        assert "office/data" in adopted.out.getvalue()
        assert "beta went" in adopted.out.getvalue() + adopted.err.getvalue()
    assert sorted(set(checked)) == ["lost/data", "office/data"]


def test_switchover(adopted: Desk) -> None:
    assert adopted.run("switchover", "data", "--to", "beta", "--dry-run") == 0
    assert adopted.pair.serving() == ["alpha"]
    adopted.golden("switchover-dry-run")
    assert adopted.run("switchover", "data", "--to", "beta", "--json") == 0
    document = json.loads(adopted.out.getvalue())
    assert document["data"]["target"] == "beta"
    assert document["changed"]
    assert adopted.pair.serving() == ["beta"]
    assert adopted.run("switchover", "data", "--to", "beta") == 0
    assert "already" in adopted.out.getvalue()
    assert adopted.run("switchover", "data", "--to", "gamma") == 2
    assert adopted.run("switchover", "data", "--to", "alpha") == 0
    assert "moved from beta to alpha, epoch 8; clients waited about" in adopted.out.getvalue()
    assert "beta          " in adopted.out.getvalue()


def test_switchover_shows_both_plans_before_the_first_step(adopted: Desk) -> None:
    shown: list[str] = []
    adopted.pair.before = lambda _host, method: shown.append(
        f"{method}: {adopted.out.getvalue()}"
    )  # fmt: skip
    assert adopted.run("switchover", "data", "--to", "beta") == 0
    first = next(text for text in shown if text.startswith("promote: "))
    assert "on alpha:\nplan: demote data on alpha\n" in first
    assert "on beta:\nplan: promote data on beta\n" in first


@pytest.mark.parametrize("dead", ["alpha", "beta"])
def test_switchover_with_a_dead_host(adopted: Desk, dead: str) -> None:
    serving = [host for host in ("alpha",) if host != dead]
    adopted.pair.kill(dead)
    assert adopted.run("switchover", "data", "--to", "beta") == 3
    said = adopted.err.getvalue()
    first, second = said.splitlines()[:2]
    assert first.startswith("storage-coordinator: office/data cannot be moved to beta: ")
    assert f"{dead} cannot be reached" in first
    assert second.startswith("  try: ")
    # And what the living one would say to its part alone is left out.
    assert re.findall("BLOCKER ([A-Z_]+)", said) == ["BOTH_MUST_ANSWER"]
    assert adopted.pair.serving() == serving


@pytest.mark.processes
def test_hooks_of_the_site(adopted: Desk) -> None:
    folder = Path(adopted.settings.hooks)
    folder.mkdir(mode=0o755)
    hook = folder / "address"
    hook.write_text('#!/bin/sh\necho "$*" >&2; test "$1" != post-promote\n')
    hook.chmod(0o755)
    assert adopted.run("switchover", "data", "--to", "beta", "--dry-run") == 0
    assert "post-promote address: dry-run post-promote" in adopted.out.getvalue()
    assert adopted.run("switchover", "data", "--to", "beta") == 1
    assert "moved from alpha to beta" in adopted.out.getvalue()
    assert "serves from beta, but a hook failed after it" in adopted.err.getvalue()
    assert adopted.pair.serving() == ["beta"]
    assert adopted.pair.hook_failures


def test_failover_wants_the_dead_host_named(adopted: Desk) -> None:
    assert adopted.run("failover", "data", "--to", "beta", "--confirm", "alpha") == 3
    assert "PEER_SERVES" in adopted.err.getvalue()
    adopted.pair.kill("alpha")
    assert adopted.run("failover", "data", "--to", "beta", "--dry-run") == 0
    adopted.golden("failover-dry-run")
    assert adopted.run("failover", "data", "--to", "beta") == 3
    assert "--confirm alpha" in adopted.err.getvalue()
    assert adopted.run("failover", "data", "--to", "beta", "--confirm", "beta") == 3
    assert adopted.pair.serving() == []
    assert adopted.run("failover", "data", "--to", "beta", "--confirm", "alpha") == 0
    assert adopted.pair.serving() == ["beta"]
    assert "proof: grant of epoch 7" in adopted.out.getvalue()


def test_ping(adopted: Desk) -> None:
    assert adopted.run("ping") == 0
    adopted.pair.kill("beta")
    assert adopted.run("ping", "--json") == 1
    assert json.loads(adopted.out.getvalue())["data"]["beta"]["code"] == "HOST_UNREACHABLE"
    assert adopted.run("ping", "gamma") == 2


def test_enroll_wants_the_right_fingerprint(desk: Desk) -> None:
    wrong = fingerprint(BLOB + b"x")
    assert desk.run("enroll", "alpha", "--fingerprint", wrong) == 3
    assert HostKeys(Path(desk.settings.known_hosts)).read() == {}
    assert desk.run("enroll", "alpha", "--fingerprint", fingerprint(BLOB)) == 0
    desk.golden("enroll")
    assert HostKeys(Path(desk.settings.known_hosts)).key_of("alpha") == ("ssh-ed25519", BLOB)
    assert desk.run("enroll", "alpha", "--fingerprint", "MD5:00") == 2


def test_enroll_by_line_and_replace(desk: Desk) -> None:
    line = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} root@alpha"
    other = f"alpha,10.0.0.1 ssh-ed25519 {base64.b64encode(BLOB[:-1] + b'z').decode()}"
    assert desk.run("enroll", "alpha", "--known-hosts-line", line) == 0
    assert desk.run("enroll", "alpha", "--known-hosts-line", other) == 3
    assert desk.run("enroll", "alpha", "--known-hosts-line", other, "--replace") == 0
    assert desk.run("enroll", "alpha", "--known-hosts-line", "ssh-dss AAAA") == 2
    assert desk.run("enroll", "alpha", "--known-hosts-line", "ssh-ed25519 AAAABBBBCCCCDDDD") == 2
    assert desk.run("enroll", "gamma", "--known-hosts-line", line) == 2


def test_acknowledge_and_trust(adopted: Desk) -> None:
    store = adopted.coordinator.store
    store.change(VOLUME.key, lambda s: dataclasses.replace(s, automatic_used=True))
    assert adopted.run("acknowledge", "data") == 0
    state = store.get(VOLUME.key)
    assert state is not None
    assert not state.automatic_used
    (adopted.pair.folder / "run" / "changes").unlink()
    assert adopted.run("trust-record", "data") == 3
    assert not store.is_proven(VOLUME.key)
    assert adopted.run("trust-record", "data", "--confirm", "data") == 0
    assert store.is_proven(VOLUME.key)


def test_config_check(desk: Desk) -> None:
    assert desk.run("config", "check") == 8
    assert "coordinator.toml:3" in desk.out.getvalue()


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("status", "--to"), ("status", "nope")])
def test_usage(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert desk.run(*arguments) == 2
    assert desk.err.getvalue().startswith("storage-coordinator: ")


def test_the_command_needs_nothing_of_a_storage_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control machine has neither pyudev nor psutil nor structlog."""
    import builtins
    import sys

    real: Any = builtins.__import__

    def refuse(name: str, *more: Any, **options: Any) -> Any:
        assert name.split(".")[0] not in ("pyudev", "psutil", "structlog"), name
        return real(name, *more, **options)

    for name in [m for m in sys.modules if m.startswith("storage_agent.co")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    from storage_agent.coordinator_cli import keep, look, main, move, service, wiring

    assert {keep, look, main, move, service, wiring}


def test_a_code_is_explained_where_there_is_no_agent(adopted: Desk) -> None:
    adopted.pair.cut_link()
    assert adopted.run("status") == 1
    shown = adopted.out.getvalue()
    assert shown.startswith("office/data: FROZEN on alpha\n")
    codes = re.findall(r"see: storage-coordinator explain (\S+)", shown)
    assert codes[0] == "INCIDENT_OPEN"
    assert "storage-agent explain" not in shown
    for code in codes:
        assert adopted.run("explain", code.lower()) == 0
        assert adopted.out.getvalue().startswith(f"{code}\n  means  ")
    assert adopted.run("preflight") == 3
    assert "BLOCKER INCIDENT_OPEN: alpha: " in adopted.out.getvalue()
    assert adopted.run("preflight", "--json") == 3
    assert json.loads(adopted.out.getvalue())["findings"][0]["code"] == "INCIDENT_OPEN"
    assert adopted.run("explain", "INCIDENT_OPENED") == 2
    assert "did you mean INCIDENT_OPEN?" in adopted.err.getvalue()
    assert adopted.run("explain", "zzz") == 2
    assert "see which codes stand now: storage-coordinator status" in adopted.err.getvalue()


def test_a_refusal_is_explained_where_there_is_no_agent(adopted: Desk) -> None:
    adopted.pair.link_up = False
    assert adopted.run("switchover", "data", "--to", "beta") == 3
    assert "see: storage-coordinator explain NOT_IN_SYNC" in adopted.err.getvalue()
    assert "storage-agent explain" not in adopted.err.getvalue()


def test_an_epoch_that_nobody_can_have_used_is_taken_back(adopted: Desk) -> None:
    assert adopted.run("reset-epoch", "data", "--confirm", "data") == 3
    assert "is not beyond what can have been used" in adopted.err.getvalue()
    store = adopted.coordinator.store
    before = store.get(VOLUME.key)
    assert before is not None
    store.change(VOLUME.key, lambda s: dataclasses.replace(s, epoch=10**15))
    assert adopted.run("status") == 1
    assert "storage-coordinator reset-epoch office/data" in adopted.out.getvalue()
    assert adopted.run("reset-epoch", "data") == 3
    assert f"record: epoch {10**15}" in adopted.out.getvalue()
    assert adopted.run("reset-epoch", "data", "--confirm", "data") == 0
    assert f"goes on from epoch {before.epoch};" in adopted.out.getvalue()
    assert adopted.run("adopt", "data") == 0
    assert adopted.run("status") == 0
