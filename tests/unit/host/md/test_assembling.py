"""MdRaid: what it asks mdadm to do."""

from __future__ import annotations

import pytest

from storage_agent.model.errors import (
    CommandFailed,
    OperationFailed,
)
from tests.unit.host.disks import (
    LAB_UUID,
)
from tests.unit.host.md.parts import (
    CONFIG,
    PATHS,
    Host,
    run_array,
)


def test_assemble_that_runs_complete(host: Host) -> None:
    run_array(host)
    host.md().assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)
    assert [argv[1] for argv in host.mdadm.asked] == ["--assemble"]


def test_assemble_stops_what_runs_without_a_named_member(host: Host) -> None:
    run_array(host, "raid10-member-unplugged-alpha")
    with pytest.raises(OperationFailed, match="vdd") as caught:
        host.md().assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)
    assert caught.value.code == "ASSEMBLED_DEGRADED"
    assert host.mdadm.asked[-1] == ("mdadm", "--stop", "/dev/md127")


def test_a_degraded_start_insists_on_what_is_named(host: Host) -> None:
    run_array(host, "raid10-member-unplugged-alpha")
    three = ("/dev/vdb", "/dev/vdc", "/dev/vde")
    host.md().assemble("/dev/md/data", LAB_UUID, three, is_degraded=True, timeout_s=30)
    assert host.mdadm.asked == [
        ("mdadm", "--assemble", "--run", "--config=none", f"--uuid={LAB_UUID}", "/dev/md/data",
         *three)
    ]  # fmt: skip


def test_a_member_whose_rebuilding_was_interrupted_is_no_reason_to_stop(host: Host) -> None:
    """As recorded: its slot, and `spare`."""
    run_array(host)
    host.tree.write("sys/block/md127/md/dev-vdd/state", "spare\n")
    host.md().assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)
    assert [argv[1] for argv in host.mdadm.asked] == ["--assemble"]


def test_assemble_that_fails_says_why(host: Host) -> None:
    host.mdadm.failures = ["mdadm: /dev/vdb is busy - skipping\n"]
    with pytest.raises(CommandFailed, match="busy"):
        host.md().assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)


def create(host: Host, level: str) -> None:
    host.md().create(
        "/dev/md/data", level, LAB_UUID, PATHS, name="data", homehost="alpha", timeout_s=30
    )


def test_what_writes_to_sysfs_is_done_outside_the_unit(host: Host) -> None:
    run_array(host)
    md = host.md()
    md.assemble("/dev/md/data", LAB_UUID, PATHS, timeout_s=30)
    md.readwrite("md127", timeout_s=30)
    md.stop("md127", timeout_s=30)
    create(host, "raid10")
    assert len(host.mdadm.outside) == 4
    md.erase("/dev/vdb", timeout_s=30)
    md.view(CONFIG, "alpha")
    assert len(host.mdadm.outside) == 4


def test_create_answers_no_question(host: Host) -> None:
    host.mdadm.failures = ["mdadm: /dev/vdb appears to be part of a raid array\n"]
    with pytest.raises(CommandFailed, match="appears to be"):
        create(host, "raid10")
    assert host.mdadm.answered == [b""]
