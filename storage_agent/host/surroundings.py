"""Reads what else there is on this host that a volume may collide with. Only looks.

Host tools: drbdadm (one call, and one a resource), drbdsetup (one, where the module is loaded).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from storage_agent.host.doctor_facts import parse_mdadm_conf
from storage_agent.host.drbd.adapter import Drbd
from storage_agent.host.drbd.definitions import (
    DEFINED_NAMES,
    KERNEL_ALL,
    dump_argv,
    parse_definitions,
    parse_kernel,
)
from storage_agent.host.filesystem.mounts import kernel_name
from storage_agent.host.md.adapter import MdRaid
from storage_agent.host.system.runner import Runner
from storage_agent.model.errors import AgentError, CommandFailed, ParseError
from storage_agent.model.observed import Unobserved
from storage_agent.model.surroundings import ArrayName, Listener, OtherReplica, Surroundings

TIMEOUT_S = 10.0
MDADM_CONF = "etc/mdadm/mdadm.conf"
# Kernel include/net/tcp_states.h
_LISTEN = "0A"

T = TypeVar("T")


def parse_listeners(text: str) -> tuple[Listener, ...]:
    """/proc/net/tcp and tcp6 (kernel Documentation/networking/proc_net_tcp.rst): addresses are
    hexadecimal words in the host's byte order. Raises ParseError."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[3] != _LISTEN:
            continue
        words, _, port = fields[1].partition(":")
        try:
            raw = b"".join(
                struct.pack("=I", int(words[i : i + 8], 16)) for i in range(0, len(words), 8)
            )
            address = ipaddress.ip_address(raw)
            number = int(port, 16)
        except (ValueError, struct.error) as exc:
            raise ParseError("/proc/net/tcp", f"not an address: {exc}", line) from exc
        mapped = getattr(address, "ipv4_mapped", None) or address
        text_form = "" if mapped.is_unspecified else str(mapped)
        found.append(Listener(address=text_form, port=number))
    return tuple(dict.fromkeys(found))


def parse_array_lines(lines: tuple[str, ...], place: str) -> tuple[ArrayName, ...]:
    """The ARRAY lines that name a device below /dev/md: mdadm.conf(5)."""
    found = []
    for line in lines:
        words = line.split()
        if words[0] != "ARRAY" or len(words) < 2:
            continue
        options = {k.lower(): v for k, _, v in (word.partition("=") for word in words[2:])}
        name = words[1].removeprefix("/dev/md/")
        if name.startswith(("/", "<")):
            continue
        found.append(
            ArrayName(path=f"/dev/md/{name}", uuid=options.get("uuid", "").lower(), place=place)
        )
    return tuple(found)


class SurroundingsReader:
    """Reads one host below `root`."""

    def __init__(self, runner: Runner, md: MdRaid, drbd: Drbd, root: Path = Path("/")) -> None:
        self._runner = runner
        self._md = md
        self._drbd = drbd
        self._root = root

    def read(self) -> Surroundings:
        return Surroundings(
            replicas=_seen(self._replicas),
            arrays=_seen(self._arrays),
            listeners=_seen(self._listeners),
            node_name=os.uname().nodename,
        )

    def _replicas(self) -> tuple[OtherReplica, ...]:
        return tuple(
            dataclasses.replace(other, disks=(*other.disks, *map(self._name, other.disks)))
            for other in (*self._defined(), *self._in_kernel())
        )

    def _name(self, path: str) -> str:
        return kernel_name(path, self._root)

    def _defined(self) -> tuple[OtherReplica, ...]:
        names = self._runner.run(DEFINED_NAMES, timeout_s=TIMEOUT_S).stdout.split()
        dumps = (self._runner.run(dump_argv(name), timeout_s=TIMEOUT_S).stdout for name in names)
        host = os.uname().nodename
        return tuple(other for dump in dumps for other in parse_definitions(dump, host))

    def _in_kernel(self) -> tuple[OtherReplica, ...]:
        if self._drbd.driver_version() is None:
            return ()
        return parse_kernel(self._runner.run(KERNEL_ALL, timeout_s=TIMEOUT_S).stdout)

    def _arrays(self) -> tuple[ArrayName, ...]:
        found = tuple(
            ArrayName(path=link, uuid=array.uuid, place=f"the array {array.name}")
            for array in self._md.arrays()
            for link in array.links
        )
        files = [self._root / MDADM_CONF, *sorted((self._root / f"{MDADM_CONF}.d").glob("*.conf"))]
        for path in files:
            if path.exists():
                lines = parse_mdadm_conf(path.read_text(errors="replace"))
                found += parse_array_lines(lines, f"/{path.relative_to(self._root)}")
        return found

    def _listeners(self) -> tuple[Listener, ...]:
        names = ("proc/net/tcp", "proc/net/tcp6")
        texts = [(self._root / n).read_text() for n in names if (self._root / n).exists()]
        return tuple(listener for text in texts for listener in parse_listeners(text))


def _seen(look: Callable[[], T]) -> T | Unobserved:
    try:
        return look()
    except CommandFailed as exc:
        said = (exc.stderr.strip() or exc.stdout.strip()).partition("\n")[0]
        return Unobserved(reason=f"{' '.join(exc.argv)}: {said or f'exit {exc.tool_exit_status}'}")
    except AgentError as exc:
        return Unobserved(reason=exc.message)
    except OSError as exc:
        return Unobserved(reason=f"{exc.filename}: {exc.strerror}")
