"""What this host durably knows of each volume's ownership: epoch, and newest marker seen."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable

from storage_agent.engine.sealed import pack, unpack
from storage_agent.model.errors import Refused, refuse_blockers
from storage_agent.model.finding import Finding
from storage_agent.model.operation import Epoch, Marker, OperationRequest
from storage_agent.model.ports import Store
from storage_agent.model.wire import from_wire, to_wire
from storage_agent.policy.epoch import (
    coordinator_findings,
    damaged_marker_record,
    epoch_findings,
    unusable_epoch,
)

_KEYS = frozenset({"epoch", "operation_id", "coordinator"})
_DAMAGED = "is damaged, of another host or volume, or of a newer version of the agent"


class EpochStore:
    """File `epoch-VOLUME`: JSON with a checksum. Missing or damaged means: no changes. host: whose
    files they are; empty: not asked for."""

    def __init__(self, store: Store, host: str = "") -> None:
        self._store = store
        self._host = host
        self._lock = threading.Lock()
        self._noting = threading.Lock()

    def read(self, volume: str) -> Epoch:
        """Raises Refused, saying how an admin restores it."""
        content = self._store.read(f"epoch-{volume}")
        if content is None:
            raise _refused(unusable_epoch(volume, "EPOCH_MISSING", "is missing"))
        try:
            value = unpack(content, _KEYS, **self._owner(volume))
            found = Epoch(
                number=value["epoch"],
                operation_id=value["operation_id"],
                # Not in a file of an earlier version.
                coordinator=value.get("coordinator", ""),
            )
            if type(found.number) is not int or found.number < 0:
                raise ValueError("number")
            return found
        except (ValueError, KeyError, TypeError):
            raise _refused(unusable_epoch(volume, "EPOCH_DAMAGED", _DAMAGED)) from None

    def own(
        self, request: OperationRequest, number: int, then: Callable[[], None] = lambda: None
    ) -> None:
        """The request's operation takes this epoch, unless it was taken meanwhile: an operation
        and the coordinator's word may come at once. Durable on return. then: what takes effect by
        it, before anything newer can be accepted.

        Raises Refused: what epoch_findings says, and for an unusable file."""
        with self._lock:
            self._take(request, number, self.read(request.volume))
            then()

    def claim(self, request: OperationRequest, succeeds: str | None) -> Epoch:
        """As `own`. Where the operation is the coordinator, it takes the volume over: from anyone,
        or (succeeds) only from this one."""
        assert request.epoch is not None
        with self._lock:
            known = self.read(request.volume)
            founds = request.operation_id == request.coordinator
            if founds and succeeds in (None, known.coordinator):
                known = dataclasses.replace(known, coordinator=request.coordinator)
            return self._take(request, request.epoch, known)

    def require_coordinator(self, volume: str, coordinator: str) -> None:
        """Raises Refused for any but the one that is listened to."""
        refuse_blockers(coordinator_findings(volume, coordinator, self.read(volume)))

    def _take(self, request: OperationRequest, number: int, known: Epoch) -> Epoch:
        """With the lock held. A local admin changes nothing about whom this host listens to."""
        refuse_blockers(epoch_findings(request, known, number))
        taken = dataclasses.replace(known, number=number, operation_id=request.operation_id)
        self.write(request.volume, taken)
        return taken

    def write(self, volume: str, epoch: Epoch) -> None:
        """As an admin or `create` says. Durable on return."""
        value = {
            "epoch": epoch.number,
            "operation_id": epoch.operation_id,
            "coordinator": epoch.coordinator,
            **self._owner(volume),
        }
        self._store.replace(f"epoch-{volume}", pack(value))

    def last_marker(self, volume: str) -> Marker | None:
        """The newest currency marker that this host has noted. Raises Refused: damaged."""
        content = self._store.read(f"marker-{volume}")
        if content is None:
            return None
        try:
            return from_wire(Marker, json.loads(content))
        except ValueError:
            raise _refused(damaged_marker_record(volume)) from None

    def note_marker(self, volume: str, marker: Marker) -> None:
        """Durable on return. Operations and the ticks while serving both come here."""
        with self._noting:
            self._store.replace(f"marker-{volume}", json.dumps(to_wire(marker)).encode())

    def _owner(self, volume: str) -> dict[str, str]:
        return {"volume": volume} | ({"host": self._host} if self._host else {})

    def forget_marker(self, volume: str) -> None:
        """A person has given up the copy that it was of, or a damaged note."""
        self._store.remove(f"marker-{volume}")


def _refused(finding: Finding) -> Refused:
    return Refused(finding.summary, remedy=finding.remedy, code=finding.code, findings=(finding,))
