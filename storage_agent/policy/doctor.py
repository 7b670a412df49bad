"""Is this host fit to keep volumes? Facts in, checks out; with or without a configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from storage_agent.model.configuration import AgentConfig, Arbitration, VolumeConfig
from storage_agent.model.doctor import (
    CLUSTER_MANAGERS,
    CONFIGURATION_FOLDER,
    STATE_FOLDER,
    TOOL_PACKAGES,
    DoctorFacts,
    FstabLine,
)
from storage_agent.model.finding import Finding, Severity
from storage_agent.model.observed import Unobserved
from storage_agent.policy.common import blocker, bytes_text, warning
from storage_agent.policy.doctor_replica import replica_checks

DROP_IN = "/drbd.service.d/storage-agent.conf"
STATE_MINIMUM_BYTES = 64 << 20
START_SOCKET = "systemctl start storage-agent.socket"


class Outcome(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """title: what was looked at.  seen: what was found.  finding: None where all is well."""

    title: str
    seen: str
    finding: Finding | None = None

    @property
    def outcome(self) -> Outcome:
        if self.finding is None:
            return Outcome.OK
        return Outcome.FAIL if self.finding.severity is Severity.BLOCKER else Outcome.WARN


def run_checks(
    facts: DoctorFacts, config: AgentConfig | None, config_problem: Finding | None, daemon: Finding | None
) -> tuple[Check, ...]:
    """config: None where there is none or it is wrong (`config_problem`).  daemon: why it does
    not answer, None where it does. What keeps everything else from working comes first."""
    return (
        _packages(facts, config),
        *_modules(facts, config),
        *_configuration(facts, config, config_problem),
        *_daemon(config, daemon),
        _state_folder(facts, config),
        _host_name(facts),
        *_drbd_service(facts),
        *_cluster_managers(facts),
        *_fstab(facts, config),
        *_exports(facts, config),
        *_auto_assembly(facts, config),
        *replica_checks(facts, config),
        _clock(facts),
    )  # fmt: skip


def next_command(checks: tuple[Check, ...]) -> str:
    """What to type now."""
    for severity in (Severity.BLOCKER, Severity.WARNING):
        for check in checks:
            finding = check.finding
            if finding is None or finding.severity is not severity or not finding.remedy:
                continue
            if severity is Severity.BLOCKER or finding.code == "NOT_CONFIGURED":
                return finding.remedy
    return "storage-agent status"


def not_checked(title: str, view: Unobserved) -> Check:
    finding = warning(
        "NOT_CHECKED",
        f"{title} could not be looked at",
        measured=view.reason,
        remedy="run it as root: sudo storage-agent doctor",
    )
    return Check(title=title, seen=f"unknown: {view.reason}", finding=finding)


def _packages(facts: DoctorFacts, config: AgentConfig | None) -> Check:
    wanted = dict(TOOL_PACKAGES)
    if config and any(v.filesystem.type == "xfs" for v in config.volumes.values()):
        wanted["mkfs.xfs"] = "xfsprogs"
    missing = sorted(tool for tool in TOOL_PACKAGES if tool not in facts.tools)
    if not missing:
        return Check(title="programs", seen=f"all {len(TOOL_PACKAGES)} are installed")
    packages = sorted({TOOL_PACKAGES[tool] for tool in missing})
    finding = blocker(
        "PACKAGES_MISSING",
        f"{len(missing)} programs are not installed",
        measured=f"missing: {', '.join(missing)}",
        limit="all installed",
        remedy=f"apt install {' '.join(packages)}",
    )
    return Check(title="programs", seen=f"missing: {', '.join(missing)}", finding=finding)


def _modules(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    wanted = _wanted_modules(config)
    missing = [name for name in wanted if name not in facts.modules]
    if missing:
        finding = blocker(
            "MODULE_MISSING",
            f"the running kernel has no module {', '.join(missing)}",
            measured=f"missing: {', '.join(missing)}",
            limit="loaded, built in or to be loaded",
            remedy="apt install linux-image-amd64, and reboot into it",
        )
        yield Check(
            title="kernel modules", seen=f"missing: {', '.join(missing)}", finding=finding
        )  # fmt: skip
    else:
        yield Check(title="kernel modules", seen=", ".join(wanted))
    if "drbd" in facts.modules and "drbd" in wanted:
        yield _drbd_version(facts)


def _wanted_modules(config: AgentConfig | None) -> tuple[str, ...]:
    """Of a host without volumes: what every volume with the defaults would need."""
    if config is None or not config.volumes:
        return ("drbd", "nfsd", "raid10", "macvlan")
    raid = {"raid5": "raid456", "raid6": "raid456"}
    wanted = set()
    for volume in config.volumes.values():
        wanted |= {raid.get(volume.array.level, volume.array.level), volume.filesystem.type}
        wanted |= {"drbd"} if volume.replica else set()
        wanted |= {"nfsd", "nfs", volume.nfs.link} if volume.nfs else set()
    return tuple(sorted(wanted))


def _drbd_version(facts: DoctorFacts) -> Check:
    version = facts.drbd_version
    if version and (version.startswith("8.4.") or version.startswith("9.")):
        return Check(title="DRBD driver", seen=version)
    finding = warning(
        "DRBD_VERSION",
        "the DRBD driver is of an unknown generation",
        measured=version or "no version",
        limit="8.4 or 9",
        remedy="cat /sys/module/drbd/version; modinfo drbd",
    )
    return Check(title="DRBD driver", seen=version or "version unknown", finding=finding)


def _configuration(
    facts: DoctorFacts, config: AgentConfig | None, problem: Finding | None
) -> Iterator[Check]:
    if problem is not None and facts.has_configuration:
        yield Check(title="configuration", seen=problem.summary, finding=problem)
    elif config is not None:
        names = ", ".join(sorted(config.volumes)) or "no volume yet"
        yield Check(title="configuration", seen=f"host {config.host}: {names}")
    else:
        finding = warning(
            "NOT_CONFIGURED",
            "this host is not configured yet",
            measured=f"no file in {CONFIGURATION_FOLDER}",
            remedy=f"editor {CONFIGURATION_FOLDER}/agent.toml && storage-agent config check",
        )
        yield Check(title="configuration", seen="none yet", finding=finding)


def _daemon(config: AgentConfig | None, daemon: Finding | None) -> Iterator[Check]:
    if daemon is None:
        yield Check(title="daemon", seen="storage-agentd answers")
    elif config is not None:
        yield Check(title="daemon", seen=daemon.summary, finding=daemon)


def _state_folder(facts: DoctorFacts, config: AgentConfig | None) -> Check:
    folder = facts.state_folder
    if isinstance(folder, Unobserved):
        return not_checked("state folder", folder)
    wrong, remedy = "", f"ls -ld {STATE_FOLDER}; df -h {STATE_FOLDER}"
    if folder is None:
        wrong, remedy = "does not exist", "systemd-tmpfiles --create storage-agent.conf"
    elif folder.source.startswith("/dev/drbd"):
        wrong = f"lies on the replicated device {folder.source}"
    elif folder.read_only:
        wrong = "is on a filesystem that is mounted read-only"
    elif folder.owner_uid != 0 or folder.mode & 0o022:
        wrong = f"may be written by others (owner {folder.owner_uid}, mode {folder.mode:o})"
    elif folder.free_bytes < STATE_MINIMUM_BYTES:
        wrong = f"has only {bytes_text(folder.free_bytes)} free"
    if not wrong:
        return Check(title="state folder", seen=f"{STATE_FOLDER} can be written")
    make = blocker if config is not None else warning
    finding = make("DOCTOR_STATE_FOLDER", f"{STATE_FOLDER} {wrong}", measured=wrong, remedy=remedy)
    return Check(title="state folder", seen=wrong, finding=finding)


def _host_name(facts: DoctorFacts) -> Check:
    if "." not in facts.host:
        return Check(title="host name", seen=facts.host)
    short = facts.host.split(".", 1)[0]
    finding = warning(
        "HOST_NAME",
        "the host's name has a domain in it, which DRBD's configuration does not match",
        measured=facts.host,
        limit=short,
        remedy=f"hostnamectl hostname {short}",
    )
    return Check(title="host name", seen=facts.host, finding=finding)


def _drbd_service(facts: DoctorFacts) -> Iterator[Check]:
    if isinstance(facts.units, Unobserved):
        yield not_checked("systemd units", facts.units)
        return
    unit = facts.units.get("drbd.service")
    if unit is None or unit.load != "loaded":
        return
    tamed = any(path.endswith(DROP_IN) for path in unit.drop_ins)
    seen = f"{unit.enabled}, {'bounded by our drop-in' if tamed else 'as Debian ships it'}"
    if tamed or not unit.enabled.startswith("enabled"):
        yield Check(title="drbd.service", seen=seen)
        return
    finding = blocker(
        "DRBD_SERVICE",
        "drbd.service is enabled and waits at boot for the peers, without end",
        measured=seen,
        limit="disabled, or with storage-agent's drop-in",
        remedy="systemctl disable drbd.service",
    )
    yield Check(title="drbd.service", seen=seen, finding=finding)


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
        remedy="use storage-agent only to look (status, doctor) at what it manages",
    )
    yield Check(title="cluster managers", seen=", ".join(found), finding=finding)


def _fstab(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    if isinstance(facts.fstab, Unobserved):
        yield not_checked("/etc/fstab", facts.fstab)
        return
    volumes = tuple(config.volumes.values()) if config else ()
    wrong = [
        line
        for line in facts.fstab
        if "noauto" not in line.options and _concerns_volumes(line, volumes)
    ]
    if not wrong:
        yield Check(title="/etc/fstab", seen="mounts nothing that the agent mounts")
    for line in wrong:
        finding = blocker(
            "FSTAB_VOLUME",
            f"/etc/fstab:{line.line} mounts {line.source} at boot",
            measured=f"{line.source} {line.mount_point} {','.join(line.options)}",
            limit="no such line, or with noauto",
            remedy=f"remove line {line.line} of /etc/fstab, then: systemctl daemon-reload",
        )
        yield Check(title="/etc/fstab", seen=finding.summary, finding=finding)


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
        yield not_checked("host's NFS exports", facts.exports)
        return
    points = [volume.mount_point for volume in config.volumes.values()]
    wrong = [
        entry
        for entry in facts.exports
        if any(f"{entry.path.rstrip('/')}/".startswith(f"{point}/") for point in points)
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
            measured=entry.path,
            limit="only by the volume's own server",
            remedy=f"remove line {entry.line} of {entry.file}, then: exportfs -ra",
        )
        yield Check(title="host's NFS exports", seen=finding.summary, finding=finding)


def _auto_assembly(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    if config is None:
        return
    ours = {v.name: v.array.uuid[config.host] for v in config.volumes.values()
            if config.host in v.array.uuid}  # fmt: skip
    if not ours:
        return
    if isinstance(facts.mdadm_lines, Unobserved):
        yield not_checked("md auto-assembly", facts.mdadm_lines)
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


def _clock(facts: DoctorFacts) -> Check:
    if isinstance(facts.is_clock_synchronised, Unobserved):
        return not_checked("clock", facts.is_clock_synchronised)
    if facts.is_clock_synchronised:
        return Check(title="clock", seen="synchronised")
    finding = warning(
        "CLOCK",
        "the clock is not synchronised: logs of the two hosts cannot be compared",
        measured="NTPSynchronized=no",
        limit="yes",
        remedy="timedatectl set-ntp true",
    )
    return Check(title="clock", seen="not synchronised", finding=finding)
