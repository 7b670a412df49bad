"""A filesystem that is not the newest state that anybody knows of is given back."""

from __future__ import annotations

import pytest

from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.policy.currency import currency_findings

Age = tuple[int, int]


def marker(epoch: int, counter: int, operation_id: str = "other") -> Marker:
    return Marker(
        epoch=epoch,
        counter=counter,
        operation_id=operation_id,
        host="beta",
        boot_id="b",
        wall_s=0.0,
    )


def request(epoch: int | None = None, at_least: Age | None = None) -> OperationRequest:
    return OperationRequest(
        kind=OperationKind.PROMOTE,
        volume="data",
        operation_id="mine",
        epoch=epoch,
        marker_at_least=at_least,
    )


@pytest.mark.parametrize(
    ("found", "here", "asked"),
    [
        (None, None, request()),
        (None, None, request(epoch=6)),
        (marker(5, 3), None, request()),
        (marker(5, 3), (5, 3), request()),
        (marker(5, 4), (5, 3), request(at_least=(5, 4))),
        (marker(6, 0), (5, 900), request()),
        (marker(5, 3), (5, 3), request(epoch=6)),
        # This very operation was here before it was interrupted.
        (marker(6, 1, "mine"), (5, 3), request(epoch=6)),
        # An admin carries no epoch: the filesystem gives it.
        (marker(9, 1), (5, 3), request()),
    ],
)
def test_the_newest_known_state_may_be_served(
    found: Marker | None, here: Age | None, asked: OperationRequest
) -> None:
    assert currency_findings(asked, found, here) == ()


@pytest.mark.parametrize(
    ("found", "here", "asked", "expected"),
    [
        (None, (5, 3), request(), ("MARKER_OLD", "no marker", "at least epoch 5, count 3")),
        (
            marker(5, 2),
            (5, 3),
            request(),
            ("MARKER_OLD", "epoch 5, count 2", "at least epoch 5, count 3"),
        ),
        # Whoever knows more counts: the caller, or this host.
        (
            marker(5, 3),
            (5, 3),
            request(at_least=(5, 4)),
            ("MARKER_OLD", "epoch 5, count 3", "at least epoch 5, count 4"),
        ),
        (
            marker(5, 4),
            (6, 0),
            request(at_least=(5, 4)),
            ("MARKER_OLD", "epoch 5, count 4", "at least epoch 6, count 0"),
        ),
        (
            marker(6, 1),
            None,
            request(epoch=6),
            ("STALE_EPOCH", "epoch 6", "above epoch 6, written by beta"),
        ),
        (
            marker(7, 1, "mine"),
            None,
            request(epoch=6),
            ("STALE_EPOCH", "epoch 6", "above epoch 7, written by beta"),
        ),
    ],
)
def test_an_older_state_or_another_owners_is_given_back(
    found: Marker | None, here: Age | None, asked: OperationRequest, expected: tuple[str, str, str]
) -> None:
    (finding,) = currency_findings(asked, found, here)
    assert (finding.code, finding.measured, finding.limit) == expected
    assert finding.remedy


def test_a_marker_that_cannot_be_read_is_no_proof() -> None:
    (finding,) = currency_findings(request(), Unobserved(reason="checksum"), None)
    assert (finding.code, finding.measured) == ("MARKER_UNREADABLE", "checksum")
    assert "look at the filesystem read-only" in finding.remedy
