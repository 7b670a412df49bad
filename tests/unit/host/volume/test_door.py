"""The guarded door: what it opens, what it refuses, and what it leaves alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage_agent.host.system import syscalls
from storage_agent.host.volume import door
from storage_agent.host.volume.door import Folder, NotOurs, enter
from storage_agent.host.volume.keeping import Told, hold
from storage_agent.host.volume.own import FOLDER, MODE, made_folder, own_folder, tracking_folder

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "volume").mkdir()
    with enter(str(tmp_path / "volume")) as opened:
        yield opened


def held(volume: Path) -> Told:
    """As a server begins; and lets go again."""
    opened, told = hold(str(volume))
    opened.close()
    return told


def aside_in(told: Told, folder: Path) -> Path:
    (text,) = told
    return folder / text.rpartition(" ")[2]


def hard_link(path: Path) -> None:
    (path.parent / "other").write_text("x")
    path.hardlink_to(path.parent / "other")


def socket_file(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFSOCK)


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def of_mode(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text("x")
        path.chmod(mode)

    return make


def users(path: Path) -> None:
    path.write_text("x")
    os.chown(path, 1000, 1000)


REFUSED: dict[str, Callable[[Path], object]] = {
    "a link out": link_to("/etc/passwd"),
    "a link up": link_to("../outside"),
    "a link inside": link_to("plain"),
    "a loop": link_to("x"),
    "a magic link": link_to("/proc/self/exe"),
    "a FIFO": os.mkfifo,
    "a socket": socket_file,
    "a folder": Path.mkdir,
    "two names": hard_link,
    "everybody's": of_mode(0o666),
    "a group's": of_mode(0o620),
}
if IS_ROOT:
    REFUSED["a device"] = lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    REFUSED["a user's"] = users


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_file_of_ours_is_not_opened(
    root: Folder, make: Callable[[Path], object]
) -> None:
    folder = Path(root.where)
    (folder / "plain").write_text("plain")
    (folder.parent / "outside").write_text("outside")
    make(folder / "x")
    for call in (lambda: root.file("x"), lambda: root.read("x", 10), lambda: root.size("x")):
        with pytest.raises(NotOurs) as caught:
            call()
        assert caught.value.filename == f"{root.where}/x"
    with pytest.raises(NotOurs):
        root.write_at("x", b"y", 0)
    before = os.lstat(folder / "x")
    aside = root.set_aside("x")
    after = os.lstat(folder / aside)
    assert (before.st_ino, before.st_mode, before.st_uid) == (
        after.st_ino,
        after.st_mode,
        after.st_uid,
    )
    root.make_file("x", b"ours")
    assert root.read("x", 10) == b"ours"
    assert (folder / "plain").read_text() == "plain"
    assert (folder.parent / "outside").read_text() == "outside"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "../x"])
def test_only_single_names_are_names(root: Folder, name: str) -> None:
    with pytest.raises(NotOurs):
        root.read(name, 1)
    with pytest.raises(NotOurs):
        root.make_folder(name, mode=0o700)


def test_a_folder_that_is_a_link_or_a_users_is_set_aside(root: Folder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (tmp_path / "volume" / FOLDER).symlink_to(outside)
    own, told = made_folder(root, FOLDER, MODE)
    own.close()
    assert os.readlink(aside_in(told, tmp_path / "volume")) == str(outside)
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755
    assert list(outside.iterdir()) == []


def test_what_the_server_needs_is_made_once(tmp_path: Path) -> None:
    assert held(tmp_path) == ()
    own = tmp_path / FOLDER
    modes = {
        path.relative_to(own).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (own, *own.rglob("*"))
    }
    assert modes == {
        ".": 0o711,
        "nfs": 0o700,
        "nfs/nfsdcld": 0o700,
        "canary": 0o700,
        "clients": 0o1733,
    }
    (own / "nfs/nfsdcld/main.sqlite").write_text("kept")
    assert held(tmp_path) == ()
    assert (own / "nfs/nfsdcld/main.sqlite").read_text() == "kept"


@needs_root
@pytest.mark.parametrize("name", ["clients", "canary", "nfs", "nfs/nfsdcld"])
def test_each_link_in_the_place_of_a_folder_is_set_aside(tmp_path: Path, name: str) -> None:
    """An older volume, on which a client's root was free to do it."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    volume = tmp_path / "volume"
    (volume / FOLDER / name).parent.mkdir(parents=True)
    (volume / FOLDER / name).symlink_to(outside)
    told = held(volume)
    assert os.readlink(aside_in(told, (volume / FOLDER / name).parent)) == str(outside)
    assert (stat.S_IMODE(outside.stat().st_mode), list(outside.iterdir())) == (0o755, [])
    tracking_folder(str(volume)).close()


def test_modes_are_put_right(tmp_path: Path) -> None:
    held(tmp_path)
    for name in ("nfs", "clients"):
        (tmp_path / FOLDER / name).chmod(0o777)
    assert held(tmp_path) == ()
    assert stat.S_IMODE((tmp_path / FOLDER / "nfs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / FOLDER / "clients").stat().st_mode) == 0o1733


@needs_root
def test_nobody_changes_what_is_protected(root: Folder) -> None:
    """Where the filesystem has the flag: elsewhere there is nothing to show."""
    own, _ = made_folder(root, FOLDER, MODE)
    with own:
        own.protect()
        if syscalls.is_immutable(own.descriptor) is None:
            pytest.skip("this filesystem has no flags")
        own.make_file("marker", b"1234")
        own.protect_file("marker")
        path = Path(own.where)
        for change in (
            lambda: path.rename(path.parent / "trash"),
            lambda: (path / "more").touch(),
            lambda: (path / "marker").unlink(),
            lambda: (path / "marker").write_text("x"),
            lambda: path.chmod(0o777),
        ):
            with pytest.raises(PermissionError):
                change()
        own.write_at("marker", b"ab", 1)
        assert own.read("marker", 9) == b"1ab4"
        own.make_file("marker", b"new")
        with own.make_folder("inner", mode=0o700) as inner:
            assert inner.is_known_as(own, "inner")
        assert own.is_protected()
        with pytest.raises(PermissionError):
            (path / "marker2").touch()


def test_a_folder_that_was_moved_is_taken_back(root: Folder) -> None:
    own, _ = made_folder(root, FOLDER, MODE)
    with own:
        own.make_file("marker", b"1")
        path = Path(root.where)
        syscalls.set_immutable(own.descriptor, on=False)
        (path / "deep/er").mkdir(parents=True)
        (path / FOLDER).rename(path / "deep/er/trash")
        own.protect()
        assert not own.is_known_as(root, FOLDER)
        assert root.take_back(own, root, FOLDER)
        assert own.is_known_as(root, FOLDER)
        assert own.is_protected()
        assert (path / FOLDER / "marker").read_text() == "1"


def test_a_folder_that_is_removed_or_behind_a_link_is_not(root: Folder) -> None:
    path = Path(root.where)
    with root.make_folder("a", mode=0o700) as own:
        (path / "a").rmdir()
        assert not root.take_back(own, root, "a")
    outside = path.parent / "elsewhere"
    outside.mkdir()
    with root.make_folder("b", mode=0o700) as own:
        (path / "b").rename(outside / "b")
        assert not root.take_back(own, root, "b")


def test_a_volume_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(NotADirectoryError):
        enter(str(tmp_path / "link"))


def test_a_delegation_is_waited_for_and_not_for_ever(
    root: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease as knfsd takes one for a client (fcntl(2)); its break is a signal we ignore."""
    import fcntl
    import signal

    monkeypatch.setattr(door, "PATIENCE_S", 0.2)
    root.make_file("x", b"1")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    holder = os.open(f"{root.where}/x", os.O_RDONLY)
    try:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        with pytest.raises(BlockingIOError):
            root.write_at("x", b"2", 0)
    finally:
        os.close(holder)
        signal.signal(signal.SIGIO, before)
    root.write_at("x", b"2", 0)
    assert root.read("x", 9) == b"2"


def test_own_folder_is_not_made_by_reading(root: Folder) -> None:
    with pytest.raises(FileNotFoundError):
        own_folder(root)
    assert os.listdir(root.where) == []
