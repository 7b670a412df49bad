"""The verdict that an admin sees, for the states a volume is usually in."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.model.configuration import Arbitration
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import Facet
from storage_agent.policy.evidence import NEVER_SEEN, follow, settled
from storage_agent.policy.naming import name_state
from storage_agent.policy.readiness import Readiness, Verdict, assess
from tests.unit.fakes import (
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)

CONFIG = agent_config()
VOLUME = CONFIG.volumes["data"]
PRIMARY = in_sync_replica(role=Role.PRIMARY)


def look(host: FakeHost) -> Readiness:
    return assess(CONFIG, VOLUME, host.seen(VOLUME))


def codes(readiness: Readiness) -> list[str]:
    return [finding.code for finding in readiness.findings]


def serving(**changes: object) -> FakeHost:
    host = FakeHost(replica=PRIMARY, mounted=True, server=ServerState.SERVING)
    return dataclasses.replace(host, **changes)  # type: ignore[arg-type]


def test_serving_and_well() -> None:
    assert look(serving()) == Readiness(verdict=Verdict.SERVING, findings=())
    assert name_state(VOLUME, serving().seen(VOLUME)) == "serving on alpha"


def test_ready() -> None:
    assert look(FakeHost()) == Readiness(verdict=Verdict.READY, findings=())
    assert name_state(VOLUME, FakeHost().seen(VOLUME)) == "secondary on alpha"


def test_ready_to_be_moved_to_and_not_yet_to_take_over() -> None:
    in_sync = FakeHost(attachment=follow(NEVER_SEEN, in_sync_replica()))
    assert look(in_sync).verdict is Verdict.DEGRADED
    assert codes(look(in_sync)) == ["JUST_IN_SYNC"]
    in_sync.attachment = settled(in_sync.attachment or NEVER_SEEN)
    assert look(in_sync) == Readiness(verdict=Verdict.READY, findings=())


def test_the_second_host_is_ready_while_the_first_serves() -> None:
    host = FakeHost(replica=with_peer(in_sync_replica(), role=Role.PRIMARY))
    assert look(host) == Readiness(verdict=Verdict.READY, findings=())


def test_serving_alone_says_that_there_is_no_fallback() -> None:
    readiness = look(serving(replica=lost_peer(PRIMARY)))
    assert (readiness.verdict, codes(readiness)) == (Verdict.DEGRADED, ["NO_FALLBACK"])
    assert "beta cannot take data over" in readiness.findings[0].summary


def test_serving_while_the_peer_is_still_empty() -> None:
    syncing = with_peer(
        PRIMARY,
        replication=ReplicationState.SYNC_SOURCE,
        disk=DiskState.INCONSISTENT,
        out_of_sync_bytes=3 << 30,
    )
    readiness = look(serving(replica=syncing))
    assert codes(readiness) == ["NO_FALLBACK"]
    assert "3.0 GiB" in readiness.findings[0].measured


def test_primary_with_missing_layers() -> None:
    half = serving(mounted=False, server=ServerState.STANDBY)
    assert codes(look(half)) == ["NOT_MOUNTED", "NOT_EXPORTED"]
    named = name_state(VOLUME, half.seen(VOLUME))
    assert named == "primary on alpha, not mounted, NFS server standby"


def test_a_sync_target_is_blocked() -> None:
    target = with_peer(
        in_sync_replica(disk=DiskState.INCONSISTENT),
        replication=ReplicationState.SYNC_TARGET,
        role=Role.PRIMARY,
    )
    readiness = look(FakeHost(replica=target))
    assert readiness.verdict is Verdict.BLOCKED
    assert "DISK_NOT_UPTODATE" in codes(readiness)


def test_an_array_that_cannot_be_assembled_is_all_that_is_said() -> None:
    host = FakeHost(array=None, missing=("alpha-3",))
    host.replica = None
    readiness = look(host)
    assert (readiness.verdict, codes(readiness)) == (Verdict.BLOCKED, ["MEMBER_MISSING"])
    assert "alpha-3" in readiness.findings[0].summary


def test_a_primary_whose_array_or_services_cannot_be_looked_at_is_not_called_well() -> None:
    blind = {Facet.ARRAY: "sysfs", Facet.SERVICES: "no bus"}
    readiness = look(serving(blind=blind))
    assert readiness.verdict is Verdict.DEGRADED
    assert [(f.code, f.measured) for f in readiness.findings] == [
        ("UNOBSERVED", "sysfs"),
        ("UNOBSERVED", "no bus"),
    ]


def test_a_service_that_should_run_and_does_not() -> None:
    volume = volume_config(services=("backup.service", "index.service"))
    config = agent_config(volume)
    assert assess(config, volume, serving(services_active=True).seen(volume)).findings == ()
    readiness = assess(config, volume, serving().seen(volume))
    assert readiness.verdict is Verdict.DEGRADED
    assert [(f.code, f.remedy) for f in readiness.findings] == [
        ("SERVICE_DOWN", "systemctl status backup.service"),
        ("SERVICE_DOWN", "systemctl status index.service"),
    ]


@pytest.mark.parametrize(
    ("replica", "code", "measured"),
    [
        (
            with_peer(lost_peer(PRIMARY), out_of_sync_bytes=None),
            "NO_FALLBACK",
            "Connecting, Off, peer disk DUnknown, unknown bytes out of sync",
        ),
        (dataclasses.replace(PRIMARY, peer=None), "STANDING_ALONE", "connection: none"),
        (
            with_peer(lost_peer(PRIMARY), connection=ConnectionState.STANDALONE),
            "STANDING_ALONE",
            "connection: StandAlone, 0 bytes not on beta",
        ),
        (
            dataclasses.replace(lost_peer(PRIMARY), split_brain=True),
            "SPLIT_BRAIN",
            "Primary, UpToDate, 0 bytes changed here since, no generation",
        ),
    ],
)
def test_why_there_is_no_fallback(replica: Replica, code: str, measured: str) -> None:
    (finding,) = look(serving(replica=replica)).findings
    assert (finding.code, finding.measured) == (code, measured)


LOCAL = dataclasses.replace(volume_config(), replica=None, nfs=None)


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        (FakeHost(mounted=True), Verdict.SERVING),
        (FakeHost(), Verdict.READY),
        (FakeHost(mounted=True, blind={Facet.FILESYSTEM: "frozen"}), Verdict.BLOCKED),
        (FakeHost(array=None), Verdict.BLOCKED),
    ],
    ids=["mounted", "not-mounted", "unknown", "not-assembled"],
)
def test_a_volume_without_replica_is_held_by_who_has_it_mounted(
    host: FakeHost, verdict: Verdict
) -> None:
    snapshot = dataclasses.replace(host.seen(LOCAL), replica=None, nfs=None)
    assert assess(agent_config(LOCAL), LOCAL, snapshot).verdict is verdict


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"disturbed": "/srv/data/.storage-agent is gone"}, "FOLDER_DISTURBED"),
        ({"put_right": "/srv/data/.storage-agent was moved away, and is back"}, "FOLDER_PUT_RIGHT"),
    ],
)
def test_what_users_make_of_the_agents_folder_is_told(changes: dict[str, str], code: str) -> None:
    snapshot = serving().seen(VOLUME)
    assert isinstance(snapshot.filesystem, FilesystemView)
    found = dataclasses.replace(snapshot.filesystem, **changes)  # type: ignore[arg-type]
    readiness = assess(CONFIG, VOLUME, dataclasses.replace(snapshot, filesystem=found))
    assert codes(readiness) == [code]
    assert readiness.findings[0].measured in changes.values()
    assert "storage-agent-nfs@data" in readiness.findings[0].remedy


@pytest.mark.parametrize(
    ("configured", "seen", "lacking"),
    [
        ((), ("rw", "nosuid", "nodev"), None),
        ((), ("rw", "relatime"), "nodev,nosuid"),
        (("suid",), ("rw", "nodev"), None),
        (("suid", "dev"), ("rw",), None),
        (("noexec",), ("rw", "nosuid", "nodev"), "noexec"),
        ((), (), None),
    ],
)
def test_mount_options_are_looked_at_as_the_kernel_shows_them(
    configured: tuple[str, ...], seen: tuple[str, ...], lacking: str | None
) -> None:
    volume = dataclasses.replace(
        VOLUME, filesystem=dataclasses.replace(VOLUME.filesystem, options=configured)
    )
    snapshot = serving().seen(volume)
    assert isinstance(snapshot.filesystem, FilesystemView)
    (mount,) = snapshot.filesystem.mounts
    found = dataclasses.replace(
        snapshot.filesystem, mounts=(dataclasses.replace(mount, options=seen),)
    )
    findings = assess(CONFIG, volume, dataclasses.replace(snapshot, filesystem=found)).findings
    wanted = [] if lacking is None else [f"mount -o remount,{lacking} /srv/data"]
    assert [f.remedy.partition(" (")[0] for f in findings] == wanted


def test_a_filesystem_that_is_not_seen_tells_nothing_of_the_folder() -> None:
    unseen = dataclasses.replace(serving().seen(VOLUME), filesystem=Unobserved(reason="stuck"))
    assert "FOLDER_DISTURBED" not in codes(assess(CONFIG, VOLUME, unseen))


OWN_LOST = [(DiskState.DISKLESS, ReplicationState.ESTABLISHED, "OWN_DISK_LOST"),
            (DiskState.FAILED, ReplicationState.ESTABLISHED, "OWN_DISK_LOST"),
            (DiskState.DETACHING, ReplicationState.ESTABLISHED, "OWN_DISK_LOST"),
            (DiskState.INCONSISTENT, ReplicationState.SYNC_TARGET, "OWN_COPY_BEHIND"),
            (DiskState.INCONSISTENT, ReplicationState.PAUSED_SYNC_T, "OWN_COPY_BEHIND"),
            (DiskState.UP_TO_DATE, ReplicationState.WF_BITMAP_T, "OWN_COPY_BEHIND")]  # fmt: skip


@pytest.mark.parametrize(("disk", "replication", "code"), OWN_LOST)
@pytest.mark.parametrize("arbitration", Arbitration)
def test_a_primary_whose_own_copy_is_the_bad_one_is_to_be_moved(
    disk: DiskState, replication: ReplicationState, code: str, arbitration: Arbitration
) -> None:
    volume = dataclasses.replace(VOLUME, arbitration=arbitration)
    replica = with_peer(dataclasses.replace(PRIMARY, disk=disk), replication=replication)
    readiness = assess(agent_config(volume), volume, serving(replica=replica).seen(volume))
    assert readiness.verdict is Verdict.DEGRADED
    (finding,) = [f for f in readiness.findings if f.code == code]
    assert "NO_FALLBACK" not in codes(readiness)
    move = {
        Arbitration.NONE: "on beta: storage-agent promote data --wait 60; then on alpha: "
        "storage-agent demote data",
        Arbitration.COORDINATOR: "on the coordinator's machine: storage-coordinator switchover "
        "data --to beta",
    }
    assert finding.remedy.startswith(f"{move[arbitration]}; ")
    assert finding.measured == f"own disk {disk}, {replication}, peer disk UpToDate"


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        ({"disk": DiskState.OUTDATED}, "NO_FALLBACK"),
        ({"disk": DiskState.DISKLESS}, "NO_FALLBACK"),
        ({"replication": ReplicationState.OFF}, "NO_FALLBACK"),
        ({"connection": ConnectionState.CONNECTING}, "ATTACH_ALONE"),
        ({"connection": ConnectionState.STANDALONE}, "ATTACH_ALONE"),
    ],
)
def test_without_a_whole_peer_a_lost_disk_is_no_reason_to_move(
    peer: dict[str, Any], code: str
) -> None:
    replica = with_peer(dataclasses.replace(PRIMARY, disk=DiskState.DISKLESS), **peer)
    assert not replica.peer_has_all()
    found = codes(look(serving(replica=replica)))
    assert code in found
    assert not {"STANDING_ALONE", "OWN_DISK_LOST"} & set(found)


@pytest.mark.parametrize(
    ("server", "mounted", "codes_wanted"),
    [
        (ServerState.STANDBY, False, ["NFS_LINK_GONE"]),
        (ServerState.ABSENT, False, []),
        (ServerState.STARTED, True, ["NFS_LINK_GONE", "NOT_EXPORTED"]),
    ],
)
def test_a_server_without_its_link(
    server: ServerState, mounted: bool, codes_wanted: list[str]
) -> None:
    replica = PRIMARY if mounted else in_sync_replica()
    seen = FakeHost(replica=replica, mounted=mounted, server=server).seen(VOLUME)
    view = NfsView(state=server, address="10.9.0.10/24", has_link=False)
    assert codes(assess(CONFIG, VOLUME, dataclasses.replace(seen, nfs=view))) == codes_wanted


@pytest.mark.parametrize("disk", [DiskState.CONSISTENT, DiskState.OUTDATED])
@pytest.mark.parametrize("connection", [ConnectionState.STANDALONE, ConnectionState.CONNECTING])
def test_an_old_copy_that_is_served_is_not_connected_but_given_up(
    disk: DiskState, connection: ConnectionState
) -> None:
    """DRBD refuses each connection until then, so `rejoin` alone would lead in a circle."""
    replica = with_peer(dataclasses.replace(PRIMARY, disk=disk), connection=connection)
    found = {f.code: f for f in look(serving(replica=replica)).findings}
    assert "STANDING_ALONE" not in found
    assert found["OWN_COPY_OLD"].remedy.startswith(
        "end the service here: storage-agent demote data --yes-stop-serving alpha/data; then: "
    )
