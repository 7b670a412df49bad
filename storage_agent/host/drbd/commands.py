"""Arguments of the DRBD tools. `minor` and `resource` name the same thing: the driver 8.4 takes
a minor where 9 takes the resource's name.

Roles are changed with drbdsetup, not drbdadm: one process of two instead of two of three
executables, half the time (measured, drbd-utils 9.22 on 8.4.11), no parsing of /etc/drbd.d, no
time limits of its own. It is no less safe: the kernel itself calls the fence-peer handler,
through /sbin/drbdadm, whoever asks.
"""

from __future__ import annotations

import shlex

Argv = tuple[str, ...]
OPTION_VERBS = frozenset({"resource-options", "disk-options", "net-options", "peer-device-options"})


def events2_now(resource: str) -> Argv:
    return ("drbdsetup", "events2", "--now", "--statistics", resource)


def status_json(resource: str) -> Argv:
    return ("drbdsetup", "status", "--json", resource)


def get_gi(resource: str, minor: int, *, driver_version_9: bool) -> Argv:
    """Of the kernel. On 9 drbdsetup also wants the peer's node id; drbdadm knows it."""
    if driver_version_9:
        return ("drbdadm", "get-gi", resource)
    return ("drbdsetup", "get-gi", str(minor))


def show(resource: str) -> Argv:
    return ("drbdsetup", "show", "--show-defaults", resource)


def dump(resource: str) -> Argv:
    return ("drbdadm", "dump-xml", resource)


def adjust_dry(resource: str) -> Argv:
    return ("drbdadm", "-d", "adjust", resource)


def option_changes(dry: str) -> tuple[Argv, ...]:
    """Of what `adjust_dry` prints, a command a line, those that change options alone."""
    found = (tuple(shlex.split(line)) for line in dry.splitlines())
    return tuple(("drbdsetup", *argv[1:]) for argv in found if _changes_options(argv))


def _changes_options(argv: Argv) -> bool:
    return len(argv) > 2 and argv[0] in ("drbdsetup", "drbdsetup-84") and argv[1] in OPTION_VERBS


def primary(resource: str, minor: int, *, driver_version_9: bool) -> Argv:
    return ("drbdsetup", "primary", resource if driver_version_9 else str(minor))


def secondary(resource: str, minor: int, *, driver_version_9: bool) -> Argv:
    return ("drbdsetup", "secondary", resource if driver_version_9 else str(minor))


def down(resource: str) -> Argv:
    return ("drbdsetup", "down", resource)


def drbdadm(verb: str, resource: str) -> Argv:
    """The verbs that need the resource file."""
    return ("drbdadm", verb, resource)


def connect_discarding(resource: str) -> Argv:
    return ("drbdadm", "connect", "--discard-my-data", resource)


def first_primary(resource: str) -> Argv:
    return ("drbdadm", "primary", "--force", resource)
