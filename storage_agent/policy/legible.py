"""What of a replica could not be read, named where a decision would have needed it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import LOOKED_AT, blocker


def named(snapshot: VolumeSnapshot, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """found: of `snapshot.decidable()`. What it only calls unobserved, with its own code."""
    replica = snapshot.replica
    hidden = snapshot.decidable().replica
    if not isinstance(replica, Replica) or not isinstance(hidden, Unobserved):
        return found
    others = [f for f in found if (f.code, f.measured) != ("UNOBSERVED", hidden.reason)]
    return tuple(others) if len(others) == len(found) else (*_illegible(replica), *others)


def _illegible(replica: Replica) -> Iterator[Finding]:
    name = replica.resource
    if replica.unread:
        yield blocker(
            "REPLICA_UNREAD",
            f"DRBD says of {name} what this version of the agent does not know: nothing is decided "
            "on it",
            measured=", ".join(replica.unread),
            limit=LOOKED_AT,
            remedy=f"see what it says: drbdsetup status --verbose {name}; a newer driver wants a "
            "newer agent: apt install --only-upgrade storage-agent",
        )
    if replica.others:
        yield blocker(
            "REPLICA_NOT_A_PAIR",
            f"the DRBD resource {name} has more than two hosts and one volume, and the agent knows "
            "of no other copy",
            measured=", ".join(replica.others),
            limit="one volume, 0, on the two hosts of agent.toml",
            remedy=f"see who takes part: drbdsetup status --verbose {name}; take what is not the "
            f"pair's out of its file below /etc/drbd.d, then: drbdadm adjust {name}",
        )
