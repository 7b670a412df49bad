"""While the link serves: whether another machine claims its address. No process, no wait."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable

from storage_agent.nfs_server.link import ServiceLink
from storage_agent.nfs_server.notify import log

# A host that stood still while it was replaced hears the new one while its own kernel still
# believes to be connected, and may find out 6 s later (ping-int, ping-timeout), when it shuts its
# door. So long it contradicts nobody who may be right. The new one knows that it goes on alone.
DOUBT_S = 8.0
# After so long without one the next claim is another.
FORGOTTEN_S = 60.0
# Two that both believe to be right must not flood the network.
DEFEND_S = 0.2
_CLAIMS_AT_ONCE = 64
_FRAME_BYTES = 128


class LinkWatch:
    """is_serving: whether clients are let in now. Begins with a link that exists."""

    def __init__(self, link: ServiceLink, is_serving: Callable[[], bool]) -> None:
        self._link = link
        self._is_serving = is_serving
        self._claims = link.listen_to_claims()
        self._defend_s = 0.0
        # The first claim of the peer's, and the last one.
        self._doubts_since_s = self._peer_claimed_s = -math.inf

    def descriptor(self) -> socket.socket:
        """Readable: `hear`."""
        return self._claims

    def hear(self) -> None:
        """ARP packets came in. Another machine that claims the address would draw the clients to
        it, and is contradicted at once; the volume's other host only where this one is known to be
        right, or where it goes on and on."""
        now_s = time.monotonic()
        claimed = False
        with contextlib.suppress(OSError):
            for _ in range(_CLAIMS_AT_ONCE):
                claimant = self._link.claimant(self._claims.recv(_FRAME_BYTES))
                claimed |= claimant is not None and not self._is_doubtful(claimant, now_s)
        if claimed and now_s >= self._defend_s and self._is_serving():
            self._defend_s = now_s + DEFEND_S
            log("another machine claims this address: contradicted")
            self._link.announce()

    def _is_doubtful(self, claimant: bytes, now_s: float) -> bool:
        if not self._link.may_be_peers(claimant) or self._link.is_known_right():
            return False
        if now_s - self._peer_claimed_s > FORGOTTEN_S:
            self._doubts_since_s = now_s
            log("the volume's other host claims this address: is this one still to serve it?")
        self._peer_claimed_s = now_s
        return now_s - self._doubts_since_s < DOUBT_S
