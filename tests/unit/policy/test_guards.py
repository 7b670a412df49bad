"""What is said of a volume goes by what DRBD would do."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.agreement import Agreement, Silence
from storage_agent.model.configuration import Arbitration, HostConfig
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.guards import (
    FENCE_PEER,
    Guards,
    link_addresses,
    waits_for_word,
)
from storage_agent.model.nfs import ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import Role
from storage_agent.model.snapshot import Facet, VolumeSnapshot
from storage_agent.operations.goals import options_taken
from storage_agent.policy.array.assembly import assembly_findings
from storage_agent.policy.guards import (
    arbitration_text,
    guard_findings,
    not_taken,
    place_findings,
    taking_findings,
)
from storage_agent.policy.readiness import Verdict, assess
from tests.unit.fakes import (
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.incidents import VOLUME as ARBITRATED
from tests.unit.replicas import (
    guards_as,
    in_sync_replica,
    lost_peer,
)

NONE, COORDINATOR = Arbitration.NONE, Arbitration.COORDINATOR
VOLUME = volume_config()
PRIMARY = in_sync_replica(role=Role.PRIMARY)


def look(guards: Guards | None = None, **changes: object) -> VolumeSnapshot:
    host = dataclasses.replace(FakeHost(), guards=guards, **changes)  # type: ignore[arg-type]
    return host.seen(VOLUME)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings]


def with_option(name: str, value: str, arbitration: Arbitration = NONE) -> Guards:
    guards = guards_as(arbitration)
    return dataclasses.replace(guards, options={**guards.options, name: value})


def test_what_is_in_force_is_not_spoken_of() -> None:
    assert guard_findings(VOLUME, look()) == ()
    assert guard_findings(ARBITRATED, look(guards_as(COORDINATOR))) == ()
    assert arbitration_text(VOLUME, look()) == ""
    assert not_taken(VOLUME, look()) == options_taken(VOLUME, look()) == ""


def test_configured_for_a_coordinator_and_the_kernel_still_goes_on_alone() -> None:
    seen = look(guards_as(NONE))
    (found,) = guard_findings(ARBITRATED, seen)
    assert (found.code, found.severity) == ("ARBITRATION_NOT_IN_FORCE", Severity.BLOCKER)
    assert found.measured == f"fencing resource-only in the kernel; handler {FENCE_PEER}"
    assert found.limit == f"fencing resource-and-stonith; {FENCE_PEER} coordinator"
    assert found.remedy == "storage-agent assemble data"
    assert "go on alone" in found.summary
    assert arbitration_text(ARBITRATED, seen) == found.measured
    assert "disk.fencing is resource-only, not resource-and-stonith" in not_taken(ARBITRATED, seen)
    assert not waits_for_word(seen.replica, seen.guards)


def test_configured_for_nobody_and_the_kernel_still_freezes() -> None:
    assert codes(guard_findings(VOLUME, look(guards_as(COORDINATOR)))) == [
        "ARBITRATION_NOT_IN_FORCE"
    ]
    only = dataclasses.replace(guards_as(COORDINATOR), fence_peer=FENCE_PEER)
    (found,) = guard_findings(VOLUME, look(only))
    assert found.measured == "fencing resource-and-stonith in the kernel"


@pytest.mark.parametrize(
    ("changes", "measured", "remedy"),
    [
        ({"problem": "drbdadm: broken"}, "would not run: drbdadm: broken", "drbdadm dump data"),
        ({"fence_peer": "/root/own"}, "handler /root/own", "storage-agent assemble data"),
        ({"helper": "/bin/true"}, "the kernel calls /bin/true", "echo /sbin/drbdadm > "),
        ({"helper": ""}, "the kernel calls nobody", "echo /sbin/drbdadm > "),
    ],
)
def test_whoever_would_not_ask_us(changes: dict[str, str], measured: str, remedy: str) -> None:
    for volume in (VOLUME, ARBITRATED):
        guards = guards_as(volume.arbitration, **changes)
        (found,) = guard_findings(volume, look(guards))
        assert found.code == "ARBITRATION_NOT_IN_FORCE"
        assert measured in found.measured
        assert remedy in found.remedy
    assert not guards_as(COORDINATOR, **changes).freezes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.protocol", "A"),
        ("net.allow-two-primaries", "yes"),
        ("net.after-sb-0pri", "discard-zero-changes"),
        ("net.after-sb-1pri", "consensus"),
        ("net.after-sb-2pri", "call-pri-lost-after-sb"),
        ("net.rr-conflict", "violently"),
        ("disk.on-io-error", "pass_on"),
    ],
)
def test_options_that_do_not_guard_the_data(name: str, value: str) -> None:
    (found,) = guard_findings(VOLUME, look(with_option(name, value)))
    assert (found.code, found.severity) == ("REPLICA_UNSAFE", Severity.BLOCKER)
    assert found.measured == f"{name} {value} in the kernel"
    assert name in not_taken(VOLUME, look(with_option(name, value)))


def test_of_drbd_9_too() -> None:
    replica = in_sync_replica(driver_version="9.2.16")
    guards = guards_as(NONE)
    options = {name: v for name, v in guards.options.items() if name != "disk.fencing"}
    options |= {"net.fencing": "dont-care", "options.auto-promote": "yes"}
    seen = look(dataclasses.replace(guards, options=options), replica=replica)
    assert codes(guard_findings(VOLUME, seen)) == ["ARBITRATION_NOT_IN_FORCE", "REPLICA_UNSAFE"]
    assert "options.auto-promote is yes, not no" in not_taken(VOLUME, seen)
    assert "net.fencing is dont-care" in not_taken(VOLUME, seen)


def test_other_time_outs_are_a_warning() -> None:
    (found,) = guard_findings(VOLUME, look(with_option("net.ping-int", "10")))
    assert (found.code, found.severity) == ("REPLICA_TIMEOUT", Severity.WARNING)
    assert (found.measured, found.limit) == ("net.ping-int 10", "net.ping-int 3")


def test_unknown_is_not_in_force() -> None:
    blind = look(blind={Facet.GUARDS: "no answer"})
    (found,) = guard_findings(VOLUME, blind)
    assert (found.code, found.measured) == ("UNOBSERVED", "no answer")
    assert arbitration_text(VOLUME, blind) == ""
    assert not_taken(VOLUME, blind) == "DRBD's options unknown: no answer"
    assert not waits_for_word(blind.replica, blind.guards)
    assert taking_findings(VOLUME, blind) == ()
    assert not waits_for_word(Unobserved(reason="x"), guards_as(COORDINATOR))


def test_a_replica_that_is_down_promises_nothing() -> None:
    host = FakeHost()
    host.replica = None
    down = host.seen(VOLUME)
    assert guard_findings(VOLUME, down) == ()
    assert not_taken(VOLUME, down) == "DRBD's options unknown: the replica is down"


def test_what_the_kernel_does_not_have_now_is_not_compared() -> None:
    alone = dataclasses.replace(guards_as(NONE), options={"disk.fencing": "resource-only"})
    diskless = dataclasses.replace(guards_as(NONE), options={"net.protocol": "C"})
    for guards in (alone, diskless):
        assert guard_findings(VOLUME, look(guards)) == ()
        assert not_taken(VOLUME, look(guards)) == ""
    assert not dataclasses.replace(guards_as(COORDINATOR), options={}).freezes()


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"is_file_current": False}, "the resource file is another one"),
        ({"fence_peer": "/root/own"}, "fence-peer is /root/own"),
        ({"fence_peer": "", "problem": "drbdadm: broken"}, "fence-peer is drbdadm: broken"),
        ({"fence_peer": ""}, "fence-peer is none"),
    ],
)
def test_what_is_not_taken_is_never_already_so(changes: dict[str, object], lacks: str) -> None:
    assert not_taken(VOLUME, look(guards_as(NONE, **changes))) == lacks


def test_a_connection_of_other_addresses_takes_its_options_when_it_is_made_anew() -> None:
    guards = dataclasses.replace(with_option("net.ping-int", "10"), is_link_current=False)
    assert not_taken(VOLUME, look(guards)) == ""


def test_a_primary_writes_only_with_its_peer_or_a_word() -> None:
    guards = guards_as(COORDINATOR)
    alone = lost_peer(PRIMARY)
    frozen = dataclasses.replace(alone, suspended=("fencing",))
    assert waits_for_word(PRIMARY, guards)
    assert waits_for_word(frozen, guards)
    assert waits_for_word(lost_peer(in_sync_replica()), guards)
    assert not waits_for_word(alone, guards)
    assert not waits_for_word(dataclasses.replace(alone, peer=None), guards)


@pytest.mark.parametrize(
    ("replica", "found"),
    [
        (PRIMARY, ["FREEZE_STILL_PROMISED"]),
        (in_sync_replica(), []),
        (lost_peer(in_sync_replica()), []),
        (lost_peer(PRIMARY), ["FREEZE_STILL_NEEDED"]),
        (dataclasses.replace(PRIMARY, peer=None), ["FREEZE_STILL_NEEDED"]),
        (dataclasses.replace(PRIMARY, suspended=("fencing",)), ["FREEZE_STILL_NEEDED"]),
    ],
)
def test_a_primary_without_its_peer_is_not_told_to_go_on(replica: object, found: list[str]) -> None:
    seen = look(guards_as(COORDINATOR), replica=replica)
    assert codes(taking_findings(VOLUME, seen)) == found
    assert set(found) <= set(codes(assembly_findings(VOLUME, seen)))
    assert taking_findings(ARBITRATED, seen) == ()


ALIKE = Agreement(has_secret=True, asked="10.8.0.2 port 8780")


@pytest.mark.parametrize(
    ("view", "measured"),
    [
        (ALIKE, ""),
        (dataclasses.replace(ALIKE, differing={"volumes.data.nfs.address": ("1", "2")}), ""),
        (
            dataclasses.replace(ALIKE, differing={"volumes.data.arbitration": ("absent", "coo")}),
            "there coo",
        ),
        (dataclasses.replace(ALIKE, silence=Silence.REFUSED), "10.8.0.2 port 8780: refused"),
        (Unobserved(reason="no answer"), "no answer"),
        (Agreement(has_secret=False), "the two agents do not compare what they have configured"),
        (None, "the two agents do not compare what they have configured"),
    ],
)
def test_a_primary_goes_on_freezing_until_its_peer_is_known_to_be_told(
    view: Agreement | Unobserved | None, measured: str
) -> None:
    """A coordinator that cannot see this host would grant the peer."""
    seen = dataclasses.replace(look(guards_as(COORDINATOR), replica=PRIMARY), agreement=view)
    assert [f.measured for f in taking_findings(VOLUME, seen)] == ([measured] if measured else [])


def test_addresses_and_minor_are_those_that_drbd_has() -> None:
    config = agent_config()
    local, remote = link_addresses(config, VOLUME)
    assert (local, remote) == ("10.8.0.1:7789", "10.8.0.2:7789")
    fine = guards_as(NONE, local=local, remote=remote)
    assert place_findings(config, VOLUME, look(fine)) == ()
    other = guards_as(NONE, local=local, remote="10.8.0.9:7789", minor=3)
    found = place_findings(config, VOLUME, look(other))
    assert codes(found) == ["REPLICA_ELSEWHERE"] * 2
    assert blockers(found) == ()
    assert [f.measured for f in found] == ["3", "10.8.0.9:7789"]
    unseen = look(blind={Facet.GUARDS: "no answer"})
    assert place_findings(config, VOLUME, unseen) == ()
    six = HostConfig(name="alpha", address="fd00:0::1")
    assert link_addresses(
        dataclasses.replace(config, hosts={**config.hosts, "alpha": six}), VOLUME
    ) == ("[fd00::1]:7789", "10.8.0.2:7789")
    single = dataclasses.replace(config, hosts={"alpha": config.hosts["alpha"]})
    assert link_addresses(single, VOLUME) == ("", "")


def test_the_verdict_goes_by_it() -> None:
    config = agent_config(ARBITRATED)
    ready = FakeHost(guards=guards_as(NONE))
    verdict = assess(config, ARBITRATED, ready.seen(ARBITRATED))
    assert verdict.verdict is Verdict.BLOCKED
    assert "ARBITRATION_NOT_IN_FORCE" in codes(verdict.findings)
    serving = FakeHost(
        replica=PRIMARY, mounted=True, server=ServerState.SERVING, guards=guards_as(NONE)
    )
    verdict = assess(config, ARBITRATED, serving.seen(ARBITRATED))
    assert verdict.verdict is Verdict.DEGRADED
    assert "ARBITRATION_NOT_IN_FORCE" in codes(verdict.findings)
