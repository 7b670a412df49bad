"""Two real agents (service, engine, policy, planners) on two hosts in memory, and a coordinator
joined to them by pipes in memory. What DRBD does between the hosts is played here."""

from __future__ import annotations

import dataclasses
import queue
import shlex
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage_agent.configuration.load import digest
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.reaching.rpc import Channel, unreachable
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator.settings import (
    Deadlines,
    HostSettings,
    Settings,
    VolumeSettings,
)
from storage_agent.coordinator_cli.wiring import run_command
from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.configuration import AgentConfig, Arbitration, VolumeConfig
from storage_agent.model.errors import AgentError
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.key import KeyRole
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import Epoch
from storage_agent.model.plan import StepKind
from storage_agent.model.replica import DiskState, Role
from storage_agent.model.snapshot import CHEAP_FACETS, Attachment, Facet, VolumeSnapshot
from storage_agent.policy.readiness import assess
from storage_agent.service.agent import Agent
from storage_agent.service.api import access
from storage_agent.service.api.answers import Setup
from storage_agent.service.api.methods import Dispatcher
from storage_agent.service.api.rpc import (
    Request,
    decode_request,
    encode_answer,
    encode_error,
    encode_notification,
)
from tests.unit.fakes import (
    FakeHost,
    MemoryStore,
    agent_config,
    volume_config,
)
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)
from tests.unit.service.parts import ThreadClock, idle_ticks, make_observer

FIRST_EPOCH = 5


class Killed(BaseException):
    """The coordinator's process ends here."""


@dataclass
class PairHost(FakeHost):
    """alpha or beta. frozen: its writes wait for an answer.  disk: of its own copy."""

    name: str = "alpha"
    pair: Pair | None = None
    frozen: bool = False
    disk: DiskState = DiskState.UP_TO_DATE
    fresh_s: float = 0.0

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        self.see_peer()
        # Each look is later than the one before, as on a real clock.
        self.clock.now_s += 0.001
        return dataclasses.replace(super().observe(volume, facets), host=self.name)

    def answer(self, incident: Incident) -> None:
        super().answer(incident)
        if incident.answer is IncidentAnswer.CONTINUE:
            self.frozen = False

    def see_peer(self) -> None:
        assert self.pair is not None
        assert self.replica is not None
        other = self.pair.hosts[self.pair.other(self.name)].replica
        assert other is not None
        role = self.replica.role
        if self.pair.link_up:
            fresh = with_peer(in_sync_replica(role=role), role=other.role)
        else:
            fresh = lost_peer(in_sync_replica(role=role), DiskState.UP_TO_DATE)
        suspended = ("fencing",) if self.frozen else ()
        self.replica = dataclasses.replace(fresh, disk=self.disk, suspended=suspended)
        self.attachment = Attachment(in_sync_until_loss=True, connected=self.pair.link_up)


@dataclass
class Pair:
    """link_up: of the replication. alive: hosts that can be reached.
    asked: every request, in order."""

    folder: Path
    arbitration: Arbitration = Arbitration.COORDINATOR
    link_up: bool = True
    hosts: dict[str, PairHost] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    stores: dict[str, MemoryStore] = field(default_factory=dict)
    alive: set[str] = field(default_factory=lambda: {"alpha", "beta"})
    asked: list[tuple[str, str]] = field(default_factory=list)
    # Called with (host, method) before and after a request is taken; may raise.
    before: Callable[[str, str], None] = lambda _host, _method: None
    after: Callable[[str, str], None] = lambda _host, _method: None
    pipes: list[Pipe] = field(default_factory=list)
    hook_failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            self.hosts[name] = PairHost(name=name, pair=self)
            self.stores[name] = MemoryStore()
            EpochStore(self.stores[name]).write(
                "data", Epoch(number=FIRST_EPOCH, operation_id="earlier")
            )
        for name in self.hosts:
            self.agents[name] = self._agent(name)
        self.serve("alpha")

    def other(self, host: str) -> str:
        return "beta" if host == "alpha" else "alpha"

    def serve(self, name: str) -> None:
        host = self.hosts[name]
        host.replica = dataclasses.replace(host.replica or in_sync_replica(), role=Role.PRIMARY)
        host.mounted, host.server = True, ServerState.SERVING

    def write_as_client(self, script: str) -> None:
        """What the words before the client's script make it write, to whoever serves."""
        words = dict(word.split("=", 1) for word in shlex.split(script)[:4])
        name = words["file"].removeprefix(".storage-agent/clients/")
        self.hosts[self.serving()[0]].written[name] = words["content"].encode()

    def serving(self) -> list[str]:
        """Hosts that write for clients."""
        return [
            name
            for name, host in self.hosts.items()
            if host.replica is not None
            and host.replica.role is Role.PRIMARY
            and host.mounted
            and not host.frozen
        ]

    def epoch(self, host: str) -> int | None:
        return self.agents[host].engine.epoch("data")

    def cut_link(self, *, nonce: str = "n1") -> None:
        """A primary freezes and asks."""
        self.link_up = False
        for host in self.hosts.values():
            assert host.replica is not None
            if host.replica.role is Role.PRIMARY:
                host.frozen = True
                host.incident = Incident(
                    incident=nonce,
                    volume="data",
                    resource="data",
                    boot_id=host.boot,
                    opened_unix_s=1,
                    epoch=None,
                    answer=IncidentAnswer.NONE,
                )

    def kill(self, name: str) -> None:
        """Power cut."""
        self.alive.discard(name)
        self.link_up = False
        for pipe in self.pipes:
            if pipe.host == name:
                pipe.close()
        host = self.hosts[name]
        host.replica = in_sync_replica()
        host.incident = None
        host.mounted, host.server = False, ServerState.ABSENT

    def connect(self, settings: HostSettings) -> Channel:
        if settings.name not in self.alive:
            raise unreachable(settings.name, "no route to host")
        pipe = Pipe(self, settings.name)
        self.pipes.append(pipe)
        return pipe

    def _config(self, name: str) -> AgentConfig:
        volume = dataclasses.replace(volume_config(), arbitration=self.arbitration)
        both = {host: volume.array.uuid["alpha"] for host in ("alpha", "beta")}
        volume = dataclasses.replace(volume, array=dataclasses.replace(volume.array, uuid=both))
        return dataclasses.replace(agent_config(volume), host=name)

    def _agent(self, name: str) -> Agent:
        config = self._config(name)
        host = self.hosts[name]
        engine = Engine(
            config=config,
            host=host,
            store=self.stores[name],
            clock=ThreadClock(),
            on_change=lambda record: agent.runs.changed(record),
            wait_for_news=lambda volume, timeout_s: ThreadClock().sleep(timeout_s),
        )
        setup = Setup(config=config, digest=digest(config))
        agent = Agent(
            setup=setup,
            load=lambda: setup,
            apply=lambda _: None,
            engine=engine,
            observer=make_observer(config, host),
            assess=assess,
            clock=ThreadClock(),
            broadcast=lambda method, params: self._broadcast(name, method, params),
            inhibit=lambda _: None,
            key_role=lambda _: KeyRole.GRANT,
            ticks=idle_ticks(),
        )
        return agent

    def _broadcast(self, name: str, method: str, params: object) -> None:
        line = encode_notification(method, params)
        for pipe in self.pipes:
            if pipe.host == name and pipe.session.is_subscribed:
                pipe.out.put(line)


class PipeSession:
    def __init__(self) -> None:
        self.role = access.Role.GRANT
        self.origin = "ssh key test"
        self.key_id = "test"
        self.is_subscribed = False

    def take_pipes(self) -> None: ...


# A reader of the coordinator waits at each until it is closed: see tests/unit/conftest.py.
OPEN: weakref.WeakSet[Pipe] = weakref.WeakSet()


class Pipe:
    """Implements rpc.Channel; at its other end the host's real dispatcher."""

    def __init__(self, pair: Pair, host: str) -> None:
        self.pair = pair
        self.host = host
        self.session = PipeSession()
        self.out: queue.Queue[bytes] = queue.Queue()
        self.is_closed = False
        self.besides: list[Pipe] = []
        OPEN.add(self)

    def send(self, line: bytes) -> None:
        if self.is_closed:
            raise ConnectionError("the pipe is closed")
        request = decode_request(line)
        call = PipeCall(self, request)
        self.pair.asked.append((self.host, request.method))
        try:
            self.pair.before(self.host, request.method)
            self._fresh()
            Dispatcher(self.pair.agents[self.host])(call)
        except AgentError as exc:
            call.fail(exc)
        self.pair.after(self.host, request.method)

    def receive(self) -> bytes:
        return self.out.get()

    def close(self) -> None:
        for pipe in self.besides:
            pipe.close()
        self.is_closed = True
        self.out.put(b"")

    def beside(self) -> Channel:
        pipe = Pipe(self.pair, self.host)
        self.pair.pipes.append(pipe)
        self.besides.append(pipe)
        return pipe

    def _fresh(self) -> None:
        """The observer runs in no thread here: it looks before each answer."""
        agent, host = self.pair.agents[self.host], self.pair.hosts[self.host]
        config = agent.setup.config
        snapshot = host.seen(config.volumes["data"])
        agent.observer.snapshot = dataclasses.replace(
            agent.observer.snapshot,
            boot_id=host.boot,
            taken_monotonic_s=ThreadClock().monotonic(),
            volumes={
                "data": dataclasses.replace(
                    snapshot, taken_monotonic_s=ThreadClock().monotonic()
                )
            },
        )  # fmt: skip


class PipeCall:
    """Implements service.session.Call."""

    def __init__(self, pipe: Pipe, request: Request) -> None:
        self._pipe = pipe
        self.session = pipe.session
        self.request = request

    def answer(self, result: object) -> None:
        self._pipe.out.put(encode_answer(self.request.request_id, result))

    def fail(self, error: AgentError) -> None:
        self._pipe.out.put(encode_error(self.request.request_id, error))

    def notify(self, method: str, parameters: object) -> None:
        self._pipe.out.put(encode_notification(method, parameters))

    def sessions_of(self, key_id: str) -> int:
        return 1

    def end_sessions_of(self, key_id: str) -> None: ...

    def take_place(self, role: object, key_id: str) -> None: ...

    def is_wanted(self) -> bool:
        return True


VOLUME = VolumeSettings(
    key="office/data", name="data", hosts=("alpha", "beta"), automatic=False, cooldown_s=3600
)


def make_settings(folder: Path, *, automatic: bool = False, unreachable_s: int = 2) -> Settings:
    return Settings(
        key_file="/none",
        known_hosts="/none",
        state_folder=str(folder),
        hooks=str(folder / "hooks.d"),
        parallel=8,
        deadlines=Deadlines(
            connect_s=1, answer_s=5, operation_s=30, handover_s=2, unreachable_s=unreachable_s
        ),
        hosts={
            name: HostSettings(name=name, address="192.0.2.1", port=22)
            for name in ("alpha", "beta")
        },
        volumes={"office/data": dataclasses.replace(VOLUME, automatic=automatic)},
    )  # fmt: skip


_ids = iter(range(1, 1_000_000))
_ids_lock = threading.Lock()


def new_id() -> str:
    with _ids_lock:
        return f"id{next(_ids)}"


def make_coordinator(pair: Pair, folder: Path | None = None, **more: Any) -> Coordinator:
    """Another one with the same folder is the same coordinator, started again."""
    folder = folder or pair.folder
    folder.mkdir(exist_ok=True)
    settings = make_settings(folder, **more)
    clock = ThreadClock()
    fleet = Fleet(settings, pair.connect, clock)
    hooks = Hooks(Path(settings.hooks), run_command, 5, pair.hook_failures.append)
    return Coordinator(settings, fleet, Store(folder, folder / "run"), clock, new_id, hooks)


def performed(pair: Pair, host: str) -> list[StepKind]:
    return pair.hosts[host].performed
