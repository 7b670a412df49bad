"""The agent's own folder in a volume's root: what lies where, and how it is made.

    .storage-agent/             0711
        marker                  the currency marker
        nfs/                    0700
            nfsdcld/            the NFS clients' records (nfsdcld's database)
            connections         whom the next server is to wake
        canary/                 0700, the proof of an export
        clients/                1733, where any client may prove that it can write

While the volume is exported, folder and marker carry the immutable flag (keeping.py).
"""

from __future__ import annotations

from storage_agent.host.volume.door import Folder, NotOurs, enter

FOLDER = ".storage-agent"
NFS, TRACKING, CANARY, CLIENTS = "nfs", "nfsdcld", "canary", "clients"
MODE, PRIVATE, DROP = 0o711, 0o700, 0o1733
SERVER_FOLDERS = ((NFS, PRIVATE), (CANARY, PRIVATE), (CLIENTS, DROP))


def own_folder(root: Folder) -> Folder:
    """Raises FileNotFoundError, NotOurs."""
    return root.folder(FOLDER)


def made_folder(parent: Folder, name: str, mode: int) -> tuple[Folder, tuple[str, ...]]:
    """The one that is there, or a new one; and where what was in its place is now. Raises
    OSError."""
    try:
        return parent.make_folder(name, mode=mode), ()
    except NotOurs as exc:
        aside = parent.set_aside(name)
        told = f"{parent.where}/{name} {exc.strerror}, set aside as {aside}"
    return parent.make_folder(name, mode=mode), (told,)


def made_server_folders(own: Folder) -> tuple[Folder, tuple[str, ...]]:
    """All that a volume's NFS server needs. Returns the folder NFS, and what was set aside for
    them. Raises OSError."""
    nfs, told = made_folder(own, NFS, PRIVATE)
    for name, mode in SERVER_FOLDERS[1:]:
        folder, moved = made_folder(own, name, mode)
        folder.close()
        told += moved
    return nfs, told


def nfs_folder(mount_point: str) -> Folder:
    """Where the server's state lies. Raises FileNotFoundError, NotOurs."""
    with enter(mount_point) as root, own_folder(root) as own:
        return own.folder(NFS)


def tracking_folder(mount_point: str) -> Folder:
    """Where nfsdcld's database lies. Raises FileNotFoundError, NotOurs."""
    with nfs_folder(mount_point) as folder:
        return folder.folder(TRACKING)
