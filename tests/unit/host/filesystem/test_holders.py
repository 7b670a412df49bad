"""Who keeps /srv/data busy, on a folder that stands for / of the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage_agent.host.filesystem.holders import find_holders
from storage_agent.host.system.procfs import (
    KernelExport,
    ProcReader,
    parse_client_states,
    parse_kernel_exports,
    parse_mappings,
    parse_mount_id,
    printable,
)
from storage_agent.model.errors import ParseError
from storage_agent.model.filesystem import Holder
from tests.unit.host.recorded import KERNEL, recorded
from tests.unit.host.tree import Tree

MOUNTED = recorded("proc-self-mountinfo", KERNEL, "drbd-mounted-and-exported-alpha").stdout
ROOT_ONLY = "".join(line for line in MOUNTED.splitlines(True) if "/srv/data" not in line)
STATES = recorded("proc-fs-nfsd-clients", KERNEL, "client-holding-posix-lock-alpha").stdout
EXPORTS = recorded("proc-net-rpc-nfsd-export", KERNEL, "client-holding-posix-lock-alpha").stdout
MAPS = """\
55c44105e000-55c441060000 r--p 00000000 93:00 260875                     /srv/data/bin/tool
55c441060000-55c441065000 r-xp 00002000 93:00 260875                     /srv/data/bin/tool
7f0e1c000000-7f0e1c021000 rw-p 00000000 00:00 0
7f0e1e3d2000-7f0e1e3f8000 r--p 00000000 fe:00 262451                     /usr/lib/libc so.6
7ffd2d1f0000-7ffd2d211000 rw-p 00000000 00:00 0                          [stack]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A host with init and nothing that holds the mounted volume."""
    tree = Tree(tmp_path)
    tree.block_device("drbd0", "147:0")
    tree.process(1, "systemd", mounts=MOUNTED)
    tree.open_file(1, 3, "/dev/null", 24)
    tree.link("proc/1/fd/4", "socket:[1234]")
    return tree


def texts(tree: Tree) -> list[str]:
    return [h.what for h in find_holders("/srv/data", "/dev/drbd0", tree.root)]


def test_nobody(tree: Tree) -> None:
    tree.process(50, "cron", mounts=MOUNTED, cwd="/srv/database")
    tree.open_file(50, 3, "/srv/database/x", 27)
    assert texts(tree) == []


def test_a_device_that_is_not_there(tree: Tree) -> None:
    assert find_holders("/srv/data", "/dev/drbd9", tree.root) == ()


def test_open_file(tree: Tree) -> None:
    tree.process(123, "nginx", mounts=MOUNTED)
    tree.open_file(123, 10, "/srv/data/x", 217)
    assert find_holders("/srv/data", "/dev/drbd0", tree.root) == (
        Holder(
            kind="process", what="process nginx (pid 123) has /srv/data/x open", pid=123
        ),
    )  # fmt: skip


def test_a_process_is_named_once(tree: Tree) -> None:
    tree.process(123, "nginx", mounts=MOUNTED, cwd="/srv/data", maps=MAPS)
    for descriptor in (12, 3, 4):
        tree.open_file(123, descriptor, f"/srv/data/{descriptor}", 217)
    assert texts(tree) == ["process nginx (pid 123) has /srv/data/3 open, and 4 more"]


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ({"cwd": "/srv/data/home/eva"}, "works in /srv/data/home/eva"),
        ({"cwd": "/srv/data/gone (deleted)"}, "works in /srv/data/gone (deleted)"),
        ({"root": "/srv/data"}, "has /srv/data as its root"),
        ({"maps": MAPS}, "has /srv/data/bin/tool mapped"),
    ],
)
def test_other_uses(tree: Tree, held: dict[str, str], text: str) -> None:
    tree.process(7, "sh", mounts=MOUNTED, **held)
    assert texts(tree) == [f"process sh (pid 7) {text}"]


def test_a_file_opened_through_another_mount_is_told_by_the_mount_number(tree: Tree) -> None:
    """The path of the link says nothing: it is as the other namespace sees it."""
    other = ROOT_ONLY + "901 27 147:0 / /mnt/inside rw - ext4 /dev/drbd0 rw\n"
    tree.process(60, "backup", mounts=other, mount_namespace="mnt:[2]")
    tree.process(61, "tar", mounts=MOUNTED)
    tree.open_file(61, 3, "/mnt/inside/x", 901)
    assert texts(tree) == [
        "process tar (pid 61) has /mnt/inside/x open",
        "the mount namespace of process backup (pid 60) has it mounted at /mnt/inside",
    ]


def test_namespace_after_the_host_has_unmounted(tree: Tree) -> None:
    tree.write("proc/1/mountinfo", ROOT_ONLY)
    tree.process(60, "nfsdcld", mounts=MOUNTED, mount_namespace="mnt:[2]")
    assert texts(tree) == [
        "the mount namespace of process nfsdcld (pid 60) has it mounted at /srv/data"
    ]


# As systemd makes it for a service with PrivateTmp=yes: what / is told there, it hears.
SLAVE = MOUNTED.replace("shared:89 -", "shared:301 master:89 -").replace(
    "shared:1 -", "shared:300 master:1 -"
)
PRIVATE = MOUNTED.replace("shared:89 -", "-").replace("shared:1 -", "-")


def test_a_namespace_that_ends_with_the_hosts_mount_is_none(tree: Tree) -> None:
    assert SLAVE != MOUNTED != PRIVATE
    for number in range(7):
        tree.process(50 + number, f"svc{number}", mounts=SLAVE, mount_namespace=f"mnt:[9{number}]")
    tree.process(60, "peer", mounts=MOUNTED, mount_namespace="mnt:[60]")
    assert texts(tree) == []
    tree.process(61, "keeper", mounts=PRIVATE, mount_namespace="mnt:[61]")
    assert texts(tree) == [
        "the mount namespace of process keeper (pid 61) has it mounted at /srv/data"
    ]
    # Once the host has none, whoever still has it holds it.
    tree.write("proc/1/mountinfo", ROOT_ONLY)
    assert len(texts(tree)) == 9


def test_what_a_service_has_open_in_there_is_one(tree: Tree) -> None:
    inside = SLAVE.replace("217 27 147:0", "900 27 147:0")
    tree.process(50, "svc", mounts=inside, mount_namespace="mnt:[5]")
    tree.open_file(50, 3, "/srv/data/x", 900)
    assert texts(tree) == ["process svc (pid 50) has /srv/data/x open"]


def test_the_true_ones_come_before_the_volumes_own_server(tree: Tree) -> None:
    unit = (
        "0::/system.slice/system-storage\\x2dagent\\x2dnfs.slice/storage-agent-nfs@data.service\n"
    )
    for number in range(6):
        pid = 40 + number
        tree.process(pid, "storage-agent", mounts=PRIVATE, mount_namespace="mnt:[4]")
        tree.open_file(pid, 3, "/srv/data/.storage-agent/x", 217)
        tree.write(f"proc/{pid}/cgroup", unit)
    tree.process(70, "chrooted", mounts=MOUNTED, root="/srv/data")
    tree.write("proc/70/cgroup", "0::/system.slice/chrooted.service\n")
    tree.write("proc/1/net/rpc/nfsd.export/content", EXPORTS)
    first, second, *rest = texts(tree)
    assert first.startswith("the host's own NFS server exports /srv/data")
    assert second == "process chrooted (pid 70) has /srv/data as its root"
    assert len(rest) == 7
    assert all("storage-agent (pid 4" in text for text in rest)


def test_our_own_view_of_it_counts_only_where_the_host_has_none(tree: Tree) -> None:
    tree.process(60, "python3", mounts=MOUNTED, mount_namespace="mnt:[2]")
    tree.link("proc/self/ns/mnt", "mnt:[2]")
    assert texts(tree) == []
    tree.write("proc/1/mountinfo", ROOT_ONLY)
    assert texts(tree) == [
        "the mount namespace of process python3 (pid 60) has it mounted at /srv/data"
    ]


def test_namespace_is_read_through_a_process_that_is_not_in_a_chroot(tree: Tree) -> None:
    jailed = "901 27 147:0 / / rw - ext4 /dev/drbd0 rw\n"
    whole = ROOT_ONLY + "901 27 147:0 / /mnt/jail rw - ext4 /dev/drbd0 rw\n"
    tree.process(60, "jailed", mounts=jailed, mount_namespace="mnt:[2]", root="/mnt/jail")
    tree.process(61, "sh", mounts=whole, mount_namespace="mnt:[2]")
    assert texts(tree) == [
        "process jailed (pid 60) has /mnt/jail as its root",
        "the mount namespace of process sh (pid 61) has it mounted at /mnt/jail",
    ]


def test_mounts_on_the_host(tree: Tree) -> None:
    more = (
        "300 27 147:0 /home /home rw - ext4 /dev/drbd0 rw\n"
        "301 217 7:1 / /srv/data/image rw - ext4 /dev/loop1 rw\n"
        "302 26 0:4 mnt:[77] /run/kept rw - nsfs nsfs rw\n"
        "303 26 0:4 net:[78] /run/netns/x rw - nsfs nsfs rw\n"
    )
    tree.write("proc/1/mountinfo", MOUNTED + more)
    assert texts(tree) == [
        "it is also mounted at /home",
        "ext4 from /dev/loop1 is mounted inside it, at /srv/data/image",
        "a mount namespace without processes is kept at /run/kept",
    ]


def test_devices(tree: Tree) -> None:
    tree.folder("sys/class/block/drbd0/holders/dm-0")
    tree.block_device("loop1", "7:1")
    tree.block_device("loop2", "7:2")
    tree.write("sys/class/block/loop1/loop/backing_file", "/srv/data/disk.img\n")
    tree.write("sys/class/block/loop2/loop/backing_file", "/root/disk.img\n")
    swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    swaps += "/srv/data/swap\\040file              file\t\t1048572\t\t0\t\t-2\n"
    swaps += "/dev/vdz                                partition\t1048572\t\t0\t\t-3\n"
    tree.write("proc/swaps", swaps)
    assert texts(tree) == [
        "device dm-0 is stacked on drbd0",
        "loop device loop1 uses /srv/data/disk.img",
        "the host swaps to /srv/data/swap file",
    ]


def test_the_device_itself_is_open(tree: Tree) -> None:
    tree.write("proc/1/mountinfo", ROOT_ONLY)
    tree.process(70, "dd", mounts=ROOT_ONLY)
    tree.open_file(70, 0, "/dev/drbd0", 24)
    assert texts(tree) == ["process dd (pid 70) has /dev/drbd0 open"]


def test_the_array_by_its_link_and_by_its_name(tree: Tree) -> None:
    tree.link("dev/md/data", "../md127")
    tree.block_device("md127", "9:127")
    tree.write("proc/1/mountinfo", ROOT_ONLY)
    tree.process(70, "dd", mounts=ROOT_ONLY)
    tree.open_file(70, 0, "/dev/md127", 24)
    found = find_holders("/srv/data", "/dev/md/data", tree.root)
    assert [h.what for h in found] == ["process dd (pid 70) has /dev/md127 open"]


def test_nfs_of_the_host_and_of_a_namespace(tree: Tree) -> None:
    tree.write("proc/1/net/rpc/nfsd.export/content", EXPORTS)
    tree.process(80, "rpc.mountd", mounts=MOUNTED, network_namespace="net:[2]")
    tree.write("proc/80/net/rpc/nfsd.export/content", EXPORTS.replace("*", "10.9.0.0/24"))
    tree.write("proc/fs/nfsd/clients/9/states", STATES.split("states <==\n")[1])
    tree.write("proc/fs/nfsd/clients/10/states", "")
    at = "the NFS server in the network of process rpc.mountd (pid 80)"
    assert texts(tree) == [
        "the host's own NFS server exports /srv/data to *",
        f"{at} exports /srv/data to 10.9.0.0/24",
        "NFS client 9 of the host's own server has 5 files or locks",
    ]


def test_what_cannot_be_looked_into_is_said(tree: Tree) -> None:
    class Refused(ProcReader):
        def descriptors(self, pid: str) -> list[str]:
            raise PermissionError(pid)

    (holder,) = find_holders("/srv/data", "/dev/drbd0", tree.root, read=Refused(tree.root))
    assert holder.what == "1 processes could not be looked into: run this as root"


def test_a_process_that_ends_meanwhile(tree: Tree) -> None:
    tree.write("proc/99/comm", "gone\n")
    assert texts(tree) == []


def test_a_look_that_hangs_says_so_and_keeps_what_it_has(tree: Tree) -> None:
    tree.process(123, "nginx", mounts=MOUNTED)
    tree.open_file(123, 10, "/srv/data/x", 217)
    tree.process(124, "stuck", mounts=MOUNTED)
    (tree.root / "proc/124/maps").unlink()
    os.mkfifo(tree.root / "proc/124/maps")
    found = find_holders("/srv/data", "/dev/drbd0", tree.root, timeout_s=0.3)
    assert [h.what for h in found] == [
        "process nginx (pid 123) has /srv/data/x open",
        "not all is known: /proc/124/maps gave no answer",
    ]
    # Lets the thread that hangs on the pipe go.
    (tree.root / "proc/124/maps").write_text("")


def test_kernel_exports() -> None:
    assert parse_kernel_exports(EXPORTS) == (KernelExport(path="/srv/data", client="*"),)
    gone = recorded("proc-net-rpc-nfsd-export", KERNEL, "unexported-client-still-holds-alpha")
    assert parse_kernel_exports(gone.stdout) == ()
    unknown = EXPORTS.replace("fsid=1", "fsid=1,xxx=bla")
    assert parse_kernel_exports(unknown) == parse_kernel_exports(EXPORTS)
    with pytest.raises(ParseError):
        parse_kernel_exports("/srv/data *(rw)\n")


def test_client_states() -> None:
    assert parse_client_states(STATES) == ("147:0",) * 5
    assert parse_client_states(STATES.replace("type: open", "xxx: bla, type: open")) == (
        ("147:0",) * 5
    )


def test_mappings() -> None:
    assert parse_mappings(MAPS) == (
        ("147:0", "/srv/data/bin/tool"),
        ("254:0", "/usr/lib/libc so.6"),
    )


def test_mount_id() -> None:
    assert parse_mount_id("pos:\t0\nxxx:\tbla\nmnt_id:\t217\n") == 217
    for wrong in ("pos:\t0\n", "mnt_id:\tx\n"):
        with pytest.raises(ParseError):
            parse_mount_id(wrong)


def test_printable_keeps_a_message_on_one_line() -> None:
    assert printable("a\nb\x1b[2J") == "a\\x0ab\\x1b[2J"
