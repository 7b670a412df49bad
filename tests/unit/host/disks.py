"""Disks and arrays in a folder that stands for /, built from what was recorded."""

from __future__ import annotations

from collections.abc import Mapping

from storage_agent.host.system.sysfs import Vanished
from tests.unit.host.recorded import KERNEL, recorded
from tests.unit.host.tree import Tree

LAB_UUID = "11111111:22222222:33333333:44444444"
MEMBER = {"ID_FS_TYPE": "linux_raid_member"}


class FakeUdev:
    """udev's database. gone: devices that vanish when they are asked for."""

    def __init__(self, **properties: Mapping[str, str]) -> None:
        self.properties = dict(properties)
        self.gone: set[str] = set()
        self.asked: list[str] = []

    def __call__(self, name: str) -> Mapping[str, str]:
        self.asked.append(name)
        if name in self.gone:
            raise Vanished(name)
        return self.properties.get(name, {})


def add_disk(
    tree: Tree, name: str, number: str, *, serial: str = "", sectors: int = 524288
) -> None:
    """A virtio disk as the 6.1 kernel shows it."""
    at = f"sys/block/{name}"
    tree.write(f"{at}/dev", f"{number}\n")
    tree.write(f"{at}/size", f"{sectors}\n")
    tree.write(f"{at}/diskseq", f"{number.partition(':')[2]}\n")
    tree.write(f"{at}/queue/iostats", "1\n")
    set_writes(tree, name, 0)
    tree.folder(f"{at}/holders")
    if serial:
        tree.write(f"{at}/serial", serial)


def set_writes(tree: Tree, name: str, count: int) -> None:
    fields = ["97", "0", "4184", "27", str(count), "0", str(8 * count), *["0"] * 10]
    tree.write(f"sys/block/{name}/stat", "   ".join(fields) + "\n")


def add_array(tree: Tree, name: str, situation: str) -> None:
    """From a recording of /sys/block/mdN/md (and of `size` and `ro` above it)."""
    for line in recorded("sysfs-md", KERNEL, situation).stdout.splitlines():
        path, _, value = line.partition(":")
        folder = f"sys/block/{name}" if path.startswith("../") else f"sys/block/{name}/md"
        tree.write(f"{folder}/{path.lstrip('./')}", value + "\n")
    # grep prints nothing for an empty attribute.
    for attribute in ("level", "raid_disks"):
        if not (tree.root / f"sys/block/{name}/md/{attribute}").exists():
            tree.write(f"sys/block/{name}/md/{attribute}", "")


def set_mounts(tree: Tree, *lines: str) -> None:
    tree.write("proc/1/mountinfo", "".join(line + "\n" for line in lines))
