"""The control machine: the real coordinator (arbiter, watch, switchover, failover, adoption) on a
simulated network, with its record in memory.

What is a thread there is a task here. It can be killed at each request and each change of its
record, be cut off, stand still, and find an old copy of its record; a second one can run beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from storage_agent.coordinator.background import Background, Promote
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import State
from storage_agent.coordinator.failover import fail_over
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.settings import Deadlines, HostSettings, Settings, VolumeSettings
from storage_agent.coordinator.switchover import switch_over
from storage_agent.coordinator.watch import Event, Watch
from storage_agent.model.errors import AgentError, OutcomeUnknown
from tests.simulation.daemon import Daemon
from tests.simulation.handler import incident
from tests.simulation.machine import HOSTS
from tests.simulation.record import SimRecord
from tests.simulation.requests import SimFleet
from tests.simulation.world import Killed, Task, World

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation

# The claim by which it has adopted the volume.
COORDINATOR = "claim-1"
KEY = "pair/data"
COMMANDS = ("switchover", "failover", "adopt", "trust-record")
# Looks at a frozen host that has not got its answer, before there is nothing more to expect.
TRIES = 6
_LOOK_S = (2.0, 8.0)
_JUDGE_S = 3.0
_RESTART_S = 10.0


def make_settings(*, automatic: bool) -> Settings:
    volume = VolumeSettings(
        key=KEY, name="data", hosts=("alpha", "beta"), automatic=automatic, cooldown_s=0
    )
    return Settings(
        key_file="",
        known_hosts="",
        state_folder="",
        hooks="",
        parallel=2,
        deadlines=Deadlines(
            connect_s=1, answer_s=5, operation_s=120, handover_s=20, unreachable_s=20
        ),
        hosts={h: HostSettings(name=h, address="192.0.2.1", port=22) for h in HOSTS},
        volumes={KEY: volume},
    )


class ControlClock:
    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return self._world.now_s

    def wall(self) -> float:
        return 1_700_000_000.0 + self._world.now_s

    def sleep(self, seconds: float) -> None:
        self._world.sleep(seconds)


class TaskEvent:
    """threading.Event among tasks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        until_s = None if timeout is None else self._world.now_s + timeout
        return self._world.wait(lambda: self._is_set, until_s)


def _no_hook(_argv: tuple[str, ...], _stdin: bytes, _timeout_s: float) -> object:
    raise AssertionError("there are no hooks here")


class ControlMachine:
    """is_on: runs at all.  cut: hosts that it cannot reach.  was_restored: its record is, or was,
    an old copy.  states: the record that it begins with."""

    def __init__(self, simulation: Simulation, name: str, states: dict[str, State]) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.name = name
        self.is_on = True
        self.automatic = self.world.chance(0.5)
        self.was_restored = False
        self.down_until_s = 0.0
        self.cut: set[str] = set()
        self.record = SimRecord(self, states)
        self.tasks: list[Task] = []
        self._looking: set[str] = set()
        self._next_s: dict[str, float] = {}
        self._tries: Counter[tuple[str, str]] = Counter()
        self._numbers = 0
        self._start()

    def begin(self, *, automatic: bool) -> None:
        """The service anew, with another configuration."""
        self.automatic = automatic
        self._start()

    def _start(self) -> None:
        """The service and every command anew; what it knows is in the record."""
        clock, settings = ControlClock(self.world), make_settings(automatic=self.automatic)
        self.fleet = SimFleet(self, settings, clock)
        self.coordinator = Coordinator(
            settings,
            self.fleet,
            self.record,
            clock,
            self._new_id,
            Hooks(Path("/nonexistent"), _no_hook, 1.0, lambda _text: None),  # type: ignore[arg-type]
            self._in_background,
        )
        self.watch = Watch(self.coordinator, self._told)
        self.is_started = True

    def _new_id(self) -> str:
        self._numbers += 1
        return f"{self.name}-{self._numbers}"

    def _in_background(self, promote: Promote) -> Background:
        def start(run: Callable[[], None]) -> None:
            self._spawn("promote", run)

        return Background(promote, start, lambda: TaskEvent(self.world))

    def _told(self, event: Event) -> None:
        self.world.log(self.name, f"{event.kind} {event.host}: {event.text}")

    # --- life -----------------------------------------------------------------------------------

    def _spawn(self, name: str, run: Callable[[], object]) -> Task:
        task = self.world.spawn(f"{self.name}:{name}", self.name, run)
        self.tasks = [t for t in self.tasks if not t.done]
        self.tasks.append(task)
        return task

    def kill(self, *, down_s: float = _RESTART_S) -> None:
        """SIGKILL. Raises Killed when it kills the task that runs."""
        self.world.log(self.name, "COORDINATOR KILLED")
        self.is_started = False
        self.down_until_s = max(self.down_until_s, self.world.now_s + self.world.random() * down_s)
        self._looking.clear()
        current, tasks = self.world.current, self.tasks
        self.tasks = []
        for task in tasks:
            if task is not current:
                task.kill()
        self.world.forget_dead()
        if current in tasks:
            raise Killed

    def restore(self, *, with_run: bool) -> None:
        """Somebody puts an old copy of the record back."""
        self.was_restored = True
        self.record.restore(self.world.rng.randrange(len(self.record.backups)), with_run=with_run)
        self.kill()

    def point(self, name: str, *, before: bool) -> None:
        self.simulation.faults.at_control_point(self, name, before=before)
        self.world.pause()

    def reach(self, host: str) -> Daemon | None:
        daemon = self.simulation.machines[host].daemon
        hidden = host in self.cut or self.world.is_frozen(host)
        return None if daemon is None or not daemon.started or hidden else daemon

    def _is_there(self) -> bool:
        return self.is_on and self.simulation.has_coordinator

    # --- what it does by itself -----------------------------------------------------------------

    def step(self) -> bool:
        """Begins one thing that the service does. False: nothing now."""
        now_s = self.world.now_s
        if not self._is_there() or now_s < self.down_until_s or self.world.is_frozen(self.name):
            return False
        if not self.is_started:
            self._start()
        if not self._watches():
            return False
        for host in HOSTS:
            if host not in self._looking and now_s >= self._next_s.get(host, 0.0):
                self.look(host)
                return True
        if self.automatic and now_s >= self._next_s.get("judge", 0.0):
            self._next_s["judge"] = now_s + _JUDGE_S
            self._spawn("judge", self._judge)
            return True
        return False

    def look(self, host: str) -> Task:
        """One look of the service's."""
        now_s, (least_s, most_s) = self.world.now_s, _LOOK_S
        self._next_s[host] = now_s + least_s + (most_s - least_s) * self.world.random()
        self._looking.add(host)
        found = incident(self.simulation.machines[host])
        if found is not None:
            self._tries[host, found.incident] += 1
        return self._spawn(f"look {host}", lambda: self._look(host))

    def _look(self, host: str) -> None:
        try:
            self.watch.look(host)
        except AgentError as exc:
            self.world.log(self.name, f"{host}: {exc.code}")
        finally:
            self._looking.discard(host)

    def _judge(self) -> None:
        volume = self.coordinator.settings.volumes[KEY]
        try:
            self.watch.judge(volume)
        except AgentError as exc:
            self.world.log(self.name, f"no failover: {exc.code}: {exc.message}")

    def wake_s(self) -> float | None:
        """When it has something to do next, as far as time alone decides."""
        if not self._is_there() or not self._watches():
            return None
        return max(min(self._next_s.values(), default=0.0), self.down_until_s)

    def has_work(self) -> bool:
        """Something is on its way, or somebody asks who has not been refused again and again."""
        if not self._is_there():
            return False
        return any(not task.done for task in self.tasks) or any(
            self._asks(host) for host in HOSTS if host not in self.cut
        )

    def _asks(self, host: str) -> bool:
        machine = self.simulation.machines[host]
        found = incident(machine)
        is_open = found is not None and machine.answered_epoch() is None
        return is_open and self._tries[host, found.incident] < TRIES  # type: ignore[union-attr]

    def _watches(self) -> bool:
        """Where all is well and known, a look would show nothing: that saves most of the time."""
        state = self.record.states.get(KEY)
        return (
            self.has_work()
            or (state is not None and state.sole is not None)
            or (state is not None and self._shows_other_guards(state))
            or any(self.reach(host) is None for host in HOSTS)
        )

    def _shows_other_guards(self, state: State) -> bool:
        """A host that can be asked would stand still, or not, other than the record has it."""
        nodes = {host: self.simulation.machines[host].node for host in HOSTS if self.reach(host)}
        return any(
            (host in state.guarded) is not (node.up and node.stonith)
            for host, node in nodes.items()
        )

    # --- what a person types --------------------------------------------------------------------

    def command(self, what: str, host: str) -> Task:
        """what: of COMMANDS."""
        self.world.log(self.name, f"typed: {what} {host}")
        return self._spawn(f"{what} {host}", lambda: self._command(what, host))

    def _command(self, what: str, host: str) -> None:
        coordinator, volume = self.coordinator, self.coordinator.settings.volumes[KEY]
        end = "succeeded"
        try:
            if what == "switchover":
                switch_over(coordinator, volume, host)
            elif what == "failover":
                fail_over(coordinator, volume, host)
            elif what == "adopt":
                coordinator.adopt(volume)
            else:
                coordinator.trust(volume)
        except AgentError as exc:
            end = "unknown" if isinstance(exc, OutcomeUnknown) else "refused"
            self.world.log(self.name, f"{what} {host}: {exc.code}: {exc.message}")
        self.world.counts[f"{what} {end}"] += 1
        self.world.log(self.name, f"{what} {host}: {end}")
