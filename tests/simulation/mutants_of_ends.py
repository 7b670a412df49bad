"""Seeded bugs in how an operation ends, in what is taken up after a crash, in the coordinator's
word, and in the kernel under all that."""

from __future__ import annotations

from storage_agent.coordinator.silence import Silence
from storage_agent.coordinator.watch import Watch
from storage_agent.engine import arbitration as arbitration_module
from storage_agent.engine import run as run_module
from storage_agent.engine.arbitration import Arbitration
from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.records import Records
from storage_agent.engine.report import Report
from storage_agent.engine.run import Run
from storage_agent.model.clock import Deadline
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import StepKind
from storage_agent.policy import promotion
from storage_agent.service import link_keeper
from tests.simulation import ports
from tests.simulation.hunting import seeded as _m
from tests.simulation.link import Link
from tests.simulation.machine import Machine
from tests.simulation.mutations import nothing, plan, swap
from tests.simulation.mutations_of_ends import (
    at_once,
    effect_first,
    ends_as,
    exports_anything,
    holds_for_ever,
    keeps_its_disk,
    of_any_boot,
    secondary_at_once,
    shows_before,
    shows_less,
    stays_shut,
    taken_back_well,
    unconnected_always,
    without_findings,
)

S = StepKind
MUTANTS_OF_ENDS = (
    _m("an end is told before it has come", "I14", "switchover",
       lambda: [(Engine, "_end", ends_as(OperationState.RUNNING))]),
    _m("a step has the whole day", "I14", "hanging_step",
       lambda: [(run_module, "OPERATION_TIMEOUT_S", 86400.0),
                (Deadline, "sooner", lambda self, clock, timeout_s: self)]),
    _m("nobody names the state", "I17", "switchover",
       lambda: [(run_module, "name_state", lambda volume, snapshot: "")]),
    _m("the same id gets another answer", "I8", "switchover",
       lambda: [(Records, "known", shows_less)]),
    _m("an answer shows the incident of before", "I8", "answered_twice",
       lambda: [(Arbitration, "answer", shows_before)]),
    _m("a forged answer is taken", "I7", "forged",
       lambda: [(arbitration_module, "answer_findings", nothing)]),
    _m("a grant outlives the boot", "I4", "rebooted_with_grant",
       lambda: [(Arbitration, "is_granted", of_any_boot)]),
    _m("an answer comes before its epoch", "I6", "killed_while_answering",
       lambda: [(EpochStore, "own", effect_first)]),
    _m("nobody takes over from the dead", "I26", "primary_dies",
       lambda: [(Watch, "judge", nothing)]),
    _m("whoever does not answer at once is dead", "I26", "short_pauses",
       lambda: [(Silence, "of_s", at_once)]),
    _m("a copy that was away is current", "I4", "stale_reboot",
       lambda: [(promotion, "_currency", nothing)]),
    _m("the link stays down for ever", "I26", "nobody_answers",
       lambda: [(link_keeper, "link_wish", stays_shut)]),
    _m("being connected is not enough", "I26", "at_rest",
       lambda: [(promotion, "_connected_peer", unconnected_always)]),
    _m("a refusal does not say why", "I26", "one_left",
       lambda: [(Report, "refused", without_findings)]),
    _m("what was accepted is left where it was", "I17", "crashed",
       lambda: [(Engine, "resume", nothing)]),
    _m("what was begun is given up half-way", "I10", "crashed",
       lambda: [(Run, "resume", lambda self, volume:
                 self.ended(OperationState.FAILED, "given up"))]),
    _m("what was taken back has succeeded", "I17", "crashed",
       lambda: [(Run, "resume", taken_back_well)]),
    _m("a resumed operation holds the volume", "I26", "crashed",
       lambda: [holds_for_ever()]),
    _m("DRBD itself demotes what is mounted", "I10", "switchover",
       lambda: [plan("_demote", swap(S.UNMOUNT, S.SECONDARY)),
                (ports, "set_secondary", secondary_at_once)]),
    _m("DRBD itself forgets to be outdated", "I4", "standalone_and_dead",
       lambda: [(Link, "lose", keeps_its_disk)]),
    _m("nfsd itself starts on an empty folder", "I10", "switchover",
       lambda: [plan("_promote", swap(S.MOUNT, S.START_SERVER)),
                (Machine, "start_server", exports_anything)]),
)  # fmt: skip
