"""An NFS client: one writer that counts a record as written only when it was acknowledged, and one
lock, whose recovery record lies on the volume (nfsdcld's database, field notes section 7)."""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.model.nfs import ServerState
from tests.simulation.machine import Machine
from tests.simulation.world import World
from tests.simulation.writes import Request


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """alone: only one copy has it, because the link was lost, while the other host's attachment
    stood unbroken: nothing on the other host can know (arbitration none).  doubtful: the kernel
    acknowledged it although nobody will know where it is (writes.py)."""

    number: int
    attempt: int
    host: str
    alone: bool
    doubtful: bool
    at_s: float


class Client:
    def __init__(self, world: World, machines: dict[str, Machine]) -> None:
        self.world = world
        self.machines = machines
        self.acknowledged: list[Acknowledged] = []
        self.number = 1
        self.attempt = 0
        self.locks_lost = 0
        self.reclaims = 0
        self.is_resting = False
        self._server: tuple[str, int, int] | None = None
        self._call: tuple[tuple[str, int, int], Request] | None = None

    def step(self) -> bool:
        """False: it can do nothing but wait."""
        if self._call is not None:
            return self._wait_for_answer()
        if self.is_resting:
            return False
        for machine in self._servers():
            self._send(machine)
            return True
        return False

    def _servers(self) -> list[Machine]:
        found = [
            m
            for m in self.machines.values()
            if m.server is ServerState.SERVING
            and m.powered
            and not (self.world.frozen_hosts and self.world.is_frozen(m.name))
        ]
        if len(found) > 1 and self.world.chance(0.5):
            found.reverse()
        return found

    def _instance(self, machine: Machine) -> tuple[str, int, int]:
        return (machine.name, machine.boot, machine.server_number)

    def _send(self, machine: Machine) -> None:
        instance = self._instance(machine)
        if instance != self._server:
            self._reclaim(machine)
            self._server = instance
        self.attempt += 1
        key, value = f"w{self.number}", (self.number, self.attempt)
        request = machine.write(key, value)
        if request is not None:
            self._call = (instance, request)

    def _reclaim(self, machine: Machine) -> None:
        """Without the record there is no grace period: the lock is lost (measured)."""
        self.reclaims += 1
        if not machine.in_grace:
            self.locks_lost += 1
            self.world.log("client", f"lock lost on {machine.name}")

    def _wait_for_answer(self) -> bool:
        assert self._call is not None
        instance, request = self._call
        machine = self.machines[instance[0]]
        alive = self._instance(machine) == instance and machine.powered
        if not alive or machine.server is not ServerState.SERVING or request.ok is False:
            self._call = None
            return True
        if request.ok:
            self._acknowledge(machine, request)
            return True
        others = [m for m in self._servers() if m is not machine]
        if others and self.world.chance(0.2):
            self._call = None
            return True
        return False

    def _acknowledge(self, machine: Machine, request: Request) -> None:
        other = machine.node.link.other(machine.node)
        # Off, and it missed the end of the resync in which this copy became as good as its own.
        thinks_us_old = self.machines[other.host].disk.metadata.peer_outdated
        cannot_know = other.unbroken or thinks_us_old
        alone = request.alone and not machine.node.s.with_peer() and cannot_know
        self.acknowledged.append(
            Acknowledged(
                number=self.number,
                attempt=self.attempt,
                host=machine.name,
                alone=alone,
                doubtful=request.doubtful,
                at_s=self.world.now_s,
            )
        )
        self.world.log("client", f"w{self.number} acknowledged by {machine.name}")
        self.world.counts["writes acknowledged"] += 1
        if request.alone:
            self.world.counts["writes acknowledged by one copy"] += 1
        self.number += 1
        self.attempt = 0
        self._call = None
