"""What sysfs says of a device's use, and whether there is any configuration."""

from __future__ import annotations

from pathlib import Path

from storage_agent.configuration.read import Paths
from storage_agent.host.block.devices import replica_devices, written_bytes
from tests.unit.host.tree import Tree

# Documentation/admin-guide/iostats.rst: 1284 sectors written.
STAT = "     105        0     4216        3       61        0     1284       52        0       56\n"


def test_bytes_written_through_a_device(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.write("sys/class/block/drbd0/stat", STAT)
    assert written_bytes("/dev/drbd0", tmp_path) == 1284 * 512


def test_an_array_is_found_by_its_link(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.link("dev/md/data", "../md127")
    tree.write("sys/class/block/md127/stat", STAT)
    assert written_bytes("/dev/md/data", tmp_path) == 1284 * 512


def test_a_device_that_is_not_there_counts_nothing(tmp_path: Path) -> None:
    assert written_bytes("/dev/drbd0", tmp_path) is None


def test_devices_of_drbd(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for name in ("vda", "drbd3", "drbd10", "drbdish"):
        tree.folder(f"sys/block/{name}")
    assert replica_devices(tmp_path) == ("/dev/drbd10", "/dev/drbd3")
    assert replica_devices(tmp_path / "nowhere") == ()


def test_any_file_makes_a_host_configured(tmp_path: Path) -> None:
    paths = Paths(main=tmp_path / "agent.toml", folder=tmp_path / "agent.d")
    assert not paths.exist()
    paths.folder.mkdir()
    (paths.folder / "README").touch()
    assert not paths.exist()
    (paths.folder / "home.toml").touch()
    assert paths.exist()
