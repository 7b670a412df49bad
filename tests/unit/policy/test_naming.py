"""The line that names where a volume stands, and the sizes that findings show."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.nfs import ServerState
from storage_agent.model.replica import Role
from storage_agent.model.snapshot import Facet
from storage_agent.policy.common import bytes_text
from storage_agent.policy.naming import name_state
from tests.unit.fakes import FakeHost, volume_config
from tests.unit.replicas import in_sync_replica

REPLICATED = volume_config()
NOT_EXPORTED = dataclasses.replace(REPLICATED, nfs=None)
LOCAL = dataclasses.replace(NOT_EXPORTED, replica=None)
PRIMARY = in_sync_replica(role=Role.PRIMARY)
ALONE = dataclasses.replace(PRIMARY, peer=None)
DARK = {facet: "no answer" for facet in (Facet.REPLICA, Facet.FILESYSTEM)}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (FakeHost(), "secondary on alpha"),
        (FakeHost(mounted=True), "secondary on alpha, but mounted"),
        (FakeHost(replica=in_sync_replica(role=Role.UNKNOWN)), "role unknown on alpha"),
        (
            FakeHost(replica=PRIMARY, mounted=True, server=ServerState.SERVING),
            "serving on alpha",
        ),
        (
            FakeHost(replica=PRIMARY, mounted=True, server=ServerState.STARTED),
            "primary on alpha, mounted, NFS server started",
        ),
        (
            FakeHost(replica=PRIMARY),
            "primary on alpha, not mounted, NFS server standby",
        ),
        (
            FakeHost(replica=ALONE, mounted=True, server=ServerState.SERVING),
            "serving on alpha, standing alone: NO FALLBACK",
        ),
        (
            FakeHost(replica=in_sync_replica(peer=None)),
            "secondary on alpha, standing alone",
        ),
        (
            FakeHost(blind={Facet.REPLICA: "no answer"}, mounted=True),
            "role unknown on alpha, but mounted, replica unknown",
        ),
        (
            FakeHost(blind={Facet.ARRAY: "x", Facet.NFS: "x"}),
            "secondary on alpha, array, NFS server unknown",
        ),
        (
            FakeHost(replica=PRIMARY, mounted=True, blind={Facet.NFS: "x"}),
            "primary on alpha, mounted, NFS server unknown",
        ),
        (FakeHost(blind=DARK), "NFS server standby on alpha, the rest unknown"),
        (
            FakeHost(blind={**DARK, Facet.NFS: "x"}),
            "role unknown on alpha, replica, filesystem, NFS server unknown",
        ),
    ],
)
def test_a_replicated_volume(host: FakeHost, name: str) -> None:
    assert name_state(REPLICATED, host.seen(REPLICATED)) == name


@pytest.mark.parametrize(
    ("volume", "host", "name"),
    [
        (REPLICATED, FakeHost(), "replica down on alpha"),
        (REPLICATED, FakeHost(array=None), "not assembled on alpha"),
        (LOCAL, FakeHost(), "primary on alpha, not mounted"),
        (LOCAL, FakeHost(mounted=True), "serving on alpha"),
        (LOCAL, FakeHost(array=None), "not assembled on alpha"),
    ],
)
def test_without_a_resource_in_the_kernel(volume: VolumeConfig, host: FakeHost, name: str) -> None:
    snapshot = dataclasses.replace(host.seen(volume), replica=None)
    server = snapshot.nfs if volume.nfs else None
    assert name_state(volume, dataclasses.replace(snapshot, nfs=server)) == name


def test_a_primary_that_is_not_exported() -> None:
    host = FakeHost(replica=PRIMARY)
    snapshot = dataclasses.replace(host.seen(NOT_EXPORTED), nfs=None)
    assert name_state(NOT_EXPORTED, snapshot) == "primary on alpha, not mounted"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB (1024 bytes)"),
        ((1 << 20) - 1, "1024.0 KiB (1048575 bytes)"),
        (1610612736, "1.5 GiB (1610612736 bytes)"),
        (1 << 40, "1.0 TiB (1099511627776 bytes)"),
        (3 << 50, "3072.0 TiB (3377699720527872 bytes)"),
    ],
)
def test_sizes_are_readable_and_exact(size_bytes: int, text: str) -> None:
    assert bytes_text(size_bytes) == text
