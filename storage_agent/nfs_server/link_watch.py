"""While the link serves: whether another machine claims its address. No process, no wait."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from storage_agent.nfs_server.link import ServiceLink
from storage_agent.nfs_server.notify import log

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

    def descriptor(self) -> socket.socket:
        """Readable: `hear`."""
        return self._claims

    def hear(self) -> None:
        """ARP packets came in. Another machine that claims the address, as one that was replaced
        and does not know it, would draw the clients to it: it is contradicted at once."""
        claimed = False
        with contextlib.suppress(OSError):
            for _ in range(_CLAIMS_AT_ONCE):
                claimed |= self._link.is_foreign_claim(self._claims.recv(_FRAME_BYTES))
        now_s = time.monotonic()
        if claimed and now_s >= self._defend_s and self._is_serving():
            self._defend_s = now_s + DEFEND_S
            log("another machine claims this address: contradicted")
            self._link.announce()
