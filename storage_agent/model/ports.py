"""What policy, planners and engine need of the world. The real host and the simulated one
both implement these, so the code that decides is the same in both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from storage_agent.model.array import Disk
from storage_agent.model.clock import Deadline
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.creation import MadeView
from storage_agent.model.incident import Incident
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import Step
from storage_agent.model.snapshot import CHEAP_FACETS, Facet, VolumeSnapshot
from storage_agent.model.surroundings import Surroundings

Progress = Callable[[str], None]


class HostPort(Protocol):
    """One host: looking, and doing one step."""

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        """Looks now. Facets not asked for are Unobserved. Never raises for a broken host: what
        cannot be seen is Unobserved with the reason."""
        ...

    def disks(self, serials: tuple[str, ...]) -> tuple[Disk, ...]:
        """The attached disks with these serials, each freshly probed for signatures and users.

        Raises AgentError where they cannot be probed."""
        ...

    def made(self, volume: VolumeConfig) -> MadeView:
        """What an unfinished `create` has left of the volume. What cannot be seen is
        Unobserved."""
        ...

    def surroundings(self) -> Surroundings:
        """What else there is on the host, up or down. What cannot be seen is Unobserved."""
        ...

    def boot_id(self) -> str:
        """Changes with every boot of the host."""
        ...

    def perform(
        self,
        step: Step,
        volume: VolumeConfig,
        request: OperationRequest,
        deadline: Deadline,
        progress: Progress,
    ) -> None:
        """Does one step. Returning proves nothing: the caller observes. Raises AgentError."""
        ...

    def answer(self, incident: Incident) -> None:
        """Gives the handler that waits `incident.answer`, with its epoch. As `perform`."""
        ...

    def take_proof(self, volume: VolumeConfig, name: str) -> str:
        """SHA-256, in hex, of the file that a client has left on the mounted volume to prove that
        it can write; the file is gone afterwards. Raises AgentError (code `NO_PROOF`)."""
        ...


class Store(Protocol):
    """The agent's own durable state, a handful of small files by name."""

    def read(self, name: str) -> bytes | None:
        """None where the file does not exist."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Atomic, and durable on return (fsync of file and folder)."""
        ...

    def append(self, name: str, content: bytes) -> None:
        """Durable on return."""
        ...

    def names(self, prefix: str) -> tuple[str, ...]:
        """Existing names that begin so, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Durable on return; absent is fine."""
        ...

    def require_writable(self) -> None:
        """Writes, and takes back, what an operation would need at least. Raises OperationFailed
        with what was measured as its finding."""
        ...
