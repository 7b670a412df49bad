"""May a request begin at all, whatever it asks for?"""

from __future__ import annotations

import re
from collections.abc import Iterable

from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import Busy, UsageError
from storage_agent.model.operation import OperationRecord, OperationRequest
from storage_agent.model.plan import OperationKind

# A host that goes down leaves its volumes also where their epoch is lost.
WITH_EPOCH = frozenset(
    {
        OperationKind.PROMOTE,
        OperationKind.DEMOTE,
        OperationKind.STANDALONE,
        OperationKind.REJOIN,
        OperationKind.SPLIT_BRAIN,
    }
)
# Judged by what lies on the disks.
MAKING = frozenset({OperationKind.CREATE, OperationKind.ABANDON})

OPERATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def require_operation_id(operation_id: str) -> None:
    """Raises UsageError for what is none."""
    if not OPERATION_ID.fullmatch(operation_id):
        raise UsageError(
            f"{operation_id[:80]!r} is not an operation id",
            remedy="1 to 64 letters, digits, dots, dashes and underscores",
        )


def require_free(
    request: OperationRequest, running: Iterable[OperationRecord], config: AgentConfig
) -> None:
    """Raises Busy where an operation holds the volume, or one of the disks that `create` would
    overwrite and `abandon` erase."""
    writes_disks = request.kind in MAKING
    wanted = _disks(config, request.volume) if writes_disks else frozenset()
    for record in running:
        kind, name = record.request.kind, record.request.volume
        if name == request.volume:
            what = f"{name} is busy with {kind} {record.request.operation_id}"
        elif shared := sorted(wanted & _disks(config, name)):
            what = f"disk {shared[0]} is busy with {kind} {name} {record.request.operation_id}"
        else:
            continue
        raise Busy(
            what,
            remedy=record.remedy
            or f"wait for it: storage-agent operation {record.request.operation_id}",
        )


def _disks(config: AgentConfig, name: str) -> frozenset[str]:
    """Serials of a volume's disks on this host."""
    volume = config.volumes.get(name)
    return frozenset(volume.array.disks.get(config.host, ()) if volume else ())


def same_operation(known: OperationRecord, request: OperationRequest) -> OperationRecord:
    """The same id asked again gets the same answer; used for something else it is an error."""
    asked = (request.kind, request.volume, request.epoch)
    if (known.request.kind, known.request.volume, known.request.epoch) != asked:
        raise UsageError(
            f"operation id {request.operation_id} was used for "
            f"{known.request.kind} {known.request.volume}",
            remedy="choose a new id for a new operation",
        )
    return known
