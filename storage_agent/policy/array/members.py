"""What to do about members of an array: how one gets back in, and what tells them apart."""

from __future__ import annotations

from storage_agent.model.array import Array, ArrayState, ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.members import Members
from storage_agent.policy.common import warning

_NEW_DISK = "/dev/disk/by-id/NEW-DISK"


def degraded_findings(volume: VolumeConfig, view: ArrayView) -> tuple[Finding, ...]:
    """A running array with members missing: a warning, it serves."""
    array = view.array
    if array is None or not array.degraded:
        return ()
    in_sync = f"{array.raid_disks - array.degraded} of {array.raid_disks} members in sync"
    rebuilt = [m for m in array.members if m.has_place() and "in_sync" not in m.state]
    summary = f"the array of {volume.name} runs with {array.degraded} member(s) missing"
    measured = f"{in_sync}; not attached: {', '.join(view.missing) or 'none'}"
    if rebuilt:
        summary += f", and is being rebuilt onto {len(rebuilt)}"
        measured += f"; rebuilt: {', '.join(m.serial or m.disk for m in rebuilt)}"
    coming = len(rebuilt) + len(_spares_to_come(array))
    remedy = _replace(volume, view, array)
    if coming >= array.degraded:
        remedy = f"no disk is to be replaced; {_way_on(array, bool(rebuilt))}storage-agent status"
    return (
        warning(
            "ARRAY_DEGRADED", summary, measured=measured, limit="all members in sync", remedy=remedy
        ),
    )


def replaced_findings(volume: VolumeConfig, view: ArrayView, host: str) -> tuple[Finding, ...]:
    """Of a running array: disks that `mdadm --add` has put in configured ones' places."""
    members = view.array.members if view.array else ()
    used = tuple(member.serial for member in members if member.has_place())
    return replaced(volume, host, used)


def replaced(volume: VolumeConfig, host: str, used: tuple[str, ...]) -> tuple[Finding, ...]:
    """used: serials of the array's members; empty ones are not known."""
    configured = {serial for disks in volume.array.disks.values() for serial in disks}
    new = [serial for serial in used if serial and serial not in configured]
    if not new:
        return ()
    mine = volume.array.disks.get(host, ())
    serials = [*(s for s in mine if s in used), *new]
    disks = ", ".join(f'"{serial}"' for serial in serials)
    return (
        warning(
            "MEMBER_REPLACED",
            f"{', '.join(new)} has taken a configured disk's place in the array of {volume.name}: "
            "it is used, also after a restart, and agent.toml does not name it",
            measured=f"in the array: {', '.join(serial or 'unknown' for serial in used)}",
            limit=f"as configured: {', '.join(mine)}",
            remedy=f"in agent.toml of both hosts, under [volumes.{volume.name}.array.disks], write "
            f"{host} = [{disks}]; then on both: systemctl reload storage-agentd",
        ),
    )


def add_command(volume: VolumeConfig, disk: str = _NEW_DISK) -> str:
    return f"mdadm {volume.array_device()} --add {disk}"


def by_serial(serial: str) -> str:
    """A path that the shell completes: before the serial comes the bus, or the model."""
    return f"/dev/disk/by-id/*[-_]{serial}"


def slots_text(members: Members, configured: tuple[str, ...]) -> str:
    """`alpha-0 (slot 0, event count 23, updated Tue Dec …)`, for each that is there."""
    there = "; ".join(
        f"{block.serial or block.disk} (slot {block.role}, event count {block.events}, "
        f"updated {block.updated or 'unknown'}{', not fully rebuilt' * block.recovering})"
        for block in members.chosen
    )
    chosen = {block.serial for block in members.chosen}
    others = ", ".join(serial for serial in configured if serial not in chosen)
    slots = ", ".join(map(str, members.absent))
    older = "".join(
        f"; left out: {block.serial or block.disk} (slot {block.role}, event count {block.events}, "
        f"updated {block.updated or 'unknown'})"
        for block in members.left_out
    )
    return f"present: {there}; absent: slot {slots} ({others or 'no configured disk'}){older}"


def _replace(volume: VolumeConfig, view: ArrayView, array: Array) -> str:
    """The command that puts a member back, with the disk that is there for it."""
    inside = {member.disk for member in array.members}
    returned = [block for block in view.attached if block.disk not in inside]
    if view.blank:
        disk = by_serial(view.blank[0])
        return f"{view.blank[0]} is there and blank: {add_command(volume, disk)}"
    if returned and returned[0].array_uuid == array.uuid:
        disk = f"/dev/{returned[0].disk}"
        return (
            f"{returned[0].serial or disk} is attached again, and is rebuilt after: "
            f"{add_command(volume, disk)}"
        )
    return (
        "replace the disk (the new one's name: ls -l /dev/disk/by-id; lsblk -o NAME,SERIAL), "
        f"then: {add_command(volume)}"
    )


def _spares_to_come(array: Array) -> tuple[str, ...]:
    """md gives a spare its slot, and begins, once the array may be written to (md.c
    md_check_recovery())."""
    if array.state not in (ArrayState.READ_AUTO, ArrayState.READONLY):
        return ()
    return tuple(m.disk for m in array.members if m.slot is None and m.state == ("spare",))


def _way_on(array: Array, has_begun: bool) -> str:
    if array.sync_action == "frozen":
        return f"rebuilding is frozen: echo idle > /sys/block/{array.name}/md/sync_action; then: "
    if array.state in (ArrayState.READ_AUTO, ArrayState.READONLY) or not has_begun:
        return "rebuilding goes on with the first write; see it: "
    return "see how far it is: "
