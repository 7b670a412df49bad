"""Shuts the clients of a frozen or denied host out, and lets them in again.

A frozen primary acknowledges no write, but its NFS server would go on answering reads from the
cache, old ones once the other side was promoted. So its link goes down as an operation like any
other: journalled, one at a time with the others, bounded. It touches nothing but the link.

And takes down a replica that has lost the newer copy, before a frozen primary of the older one
connects to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from storage_agent.model.clock import Clock
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.operation import OperationRecord, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.arbitration import LinkWish, link_wish

ORIGIN = "arbitration"
FIRST_PAUSE_S = 0.5
# Thawed by its peer's return before the agent has even shut the link: within that time DRBD has
# asked its peer (ping-int + ping-timeout, 6 s), and what it shows is no longer of before.
HALTED_S = 10.0
LAST_PAUSE_S = 30.0
_KINDS = {
    LinkWish.CLOSE: OperationKind.CLOSE_LINK,
    LinkWish.OPEN: OperationKind.OPEN_LINK,
    LinkWish.PART: OperationKind.LEAVE,
}


class LinkKeeper:
    """start: begins an operation; raises AgentError while it cannot.  lately: operations of a
    volume, newest first, none left out.  epoch: what this host knows. Not safe for several
    threads."""

    def __init__(
        self,
        *,
        clock: Clock,
        boot_id: str,
        start: Callable[[OperationRequest], object],
        lately: Callable[[str], tuple[OperationRecord, ...]],
        epoch: Callable[[str], int | None],
    ) -> None:
        self._clock = clock
        self._boot = boot_id.replace("-", "")[:12]
        self._start = start
        self._lately = lately
        self._epoch = epoch
        # By volume: what was tried last, when the next try may be, and the pause after that.
        self._tried: dict[str, tuple[LinkWish, float, float]] = {}
        # By volume: when it was first seen halted, and not frozen, by this clock.
        self._halted_s: dict[str, float] = {}

    def keep(self, config: AgentConfig, volumes: Mapping[str, VolumeSnapshot]) -> float | None:
        """Begins what is due. Seconds until it wants to be called again without any news; None:
        there is nothing left to do."""
        waits = [
            self._keep_one(config, volume)
            for name, volume in volumes.items()
            if name in config.volumes
        ]
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def _keep_one(self, config: AgentConfig, snapshot: VolumeSnapshot) -> float | None:
        name = snapshot.volume
        wish = link_wish(config.volumes[name], snapshot, self._epoch(name))
        is_halted = wish is LinkWish.OPEN and _is_halted(snapshot)
        if not is_halted:
            self._halted_s.pop(name, None)
        if wish is LinkWish.NOTHING:
            self._tried.pop(name, None)
            return None
        now_s = self._clock.monotonic()
        if is_halted:
            open_s = self._halted_s.setdefault(name, now_s) + HALTED_S
            if now_s < open_s and snapshot.incident is None:
                return open_s - now_s
        tried, next_s, pause_s = self._tried.get(name, (wish, 0.0, FIRST_PAUSE_S))
        if tried is not wish:
            next_s, pause_s = 0.0, FIRST_PAUSE_S
        if now_s < next_s:
            return next_s - now_s
        self._tried[name] = (wish, now_s + pause_s, min(2 * pause_s, LAST_PAUSE_S))
        if wish is LinkWish.OPEN and not is_halted and not self._was_shut_by_us(name):
            return None
        request = OperationRequest(
            kind=_KINDS[wish],
            volume=name,
            # Not of a caller: the boot and its clock make it unique.
            operation_id=f"{self._prefix()}{int(now_s * 1000)}-{name}",
            origin=ORIGIN,
        )
        try:
            self._start(request)
        except AgentError:
            # Busy, most likely: tried again.
            return pause_s
        return pause_s

    def _was_shut_by_us(self, volume: str) -> bool:
        """The last thing that anybody did to the volume in this boot was to shut it."""
        for record in self._lately(volume):
            if not record.changed:
                continue
            request = record.request
            ours = request.operation_id.startswith(self._prefix())
            return ours and request.kind is OperationKind.CLOSE_LINK
        return False

    def _prefix(self) -> str:
        return f"{ORIGIN}-{self._boot}-"


def _is_halted(snapshot: VolumeSnapshot) -> bool:
    """Nobody has planned that, so it is for us to end it."""
    return isinstance(snapshot.nfs, NfsView) and snapshot.nfs.state is ServerState.HALTED
