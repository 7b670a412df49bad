"""The supervisor's namespaces: network (kept by name), UTS, and mount.

The mount namespace gets the host's mounts and unmounts (slave), by way of the unit's own, and gives
none back; the name of the network namespace is made among the host's (system/outside.py). In it
/run is almost empty: kernel and rpc.mountd would otherwise find the host's rpcbind by its socket
there and withdraw the host's own NFS server from it. Host tools: ip (netns add).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from storage_agent.host.filesystem.mountpoint import make_writable
from storage_agent.host.nfs.adapter import namespace_name
from storage_agent.host.system import outside, syscalls
from storage_agent.host.system.runner import Runner

_NAMES_FOLDER = "run/netns"
STATE_FOLDER = "/var/lib/nfs"
NFSD = "/proc/fs/nfsd"
_STATE_FOLDERS = ("nfsdcld", "rpc_pipefs", "sm", "sm.bak", "v4recovery", "run")
_STATE_FILES = ("etab", "rmtab", "xtab")
_KEPT = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def enter(volume: str, mount_point: str, runner: Runner) -> bool:
    """Puts this process into the volume's namespaces. True: the network namespace was there
    already (left by a supervisor that died), with whatever still runs in it."""
    found = enter_network(volume, runner)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
    # nfsd takes it as server scope: clients reclaim only from a server of the same name.
    socket.sethostname(volume)
    _arrange_mounts()
    make_writable(mount_point)
    return found


def enter_network(volume: str, runner: Runner) -> bool:
    """Makes the namespace if it is not there. Returns whether it was."""
    path = str(outside.tree() / _NAMES_FOLDER / namespace_name(volume))
    found = _try_network(path)
    if not found:
        # A name without a namespace: `ip netns add` would refuse it.
        Path(path).unlink(missing_ok=True)
        runner.run(("ip", "netns", "add", namespace_name(volume)), timeout_s=30, outside=True)
        enter_descriptor(path)
    return found


def enter_descriptor(path: str) -> None:
    """Into the network namespace that `path` is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
    finally:
        os.close(descriptor)


def make_network() -> int:
    """A nameless network namespace, as a descriptor; this process stays where it is. It lives as
    long as the descriptor."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        syscalls.setns(own, syscalls.CLONE_NEWNET)
    finally:
        os.close(own)
    return made


def _try_network(path: str) -> bool:
    try:
        enter_descriptor(path)
    except FileNotFoundError:
        return False
    except OSError:
        return False  # a plain file: the mount on it is gone
    return True


def _arrange_mounts() -> None:
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    syscalls.mount("tmpfs", STATE_FOLDER, "tmpfs", _KEPT, "mode=0755,size=4m")
    for folder in _STATE_FOLDERS:
        Path(STATE_FOLDER, folder).mkdir(mode=0o755)
    for file in _STATE_FILES:
        Path(STATE_FOLDER, file).touch(mode=0o644)
    _arrange_run(Path(STATE_FOLDER, "run"))
    syscalls.mount("sysfs", "/sys", "sysfs", _KEPT)
    syscalls.mount("nfsd", NFSD, "nfsd", _KEPT)


def _arrange_run(folder: Path) -> None:
    """A /run with the journal's sockets and a fresh rpc_pipefs, and no rpcbind.sock."""
    syscalls.mount("tmpfs", str(folder), "tmpfs", _KEPT, "mode=0755,size=4m")
    for name in ("systemd", "rpc_pipefs", "canary"):
        (folder / name).mkdir(mode=0o755)
    syscalls.mount("/run/systemd", str(folder / "systemd"), flags=syscalls.MS_BIND)
    syscalls.mount("rpc_pipefs", str(folder / "rpc_pipefs"), "rpc_pipefs", _KEPT)
    syscalls.mount(str(folder), "/run", flags=syscalls.MS_MOVE)
