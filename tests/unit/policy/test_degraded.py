"""An array that lost members: when it may be started without them, and what gets one back in."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import (
    Array,
    ArrayMember,
    ArrayState,
    ArrayView,
    SeenMembers,
    Superblock,
)
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.members import carries, is_current, select
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import DiskState, Role
from storage_agent.policy.array.assembly import assembly_findings, degraded_start_findings
from tests.unit.fakes import ARRAY_UUID, FakeHost, volume_config
from tests.unit.policy.test_assembly import WHOLE, superblock
from tests.unit.replicas import in_sync_replica, lost_peer

VOLUME = volume_config()
MIRROR = dataclasses.replace(
    VOLUME,
    array=dataclasses.replace(
        VOLUME.array, level="raid1", disks=VOLUME.array.disks | {"alpha": ("alpha-0", "alpha-1")}
    ),
)
HALF = superblock("alpha-0", 0, level="raid1", raid_disks=2, array_state="AA", updated="noon")
OTHER = dataclasses.replace(HALF, serial="alpha-1", disk="vd1", role=1)


def seen(*in_sync: str, rebuilding: tuple[str, ...] = ()) -> SeenMembers:
    return SeenMembers(in_sync=in_sync, rebuilding=rebuilding, since_wall_s=1.0)


def view(
    *attached: Superblock,
    note: SeenMembers | None = None,
    missing: tuple[str, ...] = (),
    blank: tuple[str, ...] = (),
    array: Array | None = None,
) -> ArrayView:
    return ArrayView(array=array, attached=attached, missing=missing, blank=blank, seen=note)


def starting(found: ArrayView, volume: VolumeConfig = MIRROR) -> tuple[Finding, ...]:
    snapshot = dataclasses.replace(FakeHost(array=None).observe(VOLUME), array=found)
    return degraded_start_findings(volume, snapshot)


def assembling(found: ArrayView, volume: VolumeConfig = MIRROR) -> tuple[Finding, ...]:
    snapshot = dataclasses.replace(FakeHost(array=None).observe(VOLUME), array=found)
    return assembly_findings(volume, snapshot)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    assert all(finding.remedy for finding in findings)
    return [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("level", "slots", "present", "expected"),
    [
        ("raid1", 2, {1}, True),
        ("raid1", 2, set(), False),
        ("raid5", 3, {0, 2}, True),
        ("raid5", 3, {0}, False),
        ("raid6", 4, {0, 2}, True),
        ("raid6", 4, {0}, False),
        ("raid10", 4, {0, 3}, True),
        ("raid10", 4, {0, 1}, False),
        ("raid10", 3, {0, 1}, True),
        ("raid10", 3, {0}, False),
        ("raid10", 5, {0, 2, 4}, True),
        ("raid10", 0, set(), False),
        ("raid0", 2, {0, 1}, False),
    ],
)
def test_what_a_level_can_do_without(
    level: str, slots: int, present: set[int], expected: bool
) -> None:
    assert carries(level, slots, present) is expected


@pytest.mark.parametrize(
    ("events", "state", "role", "expected"),
    [
        (19, "AAAA", 2, True),
        # A power cut between two superblocks.
        (18, "AAAA", 2, True),
        # Thrown out: the newest says so.
        (18, "AA.A", 2, False),
        (18, "AAAA", None, False),
        (17, "AAAA", 2, False),
    ],
)
def test_one_event_behind_is_current_where_the_newest_counts_it(
    events: int, state: str, role: int | None, expected: bool
) -> None:
    newest = superblock("alpha-0", 0, array_state=state)
    assert is_current(superblock("alpha-2", role, events=events), newest) is expected


def test_nothing_attached_and_nothing_chosen() -> None:
    members = select(VOLUME.array, view(), "alpha")
    assert (members.chosen, members.is_whole()) == ((), False)


def test_a_member_that_died_with_the_power_is_left_to_a_person() -> None:
    found = view(HALF, note=seen("alpha-0", "alpha-1"), missing=("alpha-1",))
    (finding,) = assembling(found)
    assert finding.code == "MEMBER_MISSING"
    assert finding.remedy.endswith("start without it: storage-agent assemble data --degraded")
    (start,) = starting(found)
    assert (start.code, start.severity) == ("DEGRADED_START", Severity.WARNING)
    assert start.measured == (
        "present: alpha-0 (slot 0, event count 19, updated noon); absent: slot 1 (alpha-1)"
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # It fell out, and the absent one went on alone: DRBD would not notice.
        (view(HALF, note=seen("alpha-1")), "DEGRADED_OLDER"),
        # Nobody knows.
        (view(HALF), "DEGRADED_UNKNOWN"),
        # What it says itself proves it: the other one was thrown out.
        (view(dataclasses.replace(HALF, array_state="A.")), "DEGRADED_START"),
        # The other one is here too, and older.
        (view(dataclasses.replace(HALF, array_state="A."), dataclasses.replace(OTHER, events=17)),
         "DEGRADED_START"),
        # It does not have all of the data.
        (view(dataclasses.replace(HALF, recovering=True), note=seen("alpha-0")),
         "DEGRADED_IMPOSSIBLE"),
        (view(note=seen("alpha-0")), "DEGRADED_IMPOSSIBLE"),
    ],
    ids=["fell-out", "unknown", "says-so", "older-here", "half-rebuilt", "nothing"],
)  # fmt: skip
def test_a_mirrors_half(found: ArrayView, expected: str) -> None:
    assert codes(starting(found)) == [expected]
    for finding in starting(found):
        assert "--first" not in finding.remedy


def test_by_hand_is_named_where_nobody_knows() -> None:
    (finding,) = starting(view(HALF))
    assert finding.remedy.endswith(
        f"mdadm --assemble --run /dev/md/data --config=none --uuid={ARRAY_UUID} /dev/vd0"
    )


def test_what_is_absent_could_not_have_run_alone() -> None:
    """Three of four: one disk carries nothing, whatever was noted."""
    assert codes(starting(view(*WHOLE[:3]), VOLUME)) == ["DEGRADED_START"]
    assert codes(starting(view(*WHOLE[:2]), VOLUME)) == ["DEGRADED_IMPOSSIBLE"]
    halves = (WHOLE[0], WHOLE[2])
    assert codes(starting(view(*halves), VOLUME)) == ["DEGRADED_UNKNOWN"]


def test_where_it_cannot_be_done_the_way_is_to_see_why() -> None:
    (finding,) = assembling(view(HALF, missing=("alpha-1",)))
    assert finding.remedy.endswith(
        "why not without it: storage-agent assemble data --degraded --dry-run"
    )


def test_a_clone_is_in_the_way_of_both() -> None:
    clone = superblock("clone", 0, level="raid1", raid_disks=2, array_state="AA")
    found = view(HALF, clone, note=seen("alpha-0", "alpha-1"), missing=("alpha-1",))
    assert codes(assembling(found)) == ["MEMBER_MISSING", "MEMBER_UNEXPECTED", "MEMBER_DUPLICATE"]
    assert "--degraded" not in assembling(found)[0].remedy
    assert [f.code for f in blockers(starting(found))] == ["MEMBER_UNEXPECTED", "MEMBER_DUPLICATE"]


def test_what_is_whole_or_runs_needs_no_insisting() -> None:
    assert starting(view(HALF, OTHER)) == ()
    assert starting(view(HALF, array=running())) == ()
    snapshot = FakeHost(array=None).observe(VOLUME)
    blind = dataclasses.replace(snapshot, array=Unobserved(reason="x"))
    assert codes(degraded_start_findings(VOLUME, blind)) == ["UNOBSERVED"]


def test_a_lone_primary_takes_no_half_back() -> None:
    lone = dataclasses.replace(
        lost_peer(in_sync_replica()), role=Role.PRIMARY, disk=DiskState.DISKLESS
    )
    snapshot = dataclasses.replace(
        FakeHost(array=None, replica=lone).observe(VOLUME),
        array=view(HALF, note=seen("alpha-0", "alpha-1")),
    )
    assert "ATTACH_ALONE" in codes(degraded_start_findings(MIRROR, snapshot))


def test_a_blank_disk_in_a_members_place_is_added_once_the_array_runs() -> None:
    found = view(HALF, note=seen("alpha-0", "alpha-1"), blank=("alpha-1",))
    (finding,) = assembling(found)
    assert finding.code == "MEMBER_BLANK"
    assert finding.remedy.endswith(
        "storage-agent assemble data --degraded; once the array runs: mdadm /dev/md/data --add "
        "/dev/disk/by-id/*[-_]alpha-1"
    )


def test_where_all_is_gone_it_is_the_other_hosts_copy() -> None:
    alone = dataclasses.replace(MIRROR, replica=None)
    found = view(blank=("alpha-0", "alpha-1"))
    assert [f.code for f in assembling(found)] == ["MEMBER_BLANK", "MEMBER_BLANK"]
    assert "storage-agent create data --join" in assembling(found)[0].remedy
    assert "--join" not in assembling(found, alone)[0].remedy


def test_a_stale_member_is_left_out_and_rebuilt() -> None:
    stale = dataclasses.replace(WHOLE[2], events=17)
    (finding,) = assembling(view(*WHOLE[:2], stale, WHOLE[3]), VOLUME)
    assert finding.remedy == (
        "it missed writes: start without it: storage-agent assemble data --degraded; once the "
        "array runs, rebuild it: mdadm /dev/md/data --add /dev/vd2"
    )
    (start,) = starting(view(*WHOLE[:2], stale, WHOLE[3]), VOLUME)
    assert "left out: alpha-2 (slot 2, event count 17" in start.measured
    # Without a way on it is not named.
    (unknown,) = assembling(
        view(dataclasses.replace(HALF, events=17), OTHER, note=seen("alpha-0")), MIRROR
    )
    assert "start without it: " not in unknown.remedy


# --- replaced ------------------------------------------------------------------------------------


def test_a_disk_that_was_added_is_used_where_this_host_has_seen_it() -> None:
    added = dataclasses.replace(OTHER, serial="new-1")
    found = view(HALF, added, note=seen("alpha-0", "new-1"), missing=("alpha-1",))
    (finding,) = assembling(found)
    assert (finding.code, finding.severity) == ("MEMBER_REPLACED", Severity.WARNING)
    assert 'write alpha = ["alpha-0", "new-1"]' in finding.remedy
    members = select(MIRROR.array, found, "alpha")
    assert [block.serial for block in members.chosen] == ["alpha-0", "new-1"]
    assert [block.serial for block in members.taken_over] == ["new-1"]
    # Also while it was being rebuilt, and beside the old one.
    half = dataclasses.replace(added, recovering=True)
    old = dataclasses.replace(OTHER, events=17)
    rebuilt = view(HALF, half, old, note=seen("alpha-0", rebuilding=("new-1",)))
    assert codes(assembling(rebuilt)) == ["MEMBER_REPLACED"]
    # One that nobody has seen in it may be a clone.
    assert codes(assembling(view(HALF, added, missing=("alpha-1",)))) == [
        "MEMBER_MISSING",
        "MEMBER_UNEXPECTED",
    ]


# --- a running array -----------------------------------------------------------------------------


def member(serial: str, slot: int | None, *state: str) -> ArrayMember:
    return ArrayMember(disk=f"vd{serial[-1]}", serial=serial, slot=slot, state=state)


def running(
    *members: ArrayMember,
    degraded: int = 0,
    state: ArrayState = ArrayState.CLEAN,
    sync_action: str = "idle",
) -> Array:
    return Array(
        name="md127",
        uuid=ARRAY_UUID,
        level="raid1",
        state=state,
        raid_disks=2,
        degraded=degraded,
        size_bytes=1 << 30,
        sync_action=sync_action,
        members=members,
    )


GOOD = member("alpha-0", 0, "in_sync")
COMING = member("alpha-1", 1, "spare")
SPARE = member("alpha-1", None, "spare")


@pytest.mark.parametrize(
    ("array", "attached", "blank", "expected"),
    [
        (running(GOOD, degraded=1), (HALF,), (),
         "replace the disk (the new one's name: ls -l /dev/disk/by-id; lsblk -o NAME,SERIAL), "
         "then: mdadm /dev/md/data --add /dev/disk/by-id/NEW-DISK"),
        # It is there again.
        (running(GOOD, degraded=1), (dataclasses.replace(HALF, disk="vd0"), OTHER), (),
         "alpha-1 is attached again, and is rebuilt after: mdadm /dev/md/data --add /dev/vd1"),
        (running(GOOD, degraded=1), (dataclasses.replace(OTHER, array_uuid="9:9:9:9"),), (),
         "replace the disk"),
        (running(GOOD, degraded=1), (HALF,), ("alpha-1",),
         "alpha-1 is there and blank: mdadm /dev/md/data --add /dev/disk/by-id/*[-_]alpha-1"),
        (running(GOOD, COMING, degraded=1, sync_action="recover"), (), (),
         "no disk is to be replaced; see how far it is: storage-agent status"),
        # Up again after a restart in the middle of it.
        (running(GOOD, COMING, degraded=1, state=ArrayState.READ_AUTO), (), (),
         "no disk is to be replaced; rebuilding goes on with the first write"),
        (running(GOOD, SPARE, degraded=1, state=ArrayState.READ_AUTO), (), (),
         "no disk is to be replaced; rebuilding goes on with the first write"),
        (running(GOOD, COMING, degraded=1, sync_action="frozen"), (), (),
         "no disk is to be replaced; rebuilding is frozen: echo idle > "
         "/sys/block/md127/md/sync_action"),
        # A spare that md does not take.
        (running(GOOD, SPARE, degraded=1), (), (), "replace the disk"),
    ],
)  # fmt: skip
def test_what_puts_a_member_back(
    array: Array, attached: tuple[Superblock, ...], blank: tuple[str, ...], expected: str
) -> None:
    (finding,) = assembling(view(*attached, blank=blank, array=array))
    assert finding.code == "ARRAY_DEGRADED"
    assert finding.remedy.startswith(expected)


def test_a_running_array_of_another_disk_says_so() -> None:
    array = running(GOOD, member("new-1", 1, "in_sync"))
    (finding,) = assembling(view(array=array))
    assert finding.code == "MEMBER_REPLACED"
