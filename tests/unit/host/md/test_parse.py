from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from storage_agent.host.md.parse import (
    is_array,
    parse_superblock,
    read_array,
    split_examine,
)
from storage_agent.host.system.sysfs import Vanished
from storage_agent.model.array import Array, ArrayMember, ArrayState, Superblock
from storage_agent.model.errors import ParseError
from tests.unit.host.disks import LAB_UUID, add_array
from tests.unit.host.recorded import recorded
from tests.unit.host.tree import Tree

RECORDED_UUID = "e910cd47:3ae48c54:752ea18f:2fa8e3eb"
SERIALS = {f"vd{letter}": f"alpha-{slot}" for slot, letter in enumerate("bcde")}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def section(name: str, path: str) -> str:
    text = recorded("mdadm-examine", "4.2", name).stdout
    paths = frozenset(re.findall(r"^(/dev/\S+):$", text, re.MULTILINE))
    return split_examine(text, paths)[path]


def member() -> str:
    return section("raid10-foreign-auto-read-only-vdf-beta", "/dev/vdf")


def parse(text: str) -> Superblock | None:
    return parse_superblock(text, disk="vdf", serial="s")


def array(tree: Tree, situation: str) -> Array:
    add_array(tree, "md127", situation)
    return read_array(str(tree.root), "md127", SERIALS)


def test_who_was_left_out_and_who_is_being_rebuilt() -> None:
    left_out = parse(section("raid10-one-left-out-vdf-alpha", "/dev/vdb"))
    assert left_out is not None
    assert (left_out.array_state, left_out.recovering) == ("AA.A", False)
    half = parse(section("raid10-vdf-being-rebuilt-alpha", "/dev/vdf"))
    # By its role and by all states it is as good as the others.
    assert half is not None
    assert (half.role, half.array_state, half.recovering) == (2, "AAAA", True)


def test_a_member() -> None:
    assert parse(member()) == Superblock(
        disk="vdf",
        serial="s",
        array_uuid=RECORDED_UUID,
        device_uuid="f2c83005:db8bdb92:06962ce9:56e5f362",
        name="alpha:data",
        level="raid10",
        raid_disks=4,
        role=0,
        events=65,
        array_state="AAAA",
        size_bytes=1044480 * 1024,
        updated="Sat Nov 21 00:24:41 2026",
    )


def test_a_spare_has_no_role_and_the_name_no_remark() -> None:
    spare = parse(section("raid1-clean-with-spare-vdd-beta", "/dev/vdd"))
    assert spare is not None
    assert (spare.role, spare.name, spare.level, spare.events) == (None, "beta:data", "raid1", 0)


def test_one_process_for_all_disks_tells_them_apart() -> None:
    text = recorded("mdadm-examine", "4.2", "raid10-four-members-and-root-alpha").stdout
    paths = frozenset(f"/dev/vd{letter}" for letter in "abcde")
    found = split_examine(text, paths)
    assert sorted(found) == ["/dev/vdb", "/dev/vdc", "/dev/vdd", "/dev/vde"]
    blocks = [parse(part) for _, part in sorted(found.items())]
    assert [block.role for block in blocks if block] == [0, 1, 2, 3]
    assert {(block.array_uuid, block.events) for block in blocks if block} == {(LAB_UUID, 20)}


def test_unknown_fields_change_nothing() -> None:
    assert parse(member() + "   New Thing : 12\n") == parse(member())


def test_sizes_of_older_mdadm_have_no_unit() -> None:
    old = parse(member().replace("1044480 KiB (1020", "1044480 (1020"))
    assert old == parse(member())


def test_what_is_no_md_superblock_is_none() -> None:
    table = "   MBR Magic : aa55\nPartition[0] :       204800 sectors at         2048 (type 83)\n"
    assert parse(table) is None
    assert parse("          Magic : Intel Raid ISM Cfg Sig.\n        Version : 1.3.00\n") is None


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("Version : 1.2", "Version : 0.90.00"),
        ("- correct", "- expected 453ab25e"),
        ("Events : 65", "Events : 6.5"),
        ("Events : 65", "Eventz : 65"),
        ("Raid Devices : 4", "Raid Devices : four"),
        (f"Array UUID : {RECORDED_UUID}", "Array UUID : e910cd47"),
        ("Array Size : 1044480 KiB", "Array Size : many"),
        ("Raid Level : raid10\n", "Raid Level : raid10\n     Raid Level : raid1\n"),
    ],
)
def test_a_superblock_that_makes_no_sense_is_an_error(good: str, bad: str) -> None:
    assert good in member()
    with pytest.raises(ParseError):
        parse(member().replace(good, bad))


def test_a_name_cannot_pretend_to_be_more_output() -> None:
    crafted = member().replace("alpha:data", "x\n   Array State : AAAA\n/dev/vdz:\n")
    with pytest.raises(ParseError, match="not asked for"):
        split_examine("/dev/vdf:\n" + crafted, frozenset({"/dev/vdf"}))
    with pytest.raises(ParseError, match="twice"):
        parse(member().replace("alpha:data", "x\n   Array State : AAAA"))


def test_text_before_the_first_device_is_an_error() -> None:
    with pytest.raises(ParseError):
        split_examine("what\n/dev/vdf:\n", frozenset({"/dev/vdf"}))
    assert split_examine("", frozenset({"/dev/vdf"})) == {}


def test_an_array_that_resyncs(tree: Tree) -> None:
    assert array(tree, "raid10-initial-resync-alpha") == Array(
        name="md127",
        uuid=RECORDED_UUID,
        level="raid10",
        state=ArrayState.CLEAN,
        raid_disks=4,
        degraded=0,
        size_bytes=2088960 * 512,
        sync_action="resync",
        members=tuple(
            ArrayMember(disk=disk, serial=serial, slot=slot, state=("in_sync",))
            for slot, (disk, serial) in enumerate(SERIALS.items())
        ),
        sync_completed_ratio=261376 / 2088960,
        mismatch_count=0,
    )


@pytest.mark.parametrize(
    ("situation", "data_disks"),
    [("raid10-initial-resync-alpha", 2), ("raid5-clean-bitmap-beta", 3)],
)
@pytest.mark.parametrize(
    ("sectors", "component_kib"),
    [
        (1048576, 522240),
        # Less than a chunk more is no use.
        (1048576 + 1023, 522240),
        (1048576 + 1024, 522240 + 512),
        (2097152, 1046528),
    ],
)
def test_what_an_array_could_grow_to(
    tree: Tree, situation: str, data_disks: int, sectors: int, component_kib: int
) -> None:
    add_array(tree, "md127", situation)
    for disk in ("vdb", "vdc", "vdd", "vde"):
        # The smallest decides.
        larger = sectors if disk == "vdc" else sectors * 3
        tree.write(f"sys/class/block/{disk}/size", f"{larger}\n")
    found = read_array(str(tree.root), "md127", SERIALS)
    assert found.possible_bytes == data_disks * component_kib * 1024


def test_a_level_without_chunks_grows_by_the_sector(tree: Tree) -> None:
    add_array(tree, "md127", "raid10-initial-resync-alpha")
    tree.write("sys/block/md127/md/chunk_size", "0\n")
    for disk in SERIALS:
        tree.write(f"sys/class/block/{disk}/size", f"{1048576 + 1}\n")
    found = read_array(str(tree.root), "md127", SERIALS)
    assert found.possible_bytes == 2 * (522240 * 1024 + 512)


@pytest.mark.parametrize(
    "situation", ["raid10-initial-resync-alpha", "raid10-member-unplugged-alpha"]
)
def test_room_that_is_not_shown_or_of_a_missing_member_is_not_known(
    tree: Tree, situation: str
) -> None:
    add_array(tree, "md127", situation)
    shown = ("vdb", "vdc", "vde") if "unplugged" in situation else ("vdb", "vdc", "vdd")
    for disk in shown:
        tree.write(f"sys/class/block/{disk}/size", "1048576\n")
    assert read_array(str(tree.root), "md127", SERIALS).possible_bytes is None


def test_an_inactive_array_has_no_size_to_grow_to(tree: Tree) -> None:
    add_array(tree, "md127", "raid10-inactive-partial-3-of-4-alpha")
    assert read_array(str(tree.root), "md127", SERIALS).possible_bytes is None


def test_auto_read_only_shows_in_the_state(tree: Tree) -> None:
    found = array(tree, "raid10-foreign-auto-read-only-beta")
    assert found.state is ArrayState.READ_AUTO
    assert found.running()
    assert found.sync_completed_ratio is None


def test_a_member_that_was_pulled_is_missing(tree: Tree) -> None:
    found = array(tree, "raid10-member-unplugged-alpha")
    assert found.degraded == 1
    assert [member.slot for member in found.members] == [0, 1, 3]


def test_a_faulty_member_has_no_slot(tree: Tree) -> None:
    found = array(tree, "raid10-degraded-faulty-alpha")
    assert {member.disk: (member.slot, member.state) for member in found.members}["vdc"] == (
        None,
        ("faulty",),
    )


def test_an_array_that_never_ran_knows_little(tree: Tree) -> None:
    found = array(tree, "raid10-inactive-partial-3-of-4-alpha")
    assert (found.state, found.uuid, found.level) == (ArrayState.INACTIVE, "", "")
    assert (found.raid_disks, found.degraded, found.sync_action) == (0, None, "idle")
    assert [(member.slot, member.state) for member in found.members] == [(None, ("spare",))] * 3
    assert not found.running()


def test_unknown_attributes_and_a_reshape(tree: Tree) -> None:
    plain = array(tree, "raid5-clean-bitmap-beta")
    tree.write("sys/block/md127/md/new_attribute", "7\n")
    assert read_array(str(tree.root), "md127", SERIALS) == plain
    tree.write("sys/block/md127/md/raid_disks", "6 (4)\n")
    tree.write("sys/block/md127/md/sync_completed", "delayed\n")
    tree.folder("sys/block/md127/holders/drbd0")
    found = read_array(str(tree.root), "md127", SERIALS)
    assert (found.raid_disks, found.sync_completed_ratio, found.holders) == (6, None, ("drbd0",))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("raid_disks", "many"),
        ("degraded", "-1"),
        ("uuid", "e910cd47-3ae4"),
    ],
)
def test_numbers_that_are_none_are_errors(tree: Tree, attribute: str, value: str) -> None:
    add_array(tree, "md127", "raid10-initial-resync-alpha")
    tree.write(f"sys/block/md127/md/{attribute}", value + "\n")
    with pytest.raises(ParseError):
        read_array(str(tree.root), "md127", SERIALS)


def test_what_goes_meanwhile_has_vanished(tree: Tree) -> None:
    add_array(tree, "md127", "raid10-initial-resync-alpha")
    (tree.root / "sys/block/md127/md/dev-vdb/state").unlink()
    with pytest.raises(Vanished):
        read_array(str(tree.root), "md127", SERIALS)


def test_a_cleared_device_is_no_array(tree: Tree) -> None:
    add_array(tree, "md127", "raid10-initial-resync-alpha")
    assert is_array(str(tree.root), "md127")
    tree.write("sys/block/md127/md/array_state", "clear\n")
    assert not is_array(str(tree.root), "md127")
    assert not is_array(str(tree.root), "md126")
    assert not is_array(str(tree.root), "vda")


@pytest.mark.parametrize(
    ("attribute", "value", "changed"),
    [
        ("array_state", "frozen", {"state": ArrayState.UNKNOWN}),
        ("sync_action", "nap", {"sync_action": "nap"}),
        ("sync_action", "\x1b[2J", {"sync_action": "unknown"}),
        ("sync_completed", "half", {"sync_completed_ratio": None}),
        ("sync_completed", "1 / 0", {"sync_completed_ratio": None}),
        ("mismatch_cnt", "few", {"mismatch_count": None}),
    ],
)
def test_an_unknown_word_of_an_array(
    tree: Tree, attribute: str, value: str, changed: dict[str, Any]
) -> None:
    add_array(tree, "md127", "raid10-initial-resync-alpha")
    whole = read_array(str(tree.root), "md127", SERIALS)
    tree.write(f"sys/block/md127/md/{attribute}", value + "\n")
    odd = read_array(str(tree.root), "md127", SERIALS)
    assert odd == dataclasses.replace(whole, **changed)
    assert odd.running() is ("state" not in changed)


@pytest.mark.parametrize(
    ("attribute", "value", "changed"),
    [
        ("state", "in_sync,merry", {"state": ("in_sync", "merry")}),
        ("state", "in_sync,\x1b[2J", {"state": ("in_sync", "unknown")}),
        ("slot", "first", {"slot": None}),
    ],
)
def test_an_unknown_word_of_a_member(
    tree: Tree, attribute: str, value: str, changed: dict[str, Any]
) -> None:
    add_array(tree, "md127", "raid10-initial-resync-alpha")
    before = {m.disk: m for m in read_array(str(tree.root), "md127", SERIALS).members}
    tree.write(f"sys/block/md127/md/dev-vdb/{attribute}", value + "\n")
    after = {m.disk: m for m in read_array(str(tree.root), "md127", SERIALS).members}
    assert after == {**before, "vdb": dataclasses.replace(before["vdb"], **changed)}


@pytest.mark.parametrize(
    ("good", "bad", "changed"),
    [
        ("Active device 0", "Active device x", {"role": None}),
        ("Active device 0", "Failed device 0", {"role": None}),
        ("State : AAAA (", "State : AAxA (", {"array_state": "AA?A"}),
    ],
)
def test_an_unknown_word_of_a_superblock(good: str, bad: str, changed: dict[str, Any]) -> None:
    whole = parse(member())
    assert whole is not None
    assert parse(member().replace(good, bad)) == dataclasses.replace(whole, **changed)
