"""Any number of storage hosts' daemons in one process, for tests/gateway/bench.py: the real server,
methods and codec behind real gateways; only what the hosts show is made up. Which host it is for a
session, the comment of its SSH key says.

`python -m tests.gateway.bench_daemon`, in a host's namespace. Ends on SIGTERM.
"""

from __future__ import annotations

import dataclasses
import signal
import sys

import structlog

from storage_agent.host.keys.authorized_keys import KeyFile
from storage_agent.model.key import KeyRole
from storage_agent.model.nfs import ServerState
from storage_agent.model.replica import Role
from storage_agent.service.agent import Agent
from storage_agent.service.api import places
from storage_agent.service.api.access import GATEWAY_USER
from storage_agent.service.api.answers import Setup
from storage_agent.service.api.audit import Audit
from storage_agent.service.api.methods import Dispatcher
from storage_agent.service.api.server import Server
from storage_agent.service.api.session import Call
from storage_agent.service.daemon import RUN_FOLDER, open_listener, user_id
from tests.unit.fakes import FakeHost, agent_config
from tests.unit.replicas import in_sync_replica, with_peer
from tests.unit.service.parts import ThreadClock, make_agent

# One process stands for hundreds of hosts, each of which has its own limit.
places.PLACES.update(dict.fromkeys(places.PLACES, 4096))


def main() -> None:
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    clock = ThreadClock()
    hosts = Hosts()
    server = Server(
        listener=open_listener(RUN_FOLDER),
        dispatch=hosts.dispatch,
        clock=clock,
        gateway_uid=user_id(GATEWAY_USER),
        answered=Audit(clock),
        rates={},
    )
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.run()


class Hosts:
    """By key id. The file of keys is read when an unknown one comes."""

    def __init__(self) -> None:
        # Local root, whom a test asks whether it serves, has no key.
        self._dispatchers = {"": Dispatcher(make_host("local"))}

    def dispatch(self, call: Call) -> None:
        key_id = call.session.key_id or str(call.request.parameters.get("key_id", ""))
        if key_id not in self._dispatchers:
            for entry in KeyFile().read().entries():
                self._dispatchers[entry.key.key_id] = Dispatcher(make_host(entry.key.comment))
        self._dispatchers[key_id](call)


def make_host(name: str) -> Agent:
    """`PAIR-a` serves, `PAIR-b` is its peer."""
    config = dataclasses.replace(agent_config(), host=name)
    agent = make_agent(setup=Setup(config=config, digest="d"))
    agent.key_role = lambda _: KeyRole.OPERATE
    role, other = (
        (Role.PRIMARY, Role.SECONDARY) if name.endswith("-a") else (Role.SECONDARY, Role.PRIMARY)
    )
    host = FakeHost(replica=with_peer(in_sync_replica(role=role), role=other))
    if role is Role.PRIMARY:
        host.mounted, host.server = True, ServerState.SERVING
    volume = dataclasses.replace(host.observe(config.volumes["data"]), host=name)
    agent.observer.snapshot = dataclasses.replace(
        agent.observer.snapshot, host=name, volumes={"data": volume}
    )
    return agent


if __name__ == "__main__":
    main()
