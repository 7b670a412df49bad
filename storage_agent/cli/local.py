"""This host without the daemon: its files, and looks that change nothing.

Heavy imports happen in each method, because most commands need none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage_agent.host.keys.authorized_keys import KeyFile
    from storage_agent.model.array import Disk
    from storage_agent.model.configuration import AgentConfig
    from storage_agent.model.doctor import DoctorFacts
    from storage_agent.model.snapshot import HostSnapshot


class ThisHost:
    """Implements cli.context.LocalHost."""

    def config(self) -> AgentConfig:
        from storage_agent.configuration.load import load

        return load()

    def config_problems(self) -> tuple[str, ...]:
        from storage_agent.configuration.load import check

        return check() or _problems_here()

    def config_document(self, *, origin: bool) -> dict[str, Any]:
        from storage_agent.configuration.load import DEFAULT_PATHS, load_document
        from storage_agent.model.wire import to_wire

        document, config = load_document(DEFAULT_PATHS)
        shown = {"config": to_wire(config)}
        if origin:
            shown["origin"] = {
                ".".join(str(part) for part in path): str(place)
                for path, place in document.origins.items()
            }
        return shown

    def is_configured(self) -> bool:
        from storage_agent.configuration.load import DEFAULT_PATHS

        return DEFAULT_PATHS.exist()

    def status(self, *, with_use: bool = False) -> dict[str, Any]:
        from storage_agent.configuration.load import digest, load
        from storage_agent.host.linux import LinuxHost
        from storage_agent.host.system.runner import Runner
        from storage_agent.model.snapshot import JUDGED_FACETS, Facet
        from storage_agent.model.wire import to_wire
        from storage_agent.policy.readiness import assess

        config = load()
        facets = JUDGED_FACETS | ({Facet.USE} if with_use else set())
        snapshot = _with_records(config, LinuxHost(config, Runner()).host_snapshot(facets))
        return {
            "host": config.host,
            "agent_version": "",
            "config_digest": digest(config),
            "snapshot": to_wire(snapshot),
            "readiness": {
                name: to_wire(assess(config, config.volumes[name], volume))
                for name, volume in snapshot.volumes.items()
            },
            **_unfinished(config),
        }

    def replica_devices(self) -> tuple[str, ...]:
        from storage_agent.host.block.devices import replica_devices

        return replica_devices()

    def facts(self, config: AgentConfig | None) -> DoctorFacts:
        from storage_agent.host.doctor_facts import DoctorFactsReader
        from storage_agent.host.system.runner import Runner

        return DoctorFactsReader(Runner()).read(config)

    def disks(self, serials: Iterable[str]) -> tuple[Disk, ...]:
        from storage_agent.host.block.devices import Block

        return tuple(Block().by_serial(serials).values())

    def make_pair_secret(self, volume: str) -> bool:
        from storage_agent.host.pair.secret import make_secret

        return make_secret(volume)

    def key_file(self) -> KeyFile:
        from storage_agent.host.keys.authorized_keys import KeyFile

        return KeyFile()


def _problems_here() -> tuple[str, ...]:
    """What of a configuration that is right in itself does not fit this host. Empty on a machine
    that is not one of the hosts; what cannot be seen without root is left out."""
    from storage_agent.configuration.build import local_hostname
    from storage_agent.configuration.load import DEFAULT_PATHS, load, load_document
    from storage_agent.host.block.devices import Block
    from storage_agent.host.drbd.adapter import Drbd
    from storage_agent.host.md.adapter import MdRaid
    from storage_agent.host.network import look_at_network
    from storage_agent.host.surroundings import SurroundingsReader
    from storage_agent.host.system.runner import Runner
    from storage_agent.model.errors import AgentError
    from storage_agent.policy.host_check import host_collisions

    document, whole = load_document(DEFAULT_PATHS)
    config = load()
    if config.host != local_hostname() or config.host not in whole.hosts:
        return ()
    runner = Runner()
    around = SurroundingsReader(runner, MdRaid(runner, Block()), Drbd(runner)).read()
    try:
        network = look_at_network(config, runner)
    except AgentError:
        network = None
    return tuple(
        f"{document.origin(found.key)}: error: {'.'.join(found.key)}: {found.finding.summary} "
        f"({found.finding.measured}); try: {found.finding.remedy}"
        for found in host_collisions(config, around, network)
    )


def _with_records(config: AgentConfig, snapshot: HostSnapshot) -> HostSnapshot:
    """With what this host's own records have against a promotion of each volume."""
    from dataclasses import replace

    from storage_agent.engine.creation import Creations
    from storage_agent.engine.epoch import EpochStore
    from storage_agent.engine.journal import Journal
    from storage_agent.engine.obstacles import Obstacles
    from storage_agent.engine.records import Records
    from storage_agent.host.system.store import FileStore

    store = FileStore()
    journal = Journal(store, config.host)
    epochs = EpochStore(store, config.host)
    obstacles = Obstacles(store, epochs, journal, Creations(store), Records(journal))
    volumes = {
        name: replace(volume, records=obstacles.of(config.volumes[name]))
        for name, volume in snapshot.volumes.items()
    }
    return replace(snapshot, volumes=volumes)


def _unfinished(config: AgentConfig) -> dict[str, Any]:
    """Operations that a daemon has left, and what cannot be told of earlier ones."""
    from storage_agent.engine.damage import Damage
    from storage_agent.engine.entry import resumed
    from storage_agent.engine.journal import Journal, unfinished
    from storage_agent.host.system.store import FileStore
    from storage_agent.model.errors import AgentError
    from storage_agent.model.wire import to_wire

    store = FileStore()
    journal = Journal(store, config.host)
    try:
        found = [to_wire(resumed(entry)) for entry in unfinished(journal)]
        damage = Damage(store, journal, config.host).findings(tuple(config.volumes))
    except AgentError as exc:
        problem = {"code": exc.code, "message": exc.message, "remedy": exc.remedy}
        return {"operations": [], "problems": [problem]}
    problems = [{"code": f.code, "message": f.summary, "remedy": f.remedy} for f in damage]
    return {"operations": found, "problems": problems}
