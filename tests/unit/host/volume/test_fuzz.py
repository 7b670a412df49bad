"""A share of scripts/fuzz --volumes; and that it finds what it is for."""

from __future__ import annotations

import errno
import os

import pytest

from storage_agent.host.system import syscalls
from storage_agent.host.volume import door
from tests.unit.host.volume.fuzz import fuzz

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace and fanotify"),
]
TREES = 300


def test_hostile_volumes_lead_nowhere() -> None:
    summary = fuzz(TREES, 1)
    assert summary.wrong == [], summary.text()
    assert summary.trees == TREES
    assert min(summary.made[kind] for kind in ("link", "hard_link", "fifo", "device", "vast")) > 9
    assert summary.opened > TREES


def no_openat2(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSYS, "Function not implemented")


def test_where_systemd_takes_openat2_away_it_is_as_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """RestrictSUIDSGID=, as both units have it."""
    monkeypatch.setattr(syscalls, "openat2", no_openat2)
    summary = fuzz(150, 2)
    assert summary.wrong == [], summary.text()
    assert summary.opened > 150


@pytest.mark.parametrize(
    "resolve",
    [
        door.RESOLVE & ~syscalls.RESOLVE_NO_SYMLINKS,
        0,
    ],
    ids=["links inside the volume", "links anywhere"],
)
def test_a_door_that_follows_links_is_caught(resolve: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "RESOLVE", resolve)
    summary = fuzz(60, 1)
    assert summary.wrong, summary.text()


def test_a_door_that_takes_anybodys_file_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_require", lambda *_: None)
    summary = fuzz(60, 1)
    assert summary.wrong, summary.text()
