"""Whether the two hosts agree decides who may let go, and is shown on both all the time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.model.agreement import Agreement, Silence
from storage_agent.model.configuration import Arbitration
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.nfs import ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import DiskState, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.agreement import agreement_findings, needs_agreement
from storage_agent.policy.demotion import demotion_findings
from storage_agent.policy.doctor.check import Check, Outcome
from storage_agent.policy.doctor.checks import run_checks
from storage_agent.policy.promotion import promotion_findings
from storage_agent.policy.readiness import Verdict, assess
from tests.unit.cli.answers import facts
from tests.unit.fakes import FakeHost, agent_config, volume_config
from tests.unit.replicas import in_sync_replica, lost_peer, with_peer

VOLUME = volume_config()
ASKED = "10.8.0.2 port 8780"
ALIKE = Agreement(has_secret=True, asked=ASKED, peer_version="0.1.0")
WITHOUT = Agreement(has_secret=False, asked=ASKED)
DIFFERENT = dataclasses.replace(
    ALIKE, differing={"volumes.data.nfs.address": ('"10.9.0.10/24"', '"10.9.0.77/24"')}
)
PRIMARY = in_sync_replica(role=Role.PRIMARY)
SECONDARY = with_peer(in_sync_replica(), role=Role.PRIMARY)


def silent(why: Silence, detail: str = "") -> Agreement:
    return Agreement(has_secret=True, asked=ASKED, silence=why, detail=detail)


def seen(agreement: object, **changes: Any) -> VolumeSnapshot:
    host = FakeHost(**({"replica": PRIMARY} | changes))
    host.agreement = agreement  # type: ignore[assignment]
    return host.seen(VOLUME)


def demoting(snapshot: VolumeSnapshot, **asked: Any) -> tuple[Finding, ...]:
    request = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="x", **asked)
    return demotion_findings(VOLUME, snapshot, request, "beta")


def promoting(snapshot: VolumeSnapshot) -> list[tuple[str, Severity]]:
    request = OperationRequest(kind=OperationKind.PROMOTE, volume="data", operation_id="x")
    found = promotion_findings(VOLUME, snapshot, request, "beta")
    return [(f.code, f.severity) for f in found]


def test_hosts_that_agree_are_not_spoken_of() -> None:
    assert demoting(seen(ALIKE)) == ()
    assert demoting(seen(None)) == ()
    assert promoting(seen(ALIKE, replica=in_sync_replica())) == []


def test_a_difference_keeps_the_host_that_serves_from_letting_go() -> None:
    (finding,) = demoting(seen(DIFFERENT))
    assert (finding.code, finding.severity) == ("CONFIG_DISAGREES", Severity.BLOCKER)
    assert finding.measured == (
        'volumes.data.nfs.address: alpha "10.9.0.10/24", beta "10.9.0.77/24"'
    )
    assert "agent.toml on both hosts" in finding.remedy


def test_a_difference_keeps_the_other_host_from_taking_over() -> None:
    assert promoting(seen(DIFFERENT, replica=SECONDARY)) == [
        ("PEER_IS_PRIMARY", Severity.BLOCKER),
        ("CONFIG_DISAGREES", Severity.BLOCKER),
    ]
    assert promoting(seen(DIFFERENT, replica=in_sync_replica())) == [
        ("CONFIG_DISAGREES", Severity.BLOCKER)
    ]


def test_a_primary_that_has_to_be_brought_to_serve_takes_over_from_nobody() -> None:
    assert promoting(seen(DIFFERENT)) == []


@pytest.mark.parametrize("agreement", [DIFFERENT, silent(Silence.REFUSED)])
def test_where_nobody_shall_serve_or_the_host_goes_down_nothing_is_in_the_way(
    agreement: Agreement,
) -> None:
    snapshot = seen(agreement)
    named = demoting(snapshot, stop_serving="alpha/data")
    assert [f.severity for f in named] == [Severity.WARNING]
    assert blockers(demoting(snapshot, stop_serving="beta/data"))
    assert demoting(snapshot, origin=SHUTDOWN_ORIGIN) == ()


def test_a_secondary_lets_nothing_go() -> None:
    assert demoting(seen(DIFFERENT, replica=in_sync_replica())) == ()


@pytest.mark.parametrize("agreement", [DIFFERENT, silent(Silence.UNREACHABLE)])
def test_a_peer_that_is_gone_is_no_reason_not_to_take_over(agreement: Agreement) -> None:
    alone = seen(agreement, replica=lost_peer(in_sync_replica()))
    codes = [code for code, _ in promoting(alone)]
    assert codes == ["PEER_NOT_PROVEN_OFF", "CURRENCY_UNPROVEN"]
    for replica in (None, Unobserved(reason="no answer")):
        other = dataclasses.replace(alone, replica=replica)
        assert agreement_findings(VOLUME, other, "beta", lets_go=True) == ()


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        (Silence.REFUSED, "on beta: systemctl start storage-agentd; where that runs, beta has no "
         "secret yet: on alpha: scp -p /etc/storage-agent/pair/data.secret "
         "beta:/etc/storage-agent/pair/data.secret"),
        (Silence.UNREACHABLE, "on beta: systemctl status storage-agentd; where that runs, a "
         "firewall must let alpha in there, by TCP at 10.8.0.2 port 8780"),
        (Silence.DISBELIEVED, "the two hosts have not the same secret: on alpha: scp -p "),
        (Silence.TURNED_AWAY, "beta does not know this host's address: "),
        (Silence.SECRET_UNUSABLE, "on alpha: chown root: /etc/storage-agent/pair/data.secret; "),
    ],
)  # fmt: skip
def test_a_peer_that_does_not_answer_cannot_be_left_to(why: Silence, remedy: str) -> None:
    """The replicas are connected: its host lives, and its agent does not say."""
    (finding,) = demoting(seen(silent(why, "in detail")))
    assert (finding.code, finding.severity) == ("CONFIG_NOT_COMPARED", Severity.BLOCKER)
    assert finding.measured == f"{ASKED}: {why} (in detail)"
    assert finding.remedy.startswith(remedy)
    # It takes over from nobody who cannot let go, and serves where nobody does.
    assert promoting(seen(silent(why), replica=in_sync_replica())) == [
        ("CONFIG_NOT_COMPARED", Severity.WARNING)
    ]


def test_what_could_not_be_asked_is_not_known() -> None:
    (finding,) = demoting(seen(Unobserved(reason="too many threads")))
    assert (finding.code, finding.severity) == ("CONFIG_NOT_COMPARED", Severity.BLOCKER)
    assert finding.measured == "too many threads"


def test_without_a_secret_it_is_told_and_nothing_stops() -> None:
    (finding,) = demoting(seen(WITHOUT))
    assert (finding.code, finding.severity) == ("NO_PAIR_SECRET", Severity.WARNING)
    assert "storage-agent pair-secret data" in finding.remedy
    arbitrated = dataclasses.replace(VOLUME, arbitration=Arbitration.COORDINATOR)
    (note,) = agreement_findings(arbitrated, seen(WITHOUT), "beta", lets_go=True)
    assert note.severity is Severity.NOTE


@pytest.mark.parametrize(
    ("agreement", "serving", "other", "code"),
    [
        (ALIKE, Verdict.SERVING, Verdict.READY, None),
        (DIFFERENT, Verdict.DEGRADED, Verdict.BLOCKED, "CONFIG_DISAGREES"),
        (silent(Silence.REFUSED), Verdict.DEGRADED, Verdict.DEGRADED, "CONFIG_NOT_COMPARED"),
        (WITHOUT, Verdict.DEGRADED, Verdict.DEGRADED, "NO_PAIR_SECRET"),
    ],
)
def test_both_hosts_show_it(
    agreement: Agreement, serving: Verdict, other: Verdict, code: str | None
) -> None:
    here = seen(agreement, mounted=True, server=ServerState.SERVING)
    for snapshot, verdict in ((here, serving), (seen(agreement, replica=SECONDARY), other)):
        found = assess(agent_config(), VOLUME, snapshot)
        assert found.verdict is verdict
        assert [f.code for f in found.findings] == ([code] if code else [])


@pytest.mark.parametrize(
    ("kind", "replica", "origin", "wanted"),
    [
        (OperationKind.DEMOTE, PRIMARY, "", True),
        (OperationKind.DEMOTE, PRIMARY, SHUTDOWN_ORIGIN, False),
        (OperationKind.DEMOTE, SECONDARY, "", False),
        (OperationKind.DEMOTE, lost_peer(PRIMARY), "", False),
        (OperationKind.PROMOTE, SECONDARY, "", True),
        (OperationKind.PROMOTE, lost_peer(SECONDARY), "", False),
        (OperationKind.PROMOTE, PRIMARY, "", False),
        (OperationKind.ASSEMBLE, SECONDARY, "", False),
        (OperationKind.ASSEMBLE, PRIMARY, "", True),
    ],
)
def test_the_peer_is_asked_anew_where_one_takes_over_from_the_other(
    kind: OperationKind, replica: Any, origin: str, wanted: bool
) -> None:
    request = OperationRequest(kind=kind, volume="data", operation_id="x", origin=origin)
    snapshot = seen(None, replica=replica)
    assert needs_agreement(snapshot, request) is wanted
    unknown = dataclasses.replace(snapshot, replica=Unobserved(reason="no answer"))
    assert not needs_agreement(unknown, request)


def checked(view: object) -> list[Check]:
    found = facts(agreements={"data": view})
    checks = run_checks(found, agent_config(), None, None)
    return [check for check in checks if check.title == "configuration of data on beta"]


def test_doctor_says_whether_the_peer_answers() -> None:
    (check,) = checked(ALIKE)
    assert (check.outcome, check.seen) == (Outcome.OK, "the same, said at 10.8.0.2 port 8780")
    (check,) = checked(DIFFERENT)
    assert check.outcome is Outcome.FAIL
    (check,) = checked(silent(Silence.UNREACHABLE))
    assert (check.outcome, check.seen) == (Outcome.WARN, f"{ASKED}: unreachable")
    (check,) = checked(WITHOUT)
    assert check.outcome is Outcome.WARN
    assert check.finding is not None
    assert check.finding.code == "NO_PAIR_SECRET"
    (check,) = checked(Unobserved(reason="no such file"))
    assert check.finding is not None
    assert check.finding.code == "NOT_CHECKED"


def test_doctor_says_nothing_of_what_is_not_configured() -> None:
    found = facts(agreements={"logs": ALIKE})
    titles = {check.title for check in run_checks(found, agent_config(), None, None)}
    assert not any(title.startswith("configuration of") for title in titles)
    assert run_checks(found, None, None, None)


FULL = dataclasses.replace(ALIKE, refusal="STATE_FOLDER: /var/lib/storage-agent: full")


def test_nobody_lets_go_to_a_host_that_would_refuse() -> None:
    (finding,) = demoting(seen(FULL))
    assert (finding.code, finding.severity) == ("PEER_WOULD_REFUSE", Severity.BLOCKER)
    assert finding.measured == f"beta says: {FULL.refusal}"
    assert demoting(seen(FULL), origin=SHUTDOWN_ORIGIN) == ()
    (named,) = demoting(seen(FULL), stop_serving="alpha/data")
    assert named.severity is Severity.WARNING
    # Its own refusal is no reason for the other one not to take over.
    assert promoting(seen(FULL, replica=in_sync_replica())) == []


def test_the_host_that_serves_says_that_the_other_one_would_refuse() -> None:
    host = FakeHost(replica=PRIMARY, mounted=True, server=ServerState.SERVING, agreement=FULL)
    readiness = assess(agent_config(), VOLUME, host.seen(VOLUME))
    assert readiness.verdict is Verdict.DEGRADED
    assert [f.code for f in readiness.findings] == ["PEER_WOULD_REFUSE"]


def test_a_host_without_the_data_is_not_said_to_refuse_besides() -> None:
    behind = with_peer(PRIMARY, disk=DiskState.INCONSISTENT, out_of_sync_bytes=1)
    host = FakeHost(replica=behind, mounted=True, server=ServerState.SERVING, agreement=FULL)
    readiness = assess(agent_config(), VOLUME, host.seen(VOLUME))
    assert [f.code for f in readiness.findings] == ["NO_FALLBACK"]
