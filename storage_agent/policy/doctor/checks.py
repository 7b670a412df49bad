"""Is this host fit to keep volumes? Facts in, checks out; with or without a configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.model.configuration import AgentConfig
from storage_agent.model.doctor import (
    CONFIGURATION_FOLDER,
    STATE_FOLDER,
    TOOL_PACKAGES,
    DoctorFacts,
)
from storage_agent.model.finding import Finding, Severity
from storage_agent.model.observed import Unobserved
from storage_agent.policy.common import blocker, bytes_text, host_name_findings, warning
from storage_agent.policy.doctor.boot import boot_checks
from storage_agent.policy.doctor.check import Check, not_checked
from storage_agent.policy.doctor.login import login_checks
from storage_agent.policy.doctor.replica import (
    agreement_checks,
    metadata_checks,
    replica_checks,
)

STATE_MINIMUM_BYTES = 64 << 20


def run_checks(
    facts: DoctorFacts,
    config: AgentConfig | None,
    config_problem: Finding | None,
    daemon: Finding | None,
) -> tuple[Check, ...]:
    """config: None where there is none or it is wrong (`config_problem`).  daemon: why it does
    not answer, None where it does. What keeps everything else from working comes first."""
    return (
        _packages(facts, config),
        *_modules(facts, config),
        *_configuration(facts, config, config_problem),
        *_daemon(config, daemon),
        _state_folder(facts, config),
        *_keys(facts),
        *login_checks(facts, config),
        _host_name(facts, config),
        *boot_checks(facts, config),
        *replica_checks(facts, config),
        *metadata_checks(facts, config),
        *agreement_checks(facts, config),
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


def _packages(facts: DoctorFacts, config: AgentConfig | None) -> Check:
    uses_xfs = config and any(v.filesystem.type == "xfs" for v in config.volumes.values())
    wanted = {tool for tool in TOOL_PACKAGES if uses_xfs or tool != "mkfs.xfs"}
    missing = sorted(wanted - facts.tools)
    if not missing:
        return Check(title="programs", seen=f"all {len(wanted)} are installed")
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
            remedy="apt install linux-image-amd64; a reboot interrupts what is served here, so ask "
            "before: storage-agent safe-to-terminate",
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
            limit=f"{CONFIGURATION_FOLDER}/agent.toml",
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
        return not_checked(facts, "state folder", folder)
    wrong, remedy = "", f"ls -ld {STATE_FOLDER}; df -h {STATE_FOLDER}; df -i {STATE_FOLDER}"
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
    finding = make(
        "DOCTOR_STATE_FOLDER",
        f"{STATE_FOLDER} {wrong}",
        measured=wrong,
        limit=f"root's, writable, not replicated, {bytes_text(STATE_MINIMUM_BYTES)} free",
        remedy=remedy,
    )
    return Check(title="state folder", seen=wrong, finding=finding)


def _keys(facts: DoctorFacts) -> Iterator[Check]:
    for finding in facts.keys:
        yield Check(title="keys", seen=finding.measured, finding=finding)


def _host_name(facts: DoctorFacts, config: AgentConfig | None) -> Check:
    found = host_name_findings(config, facts.host) if config else ()
    return Check(title="host name", seen=facts.host, finding=found[0] if found else None)


def _clock(facts: DoctorFacts) -> Check:
    if isinstance(facts.is_clock_synchronised, Unobserved):
        return not_checked(facts, "clock", facts.is_clock_synchronised)
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
