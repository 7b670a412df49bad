"""What the host sees of a process with a unit's mounts, and what that sees of the host. As root."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from storage_agent.host.filesystem.mountpoint import make_mount_point, make_writable
from storage_agent.host.filesystem.mounts import read_mount_lines
from storage_agent.host.system import outside, syscalls
from storage_agent.host.system.apart import run_apart
from storage_agent.host.system.runner import Runner
from storage_agent.model.errors import CommandFailed, Missing, OperationFailed
from storage_agent.model.filesystem import Mount
from tests.unit.host.confined import confined

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace"),
]
ROOT = Path("/")
_GUARDED = syscalls.MS_NOSUID | syscalls.MS_NODEV


def seen(by: str, path: Path) -> Mount | None:
    found = (x.mount for x in read_mount_lines(by, ROOT))
    return next((mount for mount in found if mount.mount_point == str(path)), None)


def mount(path: Path, *, outside: bool = True) -> None:
    argv = ("mount", "-t", "tmpfs", "-o", "nosuid,nodev", "none", str(path))
    Runner().run(argv, timeout_s=20, outside=outside)


def unmount(path: Path) -> None:
    Runner().run(("umount", "--", str(path)), timeout_s=20, outside=True)


def refused(path: Path) -> int | None:
    try:
        path.write_text("here")
    except OSError as exc:
        return exc.errno
    return None


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Read-only for the unit, with all that lies in it when that starts."""
    folder = tmp_path / "home"
    (folder / "data").mkdir(parents=True)
    return folder


def test_a_mount_made_outside_is_the_hosts_and_can_be_used_here(home: Path) -> None:
    def unit() -> None:
        mount(home / "data")
        for process in (outside.HOST, "self"):
            assert seen(process, home / "data") is not None
        assert refused(home / "data" / "file") is None
        assert refused(home / "file") == errno.EROFS
        unmount(home / "data")
        for process in (outside.HOST, "self"):
            assert seen(process, home / "data") is None

    confined(unit, read_only=(home,), before=lambda: None)


def test_a_mount_made_inside_is_nobodys(home: Path) -> None:
    def unit() -> None:
        mount(home / "data", outside=False)
        assert seen("self", home / "data") is not None
        assert seen(outside.HOST, home / "data") is None

    confined(unit, read_only=(), before=lambda: None)


def test_what_is_open_here_keeps_the_host_from_unmounting(home: Path) -> None:
    def unit() -> None:
        with (home / "data" / "file").open("w"):
            with pytest.raises(CommandFailed, match="busy"):
                unmount(home / "data")
            assert seen("self", home / "data") is not None
        unmount(home / "data")

    confined(unit, read_only=(), before=lambda: mount(home / "data"))


def test_what_was_mounted_before_is_written_to_outside(home: Path) -> None:
    file = home / "data" / "file"

    def write() -> bytes:
        file.write_text("there")
        return b"done"

    def unit() -> None:
        assert refused(file) == errno.EROFS
        with pytest.raises(OperationFailed, match="Read-only file system"):
            run_apart("the work", write, code="NO_WORK", timeout_s=20)
        assert run_apart("the work", write, code="NO_WORK", timeout_s=20, outside=True) == b"done"
        assert file.read_text() == "there"
        # Held by nobody afterwards, and gone from here with the host's.
        unmount(home / "data")
        assert seen("self", home / "data") is None

    data = home / "data"
    confined(unit, read_only=(home, data), before=lambda: mount(data))


def test_a_mount_point_is_made_where_the_host_may() -> None:
    home = Path("/srv")
    made = home / "new" / "deep"

    def unit() -> None:
        with pytest.raises(OperationFailed, match="Read-only file system"):
            make_mount_point(ROOT, str(made))
        make_mount_point(outside.tree(), str(made))
        assert made.is_dir()

    def before() -> None:
        syscalls.mount("none", str(home), "tmpfs", options="mode=0755")

    confined(unit, read_only=(home,), before=before)


def test_a_server_that_starts_late_may_write_as_the_host_may(home: Path) -> None:
    data = home / "data"

    def unit() -> None:
        assert refused(data / "file") == errno.EROFS
        make_writable(str(data))
        assert refused(data / "file") is None
        assert refused(home / "file") == errno.EROFS, "nothing else"
        ours, hosts = seen("self", data), seen(outside.HOST, data)
        assert ours is not None
        assert hosts is not None
        assert ours.options == hosts.options
        unmount(data)
        assert seen("self", data) is None

    confined(unit, read_only=(home, data), before=lambda: mount(data))


def test_what_the_host_has_read_only_stays_so(home: Path) -> None:
    data = home / "data"

    def read_only() -> None:
        mount(data)
        flags = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | _GUARDED
        syscalls.mount("none", str(data), flags=flags)

    def unit() -> None:
        make_writable(str(data))
        assert refused(data / "file") == errno.EROFS
        make_writable(str(home))

    confined(unit, read_only=(home, data), before=read_only)


def test_who_has_the_hosts_mounts_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outside.is_outside()
    assert outside.command(("/bin/true",)) == ("/bin/true",)
    assert outside.tree() == ROOT
    monkeypatch.setattr(outside, "HOST", "nobody")
    with pytest.raises(OperationFailed, match="the host's own mounts cannot be reached"):
        outside.is_outside()
    assert outside.tree(Path("/srv")) == Path("/srv")


def test_a_tool_that_is_missing_is_named_itself(home: Path) -> None:
    def unit() -> None:
        with pytest.raises(Missing, match="'no-such-tool'"):
            Runner().run(("no-such-tool",), timeout_s=20, outside=True)
        with pytest.raises(CommandFailed, match=r"^false") as caught:
            Runner().run(("false",), timeout_s=20, outside=True)
        assert caught.value.argv == ("false",)

    confined(unit, read_only=(), before=lambda: None)
