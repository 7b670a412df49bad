"""What this host has written down, and what lies on its disks below a running array, as it is said
all the time."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import Array, ArrayState, ArrayView, Superblock
from storage_agent.model.finding import Finding, Severity
from storage_agent.model.nfs import ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import Role
from storage_agent.model.snapshot import Attachment, VolumeSnapshot
from storage_agent.policy.array.next_assembly import next_assembly_findings
from storage_agent.policy.common import blocker
from storage_agent.policy.readiness import Readiness, Verdict, assess
from storage_agent.policy.records import busy_note, given_up_note
from tests.unit.fakes import ARRAY_UUID, SERIALS, FakeHost, agent_config, volume_config
from tests.unit.replicas import in_sync_replica, lost_peer
from tests.unit.service.parts import record_of

CONFIG = agent_config()
VOLUME = CONFIG.volumes["data"]


def found(code: str) -> Finding:
    return blocker(code, code.lower(), measured="m", limit="l", remedy="r")


def judged(snapshot: VolumeSnapshot) -> Readiness:
    return assess(CONFIG, VOLUME, snapshot)


def seen(records: tuple[Finding, ...] | Unobserved, **host: object) -> VolumeSnapshot:
    fake = FakeHost(**host)  # type: ignore[arg-type]
    return dataclasses.replace(fake.seen(VOLUME), records=records)


def said(readiness: Readiness) -> list[str]:
    return [finding.code for finding in readiness.findings]


def test_what_is_lost_blocks_and_is_said_beside_all_else() -> None:
    readiness = judged(seen((found("EPOCH_MISSING"),), mount_point_state="missing"))
    assert readiness.verdict is Verdict.BLOCKED
    assert said(readiness) == ["EPOCH_MISSING", "MOUNT_POINT"]


def test_of_a_half_made_volume_nothing_else_is_said() -> None:
    readiness = judged(seen((found("CREATION_UNFINISHED"),), array=None))
    assert said(readiness) == ["CREATION_UNFINISHED"]


def test_records_that_do_not_answer_are_unknown() -> None:
    readiness = judged(seen(Unobserved(reason="not returned for 10 s")))
    assert (readiness.verdict, said(readiness)) == (Verdict.BLOCKED, ["UNOBSERVED"])


def test_a_volume_that_was_never_made_has_no_epoch_to_restore() -> None:
    volume = dataclasses.replace(VOLUME, array=dataclasses.replace(VOLUME.array, uuid={}))
    readiness = assess(CONFIG, volume, seen((found("EPOCH_MISSING"),)))
    assert said(readiness) == ["ARRAY_NOT_CREATED"]


def test_a_running_operation_is_named_and_no_fault() -> None:
    request = OperationRequest(kind=OperationKind.PROMOTE, volume="data", operation_id="op-1")
    note = busy_note(record_of(request, state=OperationState.RUNNING, message="mount"))
    assert note.measured == "operation op-1: mount"
    readiness = judged(seen((note,)))
    assert (readiness.verdict, said(readiness)) == (Verdict.READY, ["BUSY"])


def block(serial: str, role: int, **changes: object) -> Superblock:
    made = Superblock(
        disk=f"vd{role}",
        serial=serial,
        array_uuid=ARRAY_UUID,
        device_uuid=f"d{role}",
        name="data",
        level="raid10",
        raid_disks=4,
        role=role,
        events=7,
        array_state="AAAA",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


WHOLE = tuple(block(serial, role) for role, serial in enumerate(SERIALS))
CLONE = block("other", 3, disk="vdx")
RUNNING = Array(
    name="md127",
    uuid=ARRAY_UUID,
    level="raid10",
    state=ArrayState.ACTIVE,
    raid_disks=4,
    degraded=0,
    size_bytes=512 << 20,
    sync_action="idle",
    members=(),
)


@pytest.mark.parametrize("role", [Role.PRIMARY, Role.SECONDARY])
@pytest.mark.parametrize(
    ("view", "codes"),
    [
        (ArrayView(array=RUNNING, attached=WHOLE, missing=()), []),
        (
            ArrayView(array=RUNNING, attached=WHOLE[:3], missing=(), blank=("alpha-3",)),
            ["MEMBER_BLANK"],
        ),
        (
            ArrayView(array=RUNNING, attached=(*WHOLE, CLONE), missing=()),
            ["MEMBER_UNEXPECTED", "MEMBER_DUPLICATE"],
        ),
        # One read of them follows the other, and the array that is written to counts on.
        (
            ArrayView(
                array=RUNNING, attached=(*WHOLE[:3], block("alpha-3", 3, events=8)), missing=()
            ),
            [],
        ),
        # That one is missing the array says itself.
        (ArrayView(array=RUNNING, attached=WHOLE[:3], missing=("alpha-3",)), []),
    ],
)
def test_what_the_next_boot_would_not_find_is_said_while_the_array_runs(
    view: ArrayView, codes: list[str], role: Role
) -> None:
    is_primary = role is Role.PRIMARY
    host = FakeHost(
        replica=in_sync_replica(role=role),
        mounted=is_primary,
        server=ServerState.SERVING if is_primary else ServerState.STANDBY,
    )
    snapshot = dataclasses.replace(host.seen(VOLUME), array=view)
    readiness = judged(snapshot)
    assert said(readiness) == codes
    assert all(f.severity is Severity.WARNING for f in readiness.findings)
    assert all("next boot" in f.summary for f in readiness.findings)
    assert (readiness.verdict is Verdict.DEGRADED) == bool(codes)


def test_an_array_that_is_down_is_judged_as_it_is() -> None:
    volume = volume_config()
    host = FakeHost(array=None, missing=("alpha-3",))
    assert next_assembly_findings(volume, host.seen(volume)) == ()


def test_a_copy_that_was_given_up_waits_for_the_other_hosts_word() -> None:
    note = given_up_note("data")
    alone = lost_peer(in_sync_replica())
    assert said(judged(seen((note,), replica=alone))) == ["COPY_GIVEN_UP"]
    assert said(judged(seen((note,)))) == []
    unasked = dataclasses.replace(FakeHost(replica=alone).seen(VOLUME), records=None)
    assert "COPY_GIVEN_UP" not in said(judged(unasked))
    proven = Attachment(in_sync_until_loss=True)
    assert "COPY_GIVEN_UP" not in said(judged(seen((note,), replica=alone, attachment=proven)))
