"""The seal on disk: recorded only as the host is, and read again after a restart."""

from __future__ import annotations

from hashlib import sha256

import pytest

from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.seal import Seals
from storage_agent.model.array import ArrayState
from storage_agent.model.errors import OperationFailed, Refused
from storage_agent.model.operation import Epoch
from storage_agent.model.seal import Seal, SealFacts, SealRecord
from tests.unit.fakes import COORDINATOR, FakeHost, MemoryStore, volume_config

VOLUME = volume_config()


def make(host: FakeHost, store: MemoryStore) -> Seals:
    epochs = EpochStore(store)
    epochs.write("data", Epoch(number=5, operation_id="before", coordinator=COORDINATOR))
    return Seals(host=host, store=store, epochs=epochs)


def facts_of(seals: Seals) -> SealFacts:
    facts = seals.look(VOLUME, "c1")
    assert facts is not None
    return facts


def test_from_adoption_to_seal_and_after_a_restart() -> None:
    host, store = FakeHost(), MemoryStore()
    seals = make(host, store)
    assert seals.record("data") is None
    seals.want("data")
    assert seals.record("data") == SealRecord()
    seal = Seal(epoch=5, client="desk", facts=facts_of(seals), sealed_unix_s=1)
    seals.seal(VOLUME, seal, "c1", COORDINATOR)
    for again in (seals, make(host, store)):
        assert again.record("data") == SealRecord(seal=seal)
        # A later claim of the same coordinator does not unseal it.
        again.want("data")
        assert again.record("data") == SealRecord(seal=seal)


def test_what_has_changed_meanwhile_is_not_sealed() -> None:
    host, store = FakeHost(), MemoryStore()
    seals = make(host, store)
    seal = Seal(epoch=5, client="desk", facts=facts_of(seals), sealed_unix_s=1)
    host.array = None
    with pytest.raises(Refused) as caught:
        seals.seal(VOLUME, seal, "c1", COORDINATOR)
    assert caught.value.code == "SEAL_DIFFERS"
    host.array = ArrayState.ACTIVE
    with pytest.raises(Refused) as caught:
        seals.seal(VOLUME, seal, "c2", COORDINATOR)
    assert caught.value.code == "SEAL_DIFFERS"
    assert seals.record("data") is None


def test_a_damaged_file_is_no_seal() -> None:
    store = MemoryStore()
    for content in (b"{", b'{"seal": 7}', b"[]"):
        store.files["seal-data"] = content
        assert make(FakeHost(), store).record("data") == SealRecord()


class Unreadable(MemoryStore):
    broken = False

    def read(self, name: str) -> bytes | None:
        if self.broken and name.startswith("seal-"):
            raise OperationFailed("Input/output error", code="STATE_FOLDER")
        return super().read(name)


def test_what_cannot_be_read_is_no_seal_and_is_read_again() -> None:
    store = Unreadable()
    seals = make(FakeHost(), store)
    store.broken = True
    assert seals.record("data") == SealRecord()
    store.broken = False
    assert seals.record("data") is None


def test_what_cannot_be_written_is_not_remembered() -> None:
    store = MemoryStore()
    seals = make(FakeHost(), store)
    store.full = True
    with pytest.raises(OperationFailed):
        seals.want("data")
    assert seals.record("data") is None


def test_what_a_client_has_written_is_taken_from_the_volume_once() -> None:
    host = FakeHost(written={"proof-1": b"x"})
    seals = make(host, MemoryStore())
    assert seals.take_proof(VOLUME, "proof-1") == sha256(b"x").hexdigest()
    with pytest.raises(OperationFailed) as caught:
        seals.take_proof(VOLUME, "proof-1")
    assert caught.value.code == "NO_PROOF"
