"""The agent's own folder in a volume's root: what lies where, and how it is made and put back.

    .storage-agent/             0711, nobody changes what is in it (FS_IMMUTABLE_FL)
        marker                  the currency marker; the same flag, lifted for each write
        nfs/                    0700
            nfsdcld/            the NFS clients' records (nfsdcld's database)
            connections         whom the next server is to wake
        canary/                 0700, the proof of an export
        clients/                1733, where any client may prove that it can write

Folder and marker cannot be moved, removed or written over NFS, not even by a client's root. The
folders in it can be emptied by a client's root where the export says no_root_squash.
"""

from __future__ import annotations

from storage_agent.host.volume.door import Folder, NotOurs, enter

FOLDER = ".storage-agent"
NFS, TRACKING, CANARY, CLIENTS = "nfs", "nfsdcld", "canary", "clients"
_MODE, _PRIVATE, _DROP = 0o711, 0o700, 0o1733


def own_folder(root: Folder) -> Folder:
    """Raises FileNotFoundError, NotOurs."""
    return root.folder(FOLDER)


def made_own_folder(root: Folder) -> tuple[Folder, tuple[str, ...]]:
    """The one that is there, or a new one, protected; and the names of what was in its place and
    is set aside. Raises OSError."""
    own, aside = made_folder(root, FOLDER, _MODE)
    own.protect()
    return own, aside


def made_folder(parent: Folder, name: str, mode: int) -> tuple[Folder, tuple[str, ...]]:
    """The same for any."""
    try:
        return parent.make_folder(name, mode=mode), ()
    except NotOurs:
        aside = parent.set_aside(name)
    return parent.make_folder(name, mode=mode), (f"{parent.where}/{aside}",)


def made_server_folders(mount_point: str) -> tuple[str, ...]:
    """All that a volume's NFS server needs. Returns what was set aside for it. Raises OSError."""
    with enter(mount_point) as root:
        own, aside = made_own_folder(root)
        with own:
            for name, mode in ((NFS, _PRIVATE), (CANARY, _PRIVATE), (CLIENTS, _DROP)):
                folder, moved = made_folder(own, name, mode)
                aside += moved
                with folder:
                    if name == NFS:
                        tracking, moved = made_folder(folder, TRACKING, _PRIVATE)
                        tracking.close()
                        aside += moved
    return aside


def nfs_folder(mount_point: str) -> Folder:
    """Where the server's state lies. Raises FileNotFoundError, NotOurs."""
    with enter(mount_point) as root, own_folder(root) as own:
        return own.folder(NFS)


def tracking_folder(mount_point: str) -> Folder:
    """Where nfsdcld's database lies. Raises FileNotFoundError, NotOurs."""
    with nfs_folder(mount_point) as folder:
        return folder.folder(TRACKING)
