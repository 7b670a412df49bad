"""MdRaid on a tree of recorded attributes and a runner that answers like mdadm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from storage_agent.host.block.devices import Block
from storage_agent.host.md.adapter import MdRaid
from storage_agent.model.array import ArrayState
from storage_agent.model.configuration import ArrayConfig
from storage_agent.model.errors import (
    CommandFailed,
    Missing,
    OperationFailed,
    ParseError,
    Refused,
)
from tests.unit.host.disks import (
    LAB_UUID,
    MEMBER,
    FakeUdev,
    add_array,
    add_disk,
    set_mounts,
    set_writes,
)
from tests.unit.host.recorded import Answer, AnsweringRunner, recorded
from tests.unit.host.tree import Tree

NAMES = ("vdb", "vdc", "vdd", "vde")
PATHS = tuple(f"/dev/{name}" for name in NAMES)
SERIALS = tuple(f"alpha-{slot}" for slot in range(4))
CONFIG = ArrayConfig(
    level="raid10", disks={"alpha": SERIALS, "beta": ("beta-0",)}, uuid={"alpha": LAB_UUID}
)
RECORDED_UUID = "e910cd47:3ae48c54:752ea18f:2fa8e3eb"


def recorded_sections() -> dict[str, str]:
    text = recorded("mdadm-examine", "4.2", "raid10-four-members-and-root-alpha").stdout
    parts = text.split("/dev/")[1:]
    return {f"/dev/{part.partition(':')[0]}": f"/dev/{part}" for part in parts}


class Mdadm(AnsweringRunner):
    """Answers --examine from `sections`; what else it is asked to do fails as `failures` say."""

    def __init__(self) -> None:
        super().__init__()
        self.sections = recorded_sections()
        self.unreadable: set[str] = set()
        self.failures: list[str] = []
        self.answered: list[bytes] = []

    def answer(self, argv: tuple[str, ...], stdin: bytes) -> Answer:
        self.answered.append(stdin)
        if argv[1] == "--examine":
            return self.examine(argv[2:])
        return Answer(1, "", self.failures.pop(0)) if self.failures else Answer()

    def examine(self, paths: Sequence[str]) -> Answer:
        stdout = "".join(self.sections.get(path, "") for path in paths)
        lacking = [path for path in paths if path not in self.sections]
        stderr = "".join(
            f"mdadm: cannot open {path}: Input/output error\n"
            if path in self.unreadable
            else f"mdadm: No md superblock detected on {path}.\n"
            for path in lacking
        )
        return Answer(1 if lacking else 0, stdout, stderr)

    def examined(self) -> list[tuple[str, ...]]:
        return [argv[2:] for argv in self.asked if argv[1] == "--examine"]


@dataclasses.dataclass
class Host:
    tree: Tree
    udev: FakeUdev
    mdadm: Mdadm

    def md(self) -> MdRaid:
        return MdRaid(self.mdadm, Block(self.tree.root, self.udev), self.tree.root)

    def unplug(self, name: str) -> None:
        for path in sorted((self.tree.root / f"sys/block/{name}").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (self.tree.root / f"sys/block/{name}").rmdir()

    def set(self, attribute: str, value: str) -> None:
        self.tree.write(f"sys/block/md127/md/{attribute}", value + "\n")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Four attached members, none assembled."""
    tree = Tree(tmp_path)
    set_mounts(tree, "27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw")
    add_disk(tree, "vda", "254:0", serial="root")
    for slot, name in enumerate(NAMES):
        add_disk(tree, name, f"254:{16 * (slot + 1)}", serial=f"alpha-{slot}")
    return Host(tree, FakeUdev(**dict.fromkeys(NAMES, MEMBER)), Mdadm())


def run_array(host: Host, situation: str = "raid10-initial-resync-alpha") -> None:
    add_array(host.tree, "md127", situation)
    host.set("uuid", LAB_UUID.replace(":", ""))


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


def test_assemble_that_runs_complete(host: Host) -> None:
    run_array(host)
    host.md().assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)
    assert [argv[1] for argv in host.mdadm.asked] == ["--assemble"]


def test_assemble_stops_what_runs_without_a_named_member(host: Host) -> None:
    run_array(host, "raid10-member-unplugged-alpha")
    with pytest.raises(OperationFailed, match="vdd") as caught:
        host.md().assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)
    assert caught.value.code == "ASSEMBLED_DEGRADED"
    assert host.mdadm.asked[-1] == ("mdadm", "--stop", "/dev/md127")


def test_a_degraded_start_insists_on_what_is_named(host: Host) -> None:
    run_array(host, "raid10-member-unplugged-alpha")
    three = ("/dev/vdb", "/dev/vdc", "/dev/vde")
    host.md().assemble("/dev/md/data", LAB_UUID, three, is_degraded=True, timeout_s=30)
    assert host.mdadm.asked == [
        ("mdadm", "--assemble", "--run", "--config=none", f"--uuid={LAB_UUID}", "/dev/md/data",
         *three)
    ]  # fmt: skip


def test_a_member_whose_rebuilding_was_interrupted_is_no_reason_to_stop(host: Host) -> None:
    """As recorded: its slot, and `spare`."""
    run_array(host)
    host.tree.write("sys/block/md127/md/dev-vdd/state", "spare\n")
    host.md().assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)
    assert [argv[1] for argv in host.mdadm.asked] == ["--assemble"]


def test_assemble_that_fails_says_why(host: Host) -> None:
    host.mdadm.failures = ["mdadm: /dev/vdb is busy - skipping\n"]
    with pytest.raises(CommandFailed, match="busy"):
        host.md().assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)


def create(host: Host, level: str) -> None:
    host.md().create(
        "/dev/md/data", level, LAB_UUID, PATHS, name="data", homehost="alpha", timeout_s=30
    )


def test_what_writes_to_sysfs_is_done_outside_the_unit(host: Host) -> None:
    run_array(host)
    md = host.md()
    md.assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)
    md.readwrite("md127", timeout_s=30)
    md.stop("md127", timeout_s=30)
    create(host, "raid10")
    assert len(host.mdadm.outside) == 4
    md.erase("/dev/vdb", timeout_s=30)
    md.view(CONFIG, "alpha")
    assert len(host.mdadm.outside) == 4


def test_create_answers_no_question(host: Host) -> None:
    host.mdadm.failures = ["mdadm: /dev/vdb appears to be part of a raid array\n"]
    with pytest.raises(CommandFailed, match="appears to be"):
        create(host, "raid10")
    assert host.mdadm.answered == [b""]
