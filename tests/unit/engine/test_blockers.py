"""Whatever would refuse a promotion is said before: by its plan, and all the time by readiness.

The codes come from the code itself: one more blocker without a scene here fails the first test.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from storage_agent.model.agreement import Agreement, Silence
from storage_agent.model.array import ArrayMember, ArrayView
from storage_agent.model.configuration import AgentConfig, Arbitration, VolumeConfig
from storage_agent.model.creation import Creation
from storage_agent.model.errors import AgentError, OperationFailed
from storage_agent.model.filesystem import FilesystemView, Mount
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.nfs import NfsView
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import ConnectionState, DiskState, ReplicationState, Role
from storage_agent.model.snapshot import (
    CHEAP_FACETS,
    JUDGED_FACETS,
    Attachment,
    Facet,
    VolumeSnapshot,
)
from storage_agent.model.wire import to_wire
from storage_agent.policy.evidence import NEVER_SEEN
from storage_agent.policy.readiness import Readiness, Verdict, assess
from tests.unit.calls import codes_of
from tests.unit.engine.parts import CONFIG, make_engine, request, run, serving_host
from tests.unit.fakes import CONTENT, FakeHost, MemoryStore, agent_config
from tests.unit.replicas import guards_as, in_sync_replica, lost_peer, with_peer

ROOTS = (
    ("storage_agent.policy.promotion", "promotion_findings", ""),
    ("storage_agent.engine.obstacles", "of", "Obstacles"),
)
# These judge who asks and with what, which no state of the host tells.
OF_THE_REQUEST = (
    ("storage_agent.policy.epoch", "epoch_findings", ""),
    ("storage_agent.policy.common", "wrong_primary", ""),
)
# Not in the way of a promotion: read on the way to something else and passed over (status has it
# among its problems); and what the host that would let go says of this one.
ELSEWHERE = {"JOURNAL_DAMAGED", "PEER_WOULD_REFUSE"}
# As it should be while the peer serves: a host is ready for the moment when that has let go.
PEER_SERVES = "PEER_IS_PRIMARY"

SYNCED = in_sync_replica()
ALONE = lost_peer(SYNCED)
PROVEN = Attachment(in_sync_until_loss=True)
VOLUME = CONFIG.volumes["data"]
ARBITRATED = agent_config(dataclasses.replace(VOLUME, arbitration=Arbitration.COORDINATOR))
NOT_MADE = agent_config(
    dataclasses.replace(VOLUME, array=dataclasses.replace(VOLUME.array, uuid={}))
)
HALF = Creation(
    operation_id="make-1", role="first", array_uuid="u", filesystem_uuid="f", serials=("s",)
)
WORSE = guards_as(Arbitration.NONE)
ASKED = "10.8.0.2 port 8780"


@dataclass
class Altered(FakeHost):
    """Shows something that no field of a fake host makes."""

    alter: Callable[[VolumeSnapshot], VolumeSnapshot] = lambda seen: seen

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        return self.alter(super().observe(volume, facets))


@dataclass
class Scene:
    """host: how it differs from one that is ready.  spoil: what is done to the state folder.
    asked: what is asked for beside the promotion itself."""

    host: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[MemoryStore], object] = lambda store: None
    config: AgentConfig = CONFIG
    asked: dict[str, Any] = field(default_factory=dict)


def peer(**changes: Any) -> Scene:
    return Scene(host={"replica": with_peer(SYNCED, **changes)})


def mine(**changes: Any) -> Scene:
    return Scene(host={"replica": dataclasses.replace(SYNCED, **changes)})


def option(name: str, value: str) -> Scene:
    return Scene(host={"guards": dataclasses.replace(WORSE, options=WORSE.options | {name: value})})


def agreement(**changes: Any) -> Scene:
    known: dict[str, Any] = {"has_secret": True, "asked": ASKED} | changes
    return Scene(host={"agreement": Agreement(**known)})


def spoiled(name: str, content: bytes = b"{}") -> Scene:
    return Scene(spoil=lambda store: store.files.update({name: content}))


def altered(alter: Callable[[VolumeSnapshot], VolumeSnapshot]) -> Scene:
    return Scene(host={"alter": alter})


def degraded(seen: VolumeSnapshot) -> VolumeSnapshot:
    view = seen.array
    if not isinstance(view, ArrayView) or view.array is None:
        return seen
    array = dataclasses.replace(view.array, degraded=1)
    return dataclasses.replace(seen, array=dataclasses.replace(view, array=array))


def mounted_elsewhere(seen: VolumeSnapshot) -> VolumeSnapshot:
    view = seen.filesystem
    if not isinstance(view, FilesystemView):
        return seen
    mount = Mount(
        mount_point="/mnt",
        source="/dev/drbd0",
        device="147:0",
        root="/",
        type="ext4",
        read_only=True,
    )
    return dataclasses.replace(seen, filesystem=dataclasses.replace(view, mounts=(mount,)))


def with_a_new_member(seen: VolumeSnapshot) -> VolumeSnapshot:
    view = seen.array
    if not isinstance(view, ArrayView) or view.array is None:
        return seen
    new = ArrayMember(disk="vdf", serial="new-0", slot=0, state=("in_sync",))
    array = dataclasses.replace(view.array, members=(new,))
    return dataclasses.replace(seen, array=dataclasses.replace(view, array=array))


def linkless(seen: VolumeSnapshot) -> VolumeSnapshot:
    view = seen.nfs
    if not isinstance(view, NfsView):
        return seen
    return dataclasses.replace(seen, nfs=dataclasses.replace(view, has_link=False))


def lose_account(store: MemoryStore) -> None:
    """Of an operation that was carried out before."""
    run(make_engine(FakeHost(), store), request(OperationKind.PROMOTE, "earlier"))
    del store.files["account-data"]


def discard(store: MemoryStore) -> None:
    """As a person chose in a split brain; the other side has not chosen yet."""
    parted = dataclasses.replace(
        with_peer(ALONE, connection=ConnectionState.STANDALONE), split_brain=True
    )
    wanted = request(OperationKind.SPLIT_BRAIN, "give-up", options={"choice": "discard"})
    engine = make_engine(FakeHost(replica=parted), store)
    assert run(engine, wanted).state is OperationState.SUCCEEDED


DAMAGED = b"not what this agent writes"
SCENES = {
    "ARBITRATION_NOT_IN_FORCE": Scene(
        host={"guards": dataclasses.replace(WORSE, fence_peer="/bin/true")}
    ),
    "ARRAY_DEGRADED": altered(degraded),
    "ARRAY_NOT_CREATED": Scene(config=NOT_MADE),
    "ARRAY_NOT_RUNNING": Scene(host={"array": None, "missing": ()}),
    "CONFIG_NOT_COMPARED": agreement(silence=Silence.REFUSED),
    "CONFIG_DISAGREES": agreement(differing={"volumes.data.nfs.threads": ("8", "9")}),
    "COPY_GIVEN_UP": Scene(host={"replica": ALONE}, spoil=discard),
    "CREATION_DAMAGED": spoiled("creation-data", DAMAGED),
    "CREATION_UNFINISHED": spoiled("creation-data", json.dumps(to_wire(HALF)).encode()),
    "CURRENCY_UNPROVEN": Scene(host={"replica": ALONE, "attachment": NEVER_SEEN}),
    "DISK_NOT_UPTODATE": mine(disk=DiskState.OUTDATED),
    "EPOCH_DAMAGED": spoiled("epoch-data", DAMAGED),
    "EPOCH_MISSING": Scene(spoil=lambda store: store.files.pop("epoch-data")),
    "FILESYSTEM_TOO_LARGE": Scene(
        host={"content": dataclasses.replace(CONTENT, size_bytes=1 << 40)}
    ),
    "JOURNAL_LOST": Scene(spoil=lose_account),
    "MARKER_RECORD_DAMAGED": spoiled("marker-data", DAMAGED),
    "MEMBER_REPLACED": altered(with_a_new_member),
    "MOUNTED_ELSEWHERE": altered(mounted_elsewhere),
    "MOUNT_POINT": Scene(host={"mount_point_state": "not-empty"}),
    "NFS_LINK_GONE": altered(linkless),
    "NO_PAIR_SECRET": agreement(has_secret=False),
    "OUT_OF_SYNC": peer(out_of_sync_bytes=4096),
    "PEER_DISKLESS": peer(disk=DiskState.DISKLESS),
    PEER_SERVES: peer(role=Role.PRIMARY),
    "PEER_MAY_HAVE_WRITTEN": Scene(host={"replica": ALONE, "attachment": PROVEN}),
    "PEER_NOT_IN_SYNC": peer(
        replication=ReplicationState.SYNC_SOURCE, disk=DiskState.INCONSISTENT, out_of_sync_bytes=9
    ),
    "PEER_NOT_PROVEN_OFF": Scene(host={"replica": ALONE, "attachment": PROVEN}),
    "PEER_ROLE_UNKNOWN": peer(role=Role.UNKNOWN),
    "PROMOTION_NOT_GRANTED": Scene(
        host={"replica": ALONE, "attachment": PROVEN}, config=ARBITRATED
    ),
    "REPLICA_DOWN": altered(lambda seen: dataclasses.replace(seen, replica=None)),
    "REPLICA_SUSPENDED": mine(suspended=("user",)),
    "REPLICA_TIMEOUT": option("net.timeout", "60"),
    "REPLICA_UNSAFE": option("net.protocol", "A"),
    "SPLIT_BRAIN": Scene(
        host={
            "replica": dataclasses.replace(
                with_peer(ALONE, connection=ConnectionState.STANDALONE), split_brain=True
            )
        }
    ),
    "STAND_ALONE": Scene(host={"replica": with_peer(ALONE, connection=ConnectionState.STANDALONE)}),
    "STATE_FOLDER": Scene(spoil=lambda store: setattr(store, "full", True)),
    "UNOBSERVED": Scene(host={"blind": {Facet.ARRAY: "no answer"}}),
    "WRONG_FILESYSTEM": Scene(host={"content": None}),
}
ASKING: dict[str, dict[str, Any]] = {
    "EPOCH_JUMP": {"epoch": 1 << 30},
    "OTHER_COORDINATOR": {"epoch": 6, "coordinator": "claim-2"},
    "STALE_EPOCH": {"epoch": 4},
    "WRONG_PRIMARY": {"expected_primary": "beta"},
}


@dataclass
class Told:
    """What was said of one promotion: by its plan, by itself, and by readiness just before."""

    plan: tuple[Finding, ...]
    state: OperationState
    record: tuple[Finding, ...]
    readiness: Readiness


def codes(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.code for finding in findings}


def tell(scene: Scene) -> Told:
    host, store = Altered(**scene.host), MemoryStore()
    volume = scene.config.volumes["data"]
    engine = make_engine(host, store, scene.config)
    scene.spoil(store)
    seen = dataclasses.replace(host.seen(volume), records=engine.obstacles(volume))
    readiness = assess(scene.config, volume, seen)
    wanted = request(OperationKind.PROMOTE, **scene.asked)
    _, plan = engine.plan(wanted)
    try:
        record = run(engine, wanted)
    except AgentError as exc:
        # Before it was accepted.
        return Told(plan, OperationState.REFUSED, exc.findings or plan, readiness)
    return Told(plan, record.state, record.findings, readiness)


def test_every_code_of_a_promotion_has_a_scene() -> None:
    assert codes_of(*ROOTS) - ELSEWHERE == set(SCENES)
    assert codes_of(*OF_THE_REQUEST) == set(ASKING)


@pytest.mark.parametrize("code", sorted(SCENES))
def test_what_would_refuse_is_said_by_the_plan_and_all_the_time(code: str) -> None:
    told = tell(SCENES[code])
    assert code in codes(told.plan)
    refusing = codes(blockers(told.plan))
    assert (told.state is OperationState.REFUSED) == bool(refusing)
    assert codes(blockers(told.record)) <= refusing
    assert refusing - {PEER_SERVES} <= codes(told.readiness.findings)
    if code != PEER_SERVES:
        (finding, *_) = (f for f in told.readiness.findings if f.code == code)
        assert finding.measured
        assert finding.remedy
        assert told.readiness.verdict is not Verdict.READY
    if refusing - {PEER_SERVES, "PROMOTION_NOT_GRANTED"}:
        assert told.readiness.verdict is Verdict.BLOCKED


@pytest.mark.parametrize("code", sorted(ASKING))
def test_what_is_wrong_with_the_request_is_said_by_its_plan(code: str) -> None:
    host = {"replica": in_sync_replica(role=Role.PRIMARY)} if code == "WRONG_PRIMARY" else {}
    told = tell(Scene(host=host, asked=ASKING[code]))
    assert code in codes(blockers(told.plan))
    assert told.state is OperationState.REFUSED
    assert told.record == told.plan
    assert code not in codes(told.readiness.findings)


@pytest.mark.parametrize("facet", sorted(JUDGED_FACETS - {Facet.INCIDENT, Facet.AGREEMENT}))
def test_what_cannot_be_looked_at_refuses_and_is_shown(facet: Facet) -> None:
    told = tell(Scene(host={"blind": {facet: "no answer"}}))
    assert "UNOBSERVED" in codes(blockers(told.plan))
    assert told.state is OperationState.REFUSED
    assert "UNOBSERVED" in codes(told.readiness.findings)
    assert told.readiness.verdict is Verdict.BLOCKED


def test_records_that_do_not_answer_are_not_taken_for_none() -> None:
    seen = dataclasses.replace(FakeHost().seen(VOLUME), records=Unobserved(reason="10 s"))
    assert assess(CONFIG, VOLUME, seen).verdict is Verdict.BLOCKED


def test_a_serving_host_says_what_would_refuse_its_next_promotion() -> None:
    host, store = serving_host(), MemoryStore()
    engine = make_engine(host, store)
    store.full = True
    seen = dataclasses.replace(host.seen(VOLUME), records=engine.obstacles(VOLUME))
    readiness = assess(CONFIG, VOLUME, seen)
    assert (readiness.verdict, codes(readiness.findings)) == (Verdict.DEGRADED, {"STATE_FOLDER"})


def test_that_an_operation_runs_is_no_fault() -> None:
    host = FakeHost()
    engine = make_engine(host, MemoryStore())
    engine.begin(request(OperationKind.DEMOTE))
    (busy,) = engine.obstacles(VOLUME)
    assert (busy.code, busy.severity) == ("BUSY", Severity.NOTE)
    seen = dataclasses.replace(host.seen(VOLUME), records=(busy,))
    assert assess(CONFIG, VOLUME, seen).verdict is Verdict.READY


def test_with_the_array_down_its_own_reasons_and_the_records_are_said() -> None:
    store = MemoryStore()
    host = FakeHost(array=None, missing=("alpha-3",))
    engine = make_engine(host, store)
    del store.files["epoch-data"]
    seen = dataclasses.replace(host.seen(VOLUME), records=engine.obstacles(VOLUME))
    assert codes(assess(CONFIG, VOLUME, seen).findings) == {"MEMBER_MISSING", "EPOCH_MISSING"}


def test_a_copy_that_was_given_up_is_not_told_to_power_the_other_host_off() -> None:
    told = tell(SCENES["COPY_GIVEN_UP"])
    assert [f.code for f in told.readiness.findings] == ["COPY_GIVEN_UP"]
    assert told.readiness.findings[0].remedy == "on beta: storage-agent split-brain data --keep"
    off = tell(Scene({"replica": ALONE}, discard, asked={"peer_is_off": "beta"}))
    assert "COPY_GIVEN_UP" not in codes(off.plan)
    since = tell(Scene({"replica": ALONE, "attachment": PROVEN}, discard))
    assert codes(since.plan) == codes(tell(SCENES["PEER_NOT_PROVEN_OFF"]).plan)
    again = tell(Scene(spoil=discard))
    assert (again.plan, again.readiness.verdict) == ((), Verdict.READY)


class Unreadable(MemoryStore):
    """A journal's block has gone bad."""

    def names(self, prefix: str) -> tuple[str, ...]:
        if prefix == "operation-":
            raise OperationFailed("Input/output error", code="STATE_FOLDER")
        return super().names(prefix)


def test_a_journal_that_cannot_be_read_refuses_and_is_shown() -> None:
    found = make_engine(FakeHost(), Unreadable()).obstacles(VOLUME)
    assert [f.code for f in blockers(found)] == ["STATE_FOLDER"]
    assert "Input/output error" in found[0].summary


def test_right_before_the_role_is_taken_nothing_is_tried_that_the_next_write_tells() -> None:
    class Counting(MemoryStore):
        tried = 0

        def require_writable(self) -> None:
            self.tried += 1

    store = Counting()
    assert run(make_engine(FakeHost(), store), request(OperationKind.PROMOTE)).changed
    assert store.tried == 1
