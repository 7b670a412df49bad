"""How an operation goes: its times, and what is particular about some of its steps."""

from __future__ import annotations

from storage_agent.model.errors import AgentError
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.snapshot import Facet

OPERATION_TIMEOUT_S = 900.0
LATE_DEVICES_TIMEOUT_S = 60.0
# What an act has changed is seen at once or a moment later; what the other host does is told of.
LOOK_AGAIN_S = 0.05
PEER_LOOK_AGAIN_S = 1.0

# What the other host or the link changes while this one waits. For the array and the mount point
# the look at the beginning stands: the steps that need them find out.
CHANGES_UNASKED = frozenset({Facet.REPLICA})
FRESH_S = 0.3
# From here on this host may write, or write alone, or lose what it wrote.
DECISIVE = frozenset(
    {
        StepKind.GRANT_PROMOTION,
        StepKind.PRIMARY,
        StepKind.DISCONNECT,
        StepKind.CONNECT_DISCARDING,
        StepKind.FIRST_PRIMARY,
    }
)
MAKING = frozenset({OperationKind.CREATE, OperationKind.ABANDON})
ASSEMBLING = frozenset({OperationKind.ASSEMBLE, OperationKind.ASSEMBLE_DEGRADED})
# On a frozen host nothing may wait for the filesystem: what shuts its clients out sees no more.
SIGHT = {OperationKind.CLOSE_LINK: frozenset({Facet.NFS})}
# Steps that prove themselves and are work of their own: a plan with one is never "already so".
WORK = frozenset(
    {
        StepKind.WRITE_CONFIGURATION,
        StepKind.GIVE_UP_COPY,
        StepKind.MAKE_METADATA,
        StepKind.REMOVE_CONFIGURATION,
    }
)
# Not in any look that was not asked for them.
SEEN_LATE = frozenset({Facet.IDENTITY, Facet.CONTENT})


def is_passing(kind: StepKind, operation: OperationKind) -> bool:
    """Its goal holds only until a later step of the same plan ends it. `abandon` assembles the
    unfinished array so that what lies on it can be erased, once."""
    if kind in (StepKind.ASSEMBLE_ARRAY, StepKind.ERASE_CONTENT):
        return operation is OperationKind.ABANDON
    return kind in (
        StepKind.FIRST_PRIMARY,
        StepKind.MAKE_FILESYSTEM,
        StepKind.WAIT_FOR_PEER,
        StepKind.GIVE_UP_COPY,
    )


def stays(request: OperationRequest, cause: AgentError) -> bool:
    """What was done is not taken back: clients are not let in again because shutting them out was
    slow; and that DRBD's metadata are gone is seen, and mended, only while the array runs."""
    is_lost = any(finding.code == "METADATA_LOST" for finding in cause.findings)
    return request.kind is OperationKind.CLOSE_LINK or is_lost


def with_way_on(remedy: str, request: OperationRequest, *, may_undo: bool = False) -> str:
    """What `create` and `abandon` have done stays where they end early, and they go on with it."""
    if request.kind not in MAKING or may_undo:
        return remedy
    name, role = request.volume, request.options.get("role", "")
    ways = [f"storage-agent create {name} --abandon (takes back what was made)"]
    if role == "first":
        ways.insert(0, f"storage-agent create {name} --first (goes on)")
    elif role == "join":
        ways.insert(0, f"storage-agent create {name} --join (goes on)")
    return "; ".join(filter(None, (remedy, f"then {' or '.join(ways)}")))
