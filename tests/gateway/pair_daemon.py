"""The daemons of a pair with arbitration by the coordinator, in one process: real server, methods,
engine and incident files around two hosts in memory. What DRBD does is read from a file.

A session whose key has the comment `beta` is beta's, every other one is alpha's.
`python -m tests.gateway.pair_daemon`, as root, in a host's namespace. Ends on SIGTERM.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from storage_agent.host.drbd.incidents import last_change_ns, read_incident, write_answer
from storage_agent.host.keys.authorized_keys import KeyFile
from storage_agent.host.system.store import FileStore
from storage_agent.model.configuration import AgentConfig, Arbitration, VolumeConfig
from storage_agent.model.incident import Incident
from storage_agent.model.nfs import ServerState
from storage_agent.model.replica import Role
from storage_agent.model.snapshot import CHEAP_FACETS, Facet, VolumeSnapshot
from storage_agent.service.agent import Agent
from storage_agent.service.api.methods import Dispatcher
from storage_agent.service.api.session import Call
from storage_agent.service.observing.incident_source import IncidentSource
from storage_agent.service.observing.sources import Hint, Source
from tests.gateway.daemon import STATE, log_to_stderr, make_agent, make_server, serve
from tests.gateway.frozen import BOOT_ID, FROZEN, PROC_DRBD
from tests.unit.fakes import (
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.replicas import in_sync_replica, lost_peer

POLL_S = 0.02


def is_frozen() -> bool:
    try:
        return Path(PROC_DRBD).read_text() == FROZEN
    except FileNotFoundError:
        return False


class ServingHost(FakeHost):
    """alpha: serves, and freezes when the file says so."""

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        replica = in_sync_replica(role=Role.PRIMARY)
        if is_frozen():
            replica = dataclasses.replace(lost_peer(replica), suspended=("fencing",))
        self.replica = replica
        self.incident = read_incident(volume.name)
        return super().observe(volume, facets)

    def answer(self, incident: Incident) -> None:
        write_answer(incident)


class OtherHost(FakeHost):
    """beta: its copy is good."""

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        return dataclasses.replace(super().observe(volume, facets), host="beta")


class PlayedEvents(Source):
    """In the place of the kernel's event stream."""

    def __init__(self) -> None:
        self._was_frozen = False
        self._due_s = 0.0

    def wake_s(self) -> float:
        return self._due_s

    def tick(self, now_s: float) -> tuple[Hint, ...]:
        self._due_s = now_s + POLL_S
        before, self._was_frozen = self._was_frozen, is_frozen()
        if self._was_frozen == before:
            return ()
        return (Hint(frozenset({Facet.REPLICA}), "data", 0.0),)


def config_of(host: str) -> AgentConfig:
    volume = dataclasses.replace(volume_config(), arbitration=Arbitration.COORDINATOR)
    return dataclasses.replace(agent_config(volume), host=host)


def main() -> None:
    log_to_stderr()
    keys = KeyFile()

    def dispatch(call: Call) -> None:
        key_id = call.session.key_id or str(call.request.parameters.get("key_id", ""))
        comments = {entry.key.key_id: entry.key.comment for entry in keys.read().entries()}
        Dispatcher(agents[comments.get(key_id) == "beta"])(call)

    server = make_server(dispatch)
    alpha = ServingHost(boot=BOOT_ID, mounted=True, server=ServerState.SERVING)
    sources = (PlayedEvents(), IncidentSource(last_change_ns))
    agents: list[Agent] = [
        make_agent(config_of("alpha"), alpha, FileStore(STATE / "alpha"), server, sources=sources),
        make_agent(config_of("beta"), OtherHost(), FileStore(STATE / "beta"), server),
    ]
    serve(server, *agents)


if __name__ == "__main__":
    main()
