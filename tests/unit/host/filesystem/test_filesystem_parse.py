"""What mountinfo and blkid say."""

from __future__ import annotations

import pytest

from storage_agent.host.filesystem.adapter import parse_blkid, parse_mountinfo
from storage_agent.host.filesystem.mounts import covering, parse_mount_lines
from storage_agent.model.errors import ParseError
from storage_agent.model.filesystem import Mount
from tests.unit.host.recorded import KERNEL, recorded

MOUNTED = recorded("proc-self-mountinfo", KERNEL, "drbd-mounted-and-exported-alpha").stdout
BLKID = recorded("blkid", "2.38.1", "drbd-mounted-and-exported-alpha")
ON_DRBD = ("be7adb3d-ecf7-42cf-9c55-16e4bae08b8b", "ext4")


def test_mountinfo_of_a_serving_host() -> None:
    mounts = parse_mountinfo(MOUNTED)
    assert len(mounts) == len(MOUNTED.splitlines())
    assert mounts[-2] == Mount(
        mount_point="/srv/data",
        source="/dev/drbd0",
        device="147:0",
        root="/",
        type="ext4",
        read_only=False,
        options=("rw", "relatime"),
    )
    assert next(m.mount_point for m in mounts if m.read_only).startswith("/run/credentials/")


def test_mountinfo_of_an_nfs_client() -> None:
    text = recorded("proc-self-mountinfo", KERNEL, "client-holding-lock-client").stdout
    assert parse_mountinfo(text)[-1].type == "nfs4"
    assert parse_mountinfo(text)[-1].source == "10.9.0.10:/srv/data"


def test_mountinfo_escapes_and_empty_source() -> None:
    line = r"40 27 7:0 / /mnt/a\040b\134c rw - ext4  ro,errors=continue"
    (mount,) = parse_mountinfo(line)
    assert mount.mount_point == "/mnt/a b\\c"
    assert mount.source == ""
    assert mount.read_only, "the filesystem is read-only though the mount is not"


@pytest.mark.parametrize("optional", ["", "shared:1 ", "shared:1 master:2 ", "xxx:bla unbindable "])
def test_mountinfo_optional_fields_change_nothing(optional: str) -> None:
    line = f"217 27 147:0 / /srv/data rw,relatime {optional}- ext4 /dev/drbd0 rw,stripe=1024"
    assert parse_mountinfo(line) == (parse_mountinfo(MOUNTED)[-2],)


@pytest.mark.parametrize(
    "line",
    [
        "217 27 147:0 / /srv/data rw,relatime shared:89 ext4 /dev/drbd0 rw",
        "217 27 147:0 / /srv/data rw,relatime - ext4",
        "x 27 147:0 / /srv/data rw,relatime - ext4 /dev/drbd0 rw",
        "217 27 147 / /srv/data rw,relatime - ext4 /dev/drbd0 rw",
        "",
        "mount",
    ],
)
def test_mountinfo_that_is_none(line: str) -> None:
    with pytest.raises(ParseError):
        parse_mountinfo(line + "\n")


@pytest.mark.parametrize(
    ("path", "mount_point"),
    [("/srv/data/x", "/srv/data"), ("/srv/database", "/"), ("/run/lock/a", "/run/lock")],
)
def test_covering_mount(path: str, mount_point: str) -> None:
    line = covering(parse_mount_lines(MOUNTED), path)
    assert line is not None
    assert line.mount.mount_point == mount_point


def test_blkid_recognises() -> None:
    assert parse_blkid(BLKID.stdout)["UUID"] == ON_DRBD[0]
    member = recorded("blkid-member", "2.38.1", "drbd-mounted-and-exported-alpha")
    assert parse_blkid(member.stdout)["TYPE"] == "linux_raid_member"


def test_blkid_unknown_key_changes_nothing() -> None:
    found = parse_blkid(BLKID.stdout + "XXX=bla\nnothing\n=ext4\n")
    assert (found["UUID"], found["TYPE"]) == ON_DRBD


@pytest.mark.parametrize(
    "text",
    [
        BLKID.stdout + "UUID=0f4c2a36-9b5e-4b5e-8f4e-3f1f6f1e9a10\n",
        BLKID.stdout.replace("UUID=be7adb3d", "UUID=zzzz"),
        "TYPE=ext4\n",
    ],
)
def test_blkid_wrong_value(text: str) -> None:
    with pytest.raises(ParseError):
        parse_blkid(text)
