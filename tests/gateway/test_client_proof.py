"""The client's script as it runs; in the place of an NFS server its mount binds a folder."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_agent.coordinator.client_proof import FOLDER, prover
from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.go_live import Errand
from storage_agent.model.errors import OperationFailed

# In its own mount namespace: the script's PATH is fixed, so the tool itself is replaced.
WORLD = """\
set -eu
cp /usr/bin/mount "$1/real-mount"
printf '%s\\n' '#!/bin/sh' "$2" >"$1/mount"
chmod 755 "$1/mount"
mount --bind "$1/mount" /usr/bin/mount
export TMPDIR="$1/tmp"
exec sh -s
"""
BIND = (
    'case "$*" in *remount*) exec "{0}/real-mount" "$@";; esac; '
    'for last; do :; done; echo "$*" >>"{0}/asked"; '
    'exec "{0}/real-mount" --bind "{0}/server" "$last"'
)
CONTENT = b"a line of the proof\n" * 800
ERRAND = Errand(address="10.9.0.10", path="/srv/data", name="probe", content=CONTENT)


class Client:
    """mount: what stands in the place of /usr/bin/mount."""

    def __init__(self, folder: Path, mount: str = BIND) -> None:
        self.folder = folder
        self.mount = mount.format(folder)
        (folder / "tmp").mkdir()
        (folder / "server" / FOLDER).mkdir(parents=True)

    def run(self, argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
        assert argv == ("sh", "-s")
        world = ("unshare", "--mount", "sh", "-c", WORLD, "sh", str(self.folder), self.mount)
        done = subprocess.run(world, input=stdin, capture_output=True, timeout=60, check=False)
        return Ended(exit_status=done.returncode, text=done.stderr.decode())

    def prove(self) -> str:
        return prover(self.run, None)(ERRAND)


@pytest.fixture(autouse=True)
def as_root() -> None:
    assert os.geteuid() == 0, "run as root: it mounts"


def test_it_mounts_twice_and_leaves_what_it_wrote_to_the_server(tmp_path: Path) -> None:
    client = Client(tmp_path)
    assert client.prove() == "this machine"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2
    assert all("-t nfs -o soft," in line and "10.9.0.10:/srv/data" in line for line in asked)
    assert [file.name for file in (tmp_path / "server" / FOLDER).iterdir()] == ["probe"]
    assert (tmp_path / "server" / FOLDER / "probe").read_bytes() == CONTENT
    assert list((tmp_path / "tmp").iterdir()) == []


REFUSES = 'echo "mount.nfs: access denied by server while mounting" >&2; exit 32'
# What is written is lost between the two mounts, or another one's.
PROBE = '"{0}/server/.storage-agent/clients/probe"'
FORGETS = BIND.replace('echo "$*"', f'test ! -e {PROBE} || : >{PROBE}; echo "$*"')


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (REFUSES, ("access denied by server", "it cannot be mounted")),
        (FORGETS, ("what is read is not what was written",)),
    ],
    ids=["refused", "lost"],
)
def test_what_fails_is_told_and_nothing_is_left(
    tmp_path: Path, mount: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(OperationFailed) as caught:
        Client(tmp_path, mount).prove()
    assert all(word in caught.value.message for word in words)
    # What were still mounted could not be removed.
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    client = Client(tmp_path)
    (tmp_path / "server" / FOLDER).rmdir()
    with pytest.raises(OperationFailed, match=r"No such file or directory; it cannot be written"):
        client.prove()
    assert list((tmp_path / "tmp").iterdir()) == []


# --- what a hostile storage host shows ----------------------------------------------------------


def a_link_to_a_file(clients: Path, victim: Path) -> None:
    (clients / "probe").symlink_to(victim)


def a_link_to_what_is_not_there(clients: Path, victim: Path) -> None:
    (clients / "probe").symlink_to(victim.with_name("made"))


def a_hard_link(clients: Path, victim: Path) -> None:
    os.link(victim, clients / "probe")


def a_fifo(clients: Path, victim: Path) -> None:
    os.mkfifo(clients / "probe")


def a_device(clients: Path, victim: Path) -> None:
    os.mknod(clients / "probe", 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def a_link_in_the_folders_place(clients: Path, victim: Path) -> None:
    clients.rmdir()
    clients.symlink_to(victim.parent)


def a_link_above_it(clients: Path, victim: Path) -> None:
    clients.rmdir()
    clients.parent.rmdir()
    (victim.parent / "clients").mkdir()
    clients.parent.symlink_to(victim.parent)


@pytest.mark.parametrize(
    "show",
    [
        a_link_to_a_file,
        a_link_to_what_is_not_there,
        a_hard_link,
        a_fifo,
        a_device,
        a_link_in_the_folders_place,
        a_link_above_it,
    ],
)
def test_nothing_of_this_machine_is_touched(
    tmp_path: Path, show: Callable[[Path, Path], None]
) -> None:
    client = Client(tmp_path)
    etc = tmp_path / "etc"
    etc.mkdir()
    victim = etc / "shadow"
    victim.write_text("root:x\n")
    show(tmp_path / "server" / FOLDER, victim)
    with pytest.raises(OperationFailed) as caught:
        client.prove()
    assert "it cannot be written" in caught.value.message
    assert victim.read_text() == "root:x\n"
    assert [path for path in etc.rglob("*") if path.is_file()] == [victim]
    assert list((tmp_path / "tmp").iterdir()) == []


# Between the two mounts the file becomes something else.
SWAPS = BIND.replace('echo "$*"', 'if [ -e "{0}/asked" ]; then {1}; fi; echo "$*"')


@pytest.mark.parametrize(
    "swap",
    ['ln -sf "{0}/secret" "$probe"', 'rm "$probe"; mkfifo "$probe"', 'rm "$probe"; mkdir "$probe"'],
)
def test_nor_read_and_nothing_blocks(tmp_path: Path, swap: str) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    named = swap.replace("$probe", "{0}/server/.storage-agent/clients/probe")
    with pytest.raises(OperationFailed):
        Client(tmp_path, SWAPS.replace("{1}", named)).prove()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_machine_that_cannot_mount_without_following_links_says_so(tmp_path: Path) -> None:
    old = BIND.replace('exec "{0}/real-mount" "$@"', 'echo "bad option" >&2; exit 1')
    with pytest.raises(OperationFailed, match=r"cannot mount without following links"):
        Client(tmp_path, old).prove()
    assert list((tmp_path / "server" / FOLDER).iterdir()) == []
