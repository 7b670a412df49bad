from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage_agent.host.block.devices import Block, parse_probe, probe_signatures, select_by_serial
from storage_agent.host.filesystem.mounts import parse_mountinfo
from storage_agent.model.array import Disk
from storage_agent.model.errors import CommandFailed, Missing, ParseError, Refused
from tests.unit.host.disks import FakeUdev, add_disk, set_mounts
from tests.unit.host.recorded import KERNEL, Answer, ScriptedRunner, recorded
from tests.unit.host.tree import Tree

ROOT_MOUNT = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    set_mounts(tree, ROOT_MOUNT, "22 27 0:20 / /sys rw - sysfs sysfs rw")
    add_disk(tree, "vda", "254:0", serial="root")
    add_disk(tree, "vdb", "254:16", serial="vol-alpha-0")
    return tree


def disks(tree: Tree, udev: FakeUdev | None = None) -> dict[str, Disk]:
    return {disk.name: disk for disk in Block(tree.root, udev or FakeUdev()).disks()}


def recorded_properties() -> dict[str, str]:
    text = recorded("udevadm-info-disk", "252.39", "drbd-mounted-and-exported-alpha").stdout
    return dict(line.partition("=")[::2] for line in text.splitlines())


def test_a_member_as_udev_recorded_it(tree: Tree) -> None:
    tree.folder("sys/block/vdb/holders/md127")
    assert disks(tree, FakeUdev(vdb=recorded_properties()))["vdb"] == Disk(
        name="vdb",
        path="/dev/vdb",
        serial="vol-alpha-0",
        size_bytes=268435456,
        signatures=("linux_raid_member",),
        holders=("md127",),
    )


def test_before_udev_has_seen_a_disk_the_kernel_tells_its_serial(tree: Tree) -> None:
    assert disks(tree)["vdb"].serial == "vol-alpha-0"


def test_serial_of_an_ebs_volume_is_that_of_the_controller(tree: Tree) -> None:
    add_disk(tree, "nvme1n1", "259:1")
    tree.write("sys/block/nvme1n1/device/serial", "vol0123456789abcdef0\n")
    assert disks(tree)["nvme1n1"].serial == "vol0123456789abcdef0"


def test_serial_is_the_one_that_lsblk_shows(tree: Tree) -> None:
    both = {"ID_SERIAL": "QEMU_HARDDISK_S1", "ID_SERIAL_SHORT": "S1"}
    assert disks(tree, FakeUdev(vdb=both))["vdb"].serial == "S1"


def test_white_space_in_a_serial_is_written_as_udev_writes_it(tree: Tree) -> None:
    tree.write("sys/block/vdb/serial", "  a  b \n")
    assert disks(tree)["vdb"].serial == "a_b"


@pytest.mark.parametrize(
    "name", ["loop0", "ram0", "zram0", "dm-0", "md127", "md_d0", "drbd0", "sr0", "nbd3"]
)
def test_what_is_no_disk_is_left_out(tree: Tree, name: str) -> None:
    add_disk(tree, name, "7:0")
    assert set(disks(tree)) == {"vda", "vdb"}


def test_a_drive_without_a_medium_and_a_hidden_path_are_left_out(tree: Tree) -> None:
    add_disk(tree, "sda", "8:0", sectors=0)
    add_disk(tree, "nvme0c0n1", "259:0")
    tree.write("sys/block/nvme0c0n1/hidden", "1\n")
    assert set(disks(tree)) == {"vda", "vdb"}


def test_mounts_holders_and_partitions(tree: Tree) -> None:
    tree.write("sys/block/vdb/vdb1/dev", "254:17\n")
    tree.write("sys/block/vdb/vdb1/partition", "1\n")
    tree.folder("sys/block/vdb/vdb1/holders/dm-0")
    set_mounts(
        tree,
        ROOT_MOUNT,
        r"40 27 254:17 / /srv/with\040blank rw - xfs /dev/vdb1 rw",
        "41 27 254:17 /sub /mnt rw - xfs /dev/vdb1 rw",
    )
    found = disks(tree)
    assert found["vda"].mounted_at == ("/",)
    assert found["vdb"].partitions == ("vdb1",)
    assert found["vdb"].holders == ("dm-0",)
    assert found["vdb"].mounted_at == ("/srv/with blank", "/mnt")


def test_btrfs_is_found_by_its_source(tree: Tree) -> None:
    set_mounts(tree, "40 27 0:45 / /srv rw - btrfs /dev/vdb rw")
    assert disks(tree)["vdb"].mounted_at == ("/srv",)


def test_recorded_mounts_agree_with_the_whole_table(tree: Tree) -> None:
    name = "drbd-mounted-and-exported-alpha"
    text = (recorded("proc-self-mountinfo", KERNEL, name)).stdout
    tree.write("proc/1/mountinfo", text)
    expected = tuple(m.mount_point for m in parse_mountinfo(text) if m.device == "254:0")
    assert "/" in expected
    assert disks(tree)["vda"].mounted_at == expected


def test_no_mount_table_is_an_error(tree: Tree) -> None:
    (tree.root / "proc/1/mountinfo").unlink()
    with pytest.raises(Missing, match="mountinfo"):
        disks(tree)


def test_partition_table_and_several_filesystems_are_signatures(tree: Tree) -> None:
    udev = FakeUdev(
        vda={"ID_PART_TABLE_TYPE": "gpt"},
        vdb={"ID_FS_AMBIVALENT": "filesystem:ext4:1.0 other:LVM2_member:LVM2\\x20001"},
    )
    assert disks(tree, udev)["vda"].signatures == ("gpt",)
    assert disks(tree, udev)["vdb"].signatures == ("ext4", "LVM2_member")


def test_unknown_udev_properties_change_nothing(tree: Tree) -> None:
    plain = disks(tree, FakeUdev(vdb=recorded_properties()))
    assert plain == disks(tree, FakeUdev(vdb=recorded_properties() | {"ID_NEW": "x"}))


def test_a_disk_that_vanishes_meanwhile_is_left_out(tree: Tree) -> None:
    udev = FakeUdev()
    udev.gone.add("vdb")
    assert set(disks(tree, udev)) == {"vda"}
    (tree.root / "sys/block/vda/dev").unlink()
    assert disks(tree, udev) == {}


def test_udev_is_asked_again_only_when_it_has_written(tree: Tree) -> None:
    udev = FakeUdev(vdb={"ID_FS_TYPE": "ext4"})
    block = Block(tree.root, udev)
    tree.write("run/udev/data/b254:16", "E:ID_FS_TYPE=ext4\n")
    for _ in range(3):
        block.disks()
    assert udev.asked.count("vdb") == 1
    # vda has no entry yet: udev has not got to it.
    assert udev.asked.count("vda") == 3
    udev.properties["vdb"] = {"ID_FS_TYPE": "xfs"}
    tree.write("run/udev/data/.new", "E:ID_FS_TYPE=xfs\n")
    os.rename(tree.root / "run/udev/data/.new", tree.root / "run/udev/data/b254:16")
    assert {disk.name: disk.signatures for disk in block.disks()}["vdb"] == ("xfs",)


def test_another_disk_with_the_same_number_is_not_the_same(tree: Tree) -> None:
    udev = FakeUdev(vdb={"ID_SERIAL": "one"})
    block = Block(tree.root, udev)
    tree.write("run/udev/data/b254:16", "")
    assert [disk.serial for disk in block.disks()] == ["root", "one"]
    udev.properties["vdb"] = {"ID_SERIAL": "two"}
    tree.write("sys/block/vdb/diskseq", "99\n")
    assert [disk.serial for disk in block.disks()] == ["root", "two"]


def test_by_serial_gives_what_is_attached(tree: Tree) -> None:
    found = Block(tree.root, FakeUdev()).by_serial(("vol-alpha-0", "vol-alpha-1"))
    assert {serial: disk.path for serial, disk in found.items()} == {"vol-alpha-0": "/dev/vdb"}


def test_a_serial_that_comes_twice_is_refused(tree: Tree) -> None:
    add_disk(tree, "vdc", "254:32", serial="vol-alpha-0")
    block = Block(tree.root, FakeUdev())
    with pytest.raises(Refused) as caught:
        block.by_serial(("vol-alpha-0",))
    assert caught.value.code == "DUPLICATE_SERIAL"
    assert caught.value.findings[0].measured == "/dev/vdb, /dev/vdc"
    assert select_by_serial(block.disks(), ("root",))["root"].name == "vda"


def test_disks_without_a_serial_are_no_duplicates(tree: Tree) -> None:
    add_disk(tree, "vdc", "254:32")
    add_disk(tree, "vdd", "254:48")
    assert Block(tree.root, FakeUdev()).by_serial(("root",)).keys() == {"root"}


def test_probe_asks_all_disks_in_one_process() -> None:
    runner = ScriptedRunner(wipefs=recorded("wipefs", "2.38.1", "raid10-members-alpha"))
    found = probe_signatures(runner, ("/dev/vda", "/dev/vdb", "/dev/vdc", "/dev/vdf"), timeout_s=10)
    assert found == {
        "/dev/vda": ("ext4",),
        "/dev/vdb": ("linux_raid_member",),
        "/dev/vdc": ("linux_raid_member",),
        "/dev/vdf": (),
    }
    assert len(runner.asked) == 1
    assert probe_signatures(runner, (), timeout_s=10) == {}


def test_a_disk_that_cannot_be_probed_is_not_blank() -> None:
    runner = ScriptedRunner(wipefs=Answer(1, "", "wipefs: error: /dev/vdb: probing failed\n"))
    with pytest.raises(CommandFailed):
        probe_signatures(runner, ("/dev/vdb",), timeout_s=10)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"signatures": [{"type": "ext4"}]}', '{"signatures": 1}', "[]"]
)
def test_a_probe_that_makes_no_sense_is_not_blank(text: str) -> None:
    with pytest.raises(ParseError):
        parse_probe(text, ("vdb",))


def test_a_probe_of_something_else_is_an_error() -> None:
    with pytest.raises(ParseError):
        parse_probe('{"signatures": [{"device": "vdz", "type": "ext4"}]}', ("vdb",))


def test_unknown_keys_of_a_probe_change_nothing() -> None:
    text = '{"signatures": [{"device": "vdb", "type": "ext4", "new": 1}], "version": 2}'
    assert parse_probe(text, ("vdb",)) == {"vdb": ("ext4",)}
