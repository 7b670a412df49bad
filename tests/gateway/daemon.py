"""storage-agentd's server, methods, engine and audit, around a host in memory.

`python -m tests.gateway.daemon`, as root. Logs to stderr, ends on SIGTERM.
"""

from __future__ import annotations

import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable

import structlog

from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.host.keys.authorized_keys import KeyFile, KeyRights
from storage_agent.host.system.store import FileStore
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.operation import Epoch
from storage_agent.model.plan import StepKind
from storage_agent.policy.readiness import assess
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import GATEWAY_USER
from storage_agent.service.api.answers import Setup
from storage_agent.service.api.audit import Audit
from storage_agent.service.api.methods import Dispatcher
from storage_agent.service.api.server import Server
from storage_agent.service.api.session import Call
from storage_agent.service.api.sessions import RIGHTS_PERIOD_S, lost_rights
from storage_agent.service.daemon import RUN_FOLDER, open_listener, user_id
from storage_agent.service.observing.sources import Source
from tests.unit.fakes import COORDINATOR, FakeHost, agent_config
from tests.unit.service.parts import ThreadClock, idle_ticks, make_observer

# What outlives a daemon: its own files, and what its host's kernel has.
STATE = RUN_FOLDER / "state"
KERNEL = RUN_FOLDER / "kernel"
KERNEL_HAS = ("array", "replica", "mounted", "server", "services_active", "marker")
SLOW = RUN_FOLDER / "slow"


def main() -> None:
    log_to_stderr()

    def slow_step(kind: StepKind) -> Callable[[], None]:
        """What `/run/storage-agent/slow` names takes its time, or the start of the server."""

        def wait() -> None:
            named = SLOW.read_text().strip() if SLOW.exists() else StepKind.START_SERVER
            time.sleep(0.5 if named == kind else 0)

        return wait

    config, host = agent_config(), FakeHost()
    if KERNEL.exists():
        vars(host).update(pickle.loads(KERNEL.read_bytes()))
    host.faults = {kind: slow_step(kind) for kind in StepKind}

    def dispatch(call: Call) -> None:
        Dispatcher(agent)(call)

    server = make_server(dispatch)
    agent = make_agent(config, host, FileStore(STATE), server)
    serve(server, agent)
    KERNEL.write_bytes(pickle.dumps({name: getattr(host, name) for name in KERNEL_HAS}))


def log_to_stderr() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # A thread that dies is a traceback, which the tests look for.
    threading.excepthook = lambda args: structlog.get_logger().error(
        "a thread died", exc_info=args.exc_value
    )


def make_server(dispatch: Callable[[Call], None]) -> Server:
    clock, rights = ThreadClock(), KeyRights(KeyFile())
    server = Server(
        listener=open_listener(RUN_FOLDER),
        dispatch=dispatch,
        clock=clock,
        gateway_uid=user_id(GATEWAY_USER),
        answered=Audit(clock),
        lost_rights=lambda session: lost_rights(rights.role_of, session),
    )
    server.every(RIGHTS_PERIOD_S, server.end_lost_sessions)
    return server


def make_agent(
    config: AgentConfig,
    host: FakeHost,
    store: FileStore,
    server: Server,
    *,
    sources: tuple[Source, ...] = (),
) -> Agent:
    """With the real engine; its volume is known from epoch 5 on."""
    clock, setup = ThreadClock(), Setup(config=config, digest="d")
    if not store.names("epoch-"):
        first = Epoch(number=5, operation_id="before", coordinator=COORDINATOR)
        EpochStore(store).write("data", first)
    engine = Engine(
        config=config,
        host=host,
        store=store,
        clock=clock,
        on_change=lambda record: agent.runs.changed(record),
        wait_for_news=lambda volume, timeout_s: clock.sleep(timeout_s),
    )
    rights = KeyRights(KeyFile())
    agent = Agent(
        setup=setup,
        load=lambda: setup,
        apply=lambda _: None,
        engine=engine,
        observer=make_observer(config, host, sources=sources, clock=clock),
        assess=assess,
        clock=clock,
        broadcast=lambda name, what: server.post(lambda: server.broadcast(name, what)),
        inhibit=lambda _: None,
        ticks=idle_ticks(),
        key_role=rights.role_of,
        key_findings=rights.findings,
    )
    return agent


def serve(server: Server, *agents: Agent) -> None:
    """Until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    for agent in agents:
        agent.start()
    server.run()
    for agent in agents:
        agent.stop(1.0)


if __name__ == "__main__":
    main()
