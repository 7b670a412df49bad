"""A filesystem that is not the newest state that anybody knows of is given back."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.finding import Severity
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.currency import (
    COUNT_LEAP,
    EPOCH_LEAP,
    UNNOTED,
    count_on,
    currency_findings,
)
from tests.unit.fakes import FakeHost, volume_config
from tests.unit.replicas import in_sync_replica, lost_peer

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


def snapshot() -> VolumeSnapshot:
    return FakeHost(replica=in_sync_replica(role=Role.PRIMARY)).observe(volume_config())


def request(
    epoch: int | None = None, at_least: Age | None = None, lost: str | None = None
) -> OperationRequest:
    return OperationRequest(
        kind=OperationKind.PROMOTE,
        volume="data",
        operation_id="mine",
        epoch=epoch,
        marker_at_least=at_least,
        marker_lost=lost,
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
    assert currency_findings(asked, found, here, snapshot(), 6) == ()


@pytest.mark.parametrize(
    ("found", "here", "asked", "expected"),
    [
        (None, (5, 3), request(), ("MARKER_GONE", "no marker", "at least epoch 5, count 3")),
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
    (finding,) = currency_findings(asked, found, here, snapshot(), 6)
    assert (finding.code, finding.measured, finding.limit) == expected
    assert finding.remedy


def test_a_marker_that_cannot_be_read_is_no_proof() -> None:
    (finding,) = currency_findings(request(), Unobserved(reason="checksum"), None, snapshot(), 6)
    assert (finding.code, finding.measured) == ("MARKER_UNREADABLE", "checksum")
    assert "look at the filesystem read-only" in finding.remedy


NOT_TRUE: list[tuple[str, Marker | Unobserved | None]] = [
    ("MARKER_GONE", None),
    ("MARKER_UNREADABLE", Unobserved(reason="a FIFO")),
    ("MARKER_IMPLAUSIBLE", marker(10**9, 1)),
    ("MARKER_OLD", marker(5, 2)),
]


@pytest.mark.parametrize(("code", "found"), NOT_TRUE, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("epoch", [None, 6])
def test_what_users_can_make_of_a_marker_ends_with_a_persons_word(
    code: str, found: Marker | Unobserved | None, epoch: int | None
) -> None:
    """Whatever it says, and whether or not the request carries an epoch."""
    (finding,) = currency_findings(request(epoch), found, (5, 3), snapshot(), 6)
    assert (finding.code, finding.severity) == (code, Severity.BLOCKER)
    way = "storage-agent promote data --marker-lost alpha/data"
    assert way in finding.remedy
    (told,) = currency_findings(request(epoch, lost="alpha/data"), found, (5, 3), snapshot(), 6)
    assert (told.code, told.severity) == ("MARKER_DISREGARDED", Severity.WARNING)
    (other,) = currency_findings(request(epoch, lost="beta/data"), found, (5, 3), snapshot(), 6)
    assert other == finding


@pytest.mark.parametrize(
    ("replica", "word"),
    [
        (None, "there is no other copy"),
        (in_sync_replica(), "DRBD says that both hosts have the same data now"),
        (lost_peer(in_sync_replica()), "nor does DRBD prove it"),
    ],
)
def test_it_says_what_is_proved_without_the_marker(replica: Replica | None, word: str) -> None:
    seen = dataclasses.replace(snapshot(), replica=replica)
    (finding,) = currency_findings(request(), None, (5, 3), seen, 6)
    assert word in finding.summary


def test_epochs_that_a_host_may_have_missed_are_believed() -> None:
    assert currency_findings(request(), marker(6 + EPOCH_LEAP, 1), (5, 3), snapshot(), 6) == ()


@pytest.mark.parametrize(
    ("found", "noted", "epoch", "expected"),
    [
        (marker(5, 4), marker(5, 3), 5, (5, 4)),
        # A claim of the coordinator has used an epoch up meanwhile.
        (marker(5, 4), marker(5, 3), 7, (5, 4)),
        (None, marker(5, 3), 5, (5, 3 + UNNOTED)),
        (None, marker(5, 3), 7, (5, 3 + UNNOTED)),
        (marker(5, 2), marker(5, 3), 5, (5, 3 + UNNOTED)),
        (marker(5, 3 + COUNT_LEAP), marker(5, 3), 5, (5, 3 + UNNOTED)),
        (marker(10**9, 1), marker(5, 3), 5, (5, 3 + UNNOTED)),
        # Before the step that writes it: the other host's is newer than this host's note.
        (marker(6, 1), marker(5, 3), 7, None),
        (marker(5, 4), None, 5, (5, 4)),
        (marker(6, 4), None, 5, None),
        (marker(5, 4), None, None, None),
        (None, None, 5, None),
    ],
)
def test_a_serving_host_counts_on_from_what_it_knows(
    found: Marker | None, noted: Marker | None, epoch: int | None, expected: Age | None
) -> None:
    base = count_on(found, noted, epoch)
    assert (base.age() if base else None) == expected
