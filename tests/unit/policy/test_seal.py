"""What is sealed, what breaks it, and how loudly that is said."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import ArrayMember, ArrayView
from storage_agent.model.observed import Unobserved
from storage_agent.model.seal import Seal, SealFacts, SealRecord
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.readiness import Readiness, Verdict
from storage_agent.policy.seal import differences, judged, seal_facts, sealing_findings
from tests.unit.fakes import ARRAY_UUID, FILESYSTEM_UUID, FakeHost, volume_config

VOLUME = volume_config()
FACTS = SealFacts(
    configuration="c1",
    filesystem_uuid=FILESYSTEM_UUID,
    array_uuid=ARRAY_UUID,
    members=("alpha-0", "alpha-1"),
    array_bytes=512 << 20,
    replica_bytes=512 << 20,
    possible_array_bytes=512 << 20,
)
SEAL = Seal(epoch=6, client="desk", facts=FACTS, sealed_unix_s=1)
READY = Readiness(verdict=Verdict.READY, findings=())


def changed(**more: object) -> SealFacts:
    return dataclasses.replace(FACTS, **more)  # type: ignore[arg-type]


def snapshot(**more: object) -> VolumeSnapshot:
    """With two members in its array, listed in another order."""
    seen = FakeHost().seen(VOLUME)
    assert isinstance(seen.array, ArrayView)
    assert seen.array.array is not None
    members = tuple(
        ArrayMember(disk=f"vd{n}", serial=f"alpha-{n}", slot=n, state=("in_sync",))
        for n in (1, 0)
    )  # fmt: skip
    array = dataclasses.replace(seen.array.array, members=members)
    seen = dataclasses.replace(seen, array=dataclasses.replace(seen.array, array=array))
    return dataclasses.replace(seen, **more)  # type: ignore[arg-type]


def test_what_a_host_would_be_sealed_with() -> None:
    assert seal_facts(VOLUME, snapshot(), "c1") == FACTS


@pytest.mark.parametrize(
    "blind",
    [
        {"array": Unobserved(reason="stuck")},
        {"array": ArrayView(array=None, attached=(), missing=())},
        {"replica": None},
        {"replica": dataclasses.replace(FakeHost().replica, size_bytes=None)},  # type: ignore[type-var]
    ],
    ids=["array unseen", "no array", "no replica", "size unknown"],
)
def test_what_cannot_be_seen_cannot_be_sealed(blind: dict[str, object]) -> None:
    assert seal_facts(VOLUME, snapshot(**blind), "c1") is None


def test_nor_a_volume_without_a_filesystem() -> None:
    bare = dataclasses.replace(
        VOLUME, filesystem=dataclasses.replace(VOLUME.filesystem, uuid=None)
    )  # fmt: skip
    assert seal_facts(bare, snapshot(), "c1") is None


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (changed(configuration="c2"), "configuration c1 is c2 now"),
        (changed(filesystem_uuid="f2"), "is f2 now"),
        (changed(array_uuid="a2"), "is a2 now"),
        (changed(members=("alpha-0", "alpha-9")), "new in the array: alpha-9"),
        (changed(array_bytes=1 << 30), "size of the array: 512.0 MiB (536870912 bytes), now 1.0"),
        (changed(replica_bytes=(512 << 20) - 512), "now 512.0 MiB (536870400 bytes)"),
    ],
    ids=["configuration", "filesystem", "array", "member", "array size", "replica size"],
)
def test_what_breaks_a_seal_is_named(now: SealFacts, words: str) -> None:
    (text,) = differences(FACTS, now)
    assert words in text
    found = judged(READY, VOLUME, SealRecord(seal=SEAL), now)
    assert found.verdict is Verdict.DEGRADED
    assert [(f.code, f.measured) for f in found.findings] == [("SEAL_BROKEN", text)]


def test_a_member_that_is_missing_does_not_break_it() -> None:
    assert differences(FACTS, changed(members=("alpha-0",))) == ()


def test_room_to_grow_does_not_break_it() -> None:
    assert differences(FACTS, changed(possible_array_bytes=1 << 30)) == ()


def test_without_a_coordinator_nothing_is_said() -> None:
    assert judged(READY, VOLUME, None, None) is READY


def test_as_sealed_nothing_is_said() -> None:
    assert judged(READY, VOLUME, SealRecord(seal=SEAL), FACTS) is READY


@pytest.mark.parametrize(
    ("record", "facts", "code"),
    [
        (SealRecord(), FACTS, "UNSEALED"),
        (SealRecord(), None, "UNSEALED"),
        (SealRecord(seal=SEAL), None, "SEAL_UNCHECKED"),
    ],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Verdict.SERVING, Verdict.DEGRADED),
        (Verdict.READY, Verdict.DEGRADED),
        (Verdict.BLOCKED, Verdict.BLOCKED),
    ],
)
def test_nothing_is_ready_without_a_seal(
    record: SealRecord, facts: SealFacts | None, code: str, before: Verdict, after: Verdict
) -> None:
    found = judged(Readiness(verdict=before, findings=()), VOLUME, record, facts)
    assert (found.verdict, [f.code for f in found.findings]) == (after, [code])
    assert found.findings[0].remedy


def test_what_may_be_sealed() -> None:
    assert sealing_findings(VOLUME, SEAL, FACTS, 6) == ()
    cases = (
        (sealing_findings(VOLUME, SEAL, FACTS, 7), "STALE_EPOCH", "epoch 6"),
        (sealing_findings(VOLUME, SEAL, changed(array_uuid="a2"), 6), "SEAL_DIFFERS", "a2"),
        (sealing_findings(VOLUME, SEAL, None, 6), "SEAL_DIFFERS", "not seen"),
    )
    for found, code, measured in cases:
        assert [f.code for f in found] == [code]
        assert measured in found[0].measured
