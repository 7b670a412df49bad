"""A snapshot of the whole set: memory and disks of all guests at one moment, never changed again.

A folder with, per running guest, HOST.state (QEMU's migration stream); per disk, its image as it
was and an empty overlay to be copied; and snapshot.json, which says what was plugged in where.
Every start works on new overlays, so any number of labs can start from one snapshot at once.

Host tools: qemu-img.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .process import run_tool
from .state import Disk, LabState


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What snapshot.json holds. `layer` has key, kernel and initrd."""

    layer: str
    memory_mib: int
    roots: tuple[str, ...]
    disks: dict[str, str | None]
    cut: list[list[str]]
    frozen: list[str]
    off: list[str]


def read_snapshot(folder: Path) -> Snapshot:
    try:
        values = json.loads((folder / "snapshot.json").read_text())
    except FileNotFoundError:
        raise LabError(f"{folder} holds no snapshot: scripts/lab build") from None
    return Snapshot(**values | {"roots": tuple(values["roots"])})


def write_snapshot(folder: Path, state: LabState, *, layer: str, final: Path) -> None:
    """Records a stopped lab into `folder`, which will be known as `final`.

    The guests' memory is there already; the disks' images are linked in.
    """
    for name, file in image_files(state).items():
        image = folder / f"{name}.qcow2"
        os.link(file, image)
        make_overlay(image, final / image.name, folder / f"{name}.overlay")
    snapshot = Snapshot(
        layer=layer,
        memory_mib=state.memory_mib,
        roots=tuple(state.roots),
        disks={name: disk.host for name, disk in state.disks.items()},
        cut=state.cut,
        frozen=state.frozen,
        off=state.off,
    )
    (folder / "snapshot.json").write_text(json.dumps(dataclasses.asdict(snapshot), indent=1))


def image_files(state: LabState) -> dict[str, str]:
    """Name in a snapshot -> current file, for every disk of the lab."""
    roots = {f"{host}-root": file for host, file in state.roots.items()}
    return roots | {name: disk.file for name, disk in state.disks.items()}


def make_overlay(backing: Path, backing_name: Path, overlay: Path, form: str = "qcow2") -> None:
    """An empty image over `backing`, under the name that will be valid when it is used."""
    show = run_tool(("qemu-img", "info", "-U", "--output=json", str(backing)), timeout_s=30)
    size = json.loads(show.stdout)["virtual-size"]
    argv = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", form, "-b", str(backing_name)]
    run_tool([*argv, str(overlay), str(size)], timeout_s=30)


def unpack_snapshot(folder: Path, state: LabState, images: Path) -> None:
    """Makes `state` what the snapshot says, on fresh overlays in the folder `images`."""
    snapshot = read_snapshot(folder)
    images.mkdir(parents=True)
    state.snapshot, state.layer, state.memory_mib = str(folder), snapshot.layer, snapshot.memory_mib
    state.roots = {host: _fresh(folder, f"{host}-root", images) for host in snapshot.roots}
    state.disks = {
        name: Disk(file=_fresh(folder, name, images), host=host)
        for name, host in snapshot.disks.items()
    }
    state.cut = [list(pair) for pair in snapshot.cut]
    state.frozen, state.off = list(snapshot.frozen), list(snapshot.off)


def _fresh(folder: Path, name: str, images: Path) -> str:
    return str(shutil.copyfile(folder / f"{name}.overlay", images / f"{name}.qcow2"))
