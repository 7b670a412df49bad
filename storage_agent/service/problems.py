"""What keeps the agent from its work, or what it does not know any more, for status."""

from __future__ import annotations

from collections.abc import Callable

from storage_agent.model.answers import Problem
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import AgentError, error_finding
from storage_agent.model.finding import Finding
from storage_agent.service.api.answers import Setup
from storage_agent.service.runs import EnginePort


class Problems:
    """keys: what is wrong with the file of coordinators' keys.  journal: why it cannot be read;
    nothing is changed then."""

    def __init__(self, engine: EnginePort, keys: Callable[[], tuple[Finding, ...]]) -> None:
        self._engine = engine
        self._keys = keys
        self.journal: AgentError | None = None
        # Looked at anew while there are any, and after each operation: a status comes often.
        self._damage: tuple[Finding, ...] = ()
        self._is_known = False

    def look_again(self) -> None:
        self._is_known = False

    def of(self, setup: Setup) -> tuple[Problem, ...]:
        errors = [setup.problem, self.journal]
        if self.journal is None:
            errors.append(self._look())
        found = [
            Problem(code=error.code, message=error.message, remedy=error.remedy)
            for error in errors
            if error is not None
        ]
        findings = (*self._damage, *self._keys())
        found += [Problem(code=f.code, message=f.summary, remedy=f.remedy) for f in findings]
        found += [
            Problem(
                code="CREATION_UNFINISHED",
                message=f"create {name} has begun here and was not brought to its end",
                remedy=f"type it again, and it goes on; or: storage-agent create {name} --abandon",
            )
            for name in self._engine.unfinished_creations()
        ]
        if setup.note:
            found.append(Problem(code="NOT_CONFIGURED", message=setup.note, remedy=""))
        return tuple(found)

    def obstacles(self, volume: VolumeConfig) -> tuple[Finding, ...]:
        """What this host's own records have against a promotion. Takes as long as the disk of the
        state folder does."""
        found = self._engine.obstacles(volume)
        if self.journal is None:
            return found
        unread = error_finding(
            self.journal,
            measured="the journal could not be read at the daemon's start",
            limit="read",
            remedy="systemctl restart storage-agentd",
        )
        return (unread, *found)

    def _look(self) -> AgentError | None:
        if self._damage or not self._is_known:
            try:
                self._damage = self._engine.damage()
            except AgentError as exc:
                return exc
            self._is_known = True
        return None
