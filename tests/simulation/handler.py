"""libexec/fence-peer, rule for rule; tests/unit/libexec runs the script itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.replica import Role
from tests.simulation.sights import proc_drbd

if TYPE_CHECKING:
    from tests.simulation.machine import Machine

GRANT_LIFE_S = 120.0
WAIT_S = 540.0
FROZEN, PRIMARY, SECONDARY, UNSEEN = "frozen", "primary", "secondary", "unknown"
STATES = {"s": FROZEN, "r": PRIMARY}
STATUS = {IncidentAnswer.CONTINUE: 4, IncidentAnswer.DENY: 6}


@dataclass(eq=False, slots=True)
class Asked:
    """What lies in /run/storage-agent/incidents while its handler waits, or once it is answered."""

    nonce: str
    boot_id: str
    opened_unix_s: int


def fence_peer(machine: Machine) -> int:
    """The exit status. Runs in a task of the kernel. Whether it runs for a volume with arbitration
    its command line says; whom it speaks for, /proc/drbd alone."""
    machine.world.sleep(0.1)
    if not machine.node.stonith:
        return _promotion(machine)
    state = _state(machine)
    if state == SECONDARY:
        return _promotion(machine)
    return _wait(machine) if state == FROZEN else 1


def state_shown(text: str, minor: int = 0) -> str:
    """The script's look(): what the line of that minor in /proc/drbd says."""
    state = UNSEEN
    for line in text.splitlines():
        # As read(1) splits it: what is over goes to the last name, its blanks inside kept.
        number, connection, roles, _, rest = (*line.split(None, 4), "", "", "", "", "")[:5]
        if number != f"{minor}:" or not connection.startswith("cs:"):
            continue
        flags = rest[2:] if rest[:1].isupper() and rest[1:2] == " " else rest
        if roles.startswith("ro:Primary/") and flags[:1] in STATES:
            state = STATES[flags[:1]]
        elif roles.startswith("ro:Secondary/"):
            state = SECONDARY
    return state


def _state(machine: Machine) -> str:
    s = machine.node.s
    state = state_shown(proc_drbd(s.role, s.disk, s.conn, s.pdsk, s.peer, s.susp))
    if s.role is Role.PRIMARY and s.susp and state != FROZEN:
        machine.unheard = True
    return state


def _promotion(machine: Machine) -> int:
    if machine.grant is None:
        return 1
    boot, _, written_s = machine.grant
    age_s = machine.wall_s() - written_s
    return 4 if boot == machine.boot_id and 0 <= age_s < GRANT_LIFE_S else 1


def _wait(machine: Machine) -> int:
    world = machine.world
    machine.shut_out()
    machine.incidents += 1
    asked = Asked(f"nonce-{machine.incidents}", machine.boot_id, int(machine.wall_s()))
    machine.asked = asked
    world.log(machine.name, f"incident {asked.nonce} opened")
    world.counts["incidents"] += 1
    machine.news()

    def is_over() -> bool:
        answered = verdict(machine, asked) is not IncidentAnswer.NONE
        closed = _state(machine) in (PRIMARY, SECONDARY)
        return answered or closed or machine.asked is not asked

    world.wait(is_over, world.now_s + WAIT_S)
    answer = verdict(machine, asked)
    if machine.asked is asked and answer is IncidentAnswer.NONE:
        machine.asked = None
        machine.news()
    if answer is IncidentAnswer.NONE or machine.asked is not asked:
        return 1
    return STATUS[answer]


def verdict(machine: Machine, asked: Asked) -> IncidentAnswer:
    given = machine.answered
    if given is None or (given.incident, given.boot_id) != (asked.nonce, asked.boot_id):
        return IncidentAnswer.NONE
    return given.answer


def incident(machine: Machine) -> Incident | None:
    """As host/drbd/incidents.py reads it."""
    asked, given = machine.asked, machine.answered
    if asked is None:
        return None
    answer = verdict(machine, asked)
    return Incident(
        incident=asked.nonce,
        volume="data",
        resource="data",
        boot_id=asked.boot_id,
        opened_unix_s=asked.opened_unix_s,
        epoch=given.epoch if given is not None and answer is not IncidentAnswer.NONE else None,
        answer=answer,
    )
