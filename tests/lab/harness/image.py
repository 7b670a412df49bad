"""Builds the guests' root filesystem from Debian packages, with mmdebstrap. Nothing is booted here.

The packages come from the Debian archives that this machine's apt uses, through its proxy.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import CommandFailed, LabError
from .guest_files import customize_script, guest_files
from .process import run_tool

# Of this machine, and of the guests, where LAB_RELEASE names no other one.
HERE = "bookworm"
RELEASES = (HERE, "trixie")
RELEASE = os.environ.get("LAB_RELEASE") or HERE
ROOT_LABEL = "lab-root"
ROOT_SIZE = "4G"
# Read by dpkg while it unpacks: smaller, and quicker to boot.
MMDEBSTRAP_OPTIONS = (
    "--quiet",
    "--variant=minbase",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)
# One process, so that a namespace may stand in for root. Arguments: tar, folder, label, size.
MAKE_FILESYSTEM = r"""
set -eu
mkdir "$2/root"
tar --extract --numeric-owner --xattrs --xattrs-include='*' --exclude './dev/*' \
    --file "$1" --directory "$2/root"
cp "$2"/root/boot/vmlinuz-* "$2/vmlinuz"
cp "$2"/root/boot/initrd.img-* "$2/initrd"
mkfs.ext4 -q -F -L "$3" -O '^has_journal' -E lazy_itable_init=1 -d "$2/root" "$2/base.raw" "$4"
tune2fs -O has_journal "$2/base.raw" >/dev/null
rm -rf "$2/root"
"""
PACKAGES = Path(__file__).parent.parent / "guest-packages.txt"

Progress = Callable[[str], None]


def guest_packages() -> list[str]:
    lines = PACKAGES.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def recipe() -> tuple[str, ...]:
    """All that decides what the root filesystem holds, for the cache's key."""
    files = repr(sorted(guest_files("KEY").items()))
    made_by = (*MMDEBSTRAP_OPTIONS, MAKE_FILESYSTEM, RELEASE, ROOT_LABEL, ROOT_SIZE)
    return (*guest_packages(), files, customize_script(), *made_by)


def debian_sources() -> str:
    """This machine's archives, one `deb` line each, for the guests' release; empty where apt knows
    none. Raises LabError for a release that there is no lab of."""
    if RELEASE not in RELEASES:
        raise LabError(f"LAB_RELEASE={RELEASE}: one of {', '.join(RELEASES)}")
    fields = "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)"
    argv = ("apt-get", "indextargets", "--format", fields, "Created-By: Packages")
    lines = set()
    for line in run_tool(argv, timeout_s=30).stdout.splitlines():
        uri, _, rest = line.partition(" ")
        suite, _, rest = rest.partition(" ")
        component, _, origin = rest.partition(" ")
        if origin == "Debian" and suite.partition("-")[0] == HERE and component == "main":
            lines.add(f"deb {uri} {suite.replace(HERE, RELEASE)} {component}\n")
    return "".join(sorted(lines))


def apt_options() -> list[str]:
    """How this machine's apt reaches its archives (proxies, certificates)."""
    dump = run_tool(("apt-config", "dump"), timeout_s=30).stdout.splitlines()
    ways = ("Acquire::http", "Acquire::Check-")
    return [f"--aptopt={line}" for line in dump if line.startswith(ways) and '""' not in line]


def build_rootfs(folder: Path, progress: Progress) -> None:
    """Fills `folder` with key, key.pub, base.raw, vmlinuz and initrd. About two minutes."""
    key = folder / "key"
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(key))
    run_tool(argv, timeout_s=30)
    with tempfile.TemporaryDirectory(prefix="lab-rootfs-") as scratch:
        # mmdebstrap's namespace without root must be able to look in.
        os.chmod(scratch, 0o755)
        tar = folder / "rootfs.tar"
        progress(f"rootfs: {len(guest_packages())} packages of Debian {RELEASE}")
        _bootstrap(Path(scratch), key.with_suffix(".pub").read_text(), tar)
        progress("rootfs: making the filesystem")
        _make_filesystem(tar, folder)
        tar.unlink()


def _bootstrap(scratch: Path, public_key: str, tar: Path) -> None:
    overlay = scratch / "overlay"
    for name, content in guest_files(public_key).items():
        path = overlay / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    script = scratch / "customize"
    script.write_text(customize_script())
    sources = scratch / "sources.list"
    sources.write_text(debian_sources())
    argv = [
        "mmdebstrap",
        *MMDEBSTRAP_OPTIONS,
        f"--include={','.join(guest_packages())}",
        *apt_options(),
        f"--customize-hook=sync-in {overlay} /",
        f"--customize-hook=upload {script} /root/customize",
        '--customize-hook=chroot "$1" sh /root/customize && rm "$1/root/customize"',
        RELEASE,
        str(tar),
    ]
    # Without a mirror of its own mmdebstrap takes its default.
    if sources.stat().st_size:
        argv.append(str(sources))
    try:
        run_tool(argv, timeout_s=1500)
    except CommandFailed as failed:
        raise LabError(f"the root filesystem could not be built: {failed}") from failed


def _make_filesystem(tar: Path, folder: Path) -> None:
    argv = ["sh", "-c", MAKE_FILESYSTEM, "sh", str(tar), str(folder), ROOT_LABEL, ROOT_SIZE]
    if os.geteuid() != 0:
        argv = ["unshare", "--map-root-user", "--map-auto", "--", *argv]
    run_tool(argv, timeout_s=300)
    if not (folder / "base.raw").exists():
        raise LabError("mkfs.ext4 made no image")
