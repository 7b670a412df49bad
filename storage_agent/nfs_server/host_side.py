"""What the supervisor keeps of the host's namespaces, opened before it leaves them.
Host tools: ip."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from storage_agent.host.nfs.adapter import RUN_FOLDER, namespace_name, parse_start_ticks
from storage_agent.host.nfs.protocol import socket_path
from storage_agent.host.nfs.settings import ServerSettings, parse_settings, settings_path
from storage_agent.host.system import outside, syscalls
from storage_agent.host.system.files import replace_in
from storage_agent.host.system.runner import Runner, wait_forked
from storage_agent.host.volume.presence import NOTE_LIMIT_BYTES, NOTE_SUFFIX
from storage_agent.nfs_server.link import link_batch
from storage_agent.nfs_server.notify import log

_TOOL_S = 30.0
_CLEAN_S = 5.0


class HostSide:
    """Make one before namespaces.enter."""

    def __init__(self, volume: str) -> None:
        self._volume = volume
        # In the volume's own namespace the name is the volume's.
        self._host = os.uname().nodename
        # By the host's own mount, which outlives the ones that systemd has made for this process.
        folder = outside.tree() / RUN_FOLDER
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts = os.open(outside.mounts_path(), os.O_RDONLY | os.O_CLOEXEC)

    def listen(self) -> socket.socket:
        """The volume's socket, for root alone."""
        path = socket_path(self._volume)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(umask)
        listener.listen(16)
        return listener

    def read_settings(self) -> ServerSettings:
        """By the open folder: the host's /run is out of sight later. Raises ConfigurationError."""
        name = settings_path(self._volume).name
        with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=self._folder), "rb") as file:
            return parse_settings(file.read(), name)

    def write_pid(self) -> None:
        """Only once the namespaces stand: whoever finds it looks into them."""
        ticks = parse_start_ticks(Path("/proc/self/stat").read_text())
        replace_in(self._folder, f"{self._volume}.pid", f"{os.getpid()} {ticks}\n".encode())

    def write_note(self, text: str) -> None:
        """What was put right on the volume, for the daemon (host/volume/presence.py)."""
        content = text.encode(errors="replace")[:NOTE_LIMIT_BYTES]
        replace_in(self._folder, f"{self._volume}{NOTE_SUFFIX}", content)

    def make_link(self, settings: ServerSettings, runner: Runner) -> None:
        """In our network namespace, by way of the host's, where the parent link is."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(self._network, syscalls.CLONE_NEWNET)
            # Not by pid: this process is in the host's network namespace just now.
            batch = link_batch(settings, self._host, f"/proc/{os.getpid()}/fd/{own}").encode()
            runner.run(("ip", "-batch", "-"), timeout_s=_TOOL_S, stdin=batch)
        finally:
            syscalls.setns(own, syscalls.CLONE_NEWNET)
            os.close(own)

    def clean(self) -> None:
        """Removes the namespace's name, socket and pid file. In a child, because a process with
        a second thread cannot go back into the host's mount namespace."""
        child = os.fork()
        if child == 0:
            try:
                self._clean()
            finally:
                os._exit(0)
        if not wait_forked(child, timeout_s=_CLEAN_S):
            log(f"/run keeps what is left of {self._volume}: removing it does not end")

    def _clean(self) -> None:
        syscalls.setns(self._mounts, syscalls.CLONE_NEWNS)
        name = f"/run/netns/{namespace_name(self._volume)}"
        with contextlib.suppress(OSError):
            syscalls.unmount(name)
        for path in (name, socket_path(self._volume), f"/{RUN_FOLDER}/{self._volume}.pid"):
            with contextlib.suppress(OSError):
                os.unlink(path)
