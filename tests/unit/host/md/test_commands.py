from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.host.md.commands import (
    assemble_argv,
    create_argv,
    erase_argv,
    examine_argv,
    readwrite_argv,
    stop_argv,
)
from storage_agent.host.md.ignore import (
    IGNORE_CONFIGURATION,
    render_ignore_configuration,
    write_ignore_configuration,
)
from storage_agent.model.errors import OperationFailed, UsageError
from tests.unit.host.disks import LAB_UUID

PAIR = ("/dev/vdb", "/dev/nvme1n1")
OTHER_UUID = "00000000:22222222:33333333:44444444"


def create(**changes: str) -> tuple[str, ...]:
    chosen = {"device": "/dev/md/data", "level": "raid10", "uuid": LAB_UUID} | changes
    return create_argv(
        chosen["device"], chosen["level"], chosen["uuid"], PAIR, name="data", homehost="alpha"
    )


def test_commands() -> None:
    assert examine_argv(PAIR) == ("mdadm", "--examine", *PAIR)
    assert assemble_argv("/dev/md/data", LAB_UUID, PAIR) == (
        *("mdadm", "--assemble", "--config=none", f"--uuid={LAB_UUID}"),
        *("/dev/md/data", "/dev/vdb", "/dev/nvme1n1"),
    )
    assert stop_argv("md127") == ("mdadm", "--stop", "/dev/md127")
    assert erase_argv("/dev/vdb") == ("mdadm", "--zero-superblock", "/dev/vdb")
    with pytest.raises(UsageError):
        erase_argv("vdb")
    assert readwrite_argv("md127") == ("mdadm", "--readwrite", "/dev/md127")
    assert create() == (
        *("mdadm", "--create", "/dev/md/data", "--config=none", f"--uuid={LAB_UUID}"),
        *("--level=raid10", "--raid-devices=2", "--metadata=1.2", "--bitmap=internal"),
        *("--homehost=alpha", "--name=data", "/dev/vdb", "/dev/nvme1n1"),
    )


def test_nothing_is_ever_forced() -> None:
    forbidden = {"--run", "-R", "--force", "-f", "--scan", "-s", "--zero-superblock"}
    for argv in (create(), assemble_argv("/dev/md/data", LAB_UUID, PAIR), stop_argv("md0")):
        assert not forbidden & set(argv)
        assert "--assume-clean" not in argv


def test_a_person_may_insist_on_one_half() -> None:
    argv = assemble_argv("/dev/md/data", LAB_UUID, PAIR[:1], is_degraded=True)
    assert argv[:3] == ("mdadm", "--assemble", "--run")
    for few in ((), PAIR[:1]):
        with pytest.raises(UsageError, match="or more different members"):
            assemble_argv("/dev/md/data", LAB_UUID, few, is_degraded=not few)


@pytest.mark.parametrize("name", ["md", "vdb", "md127 ", "../md1", "md1/x", "-md1", "md_", ""])
def test_only_kernel_names_are_stopped(name: str) -> None:
    for argv in (stop_argv, readwrite_argv):
        with pytest.raises(UsageError):
            argv(name)


@pytest.mark.parametrize("device", ["data", "/dev/md127", "/dev/md/--run", "/dev/md/a b", "--run"])
def test_only_named_devices_are_assembled(device: str) -> None:
    with pytest.raises(UsageError):
        assemble_argv(device, LAB_UUID, PAIR)
    with pytest.raises(UsageError):
        create(device=device)


@pytest.mark.parametrize(
    "members", [("/dev/vdb",), ("/dev/vdb", "/dev/vdb"), ("--run", "/dev/vdb"), ("vdb", "vdc")]
)
def test_members_are_two_or_more_different_disks(members: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        assemble_argv("/dev/md/data", LAB_UUID, members)


def test_level_and_uuid_are_checked() -> None:
    with pytest.raises(UsageError):
        create(level="raid0")
    with pytest.raises(UsageError):
        create(uuid="x")


def test_ignored_arrays_are_sorted_and_checked() -> None:
    text = render_ignore_configuration((LAB_UUID, OTHER_UUID, LAB_UUID))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [f"ARRAY <ignore> UUID={OTHER_UUID}", f"ARRAY <ignore> UUID={LAB_UUID}"]
    with pytest.raises(UsageError):
        render_ignore_configuration(("x\nARRAY /dev/md/evil",))


def test_the_file_is_written_once_and_readable_by_all(tmp_path: Path) -> None:
    text = render_ignore_configuration((LAB_UUID,))
    path = tmp_path / IGNORE_CONFIGURATION
    assert write_ignore_configuration(text, tmp_path)
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o644
    assert not write_ignore_configuration(text, tmp_path)
    assert write_ignore_configuration(render_ignore_configuration(()), tmp_path)
    assert [entry.name for entry in path.parent.iterdir()] == ["storage-agent.conf"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("in the way")
    with pytest.raises(OperationFailed, match=r"storage-agent\.conf"):
        write_ignore_configuration("", tmp_path)
