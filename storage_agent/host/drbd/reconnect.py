"""Leaves the peer and looks for it again: the steps disconnect, connect, connect-discarding."""

from __future__ import annotations

from storage_agent.host.drbd.adapter import Drbd
from storage_agent.model.clock import Clock, Deadline
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import OutcomeUnknown, Refused

# connect-int is 3 s: a peer that looks for us too is there by then.
HANDSHAKE_S = 6.0
PAUSE_S = 0.2


def disconnect(drbd: Drbd, volume: VolumeConfig, *, timeout_s: float) -> None:
    """Returning proves nothing. Raises AgentError."""
    try:
        drbd.disconnect(volume.name, timeout_s=timeout_s)
    except OutcomeUnknown as exc:
        # A peer that does not answer holds the kernel up until its pings are missed.
        if exc.code != "DRBDADM_GAVE_UP":
            raise


def connect(
    drbd: Drbd, clock: Clock, volume: VolumeConfig, *, timeout_s: float, discarding: bool = False
) -> None:
    """Returns once the two have agreed, or the peer was not there within HANDSHAKE_S. Raises
    Refused (SPLIT_BRAIN, STAND_ALONE) where DRBD stands alone again."""
    if discarding:
        drbd.connect_discarding(volume.name, timeout_s=timeout_s)
    else:
        try:
            drbd.connect(volume.name, timeout_s=timeout_s)
        except Refused as exc:
            if exc.code != "DRBD_ALREADY_UP":
                raise
    deadline = Deadline.after(clock, HANDSHAKE_S)
    while not deadline.passed(clock) and not _has_agreed(drbd, volume):
        clock.sleep(PAUSE_S)


def _has_agreed(drbd: Drbd, volume: VolumeConfig) -> bool:
    assert volume.replica is not None
    seen = drbd.observe(volume.name, volume.replica.minor, timeout_s=HANDSHAKE_S)
    if seen is None or seen.stands_alone():
        is_split = seen is not None and seen.split_brain
        raise Refused(
            f"DRBD has dropped the connection of {volume.name}: "
            + ("SPLIT BRAIN" if is_split else "the kernel's log says why"),
            remedy=f"on both hosts: storage-agent split-brain {volume.name}"
            if is_split
            else "journalctl -k -g drbd -n 50",
            code="SPLIT_BRAIN" if is_split else "STAND_ALONE",
        )
    return seen.has_agreed()
