"""Leaving the peer and looking for it again, on recorded outputs of the driver 8.4.11."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage_agent.host.drbd.adapter import SPLIT_BRAIN_NOTES
from storage_agent.host.drbd.reconnect import connect, disconnect
from storage_agent.model.configuration import ReplicaConfig, VolumeConfig
from storage_agent.model.errors import AgentError, CommandFailed, Refused
from tests.unit.fakes import FakeClock, volume_config
from tests.unit.host.drbd.test_adapter import NOW, SILENT, host
from tests.unit.host.drbd_recorded import Recorded, recorded

CONNECT = ("drbdadm", "connect", "r0")
DISCARDING = ("drbdadm", "connect", "--discard-my-data", "r0")
DISCONNECT = ("drbdadm", "disconnect", "r0")
KERNEL_GI = ("drbdsetup", "get-gi", "0")
VOLUME: VolumeConfig = dataclasses.replace(
    volume_config("r0"), replica=ReplicaConfig(minor=0, port=7789)
)


def now(situation: str) -> Recorded:
    return recorded("drbdsetup-events2-now", "8.4.11", situation)


def note(root: Path) -> Path:
    path = root / SPLIT_BRAIN_NOTES / "r0"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_connect_returns_when_the_two_have_agreed(tmp_path: Path) -> None:
    drbd, script = host(tmp_path, "8.4.11", {CONNECT: SILENT, NOW: now("switched-over-alpha")})
    left = note(tmp_path)
    connect(drbd, FakeClock(), VOLUME, timeout_s=30)
    assert script.asked == [CONNECT, NOW]
    # A handshake that succeeded has ended the split brain, whoever resolved it.
    assert not left.exists()


def test_connect_does_not_wait_long_for_a_peer_that_is_away(tmp_path: Path) -> None:
    away = now("split-brain-victim-connecting-beta")
    drbd, _ = host(tmp_path, "8.4.11", {CONNECT: SILENT, NOW: away})
    clock, left = FakeClock(), note(tmp_path)
    connect(drbd, clock, VOLUME, timeout_s=30)
    assert clock.monotonic() - 1000.0 == pytest.approx(6.0, abs=0.3)
    assert left.exists()


def test_connect_tells_a_split_brain(tmp_path: Path) -> None:
    split = now("split-brain-one-demoted-beta")
    gi = recorded("drbdadm-get-gi", "8.4.11", "split-brain-one-demoted-beta")
    drbd, _ = host(tmp_path, "8.4.11", {CONNECT: SILENT, NOW: split, KERNEL_GI: gi})
    note(tmp_path)
    with pytest.raises(Refused) as caught:
        connect(drbd, FakeClock(), VOLUME, timeout_s=30)
    assert caught.value.code == "SPLIT_BRAIN"
    seen = drbd.observe("r0", 0, timeout_s=5)
    assert seen is not None
    assert seen.split_brain
    assert seen.generation is not None
    assert seen.generation.current == "A6BAEA7CBC09FDEA"


def test_standing_alone_without_a_note_is_no_split_brain(tmp_path: Path) -> None:
    split = now("split-brain-one-demoted-beta")
    drbd, _ = host(tmp_path, "8.4.11", {CONNECT: SILENT, NOW: split})
    with pytest.raises(Refused) as caught:
        connect(drbd, FakeClock(), VOLUME, timeout_s=30)
    assert caught.value.code == "STAND_ALONE"


def test_connected_already_is_fine_and_discarding_is_another_command(tmp_path: Path) -> None:
    again = recorded("refused-drbdadm", "8.4.11", "misc-primary-connected-connect-r0-alpha")
    answers = {CONNECT: again, DISCARDING: SILENT, NOW: now("switched-over-alpha")}
    drbd, script = host(tmp_path, "8.4.11", answers)
    connect(drbd, FakeClock(), VOLUME, timeout_s=30)
    connect(drbd, FakeClock(), VOLUME, timeout_s=30, discarding=True)
    assert script.asked == [CONNECT, NOW, DISCARDING, NOW]


def test_drbdadm_that_does_not_wait_for_the_kernel_is_no_failure(tmp_path: Path) -> None:
    said = "Command 'drbdsetup-84 disconnect ipv4:…' did not terminate within 5 seconds\n"
    drbd, _ = host(tmp_path, "8.4.11", {DISCONNECT: Recorded("x", DISCONNECT, 20, "", said)})
    disconnect(drbd, VOLUME, timeout_s=30)


def test_any_other_failure_of_disconnect_is_one(tmp_path: Path) -> None:
    broken = Recorded("x", DISCONNECT, 20, "", "something else\n")
    drbd, _ = host(tmp_path, "8.4.11", {DISCONNECT: broken})
    with pytest.raises(AgentError) as caught:
        disconnect(drbd, VOLUME, timeout_s=30)
    assert isinstance(caught.value, CommandFailed)
