"""A volume's own NFS server, as design section 7 has it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServerState(StrEnum):
    """ABSENT: no unit runs. STANDBY: namespaces and address stand, link down, no nfsd.
    STARTED: nfsd runs, link down. SERVING: nfsd runs and the link is up.
    HALTED: nfsd runs, its clients were shut out at once by the fence-peer handler, and nothing has
    been decided since."""

    ABSENT = "absent"
    STANDBY = "standby"
    STARTED = "started"
    SERVING = "serving"
    HALTED = "halted"


@dataclass(frozen=True, slots=True, kw_only=True)
class NfsClient:
    """From /proc/fs/nfsd/clients/N/info. status: confirmed, unconfirmed, courtesy, expirable.

    A courtesy client has not renewed its lease; it may linger for weeks and is not in use.
    """

    client_id: str
    address: str
    name: str
    status: str
    minor_version: int
    seconds_since_renewal: int | None = None
    opens: int = 0
    locks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NfsView:
    """state is derived from what the namespaces show, never from what was last asked for.

    has_link: the link of the service address exists, up or down; a parent interface that goes takes
    it along.
    in_grace: nfsd still lets only reclaims in; None where no server runs.
    connections: `ADDRESS:PORT` of each established TCP connection to port 2049.
    bytes_read/bytes_written: nfsd's counters since start, to see whether it is in use.
    """

    state: ServerState
    address: str
    threads: int = 0
    link_up: bool = False
    has_link: bool = True
    in_grace: bool | None = None
    exports: tuple[str, ...] = ()
    clients: tuple[NfsClient, ...] = ()
    connections: tuple[str, ...] = ()
    bytes_read: int | None = None
    bytes_written: int | None = None
