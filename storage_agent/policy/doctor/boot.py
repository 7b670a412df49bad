"""Who else on this host would bring up, mount or export what the agent manages, and would a
shutdown be stopped? Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.doctor import (
    CLUSTER_MANAGERS,
    DoctorFacts,
    FstabLine,
    HostExport,
    automount_unit,
    drbd_units,
)
from storage_agent.model.observed import Unobserved
from storage_agent.policy.common import blocker, warning
from storage_agent.policy.doctor.check import Check, not_checked

NAMED = 5
AUTOMOUNT = "x-systemd.automount"
GRACEFUL = "drbd-graceful-shutdown.service"
DROP_IN = "/drbd.service.d/storage-agent.conf"


def boot_checks(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    yield from _drbd_service(facts)
    yield from _drbd_units(facts, config)
    yield from _cluster_managers(facts)
    yield from _shutdown_inhibitor(facts)
    yield from _fstab(facts, config)
    yield from _automounts(facts, config)
    yield from _exports(facts, config)
    yield from _auto_assembly(facts, config)


def _drbd_service(facts: DoctorFacts) -> Iterator[Check]:
    if isinstance(facts.units, Unobserved):
        yield not_checked(facts, "systemd units", facts.units)
        return
    unit = facts.units.get("drbd.service")
    if unit is None or unit.load != "loaded":
        return
    tamed = any(path.endswith(DROP_IN) for path in unit.drop_ins)
    seen = f"{unit.enabled}, {'with our drop-in' if tamed else 'as Debian ships it'}"
    if tamed or not unit.enabled.startswith("enabled"):
        yield Check(title="drbd.service", seen=seen)
        return
    finding = warning(
        "DRBD_SERVICE",
        "drbd.service is enabled and brings up the agent's resources too, before the agent has "
        "looked at their arrays",
        measured=seen,
        limit="with storage-agent's drop-in, or disabled where every resource is the agent's",
        remedy="see whose the resources are: /usr/lib/storage-agent/other-drbd-resources; none but "
        "the agent's: systemctl disable drbd.service; else bring the drop-in back: "
        "ls -l /etc/systemd/system/drbd.service.d",
    )
    yield Check(title="drbd.service", seen=seen, finding=finding)


def _drbd_units(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    """drbd-utils brings units of its own for each resource."""
    if isinstance(facts.units, Unobserved):
        return
    names = [v.name for v in config.volumes.values() if v.replica] if config else []
    wanted = (GRACEFUL, *(unit for name in names for unit in drbd_units(name)))
    found = [unit for name in wanted if (unit := facts.units.get(name)) and unit.may_run()]
    for unit in found:
        make = blocker if unit.name.startswith("drbd-promote@") else warning
        enabled = unit.enabled.startswith("enabled")
        typed = (
            f"systemctl disable {shlex.quote(unit.name)}"
            if enabled
            else f"see what starts it: systemctl list-dependencies --reverse "
            f"{shlex.quote(unit.name)}"
        )
        finding = make(
            "DRBD_UNIT",
            f"{unit.name} brings up, promotes or takes down by itself what the agent manages",
            measured=f"{unit.enabled}, {unit.active}",
            limit="neither enabled nor active",
            remedy=f"{typed}; do not stop it while the volume is served here, because that takes "
            "DRBD down: it ends with the next boot",
        )
        yield Check(title="DRBD's own units", seen=f"{unit.name}: {unit.active}", finding=finding)
    if names and not found:
        yield Check(title="DRBD's own units", seen="none for a volume")


def _cluster_managers(facts: DoctorFacts) -> Iterator[Check]:
    if isinstance(facts.units, Unobserved):
        return
    units = [facts.units.get(f"{name}.service") for name in CLUSTER_MANAGERS]
    found = [unit.name.removesuffix(".service") for unit in units if unit and unit.may_run()]
    if not found:
        yield Check(title="cluster managers", seen="none")
        return
    finding = warning(
        "CLUSTER_MANAGER",
        f"{', '.join(found)} runs here: two managers of one volume undo each other's decisions",
        measured=", ".join(found),
        limit="one manager for each DRBD resource",
        remedy="what it manages, look at only: storage-agent status, storage-agent doctor",
    )
    yield Check(title="cluster managers", seen=", ".join(found), finding=finding)


def _shutdown_inhibitor(facts: DoctorFacts) -> Iterator[Check]:
    if isinstance(facts.units, Unobserved):
        return
    logind = facts.units.get("systemd-logind.service")
    seen = f"{logind.load}, {logind.active}" if logind else "not installed"
    if logind is not None and logind.active == "active":
        yield Check(title="shutdown inhibitor", seen="systemd-logind runs")
        return
    finding = warning(
        "INHIBITOR_UNAVAILABLE",
        "systemd-logind does not run: nothing stops a shutdown of this host while it serves",
        measured=f"systemd-logind.service: {seen}",
        limit="active",
        remedy="apt install dbus && systemctl start systemd-logind",
    )
    yield Check(title="shutdown inhibitor", seen=seen, finding=finding)


def _fstab(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    if isinstance(facts.fstab, Unobserved):
        yield not_checked(facts, "/etc/fstab", facts.fstab)
        return
    volumes = tuple(config.volumes.values()) if config else ()
    wrong = [
        line for line in facts.fstab if _mounts_by_itself(line) and _concerns_volumes(line, volumes)
    ]
    if not wrong:
        yield Check(title="/etc/fstab", seen="mounts nothing that the agent mounts")
    for line in wrong:
        finding = blocker(
            "FSTAB_VOLUME",
            f"/etc/fstab:{line.line} mounts {line.source} "
            + ("as soon as somebody looks there" if AUTOMOUNT in line.options else "at boot"),
            measured=f"{line.source} {line.mount_point} {','.join(line.options)}",
            limit="no such line",
            remedy=f"remove line {line.line} of /etc/fstab, then: systemctl daemon-reload"
            + (f"; {_stop(line.mount_point)}" if AUTOMOUNT in line.options else ""),
        )
        yield Check(title="/etc/fstab", seen=finding.summary, finding=finding)


def _mounts_by_itself(line: FstabLine) -> bool:
    """systemd.mount(5): an automount is there at boot, also with noauto."""
    return "noauto" not in line.options or AUTOMOUNT in line.options


def _stop(mount_point: str) -> str:
    return f"systemctl stop {shlex.quote(automount_unit(mount_point))}"


def _automounts(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    """Of fstab, of a unit file, or of a line that was removed since: autofs lies on the mount point
    then, and the volume cannot be mounted there."""
    for volume in config.volumes.values() if config else ():
        name = automount_unit(volume.mount_point)
        unit = None if isinstance(facts.units, Unobserved) else facts.units.get(name)
        if unit is None or not unit.may_run():
            continue
        finding = blocker(
            "AUTOMOUNT",
            f"systemd has an automount of its own on {volume.mount_point}, where {volume.name} is "
            "to be mounted by the agent alone",
            measured=f"{name}: {unit.active}, {unit.enabled or 'of /etc/fstab'}",
            limit="none",
            remedy=f"{_stop(volume.mount_point)}; for good: systemctl cat {shlex.quote(name)}, and "
            "remove what it is made of",
        )
        yield Check(title="automounts", seen=f"{name}: {unit.active}", finding=finding)


def _concerns_volumes(line: FstabLine, volumes: tuple[VolumeConfig, ...]) -> bool:
    if line.source.startswith("/dev/drbd"):
        return True
    return any(
        line.mount_point.rstrip("/") == volume.mount_point
        or line.source in (volume.device(), volume.array_device())
        or (volume.filesystem.uuid is not None and volume.filesystem.uuid in line.source)
        for volume in volumes
    )


def _exports(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    if config is None:
        return
    if isinstance(facts.exports, Unobserved):
        yield not_checked(facts, "host's NFS exports", facts.exports)
        return
    points = [volume.mount_point for volume in config.volumes.values()]
    wrong = [
        entry for entry in facts.exports if any(_exports_volume(entry, point) for point in points)
    ]
    if not wrong:
        yield Check(title="host's NFS exports", seen="none of a volume")
        return
    runs = isinstance(facts.units, dict) and facts.units.get("nfs-server.service")
    make = blocker if runs and runs.may_run() else warning
    for entry in wrong:
        finding = make(
            "HOST_EXPORT",
            f"{entry.file}:{entry.line} exports {entry.path} by the host's own NFS server",
            measured=entry.path + (" (crossmnt)" if "crossmnt" in entry.options else ""),
            limit="only by the volume's own server",
            remedy=_unexport(entry, facts.export_clients),
        )
        yield Check(title="host's NFS exports", seen=finding.summary, finding=finding)


def _exports_volume(entry: HostExport, point: str) -> bool:
    """The mount point, what is in it, or a folder above it whose clients cross into what is mounted
    there (exports(5): crossmnt; nohide is the child's own)."""
    above, path = f"{point}/", f"{entry.path.rstrip('/')}/"
    return path.startswith(above) or ("crossmnt" in entry.options and above.startswith(path))


def _unexport(entry: HostExport, clients: tuple[str, ...] | Unobserved) -> str:
    """What serves somebody now is not advised to be ended without saying so."""
    then = f"remove line {entry.line} of {entry.file}, then: exportfs -ra"
    if isinstance(clients, Unobserved):
        return (
            f"see first who uses it, because this would cut them off: ss -tn sport = :2049; {then}"
        )
    if not clients:
        return f"nobody is connected now: {then}"
    named = ", ".join(clients[:NAMED]) + (" and others" if len(clients) > NAMED else "")
    return (
        f"do not yet: {named} use this host's NFS server now, and this interrupts them; once they "
        f"have unmounted it (ss -tn sport = :2049 shows nobody): {then}"
    )


def _auto_assembly(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    if config is None:
        return
    ours = {v.name: v.array.uuid[config.host] for v in config.volumes.values()
            if config.host in v.array.uuid}  # fmt: skip
    if not ours:
        return
    if isinstance(facts.mdadm_lines, Unobserved):
        yield not_checked(facts, "md auto-assembly", facts.mdadm_lines)
        return
    lines = [line.upper() for line in facts.mdadm_lines]
    all_off = any(line.startswith("AUTO") and "-ALL" in line.split() for line in lines)
    for name, uuid in sorted(ours.items()):
        wanted = f"ARRAY <ignore> UUID={uuid}"
        listed = [line for line in lines if f"UUID={uuid.upper()}" in line]
        if listed and all(line.startswith("ARRAY <IGNORE>") for line in listed):
            yield Check(title="md auto-assembly", seen=f"off for {name}")
        elif all_off and not listed:
            yield Check(title="md auto-assembly", seen=f"off for everything, also {name}")
        else:
            finding = blocker(
                "MD_AUTO_ASSEMBLY",
                f"udev may assemble the array of {name} by itself, also degraded",
                measured=f"no line {wanted}" if not listed else listed[0],
                limit=wanted,
                remedy=f"echo '{wanted}' >> /etc/mdadm/mdadm.conf.d/storage-agent.conf; "
                "update-initramfs -u",
            )
            yield Check(title="md auto-assembly", seen=f"on for {name}", finding=finding)
