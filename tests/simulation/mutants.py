"""Seeded bugs: small changes of the real code while a scene runs. Each must be caught by the
checker that is meant for it; a checker that catches none is not worth its name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from storage_agent.engine import arbitration as arbitration_module
from storage_agent.engine import engine as engine_module
from storage_agent.engine import epoch as epoch_module
from storage_agent.engine import run as run_module
from storage_agent.engine.arbitration import Arbitration
from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal
from storage_agent.engine.run import Run
from storage_agent.model import errors
from storage_agent.model.clock import Deadline
from storage_agent.model.incident import IncidentAnswer
from storage_agent.model.operation import Epoch, OperationRecord, OperationState
from storage_agent.model.plan import StepKind
from storage_agent.model.snapshot import Attachment
from storage_agent.model.wire import to_wire
from storage_agent.operations import planners, steps
from storage_agent.policy import arbitration as arbitration_policy
from storage_agent.policy import assembly, promotion, standalone
from storage_agent.policy import epoch as epoch_policy
from storage_agent.service import attachments
from storage_agent.service.link_keeper import LinkKeeper
from tests.simulation import handler
from tests.simulation.coordinator import Coordinator
from tests.simulation.hunting import Mutant, Patch, hunt

# --- what is put in place ------------------------------------------------------------------------


def _nothing(*_args: object, **_more: object) -> tuple[()]:
    return ()


def _without(*codes: str) -> Callable[..., Any]:
    original = promotion._unconnected
    return lambda *a: [f for f in original(*a) if f.code not in codes]


def _definition(kind: StepKind, **changes: Any) -> Patch:
    return (steps.DEFINITIONS, kind, dataclasses.replace(steps.DEFINITIONS[kind], **changes))


def _commands(kind: StepKind, command: str) -> Patch:
    return _definition(kind, commands=lambda volume, host: (f"{command} {volume.name}",))


def _plan(name: str, change: Callable[[list[StepKind]], list[StepKind]]) -> Patch:
    original = getattr(planners, name)
    return (planners, name, lambda *a: change(original(*a)))


def _drop(*kinds: StepKind) -> Callable[[list[StepKind]], list[StepKind]]:
    return lambda plan: [k for k in plan if k not in kinds]


def _swap(first: StepKind, second: StepKind) -> Callable[[list[StepKind]], list[StepKind]]:
    other = {first: second, second: first}
    return lambda plan: [other.get(k, k) for k in plan]


def _journal_without(*phases: str) -> Patch:
    original = Journal.write

    def write(self: Journal, operation_id: str, phase: str, **fields: object) -> None:
        if phase not in phases:
            original(self, operation_id, phase, **fields)

    return (Journal, "write", write)


def _journal_without_findings() -> Patch:
    original = Journal.write

    def write(self: Journal, operation_id: str, phase: str, **fields: object) -> None:
        original(self, operation_id, phase, **{k: v for k, v in fields.items() if k != "findings"})

    return (Journal, "write", write)


def _epoch_in_cache(self: EpochStore, volume: str, epoch: Epoch) -> None:
    """As a replace() without fsync: a power cut takes it back."""
    store: Any = self._store
    machine = store._machine
    before = machine.files.get("epoch-data")
    _WRITE_EPOCH(self, volume, epoch)
    if hasattr(store, "_daemon"):
        machine.unsynced["epoch-data"] = machine.files["epoch-data"]
        machine.files["epoch-data"] = before


_WRITE_EPOCH = EpochStore.write


def _no_undo(self: Run, volume: Any, cause: Any) -> OperationRecord:
    self.look(volume)
    return self.ended(OperationState.ROLLED_BACK, cause.message)


def _refused_undo() -> Patch:
    original = Run._undo

    def undo(self: Run, volume: Any, cause: Any) -> OperationRecord:
        record = original(self, volume, cause)
        return dataclasses.replace(record, state=OperationState.REFUSED)

    return (Run, "_undo", undo)


class _Forgetful(dict[str, Any]):
    def get(self, key: str, default: Any = None) -> Any:
        return default


def _not_busy() -> Patch:
    original = Engine.__init__

    def init(self: Engine, **more: Any) -> None:
        original(self, **more)
        self._running = _Forgetful()

    return (Engine, "__init__", init)


def _goes_on(self: Run, volume: Any) -> OperationRecord:
    assert self.entry.plan is not None
    return self._walk(volume, self.entry.plan)


def _believes(self: Run, step: Any, volume: Any, deadline: Deadline) -> None:
    request = dataclasses.replace(self.entry.request, epoch=self.entry.epoch)
    self.host.perform(step, volume, request, deadline, self.tell)
    self.look(volume)


def _ever_in_sync(record: Attachment, replica: Any, **_: Any) -> Attachment:
    if record.in_sync_until_loss or (replica is not None and replica.in_sync()):
        return Attachment(in_sync_until_loss=True)
    return record


def _waived_for_worse(
    volume: Any, snapshot: Any, replica: Any, request: Any, peer: str, is_granted: bool
) -> tuple[Any, ...]:
    if replica.peer is not None and replica.peer.disk in promotion._KNOWN_WORSE:
        return ()
    return tuple(_UNCONNECTED(volume, snapshot, replica, request, peer, is_granted))


_UNCONNECTED = promotion._unconnected


def _resume_without_epoch(self: Run, volume: Any) -> OperationRecord:
    """As it was before the simulation found it."""
    self.performed = [k for k in self.entry.intended if k not in self.entry.undone]
    self.look(volume)
    assert self.entry.plan is not None
    if self.host.boot_id() != self.entry.boot_id:
        return self._after_reboot(volume)
    return self._walk(volume, self.entry.plan)


def _glued(self: Journal, operation_id: str, phase: str, **fields: object) -> None:
    line = json.dumps({"phase": phase, **{k: to_wire(v) for k, v in fields.items()}})
    self._store.append(f"operation-{operation_id}", line.encode() + b"\n")


def _only_lower(request: Any, known: Epoch, taken: int | None = None) -> Any:
    same = dataclasses.replace(known, operation_id=request.operation_id)
    return epoch_policy.epoch_findings(request, same, taken)


def _only_what_follows(
    self: EpochStore, request: Any, number: int, then: Callable[[], None] = lambda: None
) -> None:
    then()


def _to_both(self: Coordinator, machine: Any) -> tuple[IncidentAnswer, int]:
    epoch = self._fresh_epoch()
    self._promise(self.simulation.other(machine).name, epoch)
    return IncidentAnswer.CONTINUE, epoch


def _what_is_shown(before: Any, after: Any, snapshot: Any) -> Any:
    told = standalone._shows_it(snapshot)
    return tuple(f for f in (*after, *before) if not told or f.code != "PEER_NOT_TOLD")


def _fulfilled(volume: Any, snapshot: Any) -> str:
    return ""


def _m(name: str, caught_by: str, scene: str, patches: Callable[[], list[Patch]]) -> Mutant:
    return Mutant(name=name, caught_by=caught_by, scene=scene, patches=patches)


S = StepKind
MUTANTS = (
    _m("the peer need not be off", "I1", "cut_and_promote",
       lambda: [(promotion, "_unconnected", _without("PEER_NOT_PROVEN_OFF"))]),
    _m("an unconnected copy is always good", "I9", "cut_and_promote",
       lambda: [(promotion, "_unconnected", _nothing)]),
    _m("no replica finding at all", "I11", "cut_and_promote",
       lambda: [(promotion, "_replica", _nothing)]),
    _m("promotion findings are not looked at", "I3", "paused_primary",
       lambda: [(engine_module, "findings_for", _nothing)]),
    _m("evidence of the attachment ignored", "I2", "peer_disk_hole",
       lambda: [(promotion, "_unconnected", _without("CURRENCY_UNPROVEN"))]),
    _m("what is given up on a person's word is not said", "I17", "failover",
       lambda: [(promotion, "_unconnected", _without("PEER_MAY_HAVE_WRITTEN"))]),
    _m("a crash forgets what was warned of", "I17", "failover_resumed",
       lambda: [_journal_without_findings()]),
    _m("evidence never breaks", "I4", "peer_disk_hole",
       lambda: [(attachments, "follow", _ever_in_sync)]),
    _m("one side's view of a connection is evidence", "I1", "turned_away",
       lambda: [(attachments, "stays_unsynced", lambda before, replica: False)]),
    _m("a fresh daemon believes it was in sync", "I4", "blind_restart",
       lambda: [(attachments, "NEVER_SEEN", Attachment(in_sync_until_loss=True))]),
    _m("a broken watch is not noticed", "I4", "blind_hole",
       lambda: [(attachments.Attachments, "lose_sight", lambda self, volumes, why: None)]),
    _m("a sync target may be promoted", "I4", "resync_target",
       lambda: [(promotion, "_replica", _nothing)]),
    _m("the currency marker is not compared", "I4", "old_marker",
       lambda: [(run_module, "currency_findings", _nothing)]),
    _m("the marker is read and not checked", "I4", "old_marker",
       lambda: [(Run, "_check_marker", lambda self, kind, volume: None)]),
    _m("the marker is looked at after the mount", "I4", "old_marker",
       lambda: [_plan("_promote", _swap(S.READ_MARKER, S.MOUNT))]),
    _m("the marker that was written is forgotten", "I6", "switchover",
       lambda: [(EpochStore, "note_marker", lambda self, volume, marker: None)]),
    _m("old epochs accepted", "I7", "switchover",
       lambda: [(module, "epoch_findings", _nothing)
                for module in (engine_module, epoch_module, run_module)]),
    _m("only lower epochs refused", "I7", "switchover",
       lambda: [(module, "epoch_findings", _only_lower)
                for module in (engine_module, epoch_module, run_module)]),
    _m("blockers do not block", "I7", "switchover",
       lambda: [(module, "blockers", _nothing) for module in (engine_module, errors)]),
    _m("the epoch is not fsynced", "I6", "power_cut_in_promote",
       lambda: [(EpochStore, "write", _epoch_in_cache)]),
    _m("the epoch is not written", "I6", "switchover",
       lambda: [(Run, "_own", lambda self, epoch: setattr(self.entry, "epoch", epoch))]),
    _m("ids are not remembered", "I8", "switchover",
       lambda: [(Engine, "show", lambda self, operation_id: None)]),
    _m("two operations on one volume", "I16", "together",
       lambda: [_not_busy()]),
    _m("intents are not journalled", "I10", "killed_then_failing",
       lambda: [_journal_without("intent")]),
    _m("the end is not journalled", "I17", "switchover",
       lambda: [_journal_without("ended")]),
    _m("what failed is not taken back", "I10", "failing_steps",
       lambda: [(Run, "_undo", _no_undo)]),
    _m("taken back in the order of doing", "I10", "failing_steps",
       lambda: [(run_module, "reversed", lambda found: found)]),
    _m("a taken-back operation says refused", "I13", "failing_steps",
       lambda: [_refused_undo()]),
    _m("exit statuses are believed", "I12", "failing_steps",
       lambda: [(Run, "_act_and_verify", _believes),
                (Run, "_look_at_the_whole", lambda self, volume, plan: None)]),
    _m("deadlines never pass", "I14", "failing_steps",
       lambda: [(Deadline, "passed", lambda self, clock: False)]),
    _m("secondary counts as reached", "I12", "switchover",
       lambda: [_definition(S.SECONDARY, goal=_fulfilled)]),
    _m("demote forgets secondary", "I12", "switchover",
       lambda: [_plan("_demote", _drop(S.SECONDARY))]),
    _m("demote stops after the server", "I12", "switchover",
       lambda: [_plan("_demote", _drop(S.UNMOUNT, S.SECONDARY))]),
    _m("demote unmounts before the server stops", "I26", "switchover",
       lambda: [_plan("_demote", _swap(S.UNMOUNT, S.STOP_SERVER))]),
    _m("demote forgets to unmount", "I26", "switchover",
       lambda: [_plan("_demote", _drop(S.UNMOUNT))]),
    _m("promote forgets primary", "I26", "switchover",
       lambda: [_plan("_promote", _drop(S.PRIMARY))]),
    _m("the server starts before the mount", "I26", "switchover",
       lambda: [_plan("_promote", _swap(S.MOUNT, S.START_SERVER))]),
    _m("the link goes up before the server", "I26", "switchover",
       lambda: [_plan("_promote", _swap(S.START_SERVER, S.LINK_UP))]),
    _m("no grant is left for the handler", "I26", "failover",
       lambda: [(planners, "needs_grant", lambda volume, snapshot: False)]),
    _m("the grant comes after primary", "I26", "failover",
       lambda: [_plan("_promote", _swap(S.GRANT_PROMOTION, S.PRIMARY))]),
    _m("the grant is not withdrawn", "I16", "failover",
       lambda: [_plan("_promote", _drop(S.WITHDRAW_GRANT))]),
    _m("primary is not undone", "I10", "failing_steps",
       lambda: [_definition(S.PRIMARY, undo=None)]),
    _m("the mount is not undone", "I10", "failing_steps",
       lambda: [_definition(S.MOUNT, undo=None)]),
    _m("the unmount is not undone", "I10", "failing_steps",
       lambda: [_definition(S.UNMOUNT, undo=None)]),
    _m("unfinished operations are not resumed", "I14", "killed_then_failing",
       lambda: [(Engine, "resume", lambda self: ())]),
    _m("a promote goes on after a restart", "I17", "restarted_and_brought_up",
       lambda: [(Run, "_after_reboot", _goes_on)]),
    _m("primary is forced", "I24", "switchover",
       lambda: [_commands(S.PRIMARY, "drbdadm primary --force")]),
    _m("replica-up discards", "I24", "plain_reboot",
       lambda: [_commands(S.REPLICA_UP, "drbdadm connect --discard-my-data")]),
    _m("a coordinator's volume needs no grant", "I1", "both_granted",
       lambda: [(promotion, "_unconnected", _without("PROMOTION_NOT_GRANTED"))]),
    _m("an answer's epoch is not made durable", "I6", "granted_to_primary",
       lambda: [(EpochStore, "own", _only_what_follows)]),
    _m("one epoch is good for two answers", "I7", "twice_in_one_epoch",
       lambda: [(epoch_module, "epoch_findings", _nothing)]),
    _m("every coordinator is listened to", "I1", "second_coordinator",
       lambda: [(module, "coordinator_findings", _nothing)
                for module in (epoch_module, epoch_policy)]),
    _m("an answer need not name the incident", "I7", "twice_in_one_epoch",
       lambda: [(arbitration_module, "answer_findings", _nothing)]),
    _m("the coordinator grants both sides", "I1", "granted_to_secondary",
       lambda: [(Coordinator, "_decide", _to_both)]),
    _m("deny is taken for continue", "I1", "granted_to_secondary",
       lambda: [(handler.STATUS, IncidentAnswer.DENY, 4)]),
    _m("whatever thaws a primary lets its clients in", "I2", "thawed_by_diskless",
       lambda: [(arbitration_policy, "_compared", _nothing)]),
    _m("a frozen primary needs no disk", "I4", "frozen_without_disk",
       lambda: [(arbitration_module, "alone_findings", _nothing)]),
    _m("any operation may use the grant", "I1", "another_operation",
       lambda: [(Arbitration, "is_granted", lambda self, request:
                 self._store.read("grant-data") is not None)]),
    _m("a promotion's grant thaws a primary", "I1", "leftover_grant",
       lambda: [(handler, "_wait", handler._promotion)]),
    _m("a frozen host keeps its link", "I11", "nobody_answers",
       lambda: [(LinkKeeper, "keep", lambda self, config, volumes: None)]),
    _m("decided once is decided for good", "I1", "decided_long_ago",
       lambda: [(Run, "_decide_again", lambda self, volume: {})]),
    _m("a worse peer cannot be Primary", "I1", "inconsistent_primary",
       lambda: [(promotion, "_unconnected", _waived_for_worse)]),
    _m("connected to a Diskless peer is current", "I2", "diskless_peer",
       lambda: [(promotion, "_currency", _nothing)]),
    _m("a lone primary takes its old disk back", "I4", "old_disk_back",
       lambda: [(assembly, "_attach_alone", _nothing)]),
    _m("a resumed promote forgets its epoch", "I6", "killed_before_epoch",
       lambda: [(Run, "resume", _resume_without_epoch)]),
    _m("records are glued to a torn line", "I17", "torn_record",
       lambda: [(Journal, "write", _glued)]),
    _m("a secondary goes on alone", "I4", "standalone_wrong",
       lambda: [(standalone, "_not_serving", _nothing)]),
    _m("rejoin discards", "I24", "there_and_back",
       lambda: [_commands(S.CONNECT, "drbdadm connect --discard-my-data")]),
    _m("an unreached peer counts as outdated", "I4", "standalone_unreached",
       lambda: [(standalone, "_is_told", lambda replica: True)]),
    _m("the coordinator's word counts as DRBD's", "I4", "standalone_by_word",
       lambda: [(standalone, "_shows_it", lambda snapshot: True)]),
    _m("a crash forgets that nobody was told", "I4", "standalone_resumed",
       lambda: [(run_module, "parting_findings", _what_is_shown)]),
    _m("nobody says that there is no fallback", "I17", "there_and_back",
       lambda: [(run_module, "name_state", lambda volume, snapshot: "serving")]),
    _m("going on alone forgets to leave", "I17", "there_and_back",
       lambda: [_definition(S.DISCONNECT, goal=_fulfilled)]),
    _m("stale members are assembled", "I19", "stale_member",
       lambda: [(assembly, "_stale", _nothing)]),
)  # fmt: skip


def table() -> tuple[list[str], int]:
    """The lines to show, and how many mutants survived."""
    lines, survived = [f"{'seeded bug':<42} {'caught by':<9} scene, seeds, others that spoke"], 0
    for mutant in MUTANTS:
        tried, text, others = hunt(mutant)
        survived += not text
        verdict = mutant.caught_by if text else "SURVIVED"
        more = f"{mutant.scene}, {tried}" + (f", also {' '.join(others)}" if others else "")
        lines.append(f"{mutant.name:<42} {verdict:<9} {more}: {text[:70]}")
    return lines, survived


def show_mutants() -> int:
    lines, survived = table()
    print("\n".join(lines))
    print(f"{len(MUTANTS)} seeded bugs, {survived} survived")
    return 1 if survived else 0
