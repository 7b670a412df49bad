"""DRBD's metadata gone from one host: named, and made anew from the other one's copy alone."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import ArrayState
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Severity
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind, Plan
from storage_agent.model.replica import DiskState, Replica, Role
from storage_agent.model.snapshot import Facet, VolumeSnapshot
from storage_agent.policy.array.assembly import assembly_findings
from storage_agent.policy.confirmation import confirmation_findings
from storage_agent.policy.creating.remake import remake_findings
from storage_agent.policy.readiness import Verdict, assess
from tests.unit.fakes import FakeHost, agent_config, volume_config
from tests.unit.replicas import in_sync_replica

VOLUME = volume_config()
DISKLESS = dataclasses.replace(in_sync_replica(), disk=DiskState.DISKLESS)


def lost(
    replica: Replica | None = None,
    *,
    has_metadata: bool | None = False,
    size_bytes: int = 20 << 30,
    array: ArrayState | None = ArrayState.CLEAN,
) -> VolumeSnapshot:
    host = FakeHost(has_metadata=has_metadata, array_bytes=size_bytes, array=array)
    host.replica = replica
    return host.observe(VOLUME)


def test_status_names_the_loss_and_the_one_command() -> None:
    readiness = assess(agent_config(), VOLUME, lost())
    assert readiness.verdict is Verdict.BLOCKED
    (finding,) = readiness.findings
    assert finding.code == "METADATA_LOST"
    assert finding.remedy == (
        "if it is the right array: storage-agent create data --join; that takes all of the other "
        "host's copy: a full sync of 20.0 GiB (21474836480 bytes), about 3 min over 1 Gbit/s, "
        "42 s over 10 Gbit/s"
    )
    assert "--first" not in finding.remedy


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [(1 << 20, "1 s over 1 Gbit/s"), (4 << 40, "11 h over 1 Gbit/s, 2 h over 10 Gbit/s")],
)
def test_how_long_it_takes(size_bytes: int, expected: str) -> None:
    (finding,) = remake_findings(VOLUME, lost(size_bytes=size_bytes), "beta")
    assert expected in finding.summary


@pytest.mark.parametrize("seen", [True, None])
def test_what_is_there_or_not_known_is_not_lost(seen: bool | None) -> None:
    assert assembly_findings(VOLUME, lost(has_metadata=seen)) == ()
    local = dataclasses.replace(VOLUME, replica=None)
    assert assembly_findings(local, lost()) == ()


@pytest.mark.parametrize(
    ("volume", "snapshot", "expected", "severity"),
    [
        (VOLUME, lost(), "COPY_REMADE", Severity.WARNING),
        (VOLUME, lost(DISKLESS), "COPY_REMADE", Severity.WARNING),
        (VOLUME, lost(has_metadata=True), "METADATA_PRESENT", Severity.BLOCKER),
        (VOLUME, lost(has_metadata=None), "METADATA_PRESENT", Severity.BLOCKER),
        (VOLUME, lost(array=None), "METADATA_PRESENT", Severity.BLOCKER),
        (VOLUME, lost(in_sync_replica()), "METADATA_PRESENT", Severity.BLOCKER),
        (
            VOLUME,
            lost(dataclasses.replace(DISKLESS, role=Role.PRIMARY)),
            "VOLUME_PRIMARY",
            Severity.BLOCKER,
        ),
        (
            VOLUME,
            FakeHost(blind={Facet.ARRAY: "x"}).observe(VOLUME),
            "UNOBSERVED",
            Severity.BLOCKER,
        ),
    ],
)
def test_when_it_may_be_made_anew(
    volume: VolumeConfig, snapshot: VolumeSnapshot, expected: str, severity: Severity
) -> None:
    (finding,) = remake_findings(volume, snapshot, "beta")
    assert (finding.code, finding.severity) == (expected, severity)
    assert finding.remedy


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (OperationKind.REMAKE, "storage-agent create data --join --dry-run"),
        (OperationKind.ASSEMBLE_DEGRADED, "storage-agent assemble data --degraded --dry-run"),
        (OperationKind.ABANDON, "storage-agent create data --abandon --dry-run"),
    ],
)
def test_a_plan_that_has_changed_names_what_was_typed(kind: OperationKind, command: str) -> None:
    request = OperationRequest(
        kind=kind, volume="data", operation_id="x", options={"confirm": "0123"}
    )
    plan = Plan(operation=kind, volume="data", host="alpha", steps=(), options={})
    (finding,) = confirmation_findings(request, plan)
    assert finding.remedy.endswith(command)
