"""Both hosts in one line, before something moves. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.cli.text import clean
from storage_agent.model.observed import Unobserved
from storage_agent.model.plan import Step
from storage_agent.model.replica import ConnectionState, Replica
from storage_agent.model.snapshot import VolumeSnapshot


def topology_lines(
    snapshot: VolumeSnapshot, peer: str, steps: tuple[Step, ...]
) -> Iterator[str]:  # fmt: skip
    """`data:  alpha (Secondary, UpToDate)  <== in sync ==>  beta (Primary, UpToDate)`."""
    yield f"{snapshot.volume}:  {_hosts(snapshot, peer)}"
    if steps:
        yield f"on {snapshot.host}: " + "; ".join(clean(step.title) for step in steps)


def _hosts(snapshot: VolumeSnapshot, peer: str) -> str:
    replica = snapshot.replica
    if isinstance(replica, Unobserved):
        return f"{snapshot.host} (unknown: {clean(replica.reason)})"
    if replica is None:
        return f"{snapshot.host} (no replica)"
    return f"{snapshot.host} ({replica.role}, {replica.disk})  {_link(replica, peer)}"


def _link(replica: Replica, peer: str) -> str:
    view = replica.peer
    if view is None:
        return f"---  {peer} (no connection configured)"
    if view.connection is not ConnectionState.CONNECTED:
        return f"- {view.connection} -  {peer} (not seen, last known {view.disk})"
    word = "in sync" if replica.in_sync() else str(view.replication)
    return f"<== {word} ==>  {peer} ({view.role}, {view.disk})"
