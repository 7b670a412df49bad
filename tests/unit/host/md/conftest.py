"""The host that these tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.host.disks import (
    MEMBER,
    FakeUdev,
    add_disk,
    set_mounts,
)
from tests.unit.host.md.parts import (
    NAMES,
    Host,
    Mdadm,
)
from tests.unit.host.tree import Tree


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Four attached members, none assembled."""
    tree = Tree(tmp_path)
    set_mounts(tree, "27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw")
    add_disk(tree, "vda", "254:0", serial="root")
    for slot, name in enumerate(NAMES):
        add_disk(tree, name, f"254:{16 * (slot + 1)}", serial=f"alpha-{slot}")
    return Host(tree, FakeUdev(**dict.fromkeys(NAMES, MEMBER)), Mdadm())
