"""The daemon without its sockets: configuration, engine, observer, operations and events, put
together. Every method handler works on this."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable

import structlog

from storage_agent import __version__
from storage_agent.model.clock import Clock, Deadline
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.errors import AgentError, Busy
from storage_agent.model.finding import Finding
from storage_agent.model.key import KeyRole
from storage_agent.model.operation import (
    Marker,
    OperationRecord,
    OperationRequest,
    OperationState,
    StepOutcome,
)
from storage_agent.model.plan import OperationKind
from storage_agent.model.snapshot import HostSnapshot
from storage_agent.policy.sync import SyncRates
from storage_agent.service.api.answers import Changed, Setup, Status
from storage_agent.service.api.rpc import BadRequest
from storage_agent.service.inhibition import Inhibition
from storage_agent.service.link_keeper import LAST_PAUSE_S, LinkKeeper
from storage_agent.service.observing.changes import Event, EventRing
from storage_agent.service.observing.observer import Observer
from storage_agent.service.observing.ticks import Ticks
from storage_agent.service.problems import Problems
from storage_agent.service.runs import NOBODY, EnginePort, Runs
from storage_agent.service.sealed import Assess, SealedVerdicts

VOLUME_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
BOOT_ORIGIN = "boot"
# Longer than an operation may take.
BUSY_TIMEOUT_S = 1000.0
BUSY_RETRY_S = 2.0

log = structlog.get_logger()


class Agent:
    """Safe to use from several threads.

    load: reads the configuration anew.  apply: gives it to host, engine and observer.  broadcast:
    tells all subscribers; must not block.  inhibit: takes a volume's shutdown inhibitor.
    key_role: of an SSH key, by its id; None: revoked.  key_findings: what is wrong with the file of
    keys.
    """

    def __init__(
        self,
        *,
        setup: Setup,
        load: Callable[[], Setup],
        apply: Callable[[AgentConfig], None],
        engine: EnginePort,
        observer: Observer,
        assess: Assess,
        clock: Clock,
        broadcast: Callable[[str, object], None],
        inhibit: Callable[[VolumeConfig], None],
        ticks: Ticks,
        key_role: Callable[[str], KeyRole | None],
        key_findings: Callable[[], tuple[Finding, ...]] = lambda: (),
    ) -> None:
        self._ticks = ticks
        self.key_role = key_role
        self.setup = setup
        self.engine = engine
        self.observer = observer
        self.events = EventRing()
        self.runs = Runs(
            clock=clock,
            changed=self._operation_changed,
            ended=self._operation_ended,
            rested=self._reload_if_idle,
        )
        self._load = load
        self._apply = apply
        self._assess = SealedVerdicts(assess, engine.seals)
        self._clock = clock
        self._broadcast = broadcast
        self._inhibition = Inhibition(take=inhibit, clock=clock, is_busy=self._is_busy)
        self._reload_lock = threading.Lock()
        self._wants_reload = False
        # What was logged last of each volume's operation.
        self._rates = SyncRates()
        self._stages: dict[str, tuple[object, ...]] = {}
        self.problems = Problems(engine, key_findings)
        self._links = LinkKeeper(
            clock=clock,
            boot_id=observer.snapshot.boot_id,
            start=lambda request: self.runs.start(self.engine, request, NOBODY),
            lately=engine.lately,
            epoch=engine.epoch,
        )
        self._news = threading.Event()
        self._markers: dict[str, Marker | None] = {}

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes up what a restart has interrupted, begins to observe, then assembles what is
        configured here. Returns soon: all of that runs in threads."""
        told = self._named_problems()
        self._tell("; ".join((f"agent {__version__} started", *told)))
        self.observer.start(self.published)
        self._read_markers()
        self._ticks.start(lambda: self.setup.config.volumes, lambda: self.observer.snapshot)
        try:
            unfinished = self.engine.resume()
        except AgentError as exc:
            self.problems.journal = exc
            self._tell(f"the journal cannot be read: {exc.message}")
            return
        self.problems.look_again()
        for text in self._named_problems():
            if text not in told:
                self._tell(text)
        for operation_id in unfinished:
            self._tell(f"operation {operation_id} was interrupted and is resumed")
            self.runs.resume(self.engine, operation_id)
        self._start_assembly()
        threading.Thread(target=self._keep_links, name="links", daemon=True).start()

    def stop(self, grace_s: float) -> bool:
        """True where no operation was in the middle of a step any more."""
        rested = self.runs.stop(grace_s)
        try:
            self.engine.record_ends()
        except AgentError as exc:
            self._tell(f"an operation will be resumed at the next start: {exc.message}")
        self._news.set()
        self._ticks.stop()
        self.observer.stop()
        return rested

    def reload(self) -> None:
        """Reads the configuration again; a wrong one is refused and the present one kept. While
        an operation runs it is put off to its end."""
        self._wants_reload = True
        self._reload_if_idle()

    def _reload_if_idle(self) -> None:
        with self._reload_lock:
            if self._wants_reload and self.runs.is_idle():
                self._wants_reload = False
                self._reload_now()

    def _reload_now(self) -> None:
        fresh, present = self._load(), self.setup
        if fresh.problem is not None:
            self._tell(f"configuration not taken: {fresh.problem.message}")
            if present.problem is not None:
                self.setup = fresh
            return
        # Not by the digest, which is that of the pair and leaves out the arrays' UUIDs.
        is_same = fresh.config == present.config and present.problem is None
        if not is_same:
            self._apply(fresh.config)
        self.setup = fresh
        self._tell("configuration read again" + (", unchanged" if is_same else ""))
        if present.problem is not None:
            self._start_assembly()

    def _start_assembly(self) -> None:
        threading.Thread(target=self._assemble, name="boot", daemon=True).start()

    def _assemble(self) -> None:
        """Brings each volume's array and replica up: to secondary, not more. Once a boot: after a
        restart of the daemon the same operation id is found, and nothing is done."""
        setup = self.setup
        if setup.problem is not None:
            return
        wanted = [n for n, v in setup.config.volumes.items() if setup.config.host in v.array.uuid]
        deadline = Deadline.after(self._clock, BUSY_TIMEOUT_S)
        while wanted := [name for name in wanted if not self._try_to_assemble(name)]:
            # An operation that a restart of the host interrupted holds it for a moment.
            if deadline.passed(self._clock):
                self._tell(f"not assembled, still busy: {', '.join(wanted)}")
                return
            self._clock.sleep(BUSY_RETRY_S)

    def _try_to_assemble(self, volume: str) -> bool:
        """False while the volume is busy."""
        boot = self.observer.snapshot.boot_id.replace("-", "")[:12]
        request = OperationRequest(
            kind=OperationKind.ASSEMBLE,
            volume=volume,
            operation_id=f"{BOOT_ORIGIN}-{boot}-{volume}",
            origin=BOOT_ORIGIN,
        )
        try:
            self.runs.start(self.engine, request, NOBODY)
        except Busy:
            return self.runs.is_stopping()
        except AgentError as exc:
            self._tell(f"{volume}: not assembled: {exc.message}", volume=volume)
        return True

    def _keep_links(self) -> None:
        """Until the agent stops: whatever is new may concern a frozen host's link."""
        wait_s: float | None = 0.0
        while not self.runs.is_stopping():
            self._news.wait(wait_s)
            self._news.clear()
            try:
                wait_s = self._links.keep(self.setup.config, self.observer.snapshot.volumes)
            except Exception:
                log.exception("keeping the links failed, goes on")
                wait_s = LAST_PAUSE_S

    # --- answers --------------------------------------------------------------------------------

    def status(self) -> Status:
        """From memory, at once."""
        setup, snapshot = self.setup, self.observer.snapshot
        return Status(
            host=setup.config.host,
            agent_version=__version__,
            config_digest=setup.digest,
            age_s=round(self._clock.monotonic() - snapshot.taken_monotonic_s, 3)
            if snapshot.volumes
            else 0.0,
            snapshot=self._with_markers(snapshot),
            readiness={
                name: self._assess(setup.config, setup.config.volumes[name], volume)
                for name, volume in snapshot.volumes.items()
                if name in setup.config.volumes
            },
            epochs={name: self.engine.epoch(name) for name in setup.config.volumes},
            coordinators={name: self.engine.coordinator(name) for name in setup.config.volumes},
            seals={
                name: record.seal
                for name in setup.config.volumes
                if (record := self.engine.seals.record(name)) is not None
            },
            operations=self.engine.running(),
            problems=self.problems.of(self.setup),
            rates={name: self._rates.of(name) for name in setup.config.volumes},
        )

    def _with_markers(self, snapshot: HostSnapshot) -> HostSnapshot:
        """The newest marker that this host knows of each volume, for whoever compares later."""
        volumes = {
            name: dataclasses.replace(volume, marker=self._markers.get(name))
            for name, volume in snapshot.volumes.items()
        }
        return dataclasses.replace(snapshot, volumes=volumes)

    def _is_busy(self, volume: str) -> bool:
        return any(record.request.volume == volume for record in self.engine.running())

    def marker_written(self, volume: str, marker: Marker) -> None:
        self._markers[volume] = marker

    def _read_markers(self) -> None:
        """What is noted on disk, where nothing newer is known."""
        for name in self.setup.config.volumes:
            with contextlib.suppress(AgentError):
                noted, known = self.engine.last_marker(name), self._markers.get(name)
                if known is None or (noted is not None and noted.age() > known.age()):
                    self._markers[name] = noted

    def summary(self) -> str:
        """One line for `systemctl status`."""
        if problems := self._named_problems():
            return "; ".join(problems)
        status = self.status()
        volumes = [f"{name} {view.verdict}" for name, view in status.readiness.items()]
        runs = [f"{o.request.kind} {o.request.volume} runs" for o in status.operations]
        return ", ".join((*volumes, *runs))

    def unix_s(self) -> int:
        return int(self._clock.wall())

    def digest_of(self, volume: VolumeConfig) -> str:
        """As SealFacts.configuration."""
        return self._assess.configuration(self.setup.config, volume)

    def require_volume(self, name: str) -> VolumeConfig:
        """Raises BadRequest for what is no name, UsageError for an unknown one,
        ConfigurationError where nothing can be known."""
        if not VOLUME_NAME.fullmatch(name):
            raise BadRequest(
                "bad-name",
                f"{name[:40]!a} is no volume name",
                remedy="a letter, then at most 30 letters, digits and dashes, all lower case",
            )
        if self.setup.problem is not None:
            raise self.setup.problem
        return self.setup.config.require_volume(name)

    def require_usable(self) -> None:
        """Before anything that changes. Raises ConfigurationError, or why the journal is not
        readable."""
        if self.setup.problem is not None:
            raise self.setup.problem
        if self.problems.journal is not None:
            raise self.problems.journal

    # --- called back ----------------------------------------------------------------------------

    def published(self, snapshot: HostSnapshot, volume: str, events: tuple[Event, ...]) -> None:
        """The observer has a new snapshot, which differs in one volume."""
        if configured := self.setup.config.volumes.get(volume):
            self._inhibition.follow(configured, snapshot.volumes[volume])
        self.events.add(events)
        for event in events:
            log.info(event.text, volume=event.volume)
        config, seen = self.setup.config, snapshot.volumes[volume]
        known, peer = config.volumes.get(volume), config.peer_of(config.host)
        self._rates.follow(seen, peer.name if peer else "the peer", self._clock.monotonic())
        changed = Changed(
            volume=volume,
            snapshot=seen,
            readiness=self._assess(config, known, seen) if known else None,
            events=events,
        )
        self._broadcast("changed", changed)
        self._news.set()

    def _operation_changed(self, record: OperationRecord) -> None:
        request = record.request
        step = record.steps[-1] if record.steps else None
        outcome = step.outcome if step else None
        # What only counts down is for the caller, not for the log; and that a step has begun
        # stands in the operation's own journal.
        stage = (record.state, len(record.steps), outcome)
        has_begun = outcome in (StepOutcome.RUNNING, StepOutcome.UNDOING)
        is_news = self._stages.get(request.volume) != stage and not has_begun
        self._stages[request.volume] = stage
        (log.info if is_news else log.debug)(
            record.message,
            volume=request.volume,
            operation_id=request.operation_id,
            step=str(step.kind) if step else None,
            state=str(record.state),
            origin=request.origin,
        )

    def _operation_ended(self, record: OperationRecord) -> None:
        request = record.request
        self.problems.look_again()
        self._note(
            Event(
                wall_s=self._clock.wall(),
                text=f"{request.volume}: {request.kind} {record.state}: {record.message}",
                volume=request.volume,
                operation_id=request.operation_id,
            )
        )
        self.observer.hint(request.volume)
        configured = self.setup.config.volumes.get(request.volume)
        if configured is not None and record.state is not OperationState.SUCCEEDED:
            self._inhibition.renew(configured)
        self._news.set()
        if request.kind is OperationKind.SPLIT_BRAIN:
            self._markers.pop(request.volume, None)
        self._read_markers()
        if request.kind in (OperationKind.CREATE, OperationKind.ABANDON):
            # It wrote the configuration, and what its caller asks for next needs that.
            with self._reload_lock:
                self._reload_now()

    def told(self, volume: str, text: str) -> None:
        """Somebody has said something about a volume, and it was taken."""
        self.problems.look_again()
        self._tell(f"{volume}: {text}", volume=volume)
        self.observer.hint(volume)

    def _tell(self, text: str, *, volume: str | None = None) -> None:
        self._note(Event(wall_s=self._clock.wall(), text=text, volume=volume))
        log.info(text, volume=volume)

    def _note(self, event: Event) -> None:
        self.events.add((event,))
        self._broadcast("event", event)

    def _named_problems(self) -> tuple[str, ...]:
        return tuple(problem.message for problem in self.problems.of(self.setup))
