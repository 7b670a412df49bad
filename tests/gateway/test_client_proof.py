"""The client's script as it runs; in the place of an NFS server its mount binds a folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from storage_agent.coordinator.client_proof import FOLDER, prover
from storage_agent.coordinator.commands import Ended
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
    'for last; do :; done; echo "$*" >>"{0}/asked"; '
    'exec "{0}/real-mount" --bind "{0}/server" "$last"'
)


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
        return prover(self.run, None, lambda: "probe")("10.9.0.10", "/srv/data")


@pytest.fixture(autouse=True)
def as_root() -> None:
    assert os.geteuid() == 0, "run as root: it mounts"


def test_it_mounts_twice_and_leaves_nothing(tmp_path: Path) -> None:
    client = Client(tmp_path)
    assert client.prove() == "this machine"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2
    assert all("-t nfs -o soft," in line and "10.9.0.10:/srv/data" in line for line in asked)
    assert list((tmp_path / "server" / FOLDER).iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []


REFUSES = 'echo "mount.nfs: access denied by server while mounting" >&2; exit 32'
# What is written is lost between the two mounts, or another one's.
FORGETS = BIND.replace("; exec", '; : >"{0}/server/.storage-agent/clients/probe"; exec')


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
