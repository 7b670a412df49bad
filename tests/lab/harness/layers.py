"""The cache: what labs start from, in layers that are keyed by the content they are made of.

    rootfs  packages unpacked into a filesystem  <- guest-packages.txt, guest_files.py
    base    three guests booted and settled      <- rootfs, devices, sizes, QEMU's version
    ready   the project's packages installed by apt  <- base, the packages' bytes

So a changed package costs an installation, not a bootstrap. Layers that nobody used for some days
are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import image, machine, settle
from .errors import LabTimeout
from .image import Progress, build_rootfs
from .lab import Lab
from .process import run_tool
from .snapshot import make_overlay
from .state import Disk, LabState, StateFile, cache_folder, locked_file
from .topology import HOST_NUMBERS, Size, home_of

LAYOUT = 1  # grows when snapshots, or what is done in the guests before, become others
BUILD_TIMEOUT_S = 1800
KEPT_PER_KIND = 2
KEY = "[0-9a-f]" * 16
UNUSED_S = 2 * 24 * 3600


def build(packages: Sequence[Path] = (), *, progress: Progress) -> Path:
    """The snapshot folder to start labs from: with `packages` installed, or without any.

    Builds what is missing. Raises: LabError.
    """
    size = Size()
    rootfs = _layer("rootfs", _key(*image.recipe()), lambda f: build_rootfs(f, progress))
    base_key = _base_key(rootfs, size)
    base = _layer("base", base_key, lambda f: _build_base(f, rootfs, size, progress))
    if packages:
        ready_key = _key(_identity(base), *(package.read_bytes() for package in packages))
        newest = _layer("ready", ready_key, lambda f: _build_ready(f, base, packages, progress))
    else:
        newest = base
    prune()
    return newest


# -- keys -----------------------------------------------------------------------------------------


def _key(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]


def _identity(layer: Path) -> str:
    return (layer / "id").read_text()


def _base_key(rootfs: Path, size: Size) -> str:
    version = run_tool(("qemu-system-x86_64", "--version"), timeout_s=30).stdout
    # Images name each other by their full path, so a moved cache is another one.
    where = str(cache_folder())
    return _key(str(LAYOUT), _identity(rootfs), where, version, repr(size), machine.recipe())


# -- layers ---------------------------------------------------------------------------------------


def _layer(kind: str, key: str, fill: Callable[[Path], None]) -> Path:
    """The layer's folder, made by `fill` if it is not there; by one builder at a time."""
    layers = cache_folder() / "layers"
    layers.mkdir(parents=True, exist_ok=True)
    final = layers / f"{kind}-{key}"
    with locked_file(_lock(final), BUILD_TIMEOUT_S, f"another build of {kind}"):
        if not final.exists():
            partial = final.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                fill(partial)
                # A layer rebuilt from the same inputs is still another one to those above it.
                (partial / "id").write_text(secrets.token_hex(8))
                partial.rename(final)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        os.utime(final)
    return final


def _build_base(folder: Path, rootfs: Path, size: Size, progress: Progress) -> None:
    instance = StateFile(f"build-{os.getpid()}")
    images = instance.folder / "disks" / "0"
    images.mkdir(parents=True)
    state = LabState(snapshot="", layer=str(rootfs), memory_mib=size.memory_mib)
    for host in HOST_NUMBERS:
        state.roots[host] = str(images / f"{host}-root.qcow2")
        raw = rootfs / "base.raw"
        make_overlay(raw, raw, Path(state.roots[host]), form="raw")
    for disk in size.disks():
        file = images / f"{disk}.qcow2"
        argv = ("qemu-img", "create", "-q", "-f", "qcow2", str(file), f"{size.disk_mib}M")
        run_tool(argv, timeout_s=30)
        state.disks[disk] = Disk(file=str(file), host=home_of(disk))
    instance.write(state)
    _finish(
        Lab(instance), folder, rootfs, lambda lab: settle.prepare_guests(lab, progress), progress
    )


def _build_ready(folder: Path, base: Path, packages: Sequence[Path], progress: Progress) -> None:
    lab = Lab.start(f"build-{os.getpid()}", snapshot=base)
    _finish(
        lab, folder, base, lambda lab: settle.install_packages(lab, packages, progress), progress
    )


def _finish(
    lab: Lab, folder: Path, below: Path, prepare: Callable[[Lab], None], progress: Progress
) -> None:
    """Prepares the guests of a builder's lab and records them as a layer."""
    final = folder.with_suffix("")
    try:
        lab.guard()
        prepare(lab)
        settle.settle(lab, progress)
        _take_boot_files(lab, folder, below)
        progress(f"{final.name.partition('-')[0]}: recording memory and disks")
        lab.export(folder, layer=final, final=final)
        (folder / "below").write_text("\n".join([below.name, *_below(below)]))
    finally:
        lab.stop()
        shutil.rmtree(lab.folder, ignore_errors=True)


def _take_boot_files(lab: Lab, folder: Path, below: Path) -> None:
    """QEMU boots from files outside the guests: an initramfs that a package changed goes along."""
    shutil.copy(below / "key", folder / "key")
    shutil.copy(below / "vmlinuz", folder / "vmlinuz")
    alpha = lab.hosts["alpha"]
    alpha.copy_out("/boot/initrd.img-*", folder / "initrd")


# -- what is not used any more --------------------------------------------------------------------


def prune(*, unused_s: float = UNUSED_S) -> list[str]:
    """Removes layers that no lab needs and that were not used for a while; returns their names."""
    layers = cache_folder() / "layers"
    needed = _needed(layers)
    removed = []
    for kind in ("ready", "base", "rootfs"):
        found = sorted(layers.glob(f"{kind}-{KEY}"), key=lambda path: -path.stat().st_mtime)
        for path in found[KEPT_PER_KIND:]:
            if path.name not in needed and time.time() - path.stat().st_mtime > unused_s:
                shutil.rmtree(path)
                removed.append(path.name)
    return removed + _prune_partial(layers)


def _prune_partial(layers: Path) -> list[str]:
    """What a killed builder left. A builder at work holds the layer's lock."""
    removed = []
    for path in layers.glob("*.partial"):
        with contextlib.suppress(LabTimeout), locked_file(_lock(path), 0.1, path.name):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path.name)
    return removed


def _lock(layer: Path) -> Path:
    return layer.parent / f".{layer.with_suffix('').name}.lock"


def _needed(layers: Path) -> set[str]:
    """The layers that running labs started from, and those below them."""
    needed: set[str] = set()
    states = [path.read_text() for path in cache_folder().glob("instances/*/state.json")]
    for path in layers.iterdir():
        if any(path.name in state for state in states):
            needed |= {path.name, *_below(path)}
    return needed


def _below(layer: Path) -> list[str]:
    try:
        return (layer / "below").read_text().split()
    except (FileNotFoundError, NotADirectoryError):
        return []
