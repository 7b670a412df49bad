"""Our folder on a volume while clients use it: held open, protected, looked at, and put back.

Folder and marker carry the immutable flag of ext4 and XFS as long as the volume is exported: then
no client can move, remove or change them, not even its root (there is no ioctl over NFS). What is
in the folders below can be emptied by a client's root where the export says no_root_squash. Who
can do all the same: root on this host, a backup that is put back, a filesystem without the flag.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from storage_agent.host.volume.door import Folder, NotOurs, enter
from storage_agent.host.volume.marker import NAME, SLOT_BYTES
from storage_agent.host.volume.own import (
    FOLDER,
    MODE,
    PRIVATE,
    TRACKING,
    made_folder,
    made_server_folders,
)

Told = tuple[str, ...]


@dataclass(slots=True)
class Held:
    """own, tracking: open, so that they are known again wherever they are moved.  marker: as it
    was last seen."""

    own: Folder
    tracking: Folder
    marker: bytes | None

    def close(self) -> None:
        self.own.close()
        self.tracking.close()


def hold(mount_point: str) -> tuple[Held, Told]:
    """Made where they are not there, on whatever users have made of the volume, and protected.
    Also says what was set aside for it. Raises OSError."""
    with enter(mount_point) as root:
        own, told = made_folder(root, FOLDER, MODE)
        try:
            nfs, more = made_server_folders(own)
            with nfs:
                tracking, moved = made_folder(nfs, TRACKING, PRIVATE)
            held = Held(own, tracking, _marker(own))
            _protect(held)
        except OSError:
            own.close()
            raise
    return held, told + more + moved


def keep(mount_point: str, held: Held) -> Told:
    """One look; what is not as it was is put back, in `held` too. Says what it was; nothing where
    all is well. Raises OSError."""
    told: list[str] = []
    with enter(mount_point) as root:
        if root.identity()[0] != held.own.identity()[0]:
            return ()  # Unmounted, or another filesystem by now.
        held.own = _kept(root, root, FOLDER, held.own, MODE, told)
        if not held.own.is_protected():
            told.append(f"{held.own.where} had lost its protection")
        nfs, aside = made_server_folders(held.own)
        told += aside
        with nfs:
            held.tracking = _kept(root, nfs, TRACKING, held.tracking, PRIVATE, told)
        _keep_marker(held, told)
        _protect(held)
    return tuple(told)


def release(held: Held) -> None:
    """No client is served any more: an older version of the agent, which knows no flag, may be the
    next one. Raises OSError."""
    with contextlib.suppress(FileNotFoundError, NotOurs):
        held.own.protect_file(NAME, on=False)
    held.own.protect(on=False)


def _kept(
    root: Folder, parent: Folder, name: str, held: Folder, mode: int, told: list[str]
) -> Folder:
    where = f"{parent.where}/{name}"
    if held.is_known_as(parent, name):
        if held.make_ours(mode):
            told.append(f"{where} had another owner or mode")
        return held
    if parent.has(name):
        told.append(f"{where} was another one, set aside as {parent.set_aside(name)}")
    if root.take_back(held, parent, name):
        told.append(f"{where} was moved away, and is back")
        held.make_ours(mode)
        return held
    told.append(f"{where} was removed, and is made anew")
    made = parent.make_folder(name, mode=mode)
    held.close()
    return made


def _keep_marker(held: Held, told: list[str]) -> None:
    """Gone, it is written as it was last seen; what it says is the daemon's to keep newer."""
    seen = _marker(held.own)
    if seen is not None or held.marker is None:
        held.marker = seen
        return
    where = f"{held.own.where}/{NAME}"
    if held.own.has(NAME):
        told.append(f"{where} was another one, set aside as {held.own.set_aside(NAME)}")
    held.own.make_file(NAME, held.marker)
    told.append(f"{where} was removed, and is back")


def _marker(own: Folder) -> bytes | None:
    """None also for what is not ours."""
    try:
        return own.read(NAME, 2 * SLOT_BYTES)
    except NotOurs:
        return None


def _protect(held: Held) -> None:
    with contextlib.suppress(FileNotFoundError, NotOurs):
        held.own.protect_file(NAME)
    held.own.protect()
