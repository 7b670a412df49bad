"""A volume that a coordinator arbitrates, and its primary after it lost its peer."""

from __future__ import annotations

import dataclasses

from storage_agent.model.configuration import Arbitration
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.nfs import ServerState
from storage_agent.model.replica import Role
from tests.unit.fakes import (
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.replicas import in_sync_replica, lost_peer

VOLUME = dataclasses.replace(volume_config(), arbitration=Arbitration.COORDINATOR)
CONFIG = agent_config(VOLUME)
NONCE = "0b6d7f0e-52a0-4a3c-8f0e-7a3f3b1d2c11"
PRIMARY = dataclasses.replace(in_sync_replica(), role=Role.PRIMARY)
FROZEN = dataclasses.replace(lost_peer(PRIMARY), suspended=("fencing",))


def incident(answer: str = "none", epoch: int | None = None, **changes: object) -> Incident:
    """Of boot-1, as FakeHost calls it."""
    found = Incident(
        incident=NONCE,
        volume="data",
        resource="data",
        boot_id="boot-1",
        opened_unix_s=1_700_000_000,
        epoch=epoch,
        answer=IncidentAnswer(answer),
    )
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def serving_host(**changes: object) -> FakeHost:
    host = FakeHost(replica=PRIMARY, mounted=True, server=ServerState.SERVING)
    return dataclasses.replace(host, **changes)  # type: ignore[arg-type]


def frozen_host(**changes: object) -> FakeHost:
    """Asks, and its link is still up."""
    return serving_host(**{"replica": FROZEN, "incident": incident(), **changes})
