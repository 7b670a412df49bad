"""Replicas in the states that tests ask about."""

from __future__ import annotations

import dataclasses

from storage_agent.model.configuration import (
    Arbitration,
)
from storage_agent.model.guards import (
    FENCING,
    HANDLER,
    SAFETY,
    SPLIT_BRAIN,
    TIMEOUTS,
    Guards,
)
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    PeerView,
    Replica,
    ReplicationState,
    Role,
)


def in_sync_replica(**changes: object) -> Replica:
    """Secondary, connected to a secondary, nothing out of sync."""
    replica = Replica(
        resource="data",
        minor=0,
        driver_version="8.4.11",
        role=Role.SECONDARY,
        disk=DiskState.UP_TO_DATE,
        size_bytes=512 << 20,
        peer=PeerView(
            connection=ConnectionState.CONNECTED,
            role=Role.SECONDARY,
            disk=DiskState.UP_TO_DATE,
            replication=ReplicationState.ESTABLISHED,
            out_of_sync_bytes=0,
        ),
    )
    return dataclasses.replace(replica, **changes)  # type: ignore[arg-type]


def guards_as(arbitration: Arbitration, **changes: object) -> Guards:
    """All in force, under DRBD 8.4."""
    guards = Guards(
        options={**SAFETY, **TIMEOUTS, "disk.fencing": FENCING[arbitration]},
        minor=0,
        disk="/dev/md/data",
        helper="/sbin/drbdadm",
        fence_peer=HANDLER[arbitration],
        split_brain=SPLIT_BRAIN,
    )
    return dataclasses.replace(guards, **changes)  # type: ignore[arg-type]


def with_peer(replica: Replica, **changes: object) -> Replica:
    assert replica.peer is not None
    peer = dataclasses.replace(replica.peer, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(replica, peer=peer)


def lost_peer(replica: Replica, disk: DiskState = DiskState.UP_TO_DATE) -> Replica:
    """The same copy after its peer vanished."""
    return with_peer(
        dataclasses.replace(replica, disk=disk),
        connection=ConnectionState.CONNECTING,
        role=Role.UNKNOWN,
        disk=DiskState.DUNKNOWN,
        replication=ReplicationState.OFF,
    )
