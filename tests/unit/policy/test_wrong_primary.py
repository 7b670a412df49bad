"""Is the primary the one that the caller names?"""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import Replica, Role
from storage_agent.policy.common import wrong_primary
from tests.unit.fakes import FakeHost, volume_config
from tests.unit.replicas import in_sync_replica, lost_peer, with_peer

VOLUME = volume_config()
SYNCED = in_sync_replica()
SERVING = dataclasses.replace(SYNCED, role=Role.PRIMARY)


@pytest.mark.parametrize(
    ("replica", "wrong"),
    [
        (SERVING, {"beta"}),
        (dataclasses.replace(lost_peer(SYNCED), role=Role.PRIMARY), {"beta"}),
        (with_peer(SYNCED, role=Role.PRIMARY), {"alpha"}),
        # Nobody is: the one that is named may have let go.
        (with_peer(SYNCED, role=Role.SECONDARY), set()),
        # What it was when it was lost is not seen.
        (lost_peer(with_peer(SYNCED, role=Role.PRIMARY)), set()),
        (dataclasses.replace(SYNCED, peer=None), set()),
        (None, set()),
        # Which is refused as such.
        (Unobserved(reason="no answer"), set()),
    ],
    ids=["here", "here alone", "there", "nobody", "lost", "no peer", "no replica", "unknown"],
)
@pytest.mark.parametrize("kind", ["promote", "demote", "assemble", "standalone", "rejoin", "leave"])
def test_another_one_is_refused_whatever_is_asked_for(
    replica: Replica | Unobserved | None, wrong: set[str], kind: str
) -> None:
    snapshot = dataclasses.replace(FakeHost().seen(VOLUME), replica=replica)
    for expected in ("alpha", "beta", None):
        asked = OperationRequest(
            kind=OperationKind(kind),
            volume="data",
            operation_id="op-1",
            expected_primary=expected,
        )
        found = wrong_primary(VOLUME, snapshot, asked, "beta")
        codes = ["WRONG_PRIMARY"] if expected in wrong else []
        assert [finding.code for finding in found] == codes


def test_it_says_who_is() -> None:
    asked = OperationRequest(
        kind=OperationKind.DEMOTE, volume="data", operation_id="op-1", expected_primary="beta"
    )
    snapshot = FakeHost(replica=SERVING).seen(VOLUME)
    (finding,) = wrong_primary(VOLUME, snapshot, asked, "beta")
    assert (finding.measured, finding.limit) == ("primary: alpha", "primary: beta")
    assert finding.remedy.endswith("then name alpha")
