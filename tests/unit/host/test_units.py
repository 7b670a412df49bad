"""What the units take away from the daemon and the NFS servers, and what they leave to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.host.creating import CONFIGURATION_FOLDER
from storage_agent.host.drbd.resource_file import FOLDER
from storage_agent.host.keys.authorized_keys import KEY_FILE
from storage_agent.host.md.ignore import IGNORE_CONFIGURATION
from tests.packaging.conftest import Unit, read_unit

DEBIAN = Path(__file__).parents[3] / "debian"
DAEMON, SERVER = "storage-agentd.service", "storage-agent-nfs@.service"
BOTH = pytest.mark.parametrize("name", [DAEMON, SERVER])


def unit(name: str) -> Unit:
    # As debhelper wants it: PACKAGE.UNIT, and PACKAGE@.UNIT for UNIT@.
    stem, at, _ = name.partition("@")
    return read_unit(DEBIAN / f"storage-agent{at}.{stem}{'.service' if at else ''}")


def words(name: str, setting: str) -> set[str]:
    return set(" ".join(unit(name).values(setting)).split())


@BOTH
def test_nothing_of_the_system_can_be_written(name: str) -> None:
    """/usr, /boot, /efi and /etc; /home, /root and /run/user."""
    assert unit(name).values("ProtectSystem") in (["full"], ["strict"])
    assert unit(name).values("ProtectHome") == ["read-only"], "a volume below must be seen"


def test_of_etc_the_daemon_writes_what_create_and_assemble_write() -> None:
    """Each where it exists (`-`): without one of them the daemon must start all the same."""
    written = (FOLDER, IGNORE_CONFIGURATION.parent, CONFIGURATION_FOLDER)
    assert words(DAEMON, "ReadWritePaths") == {f"-/{folder}" for folder in written}
    made_by_us = (DEBIAN / "storage-agent.dirs").read_text().split()
    # drbd-utils has the first. What does not exist when the daemon starts stays read-only.
    assert made_by_us == sorted(str(folder) for folder in written[1:])
    # `authorize` writes it, which runs for root without the daemon.
    assert not any(KEY_FILE.is_relative_to(f"/{folder}") for folder in written)


def test_a_server_writes_nothing_of_etc() -> None:
    assert words(SERVER, "ReadWritePaths") == set()


@BOTH
@pytest.mark.parametrize(
    "setting",
    [
        "DynamicUser",
        "MountFlags",
        "PrivateDevices",
        "PrivateNetwork",
        "PrivateUsers",
        "ProcSubset",
        "ProtectHostname",
        "ProtectProc",
        "RootDirectory",
        "RootImage",
        "TemporaryFileSystem",
        "User",
    ],
)
def test_what_it_sees_of_the_host_is_the_hosts(name: str, setting: str) -> None:
    """Mounts that come and go, disks, links, other processes, the name."""
    assert unit(name).values(setting) == []


def test_every_block_device_is_left_to_them() -> None:
    """Of all drivers, also those that are loaded later: `block-*`, and no names. Without it
    ProtectClock= would take all of them away."""
    assert unit(DAEMON).values("DeviceAllow") == ["block-* rwm"]
    assert unit(SERVER).values("DeviceAllow") == ["block-* r"]


@BOTH
def test_it_can_go_outside_and_load_no_module(name: str) -> None:
    """setns(2) into pid 1's mounts takes the first three (storage_agent/host/system/outside.py)."""
    capabilities = words(name, "CapabilityBoundingSet")
    assert capabilities >= {"CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE"}
    assert words(name, "SystemCallFilter") >= {"@system-service", "@mount"}
    assert "mnt" in words(name, "RestrictNamespaces")
    assert "CAP_SYS_MODULE" not in capabilities
    assert unit(name).values("ProtectKernelModules") == ["yes"]
    # `+`: not under these limits. `-`: it may be built in.
    (loads,) = unit(name).values("ExecStartPre")
    assert loads.startswith("-+/sbin/modprobe -aq ")
    assert set(loads.split()) >= ({"md_mod", "drbd"} if name == DAEMON else {"nfsd", "macvlan"})


def test_a_server_sets_what_belongs_to_its_own_namespaces() -> None:
    assert words(SERVER, "RestrictNamespaces") == {"mnt", "net", "uts"}
    assert "sethostname" in words(SERVER, "SystemCallFilter")
    for setting in ("ProtectKernelTunables", "IPAddressDeny", "IPAddressAllow"):
        assert unit(SERVER).values(setting) == []
