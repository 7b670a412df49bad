"""Room on the volume for what its NFS server keeps there, made while there is any."""

from __future__ import annotations

from pathlib import Path

from storage_agent.host.filesystem.capacity import read_capacity
from storage_agent.host.volume.reserve import make_room
from storage_agent.model.errors import OperationFailed
from storage_agent.nfs_server.notify import log


def hold_room(at: str, place: str) -> None:
    """Before nfsdcld starts. at: the mount point.  place: where its database is opened.  Raises
    OperationFailed where it could not keep its clients' records: its server would wait out the
    whole grace period and forget them later."""
    try:
        make_room(at, place)
        return
    except OSError as exc:
        log(f"not all that is needed on {at} when it is full is held: {exc}")
    space = read_capacity(Path(at), is_exported=True)
    if space.has_room_for_server():
        return
    raise OperationFailed(
        f"{at} is full: there is no room for the records of its NFS clients "
        f"({space.root_free_bytes} bytes and {space.free_inodes} inodes free, "
        f"{space.lacking_bytes} bytes and {space.lacking_inodes} inodes wanted)",
        remedy=f"it is served nowhere, so this interrupts nobody: make it primary and mount it at "
        f"{at} by hand, remove files, look: df -i {at}; umount {at}; make it secondary; then "
        "promote again",
        code="NO_ROOM_FOR_SERVER",
    )
