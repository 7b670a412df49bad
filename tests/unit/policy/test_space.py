"""Room on a volume: what its users are told, and what stops a demote that nobody could follow."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.filesystem import Capacity, FilesystemView
from storage_agent.model.finding import Finding, Severity
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.demotion import demotion_findings
from storage_agent.policy.readiness import Verdict, assess
from storage_agent.policy.space import no_room_findings, space_findings
from tests.unit.cli.snapshots import serving
from tests.unit.fakes import agent_config, volume_config

MIB, GIB = 1 << 20, 1 << 30
VOLUME = volume_config()
LOCAL = dataclasses.replace(VOLUME, nfs=None)
ROOMY = Capacity(
    size_bytes=100 * GIB,
    free_bytes=50 * GIB,
    inodes=1000,
    free_inodes=900,
    root_free_bytes=55 * GIB,
)


def holding(**changes: int) -> VolumeSnapshot:
    snapshot = serving()
    assert isinstance(snapshot.filesystem, FilesystemView)
    space = dataclasses.replace(ROOMY, **changes)
    view = dataclasses.replace(snapshot.filesystem, capacity=space)
    return dataclasses.replace(snapshot, filesystem=view)


def codes(**changes: int) -> list[str]:
    return [finding.code for finding in space_findings(VOLUME, holding(**changes))]


def demoting(**request: str) -> tuple[Finding, ...]:
    asked = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="x", **request)  # type: ignore[arg-type]
    full = holding(free_inodes=0, lacking_inodes=3, lacking_bytes=8 * MIB)
    return demotion_findings(VOLUME, full, asked, "beta")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, []),
        ({"free_bytes": 1 * GIB}, ["NEARLY_FULL"]),
        ({"free_inodes": 40}, ["NEARLY_FULL"]),
        ({"free_bytes": 1 * GIB, "free_inodes": 40}, ["NEARLY_FULL", "NEARLY_FULL"]),
        ({"free_inodes": 0}, ["FULL"]),
        ({"free_bytes": MIB - 1}, ["FULL"]),
        ({"free_bytes": MIB}, ["NEARLY_FULL"]),
        # Not of a fixed number.
        ({"inodes": 0, "free_inodes": 0}, []),
        # A server of an earlier version has held nothing.
        ({"lacking_inodes": 3, "lacking_bytes": 8 * MIB}, []),
        ({"inodes": 0, "free_inodes": 0, "lacking_inodes": 3}, []),
        ({"free_inodes": 0, "lacking_inodes": 1}, ["NO_ROOM_FOR_SERVER", "FULL"]),
        ({"free_inodes": 2, "lacking_inodes": 3}, ["NO_ROOM_FOR_SERVER", "NEARLY_FULL"]),
        ({"root_free_bytes": 0, "lacking_bytes": 1}, ["NO_ROOM_FOR_SERVER"]),
        # What only root may take is enough.
        ({"free_bytes": 0, "root_free_bytes": MIB, "lacking_bytes": 8 * MIB}, ["FULL"]),
        ({"free_bytes": 0, "root_free_bytes": 0}, ["FULL"]),
    ],
)
def test_what_is_found(changes: dict[str, int], wanted: list[str]) -> None:
    assert codes(**changes) == wanted


def test_out_of_inodes_is_looked_at_with_another_command_than_out_of_bytes() -> None:
    (inodes,) = space_findings(VOLUME, holding(free_inodes=0))
    assert "no inodes left" in inodes.summary
    assert inodes.remedy.startswith("see who has used them up: df -i /srv/data; du --inodes")
    (bytes_,) = space_findings(VOLUME, holding(free_bytes=0))
    assert "no bytes left" in bytes_.summary
    assert "df -h /srv/data" in bytes_.remedy
    assert "inodes" not in bytes_.remedy
    (low,) = space_findings(VOLUME, holding(free_inodes=9))
    assert low.remedy.endswith("df -i /srv/data")


def test_a_full_volume_is_told_to_be_served_only_where_there_is_a_server() -> None:
    assert "served" in space_findings(VOLUME, holding(free_inodes=0))[0].summary
    assert "served" not in space_findings(LOCAL, holding(free_inodes=0))[0].summary


def test_nothing_is_said_of_a_volume_that_is_not_mounted() -> None:
    snapshot = dataclasses.replace(serving(), filesystem=None)
    assert space_findings(VOLUME, snapshot) == no_room_findings(VOLUME, snapshot) == ()


def test_no_room_for_the_server_is_shown_all_the_time_and_stops_a_demote() -> None:
    full = holding(free_inodes=0, lacking_inodes=3, lacking_bytes=8 * MIB)
    readiness = assess(agent_config(VOLUME), VOLUME, full)
    assert readiness.verdict is Verdict.DEGRADED
    assert [f.code for f in readiness.findings] == ["NO_ROOM_FOR_SERVER", "FULL"]
    (finding,) = demoting()
    assert (finding.code, finding.severity) == ("NO_ROOM_FOR_SERVER", Severity.BLOCKER)
    assert finding.measured == "55.0 GiB (59055800320 bytes) and 0 inodes free"
    assert finding.limit == "1.0 MiB (1048576 bytes) and 3 inodes free"
    assert "df -i /srv/data" in finding.remedy


@pytest.mark.parametrize(
    "request_", [{"origin": SHUTDOWN_ORIGIN}, {"stop_serving": "alpha/data"}], ids=str
)
def test_who_means_to_stop_it_is_only_warned(request_: dict[str, str]) -> None:
    (finding,) = demoting(**request_)
    assert (finding.code, finding.severity) == ("NO_ROOM_FOR_SERVER", Severity.WARNING)


def test_a_full_volume_whose_server_holds_what_it_needs_is_moved() -> None:
    asked = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="x")
    full = holding(free_inodes=0, free_bytes=0, root_free_bytes=0)
    assert demotion_findings(VOLUME, full, asked, "beta") == ()


def unwritten(problem: str, disturbed: str = "") -> VolumeSnapshot:
    snapshot = serving()
    assert isinstance(snapshot.filesystem, FilesystemView)
    view = dataclasses.replace(snapshot.filesystem, unwritten=problem, disturbed=disturbed)
    return dataclasses.replace(snapshot, filesystem=view)


def test_a_marker_that_cannot_be_written_is_shown_and_stops_a_demote() -> None:
    snapshot = unwritten("Operation not permitted")
    readiness = assess(agent_config(), VOLUME, snapshot)
    assert readiness.verdict is Verdict.DEGRADED
    assert [f.code for f in readiness.findings] == ["MARKER_NOT_WRITTEN"]
    asked = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="x")
    (finding,) = demotion_findings(VOLUME, snapshot, asked, "beta")
    assert (finding.code, finding.severity) == ("MARKER_NOT_WRITTEN", Severity.BLOCKER)
    assert finding.measured == "Operation not permitted"


def test_a_folder_that_is_put_back_within_seconds_stops_no_demote() -> None:
    snapshot = unwritten("it is elsewhere", disturbed="/srv/data/.storage-agent is gone")
    asked = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="x")
    assert demotion_findings(VOLUME, snapshot, asked, "beta") == ()
