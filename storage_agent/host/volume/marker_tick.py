"""The currency marker, written again and again while a volume is served.

By dd in a child process, not here: a write to a frozen device hangs in D state, and a thread of
the daemon's that hung so would keep it from ending, and the next one from starting.
"""

from __future__ import annotations

import dataclasses
import time

from storage_agent.host.system.runner import Runner
from storage_agent.host.volume.marker import FOLDER, NAME, SLOT_BYTES, parse_slot, render_slot
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.operation import Marker


def read_apart(runner: Runner, volume: VolumeConfig, *, timeout_s: float) -> Marker | None:
    """The newer slot; None where neither makes sense. Raises AgentError, also for no file."""
    argv = ("dd", f"if={_path(volume)}", f"bs={2 * SLOT_BYTES}", "count=1", "status=none")
    content = runner.run((*argv, "iflag=nofollow"), timeout_s=timeout_s).stdout.encode()
    slots = (parse_slot(content[:SLOT_BYTES]), parse_slot(content[SLOT_BYTES:]))
    return max((slot for slot in slots if slot is not None), key=Marker.age, default=None)


def write_apart(
    runner: Runner, volume: VolumeConfig, before: Marker, *, timeout_s: float
) -> Marker:
    """One count further, in place and durable, as write_marker does it; never makes the file, so
    nothing is written where the volume is not mounted any more. Raises AgentError."""
    marker = dataclasses.replace(before, counter=before.counter + 1, wall_s=time.time())
    argv = (
        "dd",
        f"of={_path(volume)}",
        f"bs={SLOT_BYTES}",
        "count=1",
        f"seek={marker.counter % 2}",
        "iflag=fullblock",
        "oflag=dsync,nofollow",
        "conv=notrunc,nocreat",
        "status=none",
    )
    runner.run(argv, timeout_s=timeout_s, stdin=render_slot(marker))
    return marker


def _path(volume: VolumeConfig) -> str:
    return f"{volume.mount_point}/{FOLDER}/{NAME}"
