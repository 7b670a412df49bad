"""The seal of each volume that a coordinator has adopted, durable on this host."""

from __future__ import annotations

import json
import threading

from storage_agent.engine.epoch import EpochStore
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import AgentError, refuse_blockers
from storage_agent.model.ports import HostPort, Store
from storage_agent.model.seal import Seal, SealFacts, SealRecord
from storage_agent.model.snapshot import Facet
from storage_agent.model.wire import WireError, from_wire, to_wire
from storage_agent.policy.seal import seal_facts, sealing_findings

_FACETS = frozenset({Facet.ARRAY, Facet.REPLICA})


class Seals:
    """May be called from several threads. File `seal-VOLUME`; kept in memory, for it is asked for
    with every look."""

    def __init__(self, *, host: HostPort, store: Store, epochs: EpochStore) -> None:
        self._host = host
        self._store = store
        self._epochs = epochs
        self._lock = threading.Lock()
        self._known: dict[str, SealRecord | None] = {}

    def record(self, volume: str) -> SealRecord | None:
        """None: no coordinator has adopted it. A file that is damaged or
        cannot be read is a seal that is missing."""
        with self._lock:
            if volume not in self._known:
                try:
                    content = self._store.read(_name(volume))
                except AgentError:
                    return SealRecord()
                self._known[volume] = _parse(content)
            return self._known[volume]

    def want(self, volume: str) -> None:
        """A coordinator has adopted the volume: from now on it is to be sealed. Durable."""
        if self.record(volume) is None:
            self._write(volume, SealRecord())

    def look(self, volume: VolumeConfig, configuration: str) -> SealFacts | None:
        """As policy.seal.seal_facts, of a fresh look."""
        return seal_facts(volume, self._host.observe(volume, _FACETS), configuration)

    def take_proof(self, volume: VolumeConfig, name: str) -> str:
        """See HostPort.take_proof."""
        return self._host.take_proof(volume, name)

    def seal(self, volume: VolumeConfig, seal: Seal, configuration: str, coordinator: str) -> None:
        """Durable on return. Raises Refused: for an older epoch, another coordinator, or where
        this host shows something else than what is to be sealed."""
        self._epochs.require_coordinator(volume.name, coordinator)
        known = self._epochs.read(volume.name).number
        facts = self.look(volume, configuration)
        refuse_blockers(sealing_findings(volume, seal, facts, known))
        self._write(volume.name, SealRecord(seal=seal))

    def _write(self, volume: str, record: SealRecord) -> None:
        with self._lock:
            self._store.replace(_name(volume), json.dumps(to_wire(record)).encode())
            self._known[volume] = record


def _parse(content: bytes | None) -> SealRecord | None:
    if content is None:
        return None
    try:
        return from_wire(SealRecord, json.loads(content))
    except (ValueError, WireError):
        return SealRecord()


def _name(volume: str) -> str:
    return f"seal-{volume}"
