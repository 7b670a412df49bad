"""What lies on the device, where it is mounted, and what mount and umount are asked to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage_agent.host.filesystem.adapter import Filesystem, make_argv, mount_argv
from storage_agent.model.configuration import ReplicaConfig, VolumeConfig
from storage_agent.model.errors import AgentError, CommandFailed, Missing, OperationFailed, Refused
from tests.unit.fakes import FILESYSTEM_UUID, volume_config
from tests.unit.host.recorded import KERNEL, Answer, ScriptedRunner, recorded
from tests.unit.host.tree import Tree

MOUNTED = recorded("proc-self-mountinfo", KERNEL, "drbd-mounted-and-exported-alpha").stdout
ROOT_ONLY = "".join(line for line in MOUNTED.splitlines(True) if "/srv/data" not in line)
OURS = next(line for line in MOUNTED.splitlines(True) if "/srv/data" in line)
BLKID = recorded("blkid", "2.38.1", "drbd-mounted-and-exported-alpha")
ON_DRBD = ("be7adb3d-ecf7-42cf-9c55-16e4bae08b8b", "ext4")
NOTHING = Answer(exit_status=2)
SECONDARY = recorded("refused-blkid", "8.4.11", "blkid-secondary-beta")


class Host:
    """alpha with /dev/drbd0 and an empty /srv/data, until a test says else."""

    def __init__(self, root: Path, **answers: Answer) -> None:
        root.chmod(0o755)
        self.tree = Tree(root)
        self.tree.folder("srv/data")
        self.tree.block_device("drbd0", "147:0")
        self.runner = ScriptedRunner(**answers)
        self.filesystem = Filesystem(self.runner, root)
        self.mounts(ROOT_ONLY)

    def mounts(self, text: str) -> None:
        self.tree.write("proc/1/mountinfo", text)

    def state(self, volume: VolumeConfig | None = None) -> str:
        return self.filesystem.view(volume or volume_config()).mount_point_state


@pytest.fixture
def host(tmp_path: Path) -> Host:
    ok = Answer()
    return Host(tmp_path, blkid=BLKID, mount=ok, umount=ok, mkfs_ext4=ok, mkfs_xfs=ok)


def test_identify(host: Host) -> None:
    assert host.filesystem.identify("/dev/drbd0") == ON_DRBD
    assert host.runner.asked == [("blkid", "-p", "-o", "export", "--", "/dev/drbd0")]


@pytest.mark.parametrize("answer", [NOTHING, SECONDARY])
def test_identify_nothing_and_secondary(tmp_path: Path, answer: Answer) -> None:
    assert Host(tmp_path, blkid=answer).filesystem.identify("/dev/drbd0") == (None, None)


def test_identify_failures(tmp_path: Path) -> None:
    broken = Answer(2, "", "blkid: error: /dev/drbd0: Input/output error\n")
    with pytest.raises(CommandFailed, match="Input/output error"):
        Host(tmp_path, blkid=broken).filesystem.identify("/dev/drbd0")
    with pytest.raises(OperationFailed) as caught:
        Host(tmp_path, blkid=Answer(8)).filesystem.identify("/dev/drbd0")
    assert caught.value.code == "AMBIVALENT_SIGNATURES"


def test_view_when_ready_starts_no_process(host: Host) -> None:
    view = host.filesystem.view(volume_config())
    assert view.mount_point_state == "ready"
    assert (view.uuid, view.type, view.mounts, view.capacity) == (None, None, (), None)
    assert host.runner.asked == []


def test_view_when_mounted(host: Host) -> None:
    host.mounts(MOUNTED)
    view = host.filesystem.view(volume_config())
    assert view.mount_point_state == "mounted"
    assert [m.source for m in view.mounts] == ["/dev/drbd0"]
    assert (view.uuid, view.type) == (None, "ext4")
    assert view.capacity is not None
    assert view.capacity.size_bytes > 0
    assert host.runner.asked == []


def test_view_remembers_what_was_identified_while_it_stays_mounted(host: Host) -> None:
    host.mounts(MOUNTED)
    assert host.filesystem.view(volume_config(), identify=True).uuid == ON_DRBD[0]
    assert host.filesystem.view(volume_config()).uuid == ON_DRBD[0]
    assert len(host.runner.asked) == 1
    host.mounts(ROOT_ONLY)
    assert host.filesystem.view(volume_config()).uuid is None
    host.mounts(MOUNTED)
    assert host.filesystem.view(volume_config()).uuid is None, "another mount with the same number"


def test_view_remembers_every_volume(host: Host) -> None:
    two = dataclasses.replace(
        volume_config("two"), mount_point="/srv/two", replica=ReplicaConfig(minor=1, port=7790)
    )
    host.tree.folder("srv/two")
    host.tree.block_device("drbd1", "147:1")
    line = OURS.replace("217 ", "218 ").replace("147:0", "147:1").replace("/srv/data", "/srv/two")
    host.mounts(MOUNTED + line)
    for volume in (volume_config(), two):
        host.filesystem.view(volume, identify=True)
    assert host.filesystem.view(volume_config()).uuid == ON_DRBD[0]
    assert host.filesystem.view(two).uuid == ON_DRBD[0]
    host.filesystem.unmount("/srv/two")
    assert host.filesystem.view(volume_config()).uuid == ON_DRBD[0]


def test_view_forgets_when_it_unmounts(host: Host) -> None:
    host.mounts(MOUNTED)
    host.filesystem.view(volume_config(), identify=True)
    host.filesystem.unmount("/srv/data")
    assert host.filesystem.view(volume_config()).uuid is None


def test_view_without_the_device(host: Host) -> None:
    volume = dataclasses.replace(volume_config(), replica=None)
    view = host.filesystem.view(volume, identify=True)
    assert (view.uuid, view.mounts) == (None, ())
    assert host.runner.asked == [], "a device that is not there is not opened"


def test_view_of_a_local_volume_follows_the_link_of_the_array(host: Host) -> None:
    host.tree.link("dev/md/data", "../md127")
    host.tree.block_device("md127", "9:127")
    host.mounts(MOUNTED.replace("147:0", "9:127").replace("/dev/drbd0", "/dev/md127"))
    assert host.state(dataclasses.replace(volume_config(), replica=None)) == "mounted"


def test_view_without_a_mount_table(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        Filesystem(ScriptedRunner(), tmp_path).view(volume_config())


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(OURS.replace("147:0", "254:16"), id="another device"),
        pytest.param(OURS.replace("147:0 / ", "147:0 /sub "), id="a folder of ours"),
        pytest.param(OURS + "300 217 0:50 / /srv/data rw - tmpfs none rw\n", id="on top of ours"),
        pytest.param(OURS + "300 27 0:50 / /srv rw - tmpfs none rw\n", id="hidden"),
    ],
)
def test_mount_point_occupied(host: Host, table: str) -> None:
    host.mounts(ROOT_ONLY + table)
    assert host.state() == "occupied"


def test_mount_point_below_another_mount(host: Host) -> None:
    srv = "300 27 254:1 / /srv rw - ext4 /dev/vda1 rw\n"
    host.mounts(ROOT_ONLY + srv + OURS.replace("217 27", "217 300"))
    assert host.state() == "mounted"


def test_mount_point_missing_or_full(host: Host) -> None:
    (host.tree.root / "srv/data/left-over").touch()
    assert host.state() == "not-empty"
    (host.tree.root / "srv/data/left-over").unlink()
    (host.tree.root / "srv/data").rmdir()
    assert host.state() == "missing"
    (host.tree.root / "srv").rmdir()
    assert host.state() == "missing"


def test_mount_point_unsafe(host: Host) -> None:
    root = host.tree.root
    (root / "srv").chmod(0o757)
    assert host.state() == "unsafe"
    (root / "srv").chmod(0o755)
    (root / "srv/data").chmod(0o777)
    assert host.state() == "ready", "what is mounted on it has its own mode"
    (root / "srv/data").rmdir()
    (root / "srv/data").touch()
    assert host.state() == "unsafe"
    (root / "srv/data").unlink()
    (root / "elsewhere").mkdir()
    (root / "srv/data").symlink_to(root / "elsewhere")
    assert host.state() == "unsafe"
    (root / "srv/data").unlink()
    (root / "srv").rmdir()
    (root / "elsewhere/data").mkdir()
    (root / "srv").symlink_to(root / "elsewhere")
    assert host.state() == "unsafe", "a link further up"


def test_mount(host: Host) -> None:
    volume = volume_config()
    options = dataclasses.replace(volume.filesystem, options=("noatime", "nodev"))
    host.filesystem.mount(dataclasses.replace(volume, filesystem=options))
    assert host.runner.asked == [
        ("mount", "-t", "ext4", "-w", "-o", "noatime,nodev,nosuid", "--", "/dev/drbd0", "/srv/data")
    ]
    assert host.runner.outside == host.runner.asked
    assert mount_argv("/dev/md/x", "xfs", (), "/srv/x") == (
        *("mount", "-t", "xfs", "-w", "--", "/dev/md/x", "/srv/x"),
    )


def test_mount_twice_does_nothing(host: Host) -> None:
    host.mounts(MOUNTED)
    host.filesystem.mount(volume_config())
    assert host.runner.asked == []


def test_mount_refuses_a_mount_point_that_is_not_ready(host: Host) -> None:
    (host.tree.root / "srv/data/left-over").touch()
    with pytest.raises(Refused) as caught:
        host.filesystem.mount(volume_config())
    assert caught.value.code == "MOUNT_POINT_NOT_EMPTY"
    assert "/srv/data" in caught.value.remedy
    assert host.runner.asked == []


def test_mount_of_a_secondary_says_so(tmp_path: Path) -> None:
    refused = recorded("refused-mount", "8.4.11", "mount-secondary-beta")
    with pytest.raises(OperationFailed, match="Wrong medium type") as caught:
        Host(tmp_path, mount=refused).filesystem.mount(volume_config())
    assert caught.value.code == "MOUNT_FAILED"
    assert "promote" in caught.value.remedy


def test_unmount(host: Host) -> None:
    host.filesystem.unmount("/srv/data")
    assert host.runner.asked == [], "nothing is mounted there"
    host.mounts(MOUNTED)
    host.filesystem.unmount("/srv/data")
    assert host.runner.asked == [("umount", "--", "/srv/data")]
    assert host.runner.outside == host.runner.asked


def test_unmount_busy(tmp_path: Path) -> None:
    busy = recorded("umount", "2.38.1", "client-still-holds-alpha")
    host = Host(tmp_path, umount=busy)
    host.mounts(MOUNTED)
    with pytest.raises(OperationFailed) as caught:
        host.filesystem.unmount("/srv/data")
    assert caught.value.code == "BUSY_MOUNT"


def test_unmount_failing_otherwise(tmp_path: Path) -> None:
    host = Host(tmp_path, umount=Answer(32, "", "umount: /srv/data: Input/output error.\n"))
    host.mounts(MOUNTED)
    with pytest.raises(CommandFailed):
        host.filesystem.unmount("/srv/data")


def test_make_on_a_blank_device(tmp_path: Path) -> None:
    host = Host(tmp_path, blkid=NOTHING, mkfs_ext4=Answer(), mkfs_xfs=Answer())
    host.filesystem.make("/dev/drbd0", "ext4", FILESYSTEM_UUID, "a-very-long-volume-name")
    host.filesystem.make("/dev/drbd0", "xfs", FILESYSTEM_UUID, "a-very-long-volume-name")
    ext4, xfs = (argv for argv in host.runner.asked if argv[0] != "blkid")
    assert ext4 == (
        *("mkfs.ext4", "-q", "-E", "nodiscard", "-U", FILESYSTEM_UUID),
        *("-L", "a-very-long-volu", "--", "/dev/drbd0"),
    )
    assert xfs == (
        *("mkfs.xfs", "-q", "-K", "-m", f"uuid={FILESYSTEM_UUID}"),
        *("-L", "a-very-long-", "--", "/dev/drbd0"),
    )
    assert not {"-F", "-f"} & {*ext4, *xfs}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(BLKID, Refused, id="a filesystem"),
        pytest.param(Answer(0, "PTUUID=0f4c2a36\nPTTYPE=gpt\n"), Refused, id="a partition table"),
        pytest.param(SECONDARY, CommandFailed, id="a secondary, which tells nothing"),
        pytest.param(Answer(8), OperationFailed, id="two signatures"),
    ],
)
def test_make_refuses(tmp_path: Path, answer: Answer, error: type[AgentError]) -> None:
    host = Host(tmp_path, blkid=answer)
    with pytest.raises(error):
        host.filesystem.make("/dev/drbd0", "ext4", FILESYSTEM_UUID, "data")
    assert [argv[0] for argv in host.runner.asked] == ["blkid"]


def test_make_without_a_device(host: Host) -> None:
    with pytest.raises(Missing):
        host.filesystem.make("/dev/drbd7", "ext4", FILESYSTEM_UUID, "data")
    assert make_argv("/dev/drbd0", "ext4", FILESYSTEM_UUID, "é" * 9)[-3].encode() == b"\xc3\xa9" * 8


def test_make_mount_point(host: Host) -> None:
    host.filesystem.make_mount_point("/export/a/b")
    host.filesystem.make_mount_point("/export/a/b")
    folder = host.tree.root / "export/a/b"
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o022 == 0


def test_make_mount_point_creates_nothing_below_a_link(host: Host) -> None:
    host.tree.folder("elsewhere")
    (host.tree.root / "export").symlink_to("elsewhere")
    with pytest.raises(Refused):
        host.filesystem.make_mount_point("/export/a")
    assert list((host.tree.root / "elsewhere").iterdir()) == []
