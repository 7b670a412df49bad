"""Reads what was recorded of the DRBD tools, and says a replica in one line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from storage_agent.model.replica import Replica

DATA = Path(__file__).parents[2] / "data"


@dataclass(frozen=True)
class Recorded:
    name: str
    argv: tuple[str, ...]
    exit_status: int | None
    stdout: str
    stderr: str


def recorded(slug: str, version: str, name: str) -> Recorded:
    path = DATA / slug / version / f"{name}.out"
    about = json.loads(path.with_suffix(".json").read_text())
    return Recorded(
        name, tuple(about["argv"]), about["exit_status"], path.read_text(), about["stderr"]
    )


def all_recorded(slug: str, version: str) -> list[Recorded]:
    names = sorted(path.stem for path in (DATA / slug / version).glob("*.out"))
    assert names
    return [recorded(slug, version, name) for name in names]


def in_words(replica: Replica | None) -> str:
    """Sizes and amounts in KiB, as the tools have them."""
    if replica is None:
        return "not configured"
    own = f"{replica.role} {replica.disk} {_kib(replica.size_bytes)}"
    own += "".join(f" {reason}" for reason in replica.suspended)
    peer = replica.peer
    if peer is None:
        return f"{own} | no peer"
    words = f"{peer.connection} {peer.role} {peer.disk} {peer.replication}"
    words += f" {_kib(peer.out_of_sync_bytes)}"
    words += " paused" if peer.resync_suspended else ""
    words += " congested" if peer.congested else ""
    return f"{own} | {words}"


def _kib(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else str(size_bytes // 1024)
