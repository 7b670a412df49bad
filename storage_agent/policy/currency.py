"""Is the filesystem that was found the newest state that anybody knows of?

Asked after the role was taken and before anything is written or exported: DRBD's states have
been wrong before (LINBIT/drbd#145), a marker that was fsynced on the filesystem has not.
"""

from __future__ import annotations

from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest
from storage_agent.policy.common import blocker


def currency_findings(
    request: OperationRequest,
    found: Marker | Unobserved | None,
    last_known: tuple[int, int] | None,
) -> tuple[Finding, ...]:
    """last_known: the newest marker that this host itself has seen; None: it never saw one."""
    if isinstance(found, Unobserved):
        return (
            blocker(
                "MARKER_UNREADABLE",
                f"the currency marker of {request.volume} could not be read",
                measured=found.reason,
                limit="a marker that can be read, or none",
                remedy="see what the kernel says: journalctl -k -n 50; look at the filesystem "
                "read-only before anything else is done with it",
            ),
        )
    newest = max(
        (known for known in (last_known, _pair(request.marker_at_least)) if known is not None),
        default=None,
    )
    age = (-1, -1) if found is None else found.age()
    if newest is not None and age < newest:
        return (
            blocker(
                "MARKER_OLD",
                f"this copy of {request.volume} is older than the state last seen",
                measured="no marker" if found is None else _text(age),
                limit=f"at least {_text(newest)}",
                remedy="this copy has lost writes: bring the other host's copy back, "
                "and compare both before either is used",
            ),
        )
    if found is not None and request.epoch is not None and _is_foreign(request, found):
        return (
            blocker(
                "STALE_EPOCH",
                f"{request.volume} was served with a newer epoch than the request carries",
                measured=f"epoch {request.epoch}",
                limit=f"above epoch {found.epoch}, written by {found.host}",
                remedy="see who has moved it: storage-agent events; then ask with a newer epoch",
            ),
        )
    return ()


def _is_foreign(request: OperationRequest, found: Marker) -> bool:
    assert request.epoch is not None
    same = found.epoch == request.epoch and found.operation_id == request.operation_id
    return found.epoch >= request.epoch and not same


def _pair(ages: tuple[int, ...] | None) -> tuple[int, int] | None:
    return None if ages is None else (ages[0], ages[1])


def _text(age: tuple[int, int]) -> str:
    return f"epoch {age[0]}, count {age[1]}"
