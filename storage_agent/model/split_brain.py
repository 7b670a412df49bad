"""One side of a split brain in words, the same on both hosts and on the coordinator's machine, so
that two of them can be laid side by side."""

from __future__ import annotations

from storage_agent.model.replica import Replica
from storage_agent.model.sizes import bytes_text


def side_text(replica: Replica) -> str:
    """Role, disk, bytes changed since, generation.

    The bitmap identifier is the generation that both had last; when the current ones differ and
    the bitmap ones agree, each side has written something of its own.
    """
    ids = replica.generation
    generation = f"generation {ids.current}, apart since {ids.bitmap}" if ids else "no generation"
    return (
        f"{replica.role}, {replica.disk}, {changed_text(replica)} changed here since, {generation}"
    )


def changed_text(replica: Replica) -> str:
    """What this side has written that the other has not; each side counts its own alone."""
    behind = replica.peer.out_of_sync_bytes if replica.peer else None
    return "unknown how much" if behind is None else bytes_text(behind)
