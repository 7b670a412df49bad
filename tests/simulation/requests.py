"""What a coordinator's request meets: the network, and the agent's real methods on a simulated
daemon. Requests and answers can come late, be lost, or find nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.reaching.rpc import Disconnected, OnNotification, Silent, unreachable
from storage_agent.coordinator.settings import Settings
from storage_agent.model.answers import PlanAnswer, StatusAnswer
from storage_agent.model.clock import Clock
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.errors import AgentError
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.snapshot import CHEAP_FACETS, HostSnapshot, VolumeSnapshot
from storage_agent.model.wire import to_wire
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import Role
from storage_agent.service.api.answers import Planned, Setup, Status
from storage_agent.service.api.methods import METHODS
from storage_agent.service.api.operating import LATER
from storage_agent.service.api.parameters import decode_parameters
from storage_agent.service.api.rpc import Request
from storage_agent.service.runs import Watcher
from tests.simulation.daemon import Daemon

if TYPE_CHECKING:
    from tests.simulation.control import ControlMachine

T = TypeVar("T")
LATE = ("request late", "answer delayed")


# --- at the agent --------------------------------------------------------------------------------


class _Session:
    def __init__(self) -> None:
        self.role = Role.GRANT
        self.origin = "coordinator"
        self.key_id = "coordinator"
        self.is_subscribed = False

    def take_pipes(self) -> None: ...


class SimCall:
    """Implements service.session.Call."""

    def __init__(self, method: str, params: dict[str, Any], hear: OnNotification | None) -> None:
        self.session = _Session()
        self.request = Request(request_id=1, method=method, parameters=params)
        self.found: object = None
        self._hear = hear

    def answer(self, result: object) -> None:
        self.found = result

    def fail(self, error: AgentError) -> None:
        self.found = error

    def notify(self, method: str, parameters: object) -> None:
        if self._hear is not None:
            self._hear(method, to_wire(parameters))

    def sessions_of(self, key_id: str) -> int:
        return 1

    def end_sessions_of(self, key_id: str) -> None: ...

    def take_place(self, role: object, key_id: str) -> None: ...

    def is_wanted(self) -> bool:
        return True


class _Seals:
    """Nothing is sealed here."""

    def want(self, volume: str) -> None: ...


class _Events:
    def last(self, limit: int) -> tuple[()]:
        return ()


class _Engine:
    """The real engine, without seals."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.seals = _Seals()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._daemon.engine, name)


class SimAgent:
    """What the methods need of service.agent.Agent."""

    def __init__(self, daemon: Daemon, config: AgentConfig) -> None:
        self._daemon = daemon
        self.engine = _Engine(daemon)
        self.setup = Setup(config=config, digest="d")
        self.runs = self
        self.events = _Events()

    def require_volume(self, name: str) -> VolumeConfig:
        return self.setup.config.volumes[name]

    def require_usable(self) -> None: ...

    def told(self, volume: str, text: str) -> None:
        self._daemon.world.log(self._daemon.machine.name, text)

    def start(self, engine: object, request: OperationRequest, watcher: Watcher) -> None:
        """service/runs.py: runs it, or joins it, to its end."""
        daemon = self._daemon
        daemon.listeners[request.operation_id] = watcher.progress
        course = daemon.ask(request)
        course.error = None
        daemon.world.wait(lambda: course.record is not None or course.error is not None)
        if course.record is not None:
            watcher.ended(course.record)
        else:
            assert course.error is not None
            watcher.failed(course.error)

    def status(self) -> Status:
        """As the observer has seen it: now, or some time ago."""
        daemon, config = self._daemon, self.setup.config
        seen = self._look()
        return Status(
            host=config.host,
            agent_version="",
            config_digest="d",
            age_s=daemon.world.now_s - seen.taken_monotonic_s,
            snapshot=HostSnapshot(
                host=config.host,
                boot_id=seen.boot_id,
                taken_monotonic_s=seen.taken_monotonic_s,
                taken_wall_s=seen.taken_wall_s,
                volumes={"data": seen},
                drbd_version="8.4.11",
            ),
            readiness={},
            epochs={"data": daemon.machine.lied_epoch or daemon.engine.epoch("data")},
            coordinators={"data": daemon.engine.coordinator("data")},
            seals={},
            operations=daemon.engine.running(),
        )

    def _look(self) -> VolumeSnapshot:
        daemon = self._daemon
        if daemon.sight is None or not daemon.world.chance(daemon.shows_old):
            volume = self.setup.config.volumes["data"]
            daemon.sight = daemon.host.observe(volume, CHEAP_FACETS)
        return daemon.sight


def serve(daemon: Daemon, config: AgentConfig, call: SimCall, fault: str) -> None:
    """service/api/methods.py Dispatcher, in a task of the daemon's."""
    if fault in LATE:
        daemon.world.sleep(daemon.world.rng.choice((1.0, 20.0, 200.0)))
    if fault == "answer forged":
        _forge(daemon, config, call)
    _handle(daemon, config, call)
    if fault == "answer repeated" and not isinstance(call.found, AgentError):
        first = call.found
        _handle(daemon, config, call)
        again = isinstance(call.found, AgentError) or call.found == first
        daemon.simulation.checks.expect("I8", again, f"{first} was answered with {call.found}")


def _handle(daemon: Daemon, config: AgentConfig, call: SimCall) -> None:
    method = METHODS[call.request.method]
    try:
        parameters = decode_parameters(method.parameters, call.request.parameters)
        result = method.handler(cast(Agent, SimAgent(daemon, config)), call, parameters)
        if result is not LATER:
            call.answer(result)
    except AgentError as exc:
        call.fail(exc)


def _forge(daemon: Daemon, config: AgentConfig, call: SimCall) -> None:
    """I7: another nonce, another boot, an epoch that was used: refused, nothing changed."""
    machine, before = daemon.machine, daemon.machine.answered
    asked = dict(call.request.parameters)
    wrong = daemon.world.rng.choice(
        ({"incident": "nonce-0"}, {"boot_id": "boot-0"}, {"epoch": 0}),
    )
    forged = SimCall("incident.answer", {**asked, "verdict": "continue", **wrong}, None)
    _handle(daemon, config, forged)
    # Another call may have brought a true answer meanwhile.
    given = machine.answered
    is_true = given is not None and given.incident == asked["incident"] and given.epoch != 0
    unchanged = isinstance(forged.found, AgentError) and (given is before or is_true)
    daemon.simulation.checks.expect("I7", unchanged, f"{machine.name} took {forged.request}")


# --- at the coordinator --------------------------------------------------------------------------


def _nowhere(_settings: object) -> Any:
    raise AssertionError("nothing is connected to here")


class SimFleet(Fleet):
    """The real fleet on another network."""

    def __init__(self, control: ControlMachine, settings: Settings, clock: Clock) -> None:
        super().__init__(settings, _nowhere, clock)
        self._control = control

    def ask(
        self,
        host: str,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        on_notification: OnNotification | None = None,
    ) -> Any:
        found = self._ask(host, method, params or {}, timeout_s, on_notification)
        return to_wire(found)

    def ask_beside(
        self,
        host: str,
        method: str,
        params: dict[str, Any],
        *,
        timeout_s: float | None = None,
        on_notification: OnNotification | None = None,
    ) -> Any:
        """Here no request waits for another one."""
        return to_wire(self._ask(host, method, params, timeout_s, on_notification))

    def status(self, host: str) -> StatusAnswer:
        return _status(self._ask(host, "status", {}))

    def subscribe(self, host: str) -> StatusAnswer:
        return _status(self._ask(host, "subscribe", {}))

    def plan(self, host: str, operation: OperationKind, volume: str, **more: Any) -> PlanAnswer:
        params = {"operation": str(operation), "volume": volume}
        params |= {key: value for key, value in more.items() if value is not None}
        found = self._ask(host, "plan", params)
        assert isinstance(found, Planned)
        return PlanAnswer(plan=found.plan, digest=found.digest, findings=found.findings)

    def as_answered(
        self, items: Iterable[str], ask: Callable[[str], T]
    ) -> Iterator[tuple[str, T | AgentError]]:
        for item in items:
            try:
                yield item, ask(item)
            except AgentError as exc:
                yield item, exc

    def is_connected(self, host: str) -> bool:
        return self._control.reach(host) is not None

    def drop(self, host: str) -> None: ...

    def _ask(
        self,
        host: str,
        method: str,
        params: dict[str, Any],
        timeout_s: float | None = None,
        hear: OnNotification | None = None,
    ) -> object:
        control, world = self._control, self._control.world
        control.point(f"ask {method}", before=True)
        daemon = control.reach(host)
        if daemon is None:
            raise unreachable(host, "no route to host")
        lost = Disconnected(f"{host}: the connection was lost")
        fault = control.simulation.faults.at_request(daemon, method)
        if fault == "request lost":
            raise lost
        call, config = SimCall(method, params, hear), control.simulation.config(host)
        task = daemon._spawn(f"ssh {method}", lambda: serve(daemon, config, call, fault))
        limit_s = self.settings.deadlines.answer_s if timeout_s is None else timeout_s
        world.wait(lambda: task.done or control.reach(host) is not daemon, world.now_s + limit_s)
        control.point(f"answer {method}", before=False)
        if task.done and call.found is None:
            # Its daemon was killed.
            raise lost
        if not task.done:
            raise Silent(f"{host} does not answer") if control.reach(host) is daemon else lost
        if fault == "answer lost":
            raise lost
        if isinstance(call.found, AgentError):
            raise call.found
        return call.found


def _status(found: object) -> StatusAnswer:
    assert isinstance(found, Status)
    return StatusAnswer(
        host=found.host,
        agent_version=found.agent_version,
        snapshot=found.snapshot,
        readiness={},
        operations=found.operations,
        epochs=found.epochs,
        coordinators=found.coordinators,
        config_digest=found.config_digest,
        age_s=found.age_s,
    )
