"""Where scripts/record-fixture puts what it records."""

from __future__ import annotations

import pytest

from tests.lab.record_fixture import slug_of, version_of

FACTS = {
    "driver": "8.4.11",
    "kernel": "6.1.0-56-cloud-amd64",
    "package_version": "1:2.6.2-4+deb12u1",
}


@pytest.mark.parametrize(
    ("argv", "slug"),
    [
        ("drbdsetup events2 --now --statistics r0", "drbdsetup-events2-now-statistics"),
        ("drbdadm get-gi r0", "drbdadm-get-gi"),
        ("cat /proc/mdstat", "proc-mdstat"),
        ("/usr/sbin/mdadm --detail --export /dev/md127", "mdadm-detail-export"),
        ("blkid -p /dev/vdb", "blkid-p"),
        ("udevadm info --name=/dev/vdb", "udevadm-info-name"),
    ],
)
def test_slug(argv: str, slug: str) -> None:
    assert slug_of(argv.split()) == slug


@pytest.mark.parametrize(
    ("argv", "version"),
    [
        ("drbdadm status", "8.4.11"),
        ("cat /proc/drbd", "8.4.11"),
        ("cat /proc/mdstat", "linux-6.1.0-56-cloud-amd64"),
        ("exportfs -s", "2.6.2"),
    ],
)
def test_version(argv: str, version: str) -> None:
    assert version_of(argv.split(), FACTS) == version


def test_version_without_driver_or_package() -> None:
    facts = {**FACTS, "driver": "", "package_version": ""}
    assert version_of(["drbdadm", "status"], facts) == "no-driver"
    assert version_of(["some-script"], facts) == "linux-6.1.0-56-cloud-amd64"
