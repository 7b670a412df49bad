"""Busy is busy: also for another volume that names the same disks, and for who only asks."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.engine.acceptance import require_free
from storage_agent.model.errors import Busy
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from tests.unit.fakes import agent_config, volume_config

DATA = volume_config()
# The same disks under another name, as after an edit that another admin has just made.
FILES = dataclasses.replace(DATA, name="files", mount_point="/srv/files")
LOGS = dataclasses.replace(
    DATA,
    name="logs",
    array=dataclasses.replace(DATA.array, disks={"alpha": ("alpha-8", "alpha-9")}),
)
CONFIG = agent_config(DATA, FILES, LOGS)


def request(volume: str, kind: OperationKind = OperationKind.CREATE) -> OperationRequest:
    return OperationRequest(kind=kind, volume=volume, operation_id=f"of-{volume}")


def running(volume: str, remedy: str = "") -> OperationRecord:
    return OperationRecord(
        request=request(volume),
        state=OperationState.RUNNING,
        changed=True,
        epoch=None,
        message="",
        remedy=remedy,
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request("data"), "data is busy with create of-data"),
        (request("data", OperationKind.PROMOTE), "data is busy with create of-data"),
        (request("files"), "disk alpha-0 is busy with create data of-data"),
    ],
)
def test_busy(asked: OperationRequest, said: str) -> None:
    with pytest.raises(Busy) as caught:
        require_free(asked, (running("data"),), CONFIG)
    assert caught.value.message == said
    assert caught.value.remedy == "wait for it: storage-agent operation of-data"


def test_the_runnings_own_remedy_is_better() -> None:
    with pytest.raises(Busy) as caught:
        require_free(request("data"), (running("data", "reboot"),), CONFIG)
    assert caught.value.remedy == "reboot"


@pytest.mark.parametrize(
    "asked",
    [request("logs"), request("files", OperationKind.PROMOTE), request("unknown")],
    ids=str,
)
def test_free(asked: OperationRequest) -> None:
    require_free(asked, (running("data"), running("gone")), CONFIG)
