"""What is on the device is compared with what the volume is, before anything is done with it."""

from __future__ import annotations

import pytest

from storage_agent.host.perform import identity_findings
from tests.unit.fakes import FILESYSTEM_UUID, volume_config

VOLUME = volume_config()


def test_the_volumes_own_filesystem_is_taken() -> None:
    assert identity_findings(VOLUME, FILESYSTEM_UUID, VOLUME.filesystem.type) == ()


@pytest.mark.parametrize(
    ("uuid", "kind", "measured"),
    [
        ("11111111-2222", "ext4", "ext4 11111111-2222"),
        (FILESYSTEM_UUID, "xfs", f"xfs {FILESYSTEM_UUID}"),
        (None, "swap", "swap without a UUID"),
        (None, None, "no filesystem"),
    ],
)
def test_another_one_is_refused_with_both(
    uuid: str | None, kind: str | None, measured: str
) -> None:
    (finding,) = identity_findings(VOLUME, uuid, kind)
    assert finding.code == "WRONG_FILESYSTEM"
    assert (finding.measured, finding.limit) == (measured, f"ext4 {FILESYSTEM_UUID}")
    assert finding.remedy == (
        "is it the right array: storage-agent status data; blkid -p /dev/drbd0"
    )
