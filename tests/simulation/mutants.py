"""Seeded bugs: small changes of the real code while a scene runs. Each must be caught by the
checker that is meant for it; a checker that catches none is not worth its name."""

from __future__ import annotations

from storage_agent.coordinator import coordinator, failover, incidents
from storage_agent.engine import arbitration as arbitration_module
from storage_agent.engine import decide
from storage_agent.engine import engine as engine_module
from storage_agent.engine import epoch as epoch_module
from storage_agent.engine import run as run_module
from storage_agent.engine.arbitration import Arbitration
from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal
from storage_agent.engine.records import Records
from storage_agent.engine.run import Run
from storage_agent.model import errors
from storage_agent.model.clock import Deadline
from storage_agent.model.guards import Guards
from storage_agent.model.incident import IncidentAnswer
from storage_agent.model.plan import StepKind
from storage_agent.model.snapshot import Attachment
from storage_agent.operations import planners
from storage_agent.policy import arbitration as arbitration_policy
from storage_agent.policy import currency, demotion, promotion, standalone
from storage_agent.policy import epoch as epoch_policy
from storage_agent.policy.array import assembly
from storage_agent.service.link_keeper import LinkKeeper
from storage_agent.service.observing import attachments
from tests.simulation import handler
from tests.simulation.hunting import hunt
from tests.simulation.hunting import seeded as _m
from tests.simulation.machine import Machine
from tests.simulation.mutants_of_ends import MUTANTS_OF_ENDS
from tests.simulation.mutants_of_memory import MUTANTS_OF_MEMORY, goes_on_with_all
from tests.simulation.mutations import (
    at_once,
    believes,
    by_number_of_words,
    commands,
    definition,
    drop,
    epoch_in_cache,
    ever_in_sync,
    fulfilled,
    glued,
    goes_on,
    journal_without,
    journal_without_findings,
    loses_a_block,
    no_undo,
    not_missed,
    nothing,
    only_known,
    only_lost,
    only_lower,
    only_what_follows,
    plan,
    refused_undo,
    resume_without_epoch,
    seen_once,
    sole_forgotten,
    swap,
    to_both,
    waived_for_worse,
    what_is_shown,
    without,
)
from tests.simulation.record import SimRecord
from tests.simulation.transfer import Transfer

S = StepKind
MUTANTS = (
    _m("the peer need not be off", "I1", "cut_and_promote",
       lambda: [(promotion, "_unconnected", without("PEER_NOT_PROVEN_OFF"))]),
    _m("an unconnected copy is always good", "I9", "cut_and_promote",
       lambda: [(promotion, "_unconnected", nothing)]),
    _m("no replica finding at all", "I11", "cut_and_promote",
       lambda: [(promotion, "_replica", nothing)]),
    _m("promotion findings are not looked at", "I3", "paused_primary",
       lambda: [(engine_module, "findings_for", nothing)]),
    _m("evidence of the attachment ignored", "I2", "peer_disk_hole",
       lambda: [(promotion, "_unconnected", without("CURRENCY_UNPROVEN"))]),
    _m("what is given up on a person's word is not said", "I17", "failover",
       lambda: [(promotion, "_unconnected", without("PEER_MAY_HAVE_WRITTEN"))]),
    _m("a crash forgets what was warned of", "I17", "failover_resumed",
       lambda: [journal_without_findings()]),
    _m("evidence never breaks", "I4", "peer_disk_hole",
       lambda: [(attachments, "follow", ever_in_sync)]),
    _m("one side's view of a connection is evidence", "I1", "turned_away",
       lambda: [(attachments, "follow", at_once)]),
    _m("a Primary without its disk turns nobody away", "I4", "turned_away_without_disk",
       lambda: [(attachments, "follow", at_once)]),
    _m("a fresh daemon believes it was in sync", "I4", "blind_restart",
       lambda: [(attachments, "NEVER_SEEN", Attachment(in_sync_until_loss=True))]),
    _m("a broken watch is not noticed", "I4", "blind_hole",
       lambda: [(attachments.Attachments, "lose_sight", lambda self, volumes, why: None)]),
    _m("a sync target may be promoted", "I4", "resync_target",
       lambda: [(promotion, "_replica", nothing)]),
    _m("the currency marker is not compared", "I4", "old_marker",
       lambda: [(run_module, "currency_findings", nothing)]),
    _m("a marker that is gone is not missed", "I4", "marker_gone",
       lambda: [(run_module, "currency_findings", not_missed)]),
    _m("a person's word counts for any host", "I4", "marker_gone",
       lambda: [(currency, "_named", lambda request, snapshot: request.marker_lost)]),
    _m("a person's word does not count", "I26", "marker_gone",
       lambda: [(currency, "_named", lambda request, snapshot: "")]),
    _m("the marker is read and not checked", "I4", "old_marker",
       lambda: [(Run, "_check_marker", lambda self, kind, volume: None)]),
    _m("the marker is looked at after the mount", "I4", "old_marker",
       lambda: [plan("_promote", swap(S.READ_MARKER, S.MOUNT))]),
    _m("the marker that was written is forgotten", "I6", "switchover",
       lambda: [(EpochStore, "note_marker", lambda self, volume, marker: None)]),
    _m("old epochs accepted", "I7", "switchover",
       lambda: [(module, "epoch_findings", nothing)
                for module in (engine_module, epoch_module, run_module)]),
    _m("only lower epochs refused", "I7", "switchover",
       lambda: [(module, "epoch_findings", only_lower)
                for module in (engine_module, epoch_module, run_module)]),
    _m("blockers do not block", "I7", "switchover",
       lambda: [(module, "blockers", nothing) for module in (engine_module, errors)]),
    _m("the epoch is not fsynced", "I6", "power_cut_in_promote",
       lambda: [(EpochStore, "write", epoch_in_cache)]),
    _m("the epoch is not written", "I6", "switchover",
       lambda: [(Run, "_own", lambda self, epoch: setattr(self.entry, "epoch", epoch))]),
    _m("ids are not remembered", "I26", "switchover",
       lambda: [(Records, "known", lambda self, operation_id: None),
                (Journal, "require_unused", nothing)]),
    _m("two operations on one volume", "I16", "together",
       lambda: [(engine_module, "require_free", nothing)]),
    _m("intents are not journalled", "I10", "killed_then_failing",
       lambda: [journal_without("intent")]),
    _m("the end is not journalled", "I17", "switchover",
       lambda: [journal_without("ended")]),
    _m("what failed is not taken back", "I10", "failing_steps",
       lambda: [(Run, "_undo", no_undo)]),
    _m("taken back in the order of doing", "I10", "failing_steps",
       lambda: [(run_module, "reversed", lambda found: found)]),
    _m("a taken-back operation says refused", "I13", "failing_steps",
       lambda: [refused_undo()]),
    _m("exit statuses are believed", "I12", "failing_steps",
       lambda: [(Run, "_act_and_verify", believes),
                (Run, "_look_at_the_whole", lambda self, volume, plan: None)]),
    _m("deadlines never pass", "I14", "failing_steps",
       lambda: [(Deadline, "passed", lambda self, clock: False)]),
    _m("secondary counts as reached", "I12", "switchover",
       lambda: [definition(S.SECONDARY, goal=fulfilled)]),
    _m("demote forgets secondary", "I12", "switchover",
       lambda: [plan("_demote", drop(S.SECONDARY))]),
    _m("demote stops after the server", "I12", "switchover",
       lambda: [plan("_demote", drop(S.UNMOUNT, S.SECONDARY))]),
    _m("demote unmounts before the server stops", "I26", "switchover",
       lambda: [plan("_demote", swap(S.UNMOUNT, S.STOP_SERVER))]),
    _m("demote forgets to unmount", "I26", "switchover",
       lambda: [plan("_demote", drop(S.UNMOUNT))]),
    _m("promote forgets primary", "I26", "switchover",
       lambda: [plan("_promote", drop(S.PRIMARY))]),
    _m("the server starts before the mount", "I26", "switchover",
       lambda: [plan("_promote", swap(S.MOUNT, S.START_SERVER))]),
    _m("the link goes up before the server", "I26", "switchover",
       lambda: [plan("_promote", swap(S.START_SERVER, S.LINK_UP))]),
    _m("no grant is left for the handler", "I26", "failover",
       lambda: [(planners, "needs_grant", lambda volume, snapshot: False)]),
    _m("the grant comes after primary", "I26", "failover",
       lambda: [plan("_promote", swap(S.GRANT_PROMOTION, S.PRIMARY))]),
    _m("the grant is not withdrawn", "I16", "failover",
       lambda: [plan("_promote", drop(S.WITHDRAW_GRANT))]),
    _m("primary is not undone", "I10", "failing_steps",
       lambda: [definition(S.PRIMARY, undo=None)]),
    _m("the mount is not undone", "I10", "failing_steps",
       lambda: [definition(S.MOUNT, undo=None)]),
    _m("the unmount is not undone", "I10", "failing_steps",
       lambda: [definition(S.UNMOUNT, undo=None)]),
    _m("unfinished operations are not resumed", "I14", "killed_then_failing",
       lambda: [(Engine, "resume", lambda self: ())]),
    _m("a promote goes on after a restart", "I17", "restarted_and_brought_up",
       lambda: [(Run, "_after_reboot", goes_on)]),
    _m("primary is forced", "I24", "switchover",
       lambda: [commands(S.PRIMARY, "drbdadm primary --force")]),
    _m("replica-up discards", "I24", "plain_reboot",
       lambda: [commands(S.REPLICA_UP, "drbdadm connect --discard-my-data")]),
    _m("a coordinator's volume needs no grant", "I1", "both_granted",
       lambda: [(promotion, "_unconnected", without("PROMOTION_NOT_GRANTED"))]),
    _m("an answer's epoch is not made durable", "I6", "granted_to_primary",
       lambda: [(EpochStore, "own", only_what_follows)]),
    _m("one epoch is good for two answers", "I7", "twice_in_one_epoch",
       lambda: [(epoch_module, "epoch_findings", nothing)]),
    _m("every coordinator is listened to", "I1", "second_coordinator",
       lambda: [(module, "coordinator_findings", nothing)
                for module in (epoch_module, epoch_policy)]),
    _m("an answer need not name the incident", "I7", "twice_in_one_epoch",
       lambda: [(arbitration_module, "answer_findings", nothing)]),
    _m("the coordinator grants both sides", "I1", "granted_to_secondary",
       lambda: [(incidents, "decide_incident", to_both)]),
    _m("the coordinator forgets who wrote alone", "I2", "sole_dies",
       lambda: [(failover, "decide_promotion", sole_forgotten)]),
    _m("an old record is believed", "I2", "record_restored",
       lambda: [(SimRecord, "is_proven", lambda self, volume: True)]),
    _m("one look is enough to be in sync again", "I2", "old_sight",
       lambda: [(coordinator, "seen_in_sync", seen_once)]),
    _m("a grant goes by what is configured", "I1", "never_told",
       lambda: [(failover, "_is_guarded", lambda view, host: True)]),
    _m("what is configured counts as what DRBD does", "I1", "never_told",
       lambda: [(Guards, "freezes", lambda self: True)]),
    _m("assemble believes the configuration", "I26", "told_while_serving",
       lambda: [definition(S.TAKE_OPTIONS, goal=fulfilled)]),
    _m("deny is taken for continue", "I1", "granted_to_secondary",
       lambda: [(handler.STATUS, IncidentAnswer.DENY, 4)]),
    _m("whatever thaws a primary lets its clients in", "I2", "thawed_by_diskless",
       lambda: [(arbitration_policy, "_compared", nothing)]),
    _m("a frozen primary needs no disk", "I4", "frozen_without_disk",
       lambda: [(arbitration_module, "alone_findings", nothing)]),
    _m("any operation may use the grant", "I1", "another_operation",
       lambda: [(Arbitration, "is_granted", lambda self, request:
                 self._store.read("grant-data") is not None)]),
    _m("a promotion's grant thaws a primary", "I1", "leftover_grant",
       lambda: [(handler, "_wait", handler._promotion)]),
    _m("a frozen host keeps its link", "I11", "nobody_answers",
       lambda: [(LinkKeeper, "keep", lambda self, config, volumes: None),
                (Machine, "shut_out", lambda self: None)]),
    _m("the handler counts words", "I26", "granted_to_secondary",
       lambda: [(handler, "state_shown", by_number_of_words)]),
    _m("whom the handler has shut out is never let in again", "I26", "nobody_answers",
       lambda: [(LinkKeeper, "keep", lambda self, config, volumes: None)]),
    _m("decided once is decided for good", "I1", "decided_long_ago",
       lambda: [(Run, "_decide_again", lambda self, volume: {})]),
    _m("a worse peer cannot be Primary", "I1", "inconsistent_primary",
       lambda: [(promotion, "_unconnected", waived_for_worse)]),
    _m("connected to a Diskless peer is current", "I2", "diskless_peer",
       lambda: [(promotion, "_currency", nothing)]),
    _m("a connection given up by hand is only lost", "I2", "parted_unheard",
       lambda: [(attachments, "follow", only_lost)]),
    _m("a copy that has lost newer data stays", "I2", "newer_copy_lost",
       lambda: [(arbitration_policy, "has_lost_newer_copy", nothing)]),
    _m("a lone primary takes its old disk back", "I4", "old_disk_back",
       lambda: [(assembly, "_attach_alone", nothing)]),
    _m("a resumed promote forgets its epoch", "I6", "killed_before_epoch",
       lambda: [(Run, "resume", resume_without_epoch)]),
    _m("records are glued to a torn line", "I17", "torn_record",
       lambda: [(Journal, "write", glued)]),
    _m("a secondary goes on alone", "I4", "standalone_wrong",
       lambda: [(standalone, "_not_serving", nothing)]),
    _m("rejoin discards", "I24", "there_and_back",
       lambda: [commands(S.CONNECT, "drbdadm connect --discard-my-data")]),
    _m("an unreached peer counts as outdated", "I4", "standalone_unreached",
       lambda: [(standalone, "_is_told", lambda replica: True)]),
    _m("the coordinator's word counts as DRBD's", "I4", "standalone_by_word",
       lambda: [(standalone, "_shows_it", lambda snapshot: True)]),
    _m("a crash forgets that nobody was told", "I4", "standalone_resumed",
       lambda: [(run_module, "parting_findings", what_is_shown)]),
    _m("nobody says that there is no fallback", "I17", "there_and_back",
       lambda: [(run_module, "name_state", lambda volume, snapshot: "serving")]),
    _m("going on alone forgets to leave", "I17", "there_and_back",
       lambda: [definition(S.DISCONNECT, goal=fulfilled)]),
    _m("an end that could not be written is forgotten", "I8", "end_not_recorded",
       lambda: [(Engine, "record_ends", nothing), *goes_on_with_all()]),
    _m("a difference does not block", "I27", "configured_apart",
       lambda: [(demotion, "agreement_findings", nothing)]),
    _m("the peer is not asked anew", "I27", "configured_apart",
       lambda: [(decide, "needs_agreement", lambda snapshot, request: False),
                (demotion, "agreement_findings", only_known)]),
    _m("stale members are assembled", "I19", "stale_member",
       lambda: [(assembly, "_stale", nothing)]),
    _m("DRBD itself loses a block of a resync", "I18", "random_schedules",
       lambda: [(Transfer, "_on_sync", loses_a_block)]),
    *MUTANTS_OF_ENDS,
    *MUTANTS_OF_MEMORY,
)  # fmt: skip


def table() -> tuple[list[str], int]:
    """The lines to show, and how many mutants survived."""
    lines, survived = [f"{'seeded bug':<42} {'caught by':<9} scene, seeds, others that spoke"], 0
    for mutant in MUTANTS:
        found = hunt(mutant)
        survived += not found.text
        verdict = mutant.caught_by if found.text else "SURVIVED"
        others = " ".join(sorted(found.spoke - {mutant.caught_by}))
        more = f"{mutant.scene}, {found.tried}" + (f", also {others}" if others else "")
        lines.append(f"{mutant.name:<42} {verdict:<9} {more}: {found.text[:70]}")
    return lines, survived


def show_mutants() -> int:
    lines, survived = table()
    print("\n".join(lines))
    print(f"{len(MUTANTS)} seeded bugs, {survived} survived")
    return 1 if survived else 0
