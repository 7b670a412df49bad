"""Accepts, runs and remembers operations.

Order for each step: intent on disk, act, look, record. A failing plan is taken back in reverse,
to serving or to secondary. After a crash the same plan is walked again: what is seen to hold is
passed over, so nothing is ever replayed blindly.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from contextlib import suppress

from storage_agent.engine.acceptance import (
    MAKING,
    WITH_EPOCH,
    require_free,
    require_operation_id,
    same_operation,
)
from storage_agent.engine.account import Phase
from storage_agent.engine.arbitration import Arbitration
from storage_agent.engine.creation import Creations, as_begun
from storage_agent.engine.damage import Damage
from storage_agent.engine.decide import findings_for
from storage_agent.engine.entry import Entry, resumed
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal, unfinished
from storage_agent.engine.obstacles import Obstacles
from storage_agent.engine.records import Records
from storage_agent.engine.restoring import restore_epoch
from storage_agent.engine.run import Run, Wait
from storage_agent.engine.seal import Seals
from storage_agent.model.clock import Clock
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.errors import AgentError, Busy, OperationFailed, Refused, UsageError
from storage_agent.model.finding import Finding, blockers
from storage_agent.model.operation import (
    Epoch,
    Marker,
    OperationRecord,
    OperationRequest,
    OperationState,
)
from storage_agent.model.plan import OperationKind, Plan
from storage_agent.model.ports import HostPort, Store
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.operations.creation import with_identity
from storage_agent.operations.planners import make_plan
from storage_agent.policy.confirmation import confirmation_findings
from storage_agent.policy.currency import count_on
from storage_agent.policy.epoch import epoch_findings
from storage_agent.policy.promotion import without_primary_peer
from storage_agent.policy.records import busy_note

NOT_RECORDED = "that it has ended could not be written down"


class Engine:
    """One for the host. `run` blocks and may be called from several threads for different
    volumes; one operation a volume at a time."""

    def __init__(
        self,
        *,
        config: AgentConfig,
        host: HostPort,
        store: Store,
        clock: Clock,
        on_change: Callable[[OperationRecord], None],
        wait_for_news: Wait,
    ) -> None:
        self._config = config
        self._host = host
        self._clock = clock
        self._on_change = on_change
        self._wait_for_news = wait_for_news
        self._journal = Journal(store, config.host)
        self._damage = Damage(store, self._journal, config.host)
        self._epochs = EpochStore(store, config.host)
        self.arbitration = Arbitration(host=host, store=store, epochs=self._epochs)
        self._creations = Creations(store)
        self.seals = Seals(host=host, store=store, epochs=self._epochs)
        self._lock = threading.Lock()
        self._records = Records(self._journal)
        self._running = self._records.running
        self._obstacles = Obstacles(
            store, self._epochs, self._journal, self._creations, self._records
        )

    def reconfigure(self, config: AgentConfig) -> None:
        """From the next operation on."""
        self._config = config

    def plan(self, request: OperationRequest) -> tuple[Plan, tuple[Finding, ...]]:
        """What would be done, and what speaks against it. Looks, changes nothing.

        Raises Busy for `create` and `abandon` while an operation has the volume or its disks: what
        lies on them then is nobody's to judge."""
        volume = self._volume(request)
        if request.kind in MAKING:
            with self._lock:
                require_free(request, self._running.values(), self._config)
        snapshot = self._host.observe(volume)
        return make_plan(volume, snapshot, request), self._decide(volume, snapshot, request)

    def begin(self, request: OperationRequest) -> OperationRecord:
        """Accepts a request, or answers with the earlier record of the same operation id.

        Raises Busy while another operation holds the volume, UsageError for an unknown volume or
        an id that was used for something else, Refused for what may have been done long ago,
        OperationFailed where nothing can be recorded.
        """
        require_operation_id(request.operation_id)
        self._volume(request)
        with self._lock:
            if (known := self._records.known(request.operation_id)) is not None:
                return same_operation(known, request)
            require_free(request, self._running.values(), self._config)
            self.record_ends()
            self._journal.accept(
                request,
                self._host.boot_id(),
                self._clock.wall(),
                self._owned(request.volume),
                needs_account=request.kind in WITH_EPOCH,
            )
            record = OperationRecord(
                request=request,
                state=OperationState.RUNNING,
                changed=False,
                epoch=None,
                message="accepted",
                started_wall_s=self._clock.wall(),
            )
            self._running[request.volume] = record
        return record

    def run(self, operation_id: str) -> OperationRecord:
        """Brings an accepted operation to its end and returns the final record.

        Never raises for what the operation itself meets: the record tells.
        """
        entry = self._records.entry(operation_id)
        if entry is None:
            raise UsageError(f"there is no operation {operation_id}")
        if entry.record is not None:
            return entry.record
        run = Run(
            entry=entry,
            host=self._host,
            journal=self._journal,
            clock=self._clock,
            epochs=self._epochs,
            on_change=self._changed,
            wait_for_news=self._wait_for_news,
            decide=lambda volume, seen: self._decide(volume, seen, entry.request, again=True),
        )
        try:
            record = self._decide_and_execute(entry, run)
        except AgentError as exc:
            record = run.record_of(exc)
        except Exception as exc:
            # A fault of ours: the journal stays open, and the next start resumes from a look.
            # Until then the volume stays held, as it may be half-way.
            run.broken_off(exc)
            raise
        record = self._end(record)
        with self._lock:
            self._running.pop(entry.request.volume, None)
        self._on_change(record)
        return record

    def _end(self, record: OperationRecord) -> OperationRecord:
        """What was done stays done, also where that cannot be written down."""
        try:
            self._record_end(record)
        except AgentError as exc:
            message = f"{record.message}; {NOT_RECORDED}: {exc.message}"
            record = dataclasses.replace(
                record, message=message, remedy=record.remedy or exc.remedy
            )
            self._records.unrecorded[record.request.operation_id] = record
        else:
            with suppress(OperationFailed, Refused), self._lock:
                owned = self._owned(record.request.volume)
                self._journal.prune(record.request.volume, owned.operation_id if owned else "")
        return record

    def _record_end(self, record: OperationRecord) -> None:
        self._begin_history(record)
        self._journal.write(record.request.operation_id, "ended", record=record)
        self._journal.turns(record.request, Phase.ENDED)

    def resume(self) -> tuple[str, ...]:
        """Ids of operations that were accepted and did not end. Each wants a `run`. What only
        looks so is set aside: see damage.py."""
        with self._lock:
            self._damage.set_aside(tuple(self._config.volumes))
            found = unfinished(self._journal)
            for entry in found:
                self._running[entry.request.volume] = resumed(entry)
        return tuple(entry.request.operation_id for entry in found)

    def show(
        self, operation_id: str, volume: str | None = None, epoch: int | None = None
    ) -> OperationRecord | None:
        """As Records.show, of one volume or all; not of one that is just being accepted."""
        volumes = tuple(self._config.volumes) if volume is None else (volume,)
        with self._lock:
            return self._records.show(operation_id, volumes, epoch)

    def history(self, limit: int) -> tuple[OperationRecord, ...]:
        """The newest operations, newest first, running ones included."""
        return self._records.history(limit)

    def lately(self, volume: str) -> tuple[OperationRecord, ...]:
        """As Records.lately."""
        return self._records.lately(volume)

    def damage(self) -> tuple[Finding, ...]:
        """What is not known (any more) of earlier operations. Raises OperationFailed."""
        return self._damage.findings(tuple(self._config.volumes))

    def record_ends(self) -> None:
        """Writes the ends that could not be written when they came. Before that no operation
        begins: the next start would resume what has long been overtaken. Raises OperationFailed."""
        for operation_id, record in tuple(self._records.unrecorded.items()):
            self._record_end(record)
            # The daemon may be stopping in one thread and accepting in another.
            self._records.unrecorded.pop(operation_id, None)

    def _owned(self, volume: str) -> Epoch | None:
        try:
            return self._epochs.read(volume)
        except Refused:
            return None

    def running(self) -> tuple[OperationRecord, ...]:
        return tuple(self._running.values())

    def obstacles(self, volume: VolumeConfig) -> tuple[Finding, ...]:
        """What this host's own records have against a promotion, and that one runs already."""
        found = self._obstacles.of(volume)
        running = self._running.get(volume.name)
        return found if running is None else (*found, busy_note(running))

    def unfinished_creations(self) -> tuple[str, ...]:
        """Volumes that `create` has begun here and not brought to its end."""
        return self._creations.unfinished()

    def epoch(self, volume: str) -> int | None:
        """The volume's epoch on this host; None where its file is missing or damaged."""
        owned = self._owned(volume)
        return owned.number if owned else None

    def coordinator(self, volume: str) -> str:
        """The claim of the coordinator that this host listens to; empty where none is known."""
        owned = self._owned(volume)
        return owned.coordinator if owned else ""

    def last_marker(self, volume: str) -> Marker | None:
        """The newest currency marker that this host has noted durably. Raises AgentError."""
        return self._epochs.last_marker(volume)

    def marker_to_count_on(self, volume: str, found: Marker | None) -> Marker | None:
        """See policy.currency.count_on. Raises AgentError."""
        try:
            noted = self._epochs.last_marker(volume)
        except Refused:
            noted = None  # The next one that is noted replaces the damaged note.
        return count_on(found, noted, self.epoch(volume))

    def note_marker(self, volume: str, marker: Marker) -> None:
        """Durable on return. Raises OperationFailed."""
        self._epochs.note_marker(volume, marker)

    def restore_epoch(self, volume: str, number: int) -> None:
        """An admin says what a missing or damaged epoch file has to say, and gives a damaged note
        of the marker up. Never lowers a readable one. The coordinator has to adopt it again.

        Raises UsageError for an unknown volume, Refused for a number below a readable epoch or
        below the newest marker seen, Busy while an operation holds the volume.
        """
        self._config.require_volume(volume)
        with self._lock:
            if volume in self._running:
                raise Busy(f"{volume} is busy", remedy="wait for it: storage-agent operation")
            restore_epoch(self._epochs, self._journal, volume, number)

    def claim_epoch(self, request: OperationRequest, succeeds: str | None = None) -> Epoch:
        """A coordinator takes the volume over: whatever was sent with an older epoch or by another
        one is refused from now on. The same again gives the same. See EpochStore.claim.

        Raises UsageError for an unknown volume, Refused for an epoch that is not newer, Busy while
        an operation holds the volume.
        """
        self._volume(request)
        with self._lock:
            if request.volume in self._running:
                raise Busy(
                    f"{request.volume} is busy", remedy="wait for it: storage-agent operation"
                )
            return self._epochs.claim(request, succeeds)

    def _decide_and_execute(self, entry: Entry, run: Run) -> OperationRecord:
        request = entry.request
        volume = self._volume(request)
        restarted = self._host.boot_id() != entry.boot_id
        if restarted and entry.plan is None and request.kind is not OperationKind.ASSEMBLE:
            return run.never_begun(volume)
        if entry.plan is not None:
            return run.resume(volume)
        if request.kind is OperationKind.ASSEMBLE:
            run.wait_for_devices(volume)
        snapshot = run.look(volume)
        findings = self._decide(volume, snapshot, request)
        if refusals := blockers(findings):
            return run.refused(findings, refusals)
        epoch = None
        if request.kind in WITH_EPOCH:
            known = self._epochs.read(volume.name)
            epoch = known.number if request.epoch is None else request.epoch
        plan = make_plan(volume, snapshot, request)
        if changed := confirmation_findings(request, plan):
            return run.refused((*findings, *changed), changed)
        if request.kind is OperationKind.CREATE:
            self._creations.begin(self._config, volume, request)
        return run.execute(volume, plan, findings, epoch)

    def _decide(
        self,
        volume: VolumeConfig,
        snapshot: VolumeSnapshot,
        request: OperationRequest,
        *,
        again: bool = False,
    ) -> tuple[Finding, ...]:
        """again: right before the step that the first decision was about."""
        granted = self.arbitration.is_granted(request)
        promotes = request.kind is OperationKind.PROMOTE
        creation = None if promotes else self._creations.read(volume.name)
        if promotes:
            records = self._obstacles.of(volume, writes_next=again)
            snapshot = dataclasses.replace(snapshot, records=records)
        findings = findings_for(
            self._config,
            volume,
            snapshot,
            request,
            self._host,
            is_granted=granted,
            creation=creation,
        )
        if request.kind in WITH_EPOCH and creation is None:
            if not promotes:
                findings = (*self._obstacles.ownership(volume.name), *findings)
            if (owned := self._owned(volume.name)) is not None:
                findings = (*findings, *epoch_findings(request, owned))
        return without_primary_peer(findings) if "wait_s" in request.options else findings

    def _begin_history(self, record: OperationRecord) -> None:
        """A volume that was just created starts with epoch 0, unless this host only takes its copy
        anew; of a copy that was given up the marker does not count any more."""
        request = record.request
        if request.kind is OperationKind.CREATE and record.state is OperationState.ROLLED_BACK:
            self._creations.end(request.volume)
        if record.state is not OperationState.SUCCEEDED:
            return
        is_new = request.options.get("role") == "first" or self._owned(request.volume) is None
        if request.kind is OperationKind.CREATE and is_new:
            self._epochs.write(request.volume, Epoch(number=0, operation_id=request.operation_id))
            if self._journal.lost(request.volume):
                self._journal.begin_anew(request.volume, 0)
        if request.kind in MAKING:
            self._creations.end(request.volume)
        if request.options.get("choice") == "discard":
            self._epochs.forget_marker(request.volume)

    def _volume(self, request: OperationRequest) -> VolumeConfig:
        volume = self._config.require_volume(request.volume)
        if request.kind is OperationKind.CREATE:
            return with_identity(self._config, volume)
        is_abandoned = request.kind is OperationKind.ABANDON
        if is_abandoned and (begun := self._creations.read(request.volume)):
            return as_begun(self._config, volume, begun)
        return volume

    def _changed(self, record: OperationRecord) -> None:
        with self._lock:
            self._running[record.request.volume] = record
        self._on_change(record)
