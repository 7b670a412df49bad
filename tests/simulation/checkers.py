"""The invariants of reliability.md table (b) that apply here, one function each.

Each counts how often it was asked, and says which one broke, with what was seen.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from storage_agent.engine.engine import NOT_RECORDED
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind, Step, StepKind
from storage_agent.model.replica import DiskState, Role
from tests.simulation.daemon import Course, Daemon, age_of, epoch_of
from tests.simulation.drbd import Node
from tests.simulation.machine import EXPORTING, Machine, is_whole
from tests.simulation.states import FORBIDDEN_WORDS, STANDALONE
from tests.simulation.writes import may_write

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation

_WORSE = (DiskState.OUTDATED, DiskState.INCONSISTENT, DiskState.DISKLESS)
# Neither serving nor secondary is their goal.
_NOT_TO_AN_END = (OperationKind.ASSEMBLE, OperationKind.CLOSE_LINK, OperationKind.OPEN_LINK)
# A command that was given up at its deadline.
_GIVEN_UP = ("does not end", "did not end in time")
# An operation's own limit is 900 s; taking back has its own deadlines.
MAXIMUM_OPERATION_S = 2500.0
# A check in the code of the simulation: file name and line.
Site = tuple[str, int]


class Violation(Exception):
    """site: the check that has failed."""

    def __init__(self, invariant: str, text: str, site: Site = ("", 0)) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.text = text
        self.site = site


class Checks:
    """counts: questions asked, by invariant.  known: by name of the exclusion."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self._machines = tuple(simulation.machines.values())
        self._steps = 0
        self.counts: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self._declared_s = 0.0
        # Operations that took over from a silent peer on a person's word.
        self._on_their_word: set[str] = set()
        self._told: set[str] = set()
        self._highest_epoch: dict[str, int] = {}
        self._asked_primary: dict[str, tuple[bool, bool]] = {}

    def expect(self, invariant: str, holds: bool, text: str) -> None:
        self.counts[invariant] += 1
        if not holds:
            asked = sys._getframe(1)
            site = Path(asked.f_code.co_filename).name, asked.f_lineno
            violation = Violation(invariant, text, site)
            if str(violation) not in self._told:
                self._told.add(str(violation))
                self.world.log("CHECK", f"VIOLATION {violation}")
                self.violations.append(violation)

    # --- at every step of the world -------------------------------------------------------------

    def always(self) -> None:
        self._steps += 1
        alpha, beta = self._machines
        if alpha.node.s.role is beta.node.s.role is Role.PRIMARY:
            self._one_writer(alpha, beta)
        if alpha.unheard or beta.unheard:
            self.expect("I26", False, "a primary is frozen, and its handler does not see it")
        if alpha.mounted and beta.mounted:
            self._one_mount(alpha, beta)
        if alpha.server is beta.server is ServerState.SERVING:
            self._one_link(alpha, beta)
        if alpha.mounted or alpha.server in EXPORTING:
            self._layers(alpha)
        if beta.mounted or beta.server in EXPORTING:
            self._layers(beta)

    def asked(self) -> Counter[str]:
        """How often each invariant was looked at."""
        each_step = {"I1": 1, "I9": 1, "I11": 1, "I10": 2, "I26": 1}
        return self.counts + Counter({name: n * self._steps for name, n in each_step.items()})

    def _one_writer(self, alpha: Machine, beta: Machine) -> None:
        """I1: at most one Primary that is not frozen."""
        if self._writes(alpha.node) and self._writes(beta.node):
            self.expect("I1", False, "both hosts are Primary and not frozen")

    def _writes(self, node: Node) -> bool:
        """With a coordinator: and would get a write acknowledged. A Primary that has not noticed
        yet that its peer is gone waits for the peer's acknowledgement, and then freezes."""
        if node.s.role is not Role.PRIMARY or node.s.susp or not may_write(node):
            return False
        other = node.link.other(node)
        is_cut_off = node.s.with_peer() and other.session != node.session
        return not (self.simulation.has_coordinator and is_cut_off)

    def _one_mount(self, alpha: Machine, beta: Machine) -> None:
        """I9: mounted read-write on one host at most."""
        if not (self._writes(alpha.node) and self._writes(beta.node)):
            self.known["FROZEN_STAYS_MOUNTED"] += 1
        else:
            self.expect("I9", False, "mounted read-write on both hosts")

    def _one_link(self, alpha: Machine, beta: Machine) -> None:
        """I11: the service link is up on one host at most."""
        if not (self._writes(alpha.node) and self._writes(beta.node)):
            self.known["FROZEN_KEEPS_LINK"] += 1
        else:
            self.expect("I11", False, "the service link is up on both hosts")

    def _layers(self, machine: Machine) -> None:
        """I10: exported only while mounted, mounted only while Primary."""
        if machine.mounted:
            if machine.node.s.role is not Role.PRIMARY:
                self.expect("I10", False, f"{machine.name} has mounted it and is not Primary")
        elif machine.server in EXPORTING:
            self.expect("I10", False, f"{machine.name} exports what is not mounted")

    # --- at a promotion -------------------------------------------------------------------------

    def performs(self, daemon: Daemon, step: Step, request: OperationRequest) -> None:
        """I24: the agent has no command that could decide a split brain or force anything."""
        machine = daemon.machine
        assert self.world.current is not None
        looked_s = self.world.current.looked_s
        durable = request.epoch is None or epoch_of(machine) >= request.epoch
        create_or_assemble = request.kind not in (OperationKind.PROMOTE, OperationKind.DEMOTE)
        self.expect(
            "I6", durable or create_or_assemble, f"{step.kind} before epoch {request.epoch}"
        )
        self._alone(machine, request)
        found = [word for word in FORBIDDEN_WORDS for command in step.commands if word in command]
        self.expect("I24", not found, f"{step.kind} runs {found}")
        if step.kind is StepKind.DISCONNECT:
            fine = self._is_current(machine) and machine.node.s.role is Role.PRIMARY
            self.expect("I4", fine, f"{machine.name} goes on alone as a bad copy")
            self.simulation.courses[request.operation_id].parted_s = looked_s
        if step.kind is StepKind.PRIMARY:
            node = machine.node
            known_worse = node.s.pdsk in _WORSE and node.s.disk is DiskState.UP_TO_DATE
            proven = node.s.with_peer() or node.unbroken or node.was_source or known_worse
            usable = node.s.disk in (DiskState.UP_TO_DATE, DiskState.CONSISTENT)
            # What is lost after the last look cannot be known, nor who comes back with newer data.
            usable = usable or node.is_target_since(looked_s)
            lost = self._is_lost_since(machine)
            proven = proven or lost or self._is_cut_since(machine)
            self._asked_primary[machine.name] = (usable or lost, proven)
            if request.peer_is_off is not None and not self.simulation.has_coordinator:
                self._declared_s = self.world.now_s
                if not node.s.with_peer() and not self._is_cut_since(machine):
                    self._on_their_word.add(request.operation_id)

    def _is_current(self, machine: Machine) -> bool:
        """Or was when it was looked at: what is lost after the task's last look cannot be known."""
        return machine.node.s.disk is DiskState.UP_TO_DATE or self._is_lost_since(machine)

    def _is_lost_since(self, machine: Machine) -> bool:
        task = self.world.current
        return task is not None and machine.disk_lost_s >= task.looked_s

    def _is_cut_since(self, machine: Machine) -> bool:
        """With its peer goes what is known of the other copy."""
        task = self.world.current
        return task is not None and machine.node.peer_lost_s >= task.looked_s

    def _alone(self, machine: Machine, request: OperationRequest) -> None:
        """I16: one operation a volume."""
        daemon = machine.daemon
        others = sorted((daemon.active if daemon else set()) - {request.operation_id})
        acting = [o for o in others if self.simulation.courses[o].performed]
        self.expect("I16", not acting, f"{request.operation_id} acts while {acting} acts")

    def promoted(self, node: Node) -> None:
        """I4: never a copy that is Inconsistent, Outdated, Diskless or unproven."""
        usable, proven = self._asked_primary.get(node.host, (False, False))
        # A resync may have ended while the command ran.
        usable = usable or (
            node.host in self._asked_primary and node.s.disk is DiskState.UP_TO_DATE
        )
        self.expect("I4", usable, f"{node.host} became Primary with its disk {node.s.disk}")
        self.expect("I4", proven, f"{node.host} became Primary without proof of being current")

    def not_older(self, machine: Machine, word: str | None) -> None:
        """I4: not older than what was seen here. word: a person's, of a marker that is lost. A disk
        that died right after the mount shows none any more."""
        seen, found = machine.files.get("marker-data"), machine.node_marker()
        is_meant = word == f"{machine.name}/data" or machine.node.backing is None
        self.expect("I4", bool(found) or is_meant, "no marker, no word")
        if seen is not None and found is not None:
            self.expect("I4", found.age() >= age_of(seen), f"{found} mounted, {seen!r} was seen")

    def mounted(self, machine: Machine) -> None:
        """I2 and I3, where a copy begins to be used."""
        if self.simulation.is_lying:
            return
        if self._writes(machine.node):
            self.content(machine, f"mounted on {machine.name}")
        else:
            self.known["FROZEN_STAYS_MOUNTED"] += 1

    def content(self, machine: Machine, where: str) -> None:
        if self.world.doubt:
            self.known["RESYNC_ABORTED"] += 1
            return
        lost, old = [], []
        for record in self.simulation.client.acknowledged:
            try:
                found = machine.read(f"w{record.number}")
            except OSError:
                return
            if found is None or found[1] < record.attempt:
                if record.doubtful:
                    self.known["ACKNOWLEDGED_ON_INCONSISTENT"] += 1
                elif record.alone and self._declared_s > record.at_s:
                    self.known["ALONE_WITHOUT_ARBITRATION"] += 1
                elif found is None:
                    lost.append(record.number)
                else:
                    old.append(record.number)
        self.expect("I2", not lost, f"{where}: acknowledged writes {lost} are lost")
        self.expect("I3", not old, f"{where}: writes {old} came back in an older attempt")

    def same_data(self) -> None:
        """I18: two copies that DRBD calls in sync hold the same, byte for byte."""
        one, two = (machine.disk for machine in self._machines)
        differ = sorted(k for k in one.keys() | two.keys() if one.read(k) != two.read(k))
        if self.world.doubt:
            self.known["RESYNC_ABORTED"] += bool(differ)
            return
        self.expect("I18", not differ, f"in sync, and {differ} differ")

    def assembles(self, machine: Machine) -> None:
        """I19: an array is started of complete and current members only."""
        events = {m.events for m in machine.members if m.attached}
        self.expect("I19", len(events) == 1, f"{machine.name} starts stale members: {events}")

    def attaches(self, machine: Machine) -> None:
        """I4: the agent gives no serving host a disk that DRBD cannot know to be old."""
        is_old = machine.node.takes_old_disk() and not self._is_cut_since(machine)
        self.expect("I4", not is_old, f"{machine.name}, Primary and alone, takes its old disk back")

    def answers(self, machine: Machine, incident: Incident) -> None:
        """I6: an answer has its epoch durable before the handler can see it. I4: who may go on
        alone has the current data."""
        assert incident.epoch is not None
        if incident.answer is IncidentAnswer.CONTINUE:
            self.expect("I4", self._is_current(machine), f"{machine.name} may go on as a bad copy")
        durable = epoch_of(machine) >= incident.epoch
        self.expect("I6", durable, f"{machine.name} answers before epoch {incident.epoch}")

    # --- epochs ---------------------------------------------------------------------------------

    def wrote_epoch(self, machine: Machine) -> None:
        """I6: an epoch never decreases."""
        epoch, highest = epoch_of(machine), self._highest_epoch.get(machine.name, 0)
        self.expect("I6", epoch >= highest, f"{machine.name}: epoch {epoch} after {highest}")
        self._highest_epoch[machine.name] = max(epoch, highest)

    def restarted(self, machine: Machine) -> None:
        """I6: not by a power cut."""
        durable = epoch_of(machine) >= self._highest_epoch.get(machine.name, 0)
        self.expect("I6", durable, f"{machine.name} restarts with an older epoch")

    # --- at the end of an operation -------------------------------------------------------------

    def answered(self, course: Course) -> None:
        """I13: what was not even accepted has changed nothing."""
        self.expect("I13", bool(course.record or not course.performed), f"{course.request} acts")

    def repeated(self, course: Course, record: OperationRecord) -> None:
        """I8: the same id gives the same answer, and nothing is done again."""
        before = course.record
        if before is not None:
            # That its end could not be written down is no longer so once it was.
            said = before.message.split(f"; {NOT_RECORDED}")[0]
            same = record in (before, dataclasses.replace(before, message=said))
            self.expect("I8", same, f"{record.request.operation_id} differs")
        course.record = record

    def ended(self, daemon: Daemon, course: Course, record: OperationRecord) -> None:
        machine, request = daemon.machine, course.request
        self.world.counts[f"{request.kind} {record.state}"] += 1
        name = f"{request.kind} {request.operation_id} on {machine.name}"
        if course.record is not None and NOT_RECORDED in course.record.message:
            self.known["END_NOT_RECORDED"] += 1
        else:
            self.expect("I8", course.record is None, f"{name} ended twice")
        course.record = record
        took_s = self.world.now_s - course.begun_s
        self.expect("I14", record.state is not OperationState.RUNNING, f"{name} has no end")
        bounded = took_s < MAXIMUM_OPERATION_S or course.resumed > 0
        self.expect("I14", bounded, f"{name} took {took_s:.0f} s")
        self.expect("I17", bool(record.message.strip()), f"{name} ends without a name")
        if record.state is OperationState.REFUSED:
            self.expect("I13", not course.performed, f"{name} refused, did {course.performed}")
        if course.stale:
            self._stale(course, name)
        if request.kind is OperationKind.PROMOTE:
            self._promoted(machine, course, record, name)
        if request.kind is OperationKind.STANDALONE and record.changed:
            self._alone_by_order(machine, course, record, name)
        if request.kind is OperationKind.DEMOTE and record.state is OperationState.SUCCEEDED:
            self._demoted(machine, name)
        if record.state in (OperationState.SUCCEEDED, OperationState.ROLLED_BACK):
            self._whole(machine, course, record, name)

    def _stale(self, course: Course, name: str) -> None:
        """I7: an old epoch changes nothing."""
        self.expect("I7", not course.performed, f"{name} with an old epoch did {course.performed}")
        assert course.record is not None
        refused = course.record.state is OperationState.REFUSED
        self.expect("I7", refused, f"{name} with an old epoch ended {course.record.state}")

    def _promoted(
        self, machine: Machine, course: Course, record: OperationRecord, name: str
    ) -> None:
        """I17: not by itself after a restart of the host, and loud where writes may be given up.
        I6: what was written is remembered."""
        succeeded = record.state is OperationState.SUCCEEDED
        if succeeded and course.request.operation_id in self._on_their_word:
            codes = [finding.code for finding in record.findings]
            self.expect("I17", "PEER_MAY_HAVE_WRITTEN" in codes, f"{name} warns of {codes} only")
        self.expect("I17", not succeeded or course.boot == machine.boot, f"{name} went on")
        if succeeded and StepKind.WRITE_MARKER in course.performed:
            seen, found = machine.files.get("marker-data"), machine.node_marker()
            kept = found is None or (seen is not None and found.age() <= age_of(seen))
            self.expect("I6", kept, f"{name} forgets the marker it wrote")

    def _alone_by_order(
        self, machine: Machine, course: Course, record: OperationRecord, name: str
    ) -> None:
        """I17: loud. I4: a peer that is said to be outdated cannot be promoted any more."""
        node, other = machine.node, machine.node.link.other(machine.node)
        if record.state is not OperationState.SUCCEEDED:
            return
        # A command that was given up may have made it secondary meanwhile.
        is_loud = "NO FALLBACK" in record.message or node.s.role is not Role.PRIMARY
        self.expect("I17", is_loud, f"{name}: {record.message}")
        told = "PEER_NOT_TOLD" not in [finding.code for finding in record.findings]
        if told and node.s.conn == STANDALONE:
            md = self.simulation.machines[other.host].disk.metadata
            # In the middle of leaving by itself, with the other's consent, or never heard of it.
            is_leaving = other.waiting_reply is not None or other.host in other.link.unheard
            good = md.consistent and md.was_up_to_date and not is_leaving
            if good and node.peer_disk_lost_s >= course.parted_s:
                # Diskless since the last look before it: DRBD calls it Outdated all the same.
                self.known["DISK_LOST_IN_PARTING"] += 1
                return
            if good and self.world.doubt:
                # Somebody connected it again, and the kernel took it for UpToDate.
                self.known["RESYNC_ABORTED"] += 1
                return
            self.expect("I4", not good, f"{name}: {other.host} is not outdated, as it says")

    def lets_go(self, machine: Machine) -> None:
        """I27: not to a host that has it configured differently."""
        differing = self.simulation.differing
        self.expect("I27", not differing, f"{machine.name} lets go, and {differing} differ")

    def _demoted(self, machine: Machine, name: str) -> None:
        """I12: demoted means secondary, unmounted, stopped."""
        left = []
        if machine.node.s.role is Role.PRIMARY:
            left.append("Primary")
        if machine.mounted or machine.node.openers:
            left.append("mounted")
        if machine.server in EXPORTING:
            left.append(f"server {machine.server}")
        self.expect("I12", not left, f"{name} succeeded, still {', '.join(left)}")

    def _whole(self, machine: Machine, course: Course, record: OperationRecord, name: str) -> None:
        """I10, after the act: serving or secondary, never in between."""
        if not course.performed or course.request.kind in _NOT_TO_AN_END:
            return
        if not course.was_whole or self.simulation.touches[machine.name] != course.touches:
            return
        whole = is_whole(machine)
        if not whole and any(words in record.message for words in _GIVEN_UP):
            self.known["LATE_COMMAND"] += 1
            return
        self.expect("I10", whole, f"{name} {record.state}, but is in between")
