"""A tree of recorded attributes and a runner that answers like mdadm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from storage_agent.host.block.devices import Block
from storage_agent.host.md.adapter import MdRaid
from storage_agent.model.configuration import ArrayConfig
from tests.unit.host.disks import (
    LAB_UUID,
    FakeUdev,
    add_array,
)
from tests.unit.host.recorded import Answer, AnsweringRunner, recorded
from tests.unit.host.tree import Tree

NAMES = ("vdb", "vdc", "vdd", "vde")
PATHS = tuple(f"/dev/{name}" for name in NAMES)
SERIALS = tuple(f"alpha-{slot}" for slot in range(4))
CONFIG = ArrayConfig(
    level="raid10", disks={"alpha": SERIALS, "beta": ("beta-0",)}, uuid={"alpha": LAB_UUID}
)
RECORDED_UUID = "e910cd47:3ae48c54:752ea18f:2fa8e3eb"


def recorded_sections() -> dict[str, str]:
    text = recorded("mdadm-examine", "4.2", "raid10-four-members-and-root-alpha").stdout
    parts = text.split("/dev/")[1:]
    return {f"/dev/{part.partition(':')[0]}": f"/dev/{part}" for part in parts}


class Mdadm(AnsweringRunner):
    """Answers --examine from `sections`; what else it is asked to do fails as `failures` say."""

    def __init__(self) -> None:
        super().__init__()
        self.sections = recorded_sections()
        self.unreadable: set[str] = set()
        self.failures: list[str] = []
        self.answered: list[bytes] = []

    def answer(self, argv: tuple[str, ...], stdin: bytes) -> Answer:
        self.answered.append(stdin)
        if argv[1] == "--examine":
            return self.examine(argv[2:])
        return Answer(1, "", self.failures.pop(0)) if self.failures else Answer()

    def examine(self, paths: Sequence[str]) -> Answer:
        stdout = "".join(self.sections.get(path, "") for path in paths)
        lacking = [path for path in paths if path not in self.sections]
        stderr = "".join(
            f"mdadm: cannot open {path}: Input/output error\n"
            if path in self.unreadable
            else f"mdadm: No md superblock detected on {path}.\n"
            for path in lacking
        )
        return Answer(1 if lacking else 0, stdout, stderr)

    def examined(self) -> list[tuple[str, ...]]:
        return [argv[2:] for argv in self.asked if argv[1] == "--examine"]


@dataclasses.dataclass
class Host:
    tree: Tree
    udev: FakeUdev
    mdadm: Mdadm

    def md(self) -> MdRaid:
        return MdRaid(self.mdadm, Block(self.tree.root, self.udev), self.tree.root)

    def unplug(self, name: str) -> None:
        for path in sorted((self.tree.root / f"sys/block/{name}").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (self.tree.root / f"sys/block/{name}").rmdir()

    def set(self, attribute: str, value: str) -> None:
        self.tree.write(f"sys/block/md127/md/{attribute}", value + "\n")


def run_array(host: Host, situation: str = "raid10-initial-resync-alpha") -> None:
    add_array(host.tree, "md127", situation)
    host.set("uuid", LAB_UUID.replace(":", ""))
