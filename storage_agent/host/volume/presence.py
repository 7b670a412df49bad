"""Whether our folder and marker lie on a mounted volume as they should, looked at from outside the
server; and what the server had to put right lately. Changes nothing. Runs no host tool."""

from __future__ import annotations

import os
import time
from pathlib import Path

from storage_agent.host.nfs.adapter import RUN_FOLDER
from storage_agent.host.volume.door import NotOurs, enter
from storage_agent.host.volume.marker import NAME
from storage_agent.host.volume.own import FOLDER, own_folder

NOTE_SUFFIX = ".put-right"
NOTE_LIMIT_BYTES = 2000
# Long enough for whoever asks every few minutes.
NOTE_S = 900.0


def what_is_wrong(mount_point: str) -> str:
    """Empty: all is well. Raises OSError for what the filesystem itself does not answer."""
    with enter(mount_point) as root:
        try:
            with own_folder(root) as own:
                if own.size(NAME) is None:
                    return f"{own.where}/{NAME} is gone"
        except FileNotFoundError:
            return f"{root.where}/{FOLDER} is gone"
        except NotOurs as exc:
            return f"{exc.filename} {exc.strerror}"
    return ""


def put_right(volume: str, root: Path) -> str:
    """By its NFS server, within NOTE_S; empty: nothing."""
    path = root / RUN_FOLDER / f"{volume}{NOTE_SUFFIX}"
    try:
        with open(path, "rb") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > NOTE_S:
                return ""
            return file.read(NOTE_LIMIT_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""
