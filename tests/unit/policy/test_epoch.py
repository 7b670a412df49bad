"""Which epochs may act: the fencing token's rules as a table."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.configuration import Arbitration
from storage_agent.model.operation import Epoch, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.policy.epoch import (
    MAXIMUM_JUMP,
    damaged_marker_record,
    epoch_findings,
    ungranted_findings,
    unusable_epoch,
)
from tests.unit.fakes import volume_config

KNOWN = Epoch(number=7, operation_id="owner", coordinator="mine")
NOBODY = dataclasses.replace(KNOWN, coordinator="")


def asked(
    epoch: int | None, operation_id: str = "mine", coordinator: str = "mine"
) -> OperationRequest:
    return OperationRequest(
        kind=OperationKind.PROMOTE,
        volume="data",
        operation_id=operation_id,
        epoch=epoch,
        coordinator=coordinator,
    )


@pytest.mark.parametrize(
    "request_",
    [asked(None), asked(7, "owner"), asked(8), asked(7 + MAXIMUM_JUMP)],
    ids=["an admin's", "the owner's again", "the next", "the farthest"],
)
def test_these_may(request_: OperationRequest) -> None:
    assert epoch_findings(request_, KNOWN) == ()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asked(6), ("STALE_EPOCH", "epoch 6", "at least epoch 7")),
        # Also the owner's: since then something else has happened under its epoch.
        (asked(6, "owner"), ("STALE_EPOCH", "epoch 6", "at least epoch 7")),
        (asked(7), ("STALE_EPOCH", "operation mine", "operation owner, or a newer epoch")),
        (asked(8 + MAXIMUM_JUMP), ("EPOCH_JUMP", "epoch 20008", "at most 20007")),
    ],
    ids=["older", "the owner's older", "another's", "far ahead"],
)
def test_these_may_not(request_: OperationRequest, expected: tuple[str, str, str]) -> None:
    (finding,) = epoch_findings(request_, KNOWN)
    assert (finding.code, finding.measured, finding.limit) == expected
    assert finding.remedy


@pytest.mark.parametrize(
    ("request_", "known", "expected"),
    [
        (asked(8, coordinator="theirs"), KNOWN, ("coordinator 'theirs'", "coordinator 'mine'")),
        (asked(7, "owner", "theirs"), KNOWN, ("coordinator 'theirs'", "coordinator 'mine'")),
        (asked(6, coordinator=""), KNOWN, ("coordinator ''", "coordinator 'mine'")),
        (asked(8, coordinator=""), NOBODY, ("coordinator ''", "an adoption")),
        (asked(8), NOBODY, ("coordinator 'mine'", "an adoption")),
    ],
    ids=["newer", "the owner's again", "older, of nobody", "both of nobody", "none known"],
)
def test_no_other_coordinator_may(
    request_: OperationRequest, known: Epoch, expected: tuple[str, str]
) -> None:
    (finding,) = epoch_findings(request_, known)
    assert (finding.code, finding.measured, finding.limit) == ("OTHER_COORDINATOR", *expected)
    assert "storage-coordinator adopt data" in finding.remedy


def test_an_admin_is_asked_for_no_coordinator() -> None:
    assert epoch_findings(asked(None, coordinator=""), NOBODY, taken=8) == ()
    (finding,) = epoch_findings(asked(None, coordinator=""), NOBODY, taken=6)
    assert finding.code == "STALE_EPOCH"


def test_an_unusable_file_says_which_one_it_is_and_how_it_is_restored() -> None:
    missing = unusable_epoch("data", "EPOCH_MISSING", "is missing")
    damaged = damaged_marker_record("data")
    assert missing.summary.startswith("the epoch file of data on this host is missing")
    assert damaged.summary.startswith("this host's note of the newest marker of data is damaged")
    for finding in (missing, damaged):
        assert "storage-agent epoch restore data NUMBER" in finding.remedy


@pytest.mark.parametrize(
    ("arbitration", "epoch", "code", "limit"),
    [
        (Arbitration.NONE, 6, None, ""),
        (Arbitration.NONE, 7, None, ""),
        (Arbitration.NONE, 8, None, ""),
        (Arbitration.NONE, 9, "EPOCH_NOT_NEXT", "at most epoch 8"),
        (Arbitration.NONE, 107, "EPOCH_NOT_NEXT", "at most epoch 8"),
        (Arbitration.COORDINATOR, 6, None, ""),
        (Arbitration.COORDINATOR, 7, None, ""),
        (Arbitration.COORDINATOR, 8, "EPOCH_NOT_GRANTED", "at most epoch 7, or the role grant"),
        (Arbitration.COORDINATOR, 107, "EPOCH_NOT_GRANTED", "at most epoch 7, or the role grant"),
    ],
)
def test_without_a_grant_no_epoch_is_used_up(
    arbitration: Arbitration, epoch: int, code: str | None, limit: str
) -> None:
    volume = dataclasses.replace(volume_config(), arbitration=arbitration)
    found = ungranted_findings(volume, epoch, KNOWN.number)
    assert [(f.code, f.limit) for f in found] == ([(code, limit)] if code else [])
