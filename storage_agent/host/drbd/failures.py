"""What it means when drbdadm or drbdsetup fails.

The exit status alone is too coarse (11 is every refused change of state, 10 every refused
configuration), so the number that the kernel gives decides: `State change failed: (-12)` or
`Failure: (127)`. Source: drbd-headers linux/drbd.h enum drbd_state_rv and enum drbd_ret_code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage_agent.model.errors import (
    AgentError,
    Busy,
    CommandFailed,
    ConfigurationError,
    Missing,
    OutcomeUnknown,
    Refused,
)

NO_ADDRESS = "DRBD_NO_ADDRESS"
_KERNEL_NUMBER = re.compile(r"(?:State change failed|Failure): \((-?\d+)\)")
# DRBD 9 names the opener: `drbd0 opened by mount (pid 2009) at 2026-11-21 00:28:56.770`.
_OPENER = re.compile(r"opened by (\S+) \(pid (\d+)\)")


@dataclass(frozen=True, slots=True)
class _Meaning:
    kind: type[AgentError]
    code: str
    says: str
    remedy: str


_HELD_OPEN = _Meaning(
    Refused,
    "DRBD_HELD_OPEN",
    "its device is held open",
    "find the holder: fuser -vm {device}; ls /sys/block/drbd{minor}/holders",
)
_NOT_UP = _Meaning(
    Missing,
    "DRBD_NOT_UP",
    "it is not configured in the kernel",
    "bring it up: drbdadm up {resource}",
)
_IN_USE = _Meaning(
    Refused,
    "DRBD_ALREADY_UP",
    "the kernel has this address, minor or disk configured already",
    "see what is configured: drbdsetup show",
)
_TRANSIENT = _Meaning(
    Busy,
    "DRBD_BUSY",
    "another change of state is under way",
    "try again in a moment",
)
_DISK = _Meaning(
    Missing,
    "DRBD_DISK",
    "its lower disk cannot be used",
    "look at the array: cat /proc/mdstat; dmesg | tail",
)

_BY_NUMBER = {
    -1: _Meaning(
        Refused,
        "DRBD_PEER_PRIMARY",
        "the peer is primary",
        "demote it there first: storage-agent demote {resource}",
    ),
    -2: _Meaning(
        Refused,
        "DRBD_NO_UPTODATE_DATA",
        "it has no access to up-to-date data",
        "connect the peer that has it, or let the sync finish: drbdadm status {resource}",
    ),
    -7: _Meaning(
        Refused,
        "DRBD_FENCING_REFUSED",
        "the peer is not known to be outdated, and the fence-peer handler did not say so",
        "see what the handler said: journalctl -t storage-agent-fence-peer -n 5; then connect the "
        "peer, or prove that it is off",
    ),
    -10: _Meaning(
        Refused,
        "DRBD_PEER_REFUSED",
        "the peer refused the change",
        "see why in its kernel log: dmesg | grep drbd",
    ),
    -12: _HELD_OPEN,
    -18: _TRANSIENT,
    -19: _TRANSIENT,
    -22: _HELD_OPEN,
    -25: _Meaning(
        Refused,
        "DRBD_NO_QUORUM",
        "too few nodes are visible for its quorum",
        "connect the peer: drbdadm connect {resource}",
    ),
    102: _IN_USE,
    103: _IN_USE,
    104: _DISK,
    105: _DISK,
    111: _Meaning(
        Refused,
        "DRBD_DISK_TOO_SMALL",
        "its lower disk is smaller than the replica",
        "compare both hosts' arrays: cat /sys/block/md*/size",
    ),
    114: _IN_USE,
    119: _Meaning(
        Missing,
        "DRBD_NO_METADATA",
        "its lower disk carries no DRBD metadata",
        "is this the right array: storage-agent status {resource}; if so, take the other host's "
        "copy: storage-agent create {resource} --join",
    ),
    124: _IN_USE,
    125: _IN_USE,
    127: _NOT_UP,
    158: _NOT_UP,
    161: _IN_USE,
}

# What the tools say by themselves, before the kernel is asked, and where the number says little.
_BY_TEXT = (
    # drbdadm's cmd-timeout-short, 5 s; what it asked of the kernel goes on.
    ("did not terminate within", _Meaning(
        OutcomeUnknown,
        "DRBDADM_GAVE_UP",
        "drbdadm did not wait for the kernel to the end",
        "look at the state before trying again: storage-agent status",
    )),
    ("not found on this host", _Meaning(
        Missing,
        NO_ADDRESS,
        "this host does not have the address that it replicates from",
        "bring up the interface that has it, and see: ip -brief address; then: storage-agent "
        "assemble {resource}",
    )),
    ("unknown connection", _Meaning(
        Missing,
        "DRBD_NOT_UP",
        "it has no connection: it stands alone already",
        "connect it: drbdadm adjust {resource}",
    )),
    ("not defined in your config", _Meaning(
        Missing,
        "DRBD_NO_RESOURCE_FILE",
        "no resource file for it on this host",
        "is /etc/drbd.d/storage-agent-{resource}.res there, and is `hostname` one of its hosts?",
    )),
    ("no resources defined", _Meaning(
        Missing,
        "DRBD_NO_RESOURCE_FILE",
        "no resource file for it on this host",
        "is /etc/drbd.d/storage-agent-{resource}.res there?",
    )),
    ("Parse error", _Meaning(
        ConfigurationError,
        "DRBD_CONFIGURATION",
        "drbdadm cannot read its configuration",
        "see where: drbdadm dump {resource}",
    )),
    ("already in place on", _Meaning(
        Refused,
        "DRBD_METADATA_EXISTS",
        "its disk carries DRBD metadata already",
        "see whose they are: drbdadm dump-md {resource}",
    )),
    ("Found ", _Meaning(
        Refused,
        "DRBD_DATA_FOUND",
        "its disk is not blank",
        "see what is there: wipefs --no-act /dev/md/{resource}",
    )),
    ("No valid meta data found", _BY_NUMBER[119]),
    ("No such resource", _NOT_UP),
    ("modprobe", _Meaning(
        Missing,
        "DRBD_MODULE",
        "the kernel module drbd cannot be loaded",
        "see why: modprobe drbd",
    )),
    ("is configured!", _IN_USE),
    ("Device or resource busy", _IN_USE),
)  # fmt: skip


def failure(
    failed: CommandFailed, *, doing: str, resource: str, minor: int | None = None
) -> AgentError:
    """The typed error for a failed command. doing: `promote`, `bring up` … for the message.

    What nobody here knows stays a CommandFailed, as it was.
    """
    said = failed.stderr + failed.stdout
    number = _KERNEL_NUMBER.search(said)
    meaning = (_BY_NUMBER.get(int(number[1])) if number else None) or _meaning_of_text(said)
    if meaning is None:
        return failed
    if meaning.code == "DRBD_NO_UPTODATE_DATA" and _OPENER.search(said):
        # DRBD 9's `down` answers so while a reader keeps the device open.
        meaning = _HELD_OPEN
    holder = _holder(said) if meaning is _HELD_OPEN else ""
    names = {
        "resource": resource,
        "minor": "N" if minor is None else minor,
        "device": "/dev/drbdN" if minor is None else f"/dev/drbd{minor}",
    }
    reason = f" ({number[1]})" if number else ""
    return meaning.kind(
        f"cannot {doing} {resource}: {meaning.says}{holder}{reason}",
        remedy=meaning.remedy.format_map(names),
        code=meaning.code,
    )


def _meaning_of_text(said: str) -> _Meaning | None:
    return next((meaning for text, meaning in _BY_TEXT if text in said), None)


def _holder(said: str) -> str:
    opener = _OPENER.search(said)
    return f" by {opener[1]} (pid {opener[2]})" if opener else ""
