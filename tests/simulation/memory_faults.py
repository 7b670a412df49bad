"""What happens to a host's memory of its operations: a journal loses its end, an older copy of it
comes back, or it is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation

MEMORY_WEIGHTS = {
    "journal truncated": 2,
    "older journal restored": 2,
    "journal forgotten": 2,
}


class MemoryFaults:
    """To operations that have ended: of one on its way the kernel still shows what it did."""

    simulation: Simulation

    def _journal_truncated(self, machine: Machine) -> bool:
        name, content = self._ended(machine)
        if content:
            machine.files[name] = content[: self.simulation.world.rng.randrange(len(content))]
        return bool(content)

    def _older_journal_restored(self, machine: Machine) -> bool:
        name, content = self._ended(machine)
        lines = content.splitlines(keepends=True)
        if len(lines) > 1:
            kept = self.simulation.world.rng.randrange(1, len(lines))
            machine.files[name] = b"".join(lines[:kept])
        return len(lines) > 1

    def _journal_forgotten(self, machine: Machine) -> bool:
        name, content = self._ended(machine)
        machine.files.pop(name, None)
        return bool(content)

    def _ended(self, machine: Machine) -> tuple[str, bytes]:
        """One that has, by its journal, by its volume's account and for its caller; it counts as
        harmed from now on."""
        account = machine.files.get("account-data") or b""
        known = b"" if b'"phase": "ended"' in account else account
        ended = [
            name
            for name, content in machine.files.items()
            if name.startswith("operation-")
            and content is not None
            and b'"phase": "ended"' in content
            and (course := self.simulation.courses.get(name.removeprefix("operation-")))
            and course.record is not None
            and f'"operation_id": "{course.request.operation_id}"'.encode() not in known
        ]
        if not ended:
            return "", b""
        name = self.simulation.world.rng.choice(sorted(ended))
        self.simulation.harmed.add((machine.name, name.removeprefix("operation-")))
        return name, machine.files[name] or b""
