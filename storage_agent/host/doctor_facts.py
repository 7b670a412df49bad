"""Gathers what `doctor` judges. Only looks; never raises for a broken host: what cannot be seen is
Unobserved with the reason.

Host tools: systemctl (one call), timedatectl (one), drbdadm dump-xml (one a volume), modinfo (only
while drbd is not loaded), sshd -T (one, where a coordinator is to log in).
"""

from __future__ import annotations

import ipaddress
import os
import re
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from storage_agent.host.drbd.dump import parse_replica_settings
from storage_agent.host.drbd.metadata import MetadataReader
from storage_agent.host.filesystem.mounts import covering, parse_mount_lines
from storage_agent.host.keys.authorized_keys import KEY_FILE, KeyFile, KeyRights
from storage_agent.host.pair.compare import compare
from storage_agent.host.sshd import read_sshd
from storage_agent.host.system.runner import Runner, tool_path
from storage_agent.model.agreement import Agreement
from storage_agent.model.configuration import AgentConfig, Arbitration
from storage_agent.model.doctor import (
    CONFIGURATION_FOLDER,
    KERNEL_MODULES,
    STATE_FOLDER,
    TOOL_PACKAGES,
    UNITS,
    DoctorFacts,
    FstabLine,
    HostExport,
    StateFolder,
    UnitFact,
    automount_unit,
    drbd_units,
)
from storage_agent.model.errors import AgentError, CommandFailed, Missing, ParseError
from storage_agent.model.observed import Unobserved
from storage_agent.model.sshd import SshdView

T = TypeVar("T")

TIMEOUT_S = 5.0
NFS_PORT = 2049
UNKNOWN_CLIENT = "an address that is not understood"
# Kernel include/net/tcp_states.h
_ESTABLISHED = "01"


def parse_fstab(text: str) -> tuple[FstabLine, ...]:
    """fstab(5). Lines with fewer than two fields are left out, as mount(8) does."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if len(fields) < 2 or fields[0].startswith("#"):
            continue
        options = tuple(fields[3].split(",")) if len(fields) > 3 else ("defaults",)
        found.append(
            FstabLine(line=number, source=fields[0], mount_point=fields[1], options=options)
        )
    return tuple(found)


def parse_exports(text: str, file: str) -> tuple[HostExport, ...]:
    """exports(5): each entry; quoted paths and continued lines are understood."""
    found = []
    entry, begun = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        begun = begun if entry else number
        entry += content.removesuffix("\\")
        if content.endswith("\\"):
            continue
        if entry and not entry.startswith("#"):
            quote = entry.startswith('"')
            path, _, rest = entry[1:].partition('"') if quote else entry.partition(" ")
            path = path if quote else path.partition("\t")[0]
            rest = rest if quote else entry.removeprefix(path)
            words = re.findall(r"\(([^)]*)\)|(?<!\S)-(\S+)", rest)
            options = (o for pair in words for part in pair for o in part.split(",") if o)
            found.append(HostExport(file=file, line=begun, path=path, options=frozenset(options)))
        entry = ""
    return tuple(found)


def parse_mdadm_conf(text: str) -> tuple[str, ...]:
    """The AUTO and ARRAY lines of an mdadm.conf(5), continuation lines joined, upper-case
    keyword first."""
    joined: list[str] = []
    for line in text.splitlines():
        content = line.split("#", 1)[0].rstrip()
        if not content:
            continue
        if content[0].isspace() and joined:
            joined[-1] += f" {content.strip()}"
        else:
            joined.append(content)
    found = []
    for line in joined:
        words = line.split()
        # Keywords may be cut to three letters and are in any case (mdadm.conf(5)).
        for keyword in ("AUTO", "ARRAY"):
            if len(words[0]) >= 3 and keyword.startswith(words[0].upper()):
                found.append(" ".join((keyword, *words[1:])))
    return tuple(found)


def parse_units(text: str) -> dict[str, UnitFact]:
    """Blocks of `systemctl show -p Id,LoadState,…`. What is missing of a unit is empty; of one
    without a name nothing is known. Raises ParseError where nothing at all is said."""
    found = {}
    for block in text.strip().split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if not fields:
            continue
        if name := fields.get("Id", ""):
            found[name] = UnitFact(
                name=name,
                load=fields.get("LoadState", ""),
                active=fields.get("ActiveState", ""),
                enabled=fields.get("UnitFileState", ""),
                drop_ins=tuple(fields.get("DropInPaths", "").split()),
            )
    if not found:
        raise ParseError("systemctl", "no unit in its answer", text[:200])
    return found


def units_argv(config: AgentConfig | None) -> tuple[str, ...]:
    wanted = "Id,LoadState,ActiveState,UnitFileState,DropInPaths"
    volumes = config.volumes.values() if config else ()
    of_volumes = [unit for v in volumes if v.replica for unit in drbd_units(v.name)]
    of_volumes += (automount_unit(v.mount_point) for v in volumes)
    return ("systemctl", "show", "-p", wanted, "--", *UNITS, *of_volumes)


def parse_module_names(text: str) -> frozenset[str]:
    """Module names in modules.dep or modules.builtin, `-` as `_`."""
    found = set()
    for line in text.splitlines():
        file = line.split(":", 1)[0].rsplit("/", 1)[-1]
        found.add(file.split(".", 1)[0].replace("-", "_"))
    return frozenset(found)


def parse_connected(text: str, port: int) -> tuple[str, ...]:
    """/proc/net/tcp and tcp6: addresses of established connections to a local port. One that is not
    understood is somebody all the same."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[3] != _ESTABLISHED:
            continue
        if fields[1].rpartition(":")[2].upper() != f"{port:04X}":
            continue
        try:
            found.append(parse_address(fields[2].partition(":")[0]))
        except (ValueError, struct.error):
            found.append(UNKNOWN_CLIENT)
    return tuple(found)


def parse_address(words: str) -> str:
    """Hexadecimal words in the host's byte order, as /proc/net has addresses. Raises ValueError,
    struct.error."""
    parts = (words[i : i + 8] for i in range(0, len(words), 8))
    address = ipaddress.ip_address(b"".join(struct.pack("=I", int(part, 16)) for part in parts))
    return str(getattr(address, "ipv4_mapped", None) or address)


class DoctorFactsReader:
    """Reads one host below `root`."""

    def __init__(self, runner: Runner, root: Path = Path("/")) -> None:
        self._runner = runner
        self._root = root

    def read(self, config: AgentConfig | None) -> DoctorFacts:
        modules = self._modules()
        volumes = config.volumes.values() if config else ()
        replicated = [v.name for v in volumes if v.replica]
        return DoctorFacts(
            host=os.uname().nodename,
            is_root=os.geteuid() == 0,
            has_configuration=self._has_configuration(),
            tools=frozenset(tool for tool in TOOL_PACKAGES if _is_installed(tool)),
            modules=modules,
            drbd_version=self._drbd_version() if "drbd" in modules else None,
            units=_seen(partial(self._units, config)),
            fstab=_seen(lambda: parse_fstab(self._text("etc/fstab"))),
            exports=_seen(self._exports),
            export_clients=_seen(self._export_clients),
            mdadm_lines=_seen(self._mdadm_lines),
            is_clock_synchronised=_seen(self._is_clock_synchronised),
            state_folder=_seen(self._state_folder),
            replica_settings={name: _seen(partial(self._settings, name)) for name in replicated},
            metadata=self._metadata(config) if config else {},
            keys=KeyRights(KeyFile(self._root / KEY_FILE.relative_to("/"))).findings(),
            agreements=self._agreements(config) if config and os.geteuid() == 0 else {},
            sshd=_seen(partial(self._sshd, config)),
        )

    def _sshd(self, config: AgentConfig | None) -> SshdView | None:
        """Where a coordinator is to log in."""
        keys = KeyFile(self._root / KEY_FILE.relative_to("/")).read().entries()
        volumes = config.volumes.values() if config else ()
        is_awaited = any(v.arbitration is Arbitration.COORDINATOR for v in volumes)
        if not keys and not is_awaited:
            return None
        found = dict.fromkeys(address for key in keys for address in key.addresses)
        return read_sshd(self._runner, self._root, tuple(found))

    def _metadata(self, config: AgentConfig) -> dict[str, bool]:
        reader = MetadataReader(self._root)
        replicated = [v for v in config.volumes.values() if v.replica]
        found = {v.name: reader.look(v.array_device()) for v in replicated}
        return {name: seen for name, seen in found.items() if seen is not None}

    def _agreements(self, config: AgentConfig) -> dict[str, Agreement | Unobserved]:
        volumes = config.volumes.items()
        found = {n: _seen(partial(compare, config, v, self._root)) for n, v in volumes}
        return {name: seen for name, seen in found.items() if seen is not None}

    def _text(self, path: str) -> str:
        """Empty where the file does not exist."""
        try:
            return (self._root / path).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _has_configuration(self) -> bool:
        folder = self._root / CONFIGURATION_FOLDER.lstrip("/")
        return (folder / "agent.toml").exists() or any(folder.glob("agent.d/*.toml"))

    def _modules(self) -> frozenset[str]:
        folder = f"lib/modules/{os.uname().release}"
        known = parse_module_names(self._text(f"{folder}/modules.dep"))
        known |= parse_module_names(self._text(f"{folder}/modules.builtin"))
        loaded = self._root / "sys/module"
        return frozenset(m for m in KERNEL_MODULES if m in known or (loaded / m).is_dir())

    def _drbd_version(self) -> str | None:
        if loaded := self._text("sys/module/drbd/version").strip():
            return loaded
        try:
            argv = ("modinfo", "-F", "version", "drbd")
            return self._runner.run(argv, timeout_s=TIMEOUT_S).stdout.strip() or None
        except AgentError:
            return None

    def _units(self, config: AgentConfig | None) -> dict[str, UnitFact]:
        return parse_units(self._runner.run(units_argv(config), timeout_s=TIMEOUT_S).stdout)

    def _exports(self) -> tuple[HostExport, ...]:
        found = parse_exports(self._text("etc/exports"), "/etc/exports")
        for path in sorted((self._root / "etc/exports.d").glob("*.exports")):
            found += parse_exports(path.read_text(errors="replace"), f"/etc/exports.d/{path.name}")
        return found

    def _export_clients(self) -> tuple[str, ...]:
        """Who is connected to the NFS port of the host's own namespace: any version, any client."""
        texts = (self._text(f"proc/net/{name}") for name in ("tcp", "tcp6"))
        found = (end for text in texts for end in parse_connected(text, NFS_PORT))
        return tuple(sorted(set(found)))

    def _mdadm_lines(self) -> tuple[str, ...]:
        found = parse_mdadm_conf(self._text("etc/mdadm/mdadm.conf"))
        for path in sorted((self._root / "etc/mdadm/mdadm.conf.d").glob("*.conf")):
            found += parse_mdadm_conf(path.read_text(errors="replace"))
        return found

    def _is_clock_synchronised(self) -> bool:
        argv = ("timedatectl", "show", "-p", "NTPSynchronized", "--value")
        shown = self._runner.run(argv, timeout_s=TIMEOUT_S).stdout.strip()
        if shown not in ("yes", "no"):
            raise ParseError("timedatectl", "neither yes nor no", shown)
        return shown == "yes"

    def _state_folder(self) -> StateFolder | None:
        path = self._root / STATE_FOLDER.lstrip("/")
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        space = os.statvfs(path)
        lines = parse_mount_lines(self._text("proc/1/mountinfo"))
        mount = covering(lines, STATE_FOLDER)
        return StateFolder(
            mode=status.st_mode & 0o7777,
            owner_uid=status.st_uid,
            source=mount.mount.source if mount else "",
            read_only=bool(space.f_flag & os.ST_RDONLY),
            free_bytes=space.f_bavail * space.f_frsize,
        )

    def _settings(self, resource: str) -> dict[str, str]:
        argv = ("drbdadm", "dump-xml", resource)
        found = parse_replica_settings(self._runner.run(argv, timeout_s=TIMEOUT_S).stdout)
        if resource not in found:
            raise ParseError("drbdadm dump-xml", f"no resource {resource} in its answer")
        return found[resource]


def _is_installed(tool: str) -> bool:
    try:
        tool_path(tool)
    except Missing:
        return False
    return True


def _seen(look: Callable[[], T]) -> T | Unobserved:
    try:
        return look()
    except CommandFailed as exc:
        said = (exc.stderr.strip() or exc.stdout.strip()).partition("\n")[0]
        return Unobserved(reason=f"{exc.argv[0]}: {said or f'exit {exc.tool_exit_status}'}")
    except AgentError as exc:
        return Unobserved(reason=exc.message)
    except OSError as exc:
        return Unobserved(reason=f"{exc.filename}: {exc.strerror}")
