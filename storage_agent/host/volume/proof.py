"""What a client has written to prove that an export can be used (`storage-coordinator go-live`), as
it lies on the volume. Runs no host tool."""

from __future__ import annotations

import hashlib
import os

from storage_agent.host.volume.door import enter
from storage_agent.host.volume.own import CLIENTS, own_folder

# More than any client's proof has (coordinator/client_proof.py).
LIMIT_BYTES = 1 << 16


def take_proof(mount_point: str, name: str) -> bytes:
    """Its SHA-256 in hex; the file is removed. Raises OSError, NotOurs for what is no plain file
    of that name there."""
    with (
        enter(mount_point) as root,
        own_folder(root) as own,
        own.folder(CLIENTS, others=0o022) as clients,
    ):
        with os.fdopen(clients.anyones_file(name), "rb") as file:
            content = file.read(LIMIT_BYTES)
        os.unlink(name, dir_fd=clients.descriptor)
    return hashlib.sha256(content).hexdigest().encode()
