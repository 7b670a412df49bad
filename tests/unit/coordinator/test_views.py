"""Two hosts side by side: every contradiction is named, and a healthy pair has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from storage_agent.coordinator.deciding.arbiter import Grant, GrantKind, State
from storage_agent.coordinator.deciding.contradictions import (
    contradictions,
    disagreements,
    is_behind,
)
from storage_agent.coordinator.record.lasting import LASTS_S, Contradictions
from storage_agent.coordinator.views import HostView, VolumeView
from storage_agent.model.answers import Verdict
from storage_agent.model.errors import Missing
from storage_agent.model.finding import warning
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import DiskState, Replica, Role
from storage_agent.model.seal import Seal, SealFacts
from tests.unit.coordinator.pair import VOLUME
from tests.unit.fakes import FakeHost, volume_config
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)

EPOCH = 7


def host(name: str, replica: Replica, **changes: object) -> HostView:
    snapshot = dataclasses.replace(FakeHost().observe(volume_config()), host=name, replica=replica)
    view = HostView(
        host=name,
        error=None,
        snapshot=snapshot,
        verdict=Verdict(word="ready", findings=()),
        epoch=EPOCH,
        coordinator="claim",
        agent_version="1",
        config_digest="d",
        seal=SEAL,
    )
    return dataclasses.replace(view, **changes)  # type: ignore[arg-type]


SEAL = Seal(
    epoch=EPOCH,
    client="desk",
    facts=SealFacts(
        configuration="c",
        filesystem_uuid="f",
        array_uuid="a",
        members=(),
        array_bytes=1,
        replica_bytes=1,
    ),
    sealed_unix_s=1,
)
ALPHA = with_peer(in_sync_replica(role=Role.PRIMARY), role=Role.SECONDARY)
BETA = with_peer(in_sync_replica(), role=Role.PRIMARY)
RECORD = State(epoch=EPOCH, coordinator="claim", owner="alpha")


def pair(
    alpha: HostView | None = None, beta: HostView | None = None, state: State | None = RECORD
) -> VolumeView:
    hosts = (alpha or host("alpha", ALPHA), beta or host("beta", BETA))
    return VolumeView(volume=VOLUME, hosts=hosts, state=state)


def codes(view: VolumeView) -> list[str]:
    for finding in contradictions(view):
        assert finding.remedy
    return [finding.code for finding in contradictions(view)]


def running(name: str) -> OperationRecord:
    request = OperationRequest(kind=OperationKind.PROMOTE, volume="data", operation_id=f"{name}-1")
    return OperationRecord(
        request=request, state=OperationState.RUNNING, changed=False, epoch=EPOCH, message=""
    )


def test_a_healthy_pair_contradicts_in_nothing() -> None:
    assert codes(pair()) == []


def frozen(replica: Replica) -> Replica:
    return dataclasses.replace(lost_peer(replica), suspended=("fencing",))


def as_primary(replica: Replica) -> Replica:
    return dataclasses.replace(replica, role=Role.PRIMARY)


BROKEN = Verdict(
    word="degraded",
    findings=(warning("SEAL_BROKEN", "another size", measured="", limit="", remedy=""),),
)
GRANT = Grant(kind=GrantKind.PROMOTE, epoch=EPOCH, host="beta", operation_id="t")
CASES: dict[str, Callable[[], VolumeView]] = {
    "HOST_UNREACHABLE": lambda: pair(
        beta=HostView(host="beta", error=Missing("x", remedy="y", code="HOST_UNREACHABLE"))
    ),
    "VOLUME_MISSING": lambda: pair(beta=host("beta", BETA, snapshot=None)),
    "BOTH_PRIMARY": lambda: pair(
        host("alpha", lost_peer(ALPHA)), host("beta", lost_peer(as_primary(BETA)))
    ),
    "OLD_PRIMARY_FROZEN": lambda: pair(
        host("alpha", frozen(ALPHA)), host("beta", lost_peer(as_primary(BETA)))
    ),
    "NO_PRIMARY": lambda: pair(host("alpha", in_sync_replica()), host("beta", in_sync_replica())),
    "VIEWS_DIFFER": lambda: pair(beta=host("beta", with_peer(BETA, role=Role.SECONDARY))),
    "DISK_VIEWS_DIFFER": lambda: pair(
        alpha=host("alpha", with_peer(ALPHA, disk=DiskState.OUTDATED))
    ),
    "ONE_WAY_LINK": lambda: pair(beta=host("beta", lost_peer(BETA))),
    "EPOCH_MISSING": lambda: pair(beta=host("beta", BETA, epoch=None)),
    "EPOCHS_DIFFER": lambda: pair(beta=host("beta", BETA, epoch=EPOCH - 1)),
    "NOT_ADOPTED": lambda: pair(state=None),
    "EPOCH_AHEAD": lambda: pair(
        host("alpha", ALPHA, epoch=EPOCH + 1), host("beta", BETA, epoch=EPOCH + 1)
    ),
    "OTHER_COORDINATOR": lambda: pair(beta=host("beta", BETA, coordinator="other")),
    "VERSION_DIFFERS": lambda: pair(beta=host("beta", BETA, agent_version="2")),
    "CONFIG_DIFFERS": lambda: pair(beta=host("beta", BETA, config_digest="e")),
    "MOVE_UNFINISHED": lambda: pair(state=dataclasses.replace(RECORD, grant=GRANT)),
    "UNSEALED": lambda: pair(beta=host("beta", BETA, seal=None)),
    "SEAL_BROKEN": lambda: pair(beta=host("beta", BETA, verdict=BROKEN)),
}


@pytest.mark.parametrize("code", CASES)
def test_each_contradiction_is_named(code: str) -> None:
    assert set(codes(CASES[code]())) == {code}


def test_a_link_that_is_down_is_no_contradiction() -> None:
    assert codes(pair(host("alpha", lost_peer(ALPHA)), host("beta", lost_peer(BETA)))) == []


def test_a_peer_that_is_not_there_is_still_known_to_be_outdated() -> None:
    """alpha went on alone: DRBD keeps the peer's disk as Outdated, which beta cannot know."""
    alone = with_peer(lost_peer(ALPHA), disk=DiskState.OUTDATED)
    (finding,) = contradictions(pair(host("alpha", alone), host("beta", lost_peer(BETA))))
    assert finding.code == "DISK_VIEWS_DIFFER"
    assert finding.measured == "on alpha: Outdated; on beta: UpToDate"


def test_who_is_behind_is_named() -> None:
    (finding,) = contradictions(pair(alpha=host("alpha", ALPHA, epoch=EPOCH - 2)))
    assert finding.summary.startswith("alpha has not heard")
    assert finding.measured == "epoch 5 on alpha, 7 on beta"


def test_a_move_changes_one_host_after_the_other() -> None:
    behind = host("beta", BETA, epoch=EPOCH - 1)
    busy = dataclasses.replace(behind, operation=running("beta"))
    assert codes(pair(beta=busy)) == []
    begun = dataclasses.replace(RECORD, grant=dataclasses.replace(GRANT, kind=GrantKind.MOVE))
    assert codes(pair(beta=behind, state=begun)) == ["MOVE_UNFINISHED"]


def test_what_only_one_host_or_the_record_says_is_no_disagreement() -> None:
    for code in ("HOST_UNREACHABLE", "VOLUME_MISSING", "MOVE_UNFINISHED", "UNSEALED"):
        assert disagreements(CASES[code]()) == ()


DIFFER = warning("VIEWS_DIFFER", "alpha sees beta as Primary", measured="", limit="", remedy="")


def test_what_lasts_is_told_once_and_when_it_is_gone() -> None:
    standing = Contradictions()
    assert standing.seen("o/data", (DIFFER,), 0.0) == []
    assert standing.seen("o/data", (DIFFER,), LASTS_S - 1) == []
    assert standing.seen("o/other", (DIFFER,), LASTS_S) == []
    assert standing.seen("o/data", (DIFFER,), LASTS_S) == [(DIFFER, True)]
    assert standing.seen("o/data", (DIFFER,), LASTS_S + 1) == []
    assert standing.seen("o/data", (), LASTS_S + 2) == [(DIFFER, False)]
    assert standing.seen("o/data", (), LASTS_S + 3) == []


def test_what_was_there_for_a_moment_is_not_told() -> None:
    standing = Contradictions()
    for begin_s in (0.0, 10.0, 20.0):
        assert standing.seen("o/data", (DIFFER,), begin_s) == []
        assert standing.seen("o/data", (), begin_s + 2) == []


def test_one_host_is_behind_only_where_nothing_speaks_against_telling_it() -> None:
    late = host("beta", BETA, epoch=EPOCH - 1)
    assert is_behind(pair(beta=late))
    sole, moving = (
        dataclasses.replace(RECORD, sole="alpha"),
        dataclasses.replace(RECORD, grant=GRANT),
    )
    against = {
        "nothing missed": pair(),
        "sole": pair(beta=late, state=sole),
        "moving": pair(beta=late, state=moving),
        "no record": pair(beta=late, state=None),
        "not in sync": pair(host("alpha", lost_peer(ALPHA)), late),
        "at work": pair(host("alpha", ALPHA, operation=running("alpha")), late),
        "ahead": pair(beta=host("beta", BETA, epoch=EPOCH + 1)),
        "other coordinator": pair(beta=dataclasses.replace(late, coordinator="other")),
        "no answer": pair(beta=HostView(host="beta", error=Missing("x"))),
    }
    assert [name for name, view in against.items() if is_behind(view)] == []
