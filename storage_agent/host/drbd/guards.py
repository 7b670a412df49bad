"""What DRBD's promises rest on: the kernel's options, and what its handlers would be.

Host tools: drbdsetup show (one process a look), drbdadm dump-xml (one, where a file below
/etc/drbd.d has changed or nobody has asked for DUMP_LIFE_S).
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from pathlib import Path

from storage_agent.host.drbd import commands
from storage_agent.host.drbd.adapter import Drbd
from storage_agent.host.drbd.dump import parse_replica_settings
from storage_agent.host.drbd.resource_file import render_resource
from storage_agent.host.drbd.version import is_version_9
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.errors import AgentError, CommandFailed, ParseError
from storage_agent.model.guards import Guards, link_addresses

# Files may include others anywhere, which are not watched.
DUMP_LIFE_S = 60.0
HELPER = Path("sys/module/drbd/parameters/usermode_helper")
_BEGIN = re.compile(r"^(?P<words>\S.*?)\s*\{$")
_STATEMENT = re.compile(r"^(?P<name>[\w-]+)\s+(?P<value>.*?);(\s*#.*)?$")
UNKNOWN = "unknown"
_SECTIONS = frozenset({"net", "disk", "options"})
_ADDRESSES = {"_this_host": "local", "_remote_host": "remote"}

Stamp = tuple[tuple[str, int, int, int], ...]


def parse_show(text: str, resource: str) -> Guards | None:
    """`drbdsetup show --show-defaults` of one resource, of 8.4 or 9. None: the kernel does not have
    it. Raises ParseError."""
    where: list[str] = []
    options: dict[str, str] = {}
    ends = {"local": "", "remote": ""}
    minor, disk, is_known = None, "", False
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if begin := _BEGIN.match(line):
            where.append(begin["words"].split()[0])
            is_known |= begin["words"].replace('"', "") == f"resource {resource}"
        elif line == "}" and where:
            where.pop()
        elif statement := _STATEMENT.match(line):
            name, value = statement["name"], statement["value"].strip().strip('"')
            section = where[-1] if where else ""
            if section in _SECTIONS:
                options[f"{section}.{name}"] = value
            elif section == "volume" and name == "device":
                minor = _number(value)
            elif section == "volume" and name == "disk":
                disk = value
            elif place := _ADDRESSES.get(section if name == "address" else name):
                ends[place] = value.rpartition(" ")[2]
        elif where and where[-1] in _SECTIONS:
            # In a form that came after this was written: its value is none that is wanted.
            options[f"{where[-1]}.{line.split()[0].rstrip(';')}"] = UNKNOWN
    # Elsewhere such a line (`_is_standalone;` of 9) tells nothing of what is read here.
    if where:
        raise ParseError("drbdsetup show", "a section has no end", text[-200:])
    if not is_known:
        return None
    return Guards(
        options=options, minor=minor, disk=disk, local=ends["local"], remote=ends["remote"]
    )


def _number(device: str) -> int | None:
    number = device.rpartition(" ")[2]
    return int(number) if number.isascii() and number.isdigit() else None


class GuardReader:
    """May be used by several threads."""

    def __init__(self, drbd: Drbd) -> None:
        self._drbd = drbd
        self._lock = threading.Lock()
        self._dumps: dict[str, tuple[Stamp, float, dict[str, str], str]] = {}

    def read(self, config: AgentConfig, volume: VolumeConfig, *, timeout_s: float) -> Guards | None:
        """None: the kernel does not have the resource. Raises AgentError where it cannot be
        asked."""
        resource, version = volume.name, self._drbd.driver_version()
        text = self._drbd.show(resource, timeout_s=timeout_s)
        kernel = None if text is None else parse_show(text, resource)
        if kernel is None or version is None:
            return None
        wanted = render_resource(config, volume, driver_version_9=is_version_9(version))
        local, remote = link_addresses(config, volume)
        handlers, problem = self._handlers(resource, timeout_s)
        fence_peer = handlers.get("handlers.fence-peer", "")
        return Guards(
            options=kernel.options,
            minor=kernel.minor,
            local=kernel.local,
            remote=kernel.remote,
            disk=kernel.disk,
            helper=self._helper(),
            fence_peer=fence_peer,
            split_brain=handlers.get("handlers.split-brain", ""),
            problem=problem or self._unusable(fence_peer),
            is_file_current=self._drbd.resource_file_text(resource) == wanted,
            is_link_current=kernel.local in ("", local) and kernel.remote in ("", remote),
        )

    def _helper(self) -> str:
        try:
            return (self._drbd.root / HELPER).read_text().strip()
        except OSError:
            return ""

    def _handlers(self, resource: str, timeout_s: float) -> tuple[dict[str, str], str]:
        """By drbdadm's word, as the kernel will have it; and why drbdadm has none."""
        stamp, now_s = self._stamp(), time.monotonic()
        with self._lock:
            known = self._dumps.get(resource)
        if known is not None and known[0] == stamp and now_s - known[1] < DUMP_LIFE_S:
            return known[2], known[3]
        try:
            done = self._drbd.runner.run(commands.dump(resource), timeout_s=timeout_s)
            found, problem = parse_replica_settings(done.stdout).get(resource, {}), ""
        except CommandFailed as exc:
            said = (exc.stderr.strip() or exc.stdout.strip()).partition("\n")[0]
            found, problem = {}, f"drbdadm: {said or f'exit {exc.tool_exit_status}'}"[:200]
        except AgentError as exc:
            found, problem = {}, exc.message[:200]
        with self._lock:
            self._dumps[resource] = (stamp, now_s, found, problem)
        return found, problem

    def _stamp(self) -> Stamp:
        """Differs after each change of a file that drbdadm usually reads."""
        root = self._drbd.root
        found = []
        for path in (root / "etc/drbd.conf", *sorted((root / "etc/drbd.d").glob("*"))):
            try:
                seen = path.stat()
            except OSError:
                continue
            found.append((path.name, seen.st_mtime_ns, seen.st_size, seen.st_ino))
        return tuple(found)

    def _unusable(self, command: str) -> str:
        """Why the kernel's question would not be answered by this program; empty where it would."""
        program = command.partition(" ")[0]
        if not program:
            return "no fence-peer handler in its files"
        path = self._drbd.root / program.lstrip("/")
        try:
            seen = path.stat()
        except OSError as exc:
            return f"{program}: {exc.strerror}"
        if not stat.S_ISREG(seen.st_mode) or not os.access(path, os.X_OK):
            return f"{program} is not an executable file"
        return ""
