"""What this host durably knows of each volume's ownership: epoch, and newest marker seen."""

from __future__ import annotations

import dataclasses
import json
import threading
import zlib

from storage_agent.model.errors import Refused, refuse_blockers
from storage_agent.model.finding import Finding
from storage_agent.model.operation import Epoch, Marker, OperationRequest
from storage_agent.model.ports import Store
from storage_agent.model.wire import from_wire, to_wire
from storage_agent.policy.epoch import damaged_marker_record, epoch_findings, unusable_epoch


class EpochStore:
    """File `epoch-VOLUME`: JSON with a checksum. Missing or damaged means: no changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._noting = threading.Lock()

    def read(self, volume: str) -> Epoch:
        """Raises Refused, saying how an admin restores it."""
        content = self._store.read(f"epoch-{volume}")
        if content is None:
            raise _refused(unusable_epoch(volume, "EPOCH_MISSING", "is missing"))
        try:
            body, checksum = content.rsplit(b"\n", 2)[:2]
            if int(checksum, 16) != zlib.crc32(body):
                raise ValueError("checksum")
            value = json.loads(body)
            return Epoch(number=value["epoch"], operation_id=value["operation_id"])
        except (ValueError, KeyError, TypeError):
            raise _refused(unusable_epoch(volume, "EPOCH_DAMAGED", "is damaged")) from None

    def own(self, request: OperationRequest, number: int) -> None:
        """The request's operation takes this epoch, unless it was taken meanwhile: an operation
        and the coordinator's word may come at once. Durable on return.

        Raises Refused: what epoch_findings says, and for an unusable file."""
        asked = dataclasses.replace(request, epoch=number)
        with self._lock:
            refuse_blockers(epoch_findings(asked, self.read(request.volume)))
            self.write(request.volume, Epoch(number=number, operation_id=request.operation_id))

    def write(self, volume: str, epoch: Epoch) -> None:
        """As an admin or `create` says. Durable on return."""
        body = json.dumps({"epoch": epoch.number, "operation_id": epoch.operation_id}).encode()
        self._store.replace(f"epoch-{volume}", body + b"\n%08x\n" % zlib.crc32(body))

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

    def forget_marker(self, volume: str) -> None:
        """A person has given up the copy that it was of, or a damaged note."""
        self._store.remove(f"marker-{volume}")


def _refused(finding: Finding) -> Refused:
    return Refused(finding.summary, remedy=finding.remedy, code=finding.code, findings=(finding,))
