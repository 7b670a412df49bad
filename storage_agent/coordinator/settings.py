"""The coordinator's configuration: /etc/storage-coordinator/coordinator.toml and coordinator.d/."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from storage_agent.configuration.read import Document, Paths, read_documents
from storage_agent.configuration.rules import host_name, volume_name
from storage_agent.configuration.section import Section, matching, nearest
from storage_agent.coordinator.fence_agents import proves_power
from storage_agent.model.errors import ConfigurationError, UsageError
from storage_agent.model.finding import Finding

FOLDER = Path("/etc/storage-coordinator")
DEFAULT_HOOKS = str(FOLDER / "hooks.d")
PATHS = Paths(main=FOLDER / "coordinator.toml", folder=FOLDER / "coordinator.d")
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                       r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")  # fmt: skip
_path = matching(r"(/[A-Za-z0-9_.@+-]+)+", "an absolute path")
_fence_name = matching(r"fence_[a-z0-9_]{1,60}", "the name of a fence agent, like 'fence_ipmilan'")


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceSettings:
    """agent: a command of Debian's fence-agents.  options: a file of `name=value` lines, readable
    by its owner alone, that the agent gets on stdin."""

    agent: str
    options: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """name: what the agent there calls itself.  address: where its sshd answers."""

    name: str
    address: str
    port: int
    fence: FenceSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSettings:
    """key: `PAIR/VOLUME`, unique in the fleet.  automatic: `watch` may fail over by itself, once,
    and not within cooldown_s of the last change of ownership."""

    key: str
    name: str
    hosts: tuple[str, str]
    automatic: bool
    cooldown_s: int

    def peer_of(self, host: str) -> str:
        return self.hosts[1] if host == self.hosts[0] else self.hosts[0]

    def named_in(self, finding: Finding, target: str = "HOST") -> Finding:
        """The arbiter's rules know no names: `VOLUME` in a remedy is this one, `HOST` is target."""
        remedy = finding.remedy.replace("VOLUME", self.key).replace("HOST", target)
        return dataclasses.replace(finding, remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """connect_s: for TCP, key exchange and login, each.  answer_s: of one read.  operation_s: of
    one promote or demote.  handover_s: how long the target of a move waits for the source to let
    go.  unreachable_s: how long a primary is silent before an automatic failover.  hook_s: of one
    hook."""

    connect_s: int
    answer_s: int
    operation_s: int
    handover_s: int
    unreachable_s: int
    hook_s: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """parallel: hosts that are talked to at the same time.  hooks: see hooks.py."""

    key_file: str
    known_hosts: str
    state_folder: str
    hooks: str
    parallel: int
    deadlines: Deadlines
    hosts: dict[str, HostSettings]
    volumes: dict[str, VolumeSettings] = field(default_factory=dict)

    def volume(self, asked: str) -> VolumeSettings:
        """By its key, or by its name where only one pair has it. Raises UsageError."""
        found = [v for v in self.volumes.values() if asked in (v.key, v.name)]
        if len(found) == 1:
            return found[0]
        if found:
            keys = ", ".join(v.key for v in found)
            raise UsageError(f"several pairs have a volume {asked!r}", remedy=f"name one: {keys}")
        raise UsageError(
            f"no volume {asked[:80]!a} is configured",
            remedy=f"see {PATHS.main}{nearest(asked, self.volumes)}",
            code="UNKNOWN_VOLUME",
        )

    def require_host(self, name: str) -> HostSettings:
        """Raises UsageError."""
        if name not in self.hosts:
            raise UsageError(
                f"no host {name[:80]!a} is configured",
                remedy=f"see {PATHS.main}{nearest(name, self.hosts)}",
                code="UNKNOWN_HOST",
            )
        return self.hosts[name]


def load(paths: Paths = PATHS) -> Settings:
    """Raises ConfigurationError, `FILE:LINE: …` of the first problem."""
    document, settings = _look(paths)
    problems = sorted(dict.fromkeys(document.problems), key=lambda problem: problem.origin)
    if problems:
        count = len(problems) - 1
        more = f" (and {count} more: storage-coordinator config check)" if count else ""
        raise ConfigurationError(
            f"{problems[0]}{more}",
            remedy=f"correct {problems[0].origin}, then: storage-coordinator config check",
        )
    return settings


def check(paths: Paths = PATHS) -> tuple[str, ...]:
    """All problems as `FILE:LINE: error: …`."""
    document, _ = _look(paths)
    problems = sorted(dict.fromkeys(document.problems), key=lambda problem: problem.origin)
    return tuple(f"{p.origin}: error: {p.message}" for p in problems)


def _look(paths: Paths) -> tuple[Document, Settings]:
    document = read_documents(paths)
    unreadable = list(document.problems)
    settings = build(document)
    if unreadable:
        # What is missing in the rest means nothing then.
        document.problems = unreadable
    return document, settings


def build(document: Document) -> Settings:
    """Pure. What is wrong is among the document's problems; the value is meaningless then."""
    top = Section(document, (), document.values)
    hosts = _hosts(top)
    settings = Settings(
        key_file=top.text("key_file", _path, str(FOLDER / "id_ed25519")),
        known_hosts=top.text("known_hosts", _path, str(FOLDER / "known_hosts")),
        state_folder=top.text("state_folder", _path, "/var/lib/storage-coordinator"),
        hooks=top.text("hooks", _path, DEFAULT_HOOKS),
        parallel=top.number("parallel", 1, 512, 64),
        deadlines=_deadlines(top.optional_table("deadlines") or Section(document, (), {})),
        hosts=hosts,
        volumes=_volumes(top, hosts),
    )
    top.done()
    return settings


def address(value: str) -> str:
    """A rule. What ends in a connection must be neither an option nor anything that expands."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return "" if _DNS_NAME.fullmatch(value) else f"{value!r} is no IP address and no DNS name"
    return ""


def fence_agent(value: str) -> str:
    """A rule. Only what cuts power proves that a host does not write."""
    return _fence_name(value) or proves_power(value)


def _deadlines(section: Section) -> Deadlines:
    found = Deadlines(
        connect_s=section.number("connect_s", 1, 60, 5),
        answer_s=section.number("answer_s", 1, 120, 15),
        operation_s=section.number("operation_s", 30, 3600, 960),
        handover_s=section.number("handover_s", 1, 600, 120),
        unreachable_s=section.number("unreachable_s", 2, 3600, 5),
        hook_s=section.number("hook_s", 1, 600, 30),
    )
    section.done()
    return found


def _hosts(top: Section) -> dict[str, HostSettings]:
    section = top.table("hosts")
    found = {}
    for name in section.names():
        if wrong := host_name(name):
            section.problem(wrong, name)
        host = section.table(name)
        fence = host.optional_table("fence")
        found[name] = HostSettings(
            name=name,
            address=host.text("address", address),
            port=host.number("port", 1, 65535, 22),
            fence=_fence(fence) if fence else None,
        )
        host.done()
    return found


def _fence(section: Section) -> FenceSettings:
    found = FenceSettings(
        agent=section.text("agent", fence_agent), options=section.text("options", _path)
    )
    section.done()
    return found


def _volumes(top: Section, hosts: dict[str, HostSettings]) -> dict[str, VolumeSettings]:
    pairs = top.table("pairs")
    found: dict[str, VolumeSettings] = {}
    paired: dict[str, str] = {}
    for pair in pairs.names():
        if wrong := host_name(pair):
            pairs.problem(wrong, pair)
        section = pairs.table(pair)
        names = section.texts("hosts", host_name)
        for name in names:
            if name not in hosts:
                section.problem(f"{name!r} is none of [hosts]{nearest(name, hosts)}", "hosts")
            if paired.setdefault(name, pair) != pair:
                section.problem(f"{name!r} is in the pair {paired[name]!r} already", "hosts")
        if len(names) != 2:
            section.problem(f"a pair has two hosts, not {len(names)}", "hosts")
            names = ("", "")
        volumes = section.table("volumes")
        for name in volumes.names():
            volume = _volume(pair, name, (names[0], names[1]), volumes)
            found[volume.key] = volume
        section.done()
    return found


def _volume(pair: str, name: str, hosts: tuple[str, str], volumes: Section) -> VolumeSettings:
    if wrong := volume_name(name):
        volumes.problem(wrong, name)
    section = volumes.table(name)
    volume = VolumeSettings(
        key=f"{pair}/{name}",
        name=name,
        hosts=hosts,
        automatic=section.flag("automatic", default=False),
        cooldown_s=section.number("cooldown_s", 60, 30 * 86400, 3600),
    )
    section.done()
    return volume
