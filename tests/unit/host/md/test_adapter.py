"""MdRaid: what it shows of arrays and disks."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import ArrayState
from storage_agent.model.errors import (
    CommandFailed,
    Missing,
    ParseError,
    Refused,
)
from tests.unit.host.disks import (
    LAB_UUID,
    MEMBER,
    add_array,
    add_disk,
    set_writes,
)
from tests.unit.host.md.parts import (
    CONFIG,
    NAMES,
    PATHS,
    RECORDED_UUID,
    SERIALS,
    Host,
    run_array,
)


def test_attached_members_without_an_array(host: Host) -> None:
    view = host.md().view(CONFIG, "alpha")
    assert view.array is None
    assert [(s.serial, s.disk, s.role, s.events) for s in view.attached] == [
        (serial, name, slot, 20)
        for slot, (serial, name) in enumerate(zip(SERIALS, NAMES, strict=True))
    ]
    assert (view.missing, view.blank, view.other) == ((), (), ())


def test_missing_blank_and_other_disks(host: Host) -> None:
    host.unplug("vdb")
    for name in ("vdc", "vdd"):
        del host.mdadm.sections[f"/dev/{name}"]
        del host.udev.properties[name]
    host.udev.properties["vdd"] = {"ID_FS_TYPE": "ext4"}
    view = host.md().view(CONFIG, "alpha")
    assert view.missing == ("alpha-0",)
    assert view.blank == ("alpha-1",)
    assert view.other == ("alpha-2",)
    assert [block.serial for block in view.attached] == ["alpha-3"]


@pytest.mark.parametrize("use", ["holders/dm-0", "vdc1"])
def test_a_disk_in_use_is_not_blank(host: Host, use: str) -> None:
    del host.mdadm.sections["/dev/vdc"]
    del host.udev.properties["vdc"]
    host.tree.write(f"sys/block/vdc/{use}/dev", "254:33\n")
    view = host.md().view(CONFIG, "alpha")
    assert (view.blank, view.other) == ((), ("alpha-1",))


def test_a_stale_and_a_foreign_member_show_as_they_are(host: Host) -> None:
    sections = host.mdadm.sections
    sections["/dev/vdb"] = sections["/dev/vdb"].replace("Events : 20", "Events : 17")
    sections["/dev/vdc"] = sections["/dev/vdc"].replace(LAB_UUID, RECORDED_UUID)
    attached = host.md().view(CONFIG, "alpha").attached
    assert [(block.array_uuid, block.events) for block in attached] == [
        (LAB_UUID, 17),
        (RECORDED_UUID, 20),
        (LAB_UUID, 20),
        (LAB_UUID, 20),
    ]


def test_a_copy_of_a_member_under_another_serial_is_shown(host: Host) -> None:
    add_disk(host.tree, "vdf", "254:80", serial="clone")
    host.udev.properties["vdf"] = MEMBER
    host.mdadm.sections["/dev/vdf"] = host.mdadm.sections["/dev/vdb"].replace("vdb", "vdf")
    attached = host.md().view(CONFIG, "alpha").attached
    assert [block.serial for block in attached] == [*SERIALS, "clone"]


def test_members_of_other_arrays_are_not_shown(host: Host) -> None:
    add_disk(host.tree, "vdf", "254:80", serial="beta-0")
    host.udev.properties["vdf"] = MEMBER
    other = host.mdadm.sections["/dev/vdb"].replace("vdb", "vdf").replace(LAB_UUID, RECORDED_UUID)
    host.mdadm.sections["/dev/vdf"] = other
    assert len(host.md().view(CONFIG, "alpha").attached) == 4


def test_two_disks_with_one_serial_are_refused(host: Host) -> None:
    add_disk(host.tree, "vdf", "254:80", serial="alpha-0")
    with pytest.raises(Refused) as caught:
        host.md().view(CONFIG, "alpha")
    assert caught.value.code == "DUPLICATE_SERIAL"


def test_a_running_array_is_found_by_its_uuid(host: Host) -> None:
    run_array(host)
    view = host.md().view(CONFIG, "alpha")
    assert view.array is not None
    assert (view.array.name, view.array.uuid) == ("md127", LAB_UUID)
    assert [member.serial for member in view.array.members] == list(SERIALS)
    assert len(view.attached) == 4


def test_links_tell_under_which_name_it_was_assembled(host: Host) -> None:
    run_array(host)
    host.tree.link("dev/md/alpha:data", "../md127")
    host.tree.link("dev/md/other", "../md126")
    host.tree.write("dev/md/file", "")
    found = host.md().view(CONFIG, "alpha").array
    assert found is not None
    assert found.links == ("/dev/md/alpha:data",)


def test_an_array_of_another_uuid_is_not_ours(host: Host) -> None:
    add_array(host.tree, "md127", "raid10-initial-resync-alpha")
    assert host.md().view(CONFIG, "alpha").array is None


def test_two_arrays_of_one_uuid_are_refused(host: Host) -> None:
    run_array(host)
    add_array(host.tree, "md126", "raid10-foreign-auto-read-only-beta")
    host.tree.write("sys/block/md126/md/uuid", LAB_UUID.replace(":", "") + "\n")
    with pytest.raises(Refused) as caught:
        host.md().view(CONFIG, "alpha")
    assert caught.value.code == "DUPLICATE_ARRAY"


def test_without_a_configured_uuid_the_array_is_that_of_the_disks(host: Host) -> None:
    config = dataclasses.replace(CONFIG, uuid={})
    assert host.md().view(config, "alpha").array is None
    run_array(host)
    found = host.md().view(config, "alpha").array
    assert found is not None
    assert found.name == "md127"


def test_a_half_assembled_array_has_the_uuid_of_its_members(host: Host) -> None:
    add_array(host.tree, "md127", "raid10-inactive-partial-3-of-4-alpha")
    found = host.md().view(CONFIG, "alpha").array
    assert found is not None
    assert (found.uuid, found.state, found.running()) == (LAB_UUID, ArrayState.INACTIVE, False)
    assert [member.serial for member in found.members] == ["alpha-0", "alpha-1", "alpha-3"]
    assert host.md().arrays() == (found,)


def test_members_that_disagree_give_no_uuid(host: Host) -> None:
    add_array(host.tree, "md127", "raid10-inactive-partial-3-of-4-alpha")
    sections = host.mdadm.sections
    sections["/dev/vdc"] = sections["/dev/vdc"].replace(LAB_UUID, RECORDED_UUID)
    assert [array.uuid for array in host.md().arrays()] == [""]


def test_looking_again_starts_no_process(host: Host) -> None:
    md = host.md()
    first = md.view(CONFIG, "alpha")
    assert md.view(CONFIG, "alpha") == first
    assert host.mdadm.examined() == [PATHS]


def test_a_disk_that_was_written_is_examined_again(host: Host) -> None:
    md = host.md()
    md.view(CONFIG, "alpha")
    set_writes(host.tree, "vdc", 1)
    md.view(CONFIG, "alpha")
    host.tree.write("sys/block/vdd/diskseq", "77\n")
    md.view(CONFIG, "alpha")
    assert host.mdadm.examined() == [PATHS, ("/dev/vdc",), ("/dev/vdd",)]


def test_members_of_a_running_array_are_written_all_the_time(host: Host) -> None:
    run_array(host)
    md = host.md()
    md.view(CONFIG, "alpha")
    set_writes(host.tree, "vdc", 5)
    md.view(CONFIG, "alpha")
    assert host.mdadm.examined() == [PATHS]
    # Once it is stopped, everything may have changed.
    host.set("array_state", "clear")
    md.view(CONFIG, "alpha")
    assert host.mdadm.examined() == [PATHS, PATHS]


def lay(host: Host, name: str, start: bytes) -> None:
    """What lies on the disk from 4 KiB on."""
    path = host.tree.root / "dev" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(4096) + start.ljust(4096, b"\0"))


def test_a_member_whose_superblock_is_overwritten_is_examined_again(host: Host) -> None:
    run_array(host)
    superblock = bytes.fromhex("fc4e2ba9") + bytes(12) + bytes(range(16))
    for name in NAMES:
        lay(host, name, superblock)
    md = host.md()
    md.view(CONFIG, "alpha")
    # What counts on in it is no change.
    lay(host, "vdc", superblock + b"events")
    md.view(CONFIG, "alpha")
    assert host.mdadm.examined() == [PATHS]
    lay(host, "vdc", b"")
    del host.mdadm.sections["/dev/vdc"]
    assert md.view(CONFIG, "alpha").other == ("alpha-1",)
    md.view(CONFIG, "alpha")
    assert host.mdadm.examined() == [PATHS, ("/dev/vdc",)]


@pytest.mark.parametrize("attribute", ["diskseq", "stat", "queue/iostats"])
def test_where_nothing_tells_of_changes_each_look_is_new(host: Host, attribute: str) -> None:
    host.tree.write(f"sys/block/vdb/{attribute}", "\n")
    md = host.md()
    md.view(CONFIG, "alpha")
    md.view(CONFIG, "alpha")
    assert host.mdadm.examined() == [PATHS, ("/dev/vdb",)]


def test_a_fresh_view_examines_everything(host: Host) -> None:
    md = host.md()
    md.view(CONFIG, "alpha")
    md.view(CONFIG, "alpha", fresh=True)
    assert host.mdadm.examined() == [PATHS, PATHS]


def test_volumes_do_not_drive_out_each_others_superblocks(host: Host) -> None:
    md = host.md()
    one = dataclasses.replace(CONFIG, disks={"alpha": ("alpha-0",)})
    host.udev.properties.clear()
    two = dataclasses.replace(CONFIG, disks={"alpha": ("alpha-1",)})
    for config in (one, two, one, two):
        md.view(config, "alpha")
    assert host.mdadm.examined() == [("/dev/vdb",), ("/dev/vdc",)]


def test_a_disk_that_cannot_be_read_is_an_error(host: Host) -> None:
    del host.mdadm.sections["/dev/vdc"]
    host.mdadm.unreadable.add("/dev/vdc")
    with pytest.raises(CommandFailed, match="Input/output error"):
        host.md().view(CONFIG, "alpha")


def test_a_broken_superblock_of_ours_is_an_error_and_of_others_is_not(host: Host) -> None:
    add_disk(host.tree, "vdf", "254:80", serial="old")
    host.udev.properties["vdf"] = MEMBER
    old = "/dev/vdf:\n          Magic : a92b4efc\n        Version : 0.90.00\n"
    host.mdadm.sections["/dev/vdf"] = old
    assert len(host.md().view(CONFIG, "alpha").attached) == 4
    host.mdadm.sections["/dev/vdf"] = f"{old}     Array UUID : {LAB_UUID}\n"
    with pytest.raises(ParseError):
        host.md().view(CONFIG, "alpha")
    del host.mdadm.sections["/dev/vdf"]
    host.mdadm.sections["/dev/vdb"] = host.mdadm.sections["/dev/vdb"].replace("correct", "bad")
    with pytest.raises(ParseError):
        host.md().view(CONFIG, "alpha")


def test_a_member_that_keeps_changing_is_an_error(host: Host) -> None:
    run_array(host)
    (host.tree.root / "sys/block/md127/md/dev-vdb/state").unlink()
    with pytest.raises(Missing) as caught:
        host.md().arrays()
    assert caught.value.code == "ARRAY_CHANGING"


def test_a_host_without_arrays(host: Host) -> None:
    assert host.md().arrays() == ()
