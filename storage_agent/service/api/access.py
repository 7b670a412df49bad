"""Who may do what: the roles of a session, and which one a connection gets."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import StrEnum

from storage_agent.model.errors import NotPermitted

GATEWAY_USER = "storage-agent"


class Role(StrEnum):
    """LOCAL: root on this host. NONE: the gateway before its `hello`. GRANT: answers incidents,
    and all that OPERATE may do."""

    NONE = "none"
    OBSERVE = "observe"
    OPERATE = "operate"
    GRANT = "grant"
    LOCAL = "local"


_RANK = (Role.NONE, Role.OBSERVE, Role.OPERATE, Role.GRANT, Role.LOCAL)


def rank(role: Role) -> int:
    """Greater may do more."""
    return _RANK.index(role)


class RightsLost(NotPermitted):
    """The key of an open session may not, or not any more, do what it was opened for."""

    default_code = "KEY_REVOKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The process at the other end of a Unix socket, as the kernel recorded it at connect."""

    pid: int
    uid: int
    gid: int


def read_peer(connection: socket.socket) -> Peer:
    """SO_PEERCRED, unix(7)."""
    wanted = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, wanted)
    pid, uid, gid = struct.unpack("3i", raw)
    return Peer(pid=pid, uid=uid, gid=gid)


def role_at_connect(peer: Peer, gateway_uid: int | None) -> Role:
    """Raises NotPermitted for anybody but root and the gateway."""
    if peer.uid == 0:
        return Role.LOCAL
    if gateway_uid is not None and peer.uid == gateway_uid:
        return Role.NONE
    raise NotPermitted(
        f"uid {peer.uid} may not talk to the agent", remedy="run the command as root"
    )


def require_role(role: Role, needed: Role, method: str) -> None:
    """Raises NotPermitted. Says nothing about the request beyond its method's name."""
    if rank(role) < rank(needed):
        raise NotPermitted(
            f"{method} needs the role {needed}, this session has {role}",
            remedy="run it as root on the host itself" if needed is Role.LOCAL else "",
        )
