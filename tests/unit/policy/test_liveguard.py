"""Is it in use, and who depends on it: one state each, with what was measured."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.model.filesystem import Holder
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import ConnectionState, DiskState, ReplicationState, Role
from storage_agent.model.snapshot import ServiceView, UseView, VolumeSnapshot
from storage_agent.policy.liveguard import (
    dependence_findings,
    needs_use,
    operation_findings,
    service_findings,
    taken_away,
    termination_findings,
)
from tests.unit.cli.answers import record
from tests.unit.cli.snapshots import (
    client,
    peer_view,
    replica_view,
    secondary,
    serving,
    unknown,
)
from tests.unit.fakes import QUIET, volume_config

VOLUME = volume_config()
LOCAL = dataclasses.replace(VOLUME, replica=None)


def measured(snapshot: VolumeSnapshot) -> dict[str, str]:
    return {f.code: f.measured for f in service_findings(VOLUME, snapshot)}


def test_a_served_volume_names_who_uses_it() -> None:
    assert measured(serving()) == {
        "VOLUME_PRIMARY": "role: Primary",
        "VOLUME_MOUNTED": "mounted at /srv/data",
        "VOLUME_EXPORTED": "serving at 10.9.0.10/24, clients: 10.9.0.21:900 (9 opens, 3 locks), "
        "10.9.0.22:900 (3 opens, 1 locks)",
    }


def test_a_secondary_is_not_in_use() -> None:
    assert service_findings(VOLUME, secondary(use=QUIET)) == ()


def test_the_bare_role_is_nobodys() -> None:
    snapshot = secondary(replica=replica_view())
    assert set(measured(snapshot)) == {"VOLUME_PRIMARY"}
    assert taken_away(VOLUME, snapshot) == ()


def test_an_unknown_role_is_not_secondary() -> None:
    snapshot = secondary(replica=replica_view(role=Role.UNKNOWN))
    assert measured(snapshot) == {"VOLUME_PRIMARY": "role: Unknown"}


def nfs(**changes: Any) -> NfsView:
    base = NfsView(state=ServerState.STANDBY, address="10.9.0.10/24")
    return dataclasses.replace(base, **changes)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (nfs(), None),
        (nfs(state=ServerState.ABSENT), None),
        (nfs(state=ServerState.STARTED), "started at 10.9.0.10/24, no client"),
        (
            nfs(connections=("10.9.0.21:900",)),
            "standby at 10.9.0.10/24, no client; connected: 10.9.0.21:900",
        ),
        (
            nfs(state=ServerState.SERVING, clients=(client("3", "courtesy"),)),
            "serving at 10.9.0.10/24, no client",
        ),
    ],
)
def test_servers(view: NfsView, said: str | None) -> None:
    assert measured(secondary(nfs=view)) == ({"VOLUME_EXPORTED": said} if said else {})


def test_many_clients_are_counted() -> None:
    clients = tuple(client(str(n), "confirmed") for n in range(8))
    said = measured(serving(nfs=nfs(state=ServerState.SERVING, clients=clients)))
    assert said["VOLUME_EXPORTED"].endswith("10.9.0.24:900 (0 opens, 0 locks) and 3 more")


def test_holders_and_bytes() -> None:
    use = UseView(
        holders=(Holder(kind="process", what="process 7 (tar) has /srv/data/x open", pid=7),),
        written_bytes=1 << 20,
        watched_s=2,
    )
    assert measured(secondary(use=use)) == {
        "VOLUME_HELD": "process 7 (tar) has /srv/data/x open",
        "VOLUME_WRITTEN": "1.0 MiB (1048576 bytes) in 2 s",
    }


def test_services() -> None:
    units = tuple(
        ServiceView(unit=f"{state}.service", active=state, sub="", enabled="static")
        for state in ("active", "deactivating", "inactive", "failed")
    )
    said = measured(secondary(services=units))
    assert said == {"VOLUME_HELD": "active.service, deactivating.service"}


# -- who depends on this copy ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "codes"),
    [
        ({}, []),
        ({"role": Role.PRIMARY}, []),
        ({"disk": DiskState.OUTDATED}, ["ONLY_GOOD_COPY"]),
        ({"disk": DiskState.DISKLESS}, ["ONLY_GOOD_COPY"]),
        ({"connection": ConnectionState.CONNECTING}, ["ONLY_GOOD_COPY"]),
        ({"out_of_sync_bytes": 4096}, ["ONLY_GOOD_COPY"]),
        ({"out_of_sync_bytes": None}, ["ONLY_GOOD_COPY"]),
        ({"replication": ReplicationState.OFF}, ["ONLY_GOOD_COPY"]),
        (
            {
                "disk": DiskState.INCONSISTENT,
                "replication": ReplicationState.SYNC_SOURCE,
                "out_of_sync_bytes": 4096,
            },
            ["ONLY_GOOD_COPY", "RESYNC_RUNNING"],
        ),
        (
            {"replication": ReplicationState.SYNC_TARGET, "out_of_sync_bytes": 4096},
            ["RESYNC_RUNNING"],
        ),
        ({"replication": ReplicationState.VERIFY_S}, ["RESYNC_RUNNING"]),
    ],
)
def test_who_depends_on_this_copy(peer: dict[str, Any], codes: list[str]) -> None:
    replica = replica_view(role=Role.SECONDARY, peer=peer_view(**peer))
    found = dependence_findings(VOLUME, secondary(replica=replica), "beta")
    assert [f.code for f in found] == codes


@pytest.mark.parametrize(
    ("replica", "seen"),
    [
        (None, "the replica is down here"),
        (replica_view(role=Role.SECONDARY, peer=None), "no connection configured"),
    ],
)
def test_without_a_connection_the_other_copy_is_unknown(replica: Any, seen: str) -> None:
    (finding,) = dependence_findings(VOLUME, secondary(replica=replica), "beta")
    assert (finding.code, finding.measured) == ("ONLY_GOOD_COPY", seen)


def test_a_volume_without_replica_is_nowhere_else() -> None:
    (finding,) = dependence_findings(LOCAL, secondary(replica=None), "")
    assert finding.measured == "no replica is configured"
    assert "no other host" in finding.summary


# -- may the host go ------------------------------------------------------------------------------


def codes(volume: Any, snapshot: VolumeSnapshot) -> list[str]:
    return [f.code for f in termination_findings(volume, snapshot, "beta")]


def test_a_secondary_whose_peer_has_all_may_go() -> None:
    assert codes(VOLUME, secondary(use=QUIET)) == []


def test_what_was_never_made_here_is_not_lost_here() -> None:
    unmade = dataclasses.replace(VOLUME, array=dataclasses.replace(VOLUME.array, uuid={}))
    assert codes(unmade, secondary(replica=None)) == []
    assert codes(VOLUME, secondary(replica=None)) == ["ONLY_GOOD_COPY"]


def test_the_unknown_is_in_use() -> None:
    assert codes(VOLUME, unknown()) == ["UNOBSERVED"] * 3 + ["VOLUME_EXPORTED"]
    assert codes(VOLUME, secondary(use=Unobserved(reason="stuck"))) == ["UNOBSERVED"]


def test_operations_under_way() -> None:
    (finding,) = operation_findings((record(OperationState.RUNNING),))
    assert finding.code == "OPERATION_RUNNING"
    assert "00000000000000aa" in finding.measured


@pytest.mark.parametrize(
    ("kind", "origin", "snapshot", "looks"),
    [
        (OperationKind.LEAVE, SHUTDOWN_ORIGIN, secondary(), True),
        (OperationKind.CREATE, "", secondary(), True),
        (OperationKind.PROMOTE, "", secondary(), False),
        # A move, a host that goes down with its users, and nobody who would lose anything.
        (OperationKind.DEMOTE, "", serving(), False),
        (OperationKind.DEMOTE, SHUTDOWN_ORIGIN, serving(replica=None), False),
        (OperationKind.DEMOTE, "", secondary(replica=None), False),
        (OperationKind.DEMOTE, "", serving(replica=None), True),
        (OperationKind.DEMOTE, "", serving(replica=replica_view(peer=None)), True),
    ],
)
def test_who_uses_it_is_looked_at_where_somebody_would_lose_it(
    kind: OperationKind, origin: str, snapshot: VolumeSnapshot, looks: bool
) -> None:
    asked = OperationRequest(kind=kind, volume="data", operation_id="x", origin=origin)
    assert needs_use(VOLUME, snapshot, asked) is looks
