"""Are DRBD's options what safety and quick detection need? Judged as drbdadm reads its files,
so that options from elsewhere (global_common.conf, an edited file) count. Pure.

Options and defaults: drbd.conf(5) of drbd-utils, the pages for 8.4 and 9.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.doctor import DoctorFacts
from storage_agent.model.finding import Finding
from storage_agent.model.guards import FENCING
from storage_agent.model.observed import Unobserved
from storage_agent.policy.agreement import judged
from storage_agent.policy.common import blocker, warning
from storage_agent.policy.creating.remake import metadata_lost
from storage_agent.policy.doctor.check import Check, not_checked

SLOWEST_PING_S = 5


def replica_checks(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    """One check a replicated volume that exists, and one more for each option that is wrong."""
    for volume in config.volumes.values() if config else ():
        settings = facts.replica_settings.get(volume.name)
        if settings is None or config is None or config.host not in volume.array.uuid:
            continue
        title = f"DRBD options of {volume.name}"
        if isinstance(settings, Unobserved):
            yield not_checked(facts, title, settings)
            continue
        found = [*_unsafe(volume, settings, facts.drbd_version), *_slow(volume, settings)]
        for finding in found:
            yield Check(title=title, seen=finding.measured, finding=finding)
        if not found:
            yield Check(title=title, seen="guards and time-outs as proposed")


def metadata_checks(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    """Only where something can be said: a replica that is up has read its own."""
    for name, has_metadata in facts.metadata.items():
        volume = config.volumes.get(name) if config else None
        if config is None or volume is None or config.host not in volume.array.uuid:
            continue
        finding = None if has_metadata else metadata_lost(volume, config.host)
        seen = "there" if has_metadata else "gone"
        yield Check(title=f"DRBD metadata of {name}", seen=seen, finding=finding)


def agreement_checks(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    """Whether the peer's agent answers, through whatever lies between, and says the same."""
    peer = config.peer_of(config.host) if config else None
    for name, view in facts.agreements.items():
        volume = config.volumes.get(name) if config else None
        if config is None or peer is None or volume is None:
            continue
        title = f"configuration of {name} on {peer.name}"
        if isinstance(view, Unobserved):
            yield not_checked(facts, title, view)
            continue
        found = judged(volume, config.host, peer.name, view)
        for finding in found:
            yield Check(title=title, seen=finding.measured, finding=finding)
        if not found:
            yield Check(title=title, seen=f"the same, said at {view.asked}")


def _unsafe(volume: VolumeConfig, settings: dict[str, str], version: str | None) -> list[Finding]:
    # 9 moved `fencing` from the disk to the net section.
    fencing = settings.get("net.fencing") or settings.get("disk.fencing") or "dont-care"
    measured = [
        ("protocol", settings.get("net.protocol", "C"), "C"),
        ("fencing", fencing, FENCING[volume.arbitration]),
        ("allow-two-primaries", settings.get("net.allow-two-primaries", "no"), "no"),
    ]
    for number in range(3):
        name = f"after-sb-{number}pri"
        measured.append((name, settings.get(f"net.{name}", "disconnect"), "disconnect"))
    if version and version.startswith("9."):
        measured.append(("auto-promote", settings.get("options.auto-promote", "yes"), "no"))
    return [
        blocker(
            "REPLICA_UNSAFE",
            f"DRBD's option {name} of {volume.name} does not guard the data",
            measured=f"{name} {seen}",
            limit=f"{name} {wanted}",
            remedy=f"storage-agent assemble {volume.name}",
        )
        for name, seen, wanted in measured
        if seen != wanted
    ]


def _slow(volume: VolumeConfig, settings: dict[str, str]) -> Iterator[Finding]:
    # ping-int in seconds, by default 10; ping-timeout in tenths, by default 5.
    interval = settings.get("net.ping-int", "10")
    timeout = settings.get("net.ping-timeout", "5")
    interval_s, tenths = _whole(interval), _whole(timeout)
    if interval_s is None or tenths is None or interval_s > SLOWEST_PING_S:
        most = ""
        if interval_s is not None and tenths is not None:
            most = f": up to {interval_s + tenths / 10:g} s"
        yield warning(
            "REPLICA_TIMEOUT",
            f"a dead peer of {volume.name} is noticed late on an idle link",
            measured=f"ping-int {interval} s, ping-timeout {timeout} tenths of a second{most}",
            limit=f"ping-int at most {SLOWEST_PING_S}",
            remedy=f"storage-agent assemble {volume.name}",
        )
    # 0, the default, is for ever.
    if not _whole(wait := settings.get("startup.wfc-timeout", "0")):
        yield warning(
            "REPLICA_TIMEOUT",
            f"drbd.service would wait for the peer of {volume.name} without end",
            measured=f"wfc-timeout {wait} (0: for ever)",
            limit="a number of seconds",
            remedy=f"storage-agent assemble {volume.name}",
        )


def _whole(text: str) -> int | None:
    """None: no number, which is as good as the worst one."""
    return int(text) if text.isascii() and text.isdigit() else None
