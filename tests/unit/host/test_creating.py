"""What `create` writes to the host's files, and what `--abandon` erases."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from storage_agent.host.block.devices import Block, device_signatures, is_claimed
from storage_agent.host.creating import Creating
from storage_agent.host.drbd.adapter import Drbd
from storage_agent.host.drbd.guards import GuardReader
from storage_agent.host.filesystem.adapter import Filesystem
from storage_agent.host.md.adapter import MdRaid
from storage_agent.host.md.ignore import IGNORE_CONFIGURATION
from storage_agent.host.md.seen import SeenRecords
from storage_agent.host.nfs.adapter import NfsObserver
from storage_agent.host.system.services import Services
from storage_agent.host.tools import Tools
from storage_agent.model.errors import Missing, OperationFailed, ParseError, Refused
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind, StepKind
from tests.unit.fakes import FILESYSTEM_UUID, MemoryStore, agent_config, volume_config
from tests.unit.host.disks import FakeUdev
from tests.unit.host.recorded import Answer, AnsweringRunner, Argv
from tests.unit.host.tree import Tree

VOLUME = dataclasses.replace(volume_config(), mount_point="/srv/data")
LOCAL = dataclasses.replace(VOLUME, replica=None)
REQUEST = OperationRequest(kind=OperationKind.CREATE, volume="data", operation_id="x")
OURS = {"type": "ext4", "uuid": FILESYSTEM_UUID}


def signatures(*found: dict[str, str]) -> Answer:
    return Answer(0, json.dumps({"signatures": list(found)}))


class Script(AnsweringRunner):
    """wipefs answers one after the other; all else is silent."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__()
        self.answers = list(answers)

    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        if argv[:2] == ("wipefs", "--no-act"):
            return self.answers.pop(0)
        return Answer()


def creating(root: Path, runner: AnsweringRunner) -> Creating:
    tree = Tree(root)
    tree.folder("sys/block")
    tree.folder("etc/drbd.d")
    tree.folder("srv")
    tree.write("etc/drbd.conf", 'include "drbd.d/*.res";\n')
    tree.write("proc/1/mountinfo", "")
    tree.write("sys/module/drbd/version", "8.4.11\n")
    block = Block(root, FakeUdev())
    drbd = Drbd(runner, root)
    tools = Tools(
        runner=runner,
        block=block,
        md=MdRaid(runner, block, root),
        drbd=drbd,
        guards=GuardReader(drbd),
        filesystem=Filesystem(runner, root),
        services=Services(runner),
        nfs=NfsObserver(root),
        seen=SeenRecords(MemoryStore(), is_writer=True),
        root=root,
        markers={},
    )
    return Creating(agent_config(VOLUME), tools)


def perform(made: Creating, kind: StepKind) -> None:
    made.acts()[kind](VOLUME, REQUEST, 5.0)


def test_files_are_written_and_exactly_they_are_taken_back(tmp_path: Path) -> None:
    made = creating(tmp_path, Script())
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    perform(made, StepKind.WRITE_CONFIGURATION)
    resource = tmp_path / "etc/drbd.d/storage-agent-data.res"
    assert "resource data {" in resource.read_text()
    assert (tmp_path / "etc/storage-agent/agent.d/data.toml").exists()
    assert "ARRAY <ignore>" in (tmp_path / IGNORE_CONFIGURATION).read_text()
    perform(made, StepKind.WRITE_CONFIGURATION)
    perform(made, StepKind.REMOVE_CONFIGURATION)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "srv/data").exists()


def test_the_lines_of_other_volumes_stay(tmp_path: Path) -> None:
    made = creating(tmp_path, Script())
    other = dataclasses.replace(
        VOLUME, name="logs", array=dataclasses.replace(VOLUME.array, uuid={"alpha": "1:1:1:1"})
    )
    other = dataclasses.replace(
        other,
        array=dataclasses.replace(
            other.array, uuid={"alpha": "aaaaaaaa:22222222:33333333:44444444"}
        ),
    )
    made = Creating(agent_config(VOLUME, other), made._tools)
    perform(made, StepKind.WRITE_CONFIGURATION)
    perform(made, StepKind.REMOVE_CONFIGURATION)
    text = (tmp_path / IGNORE_CONFIGURATION).read_text()
    assert text.count("ARRAY <ignore>") == 1
    assert "aaaaaaaa" in text


def test_without_the_module_nothing_is_rendered(tmp_path: Path) -> None:
    made = creating(tmp_path, Script())
    (tmp_path / "sys/module/drbd/version").unlink()
    with pytest.raises(Missing, match="module drbd"):
        made.write_resource(VOLUME)


def test_only_what_create_wrote_is_erased(tmp_path: Path) -> None:
    runner = Script(signatures(OURS, {"type": "drbd", "uuid": "1f"}), Answer(0, ""))
    perform(creating(tmp_path, runner), StepKind.ERASE_CONTENT)
    erased = [argv for argv in runner.asked if "--no-act" not in argv and "/dev/md/data" in argv]
    assert erased == [
        # What an interrupted mkfs left without a signature, where create-md looks.
        ("blkdiscard", "--zeroout", "--offset", "0", "--length", "69632", "--", "/dev/md/data"),
        ("wipefs", "--all", "--", "/dev/md/data"),
    ]


def test_without_drbds_metadata_nobody_has_seen_that_it_was_blank(tmp_path: Path) -> None:
    runner = Script(signatures(OURS), Answer(0, ""))
    perform(creating(tmp_path, runner), StepKind.ERASE_CONTENT)
    assert not [argv for argv in runner.asked if argv[0] == "blkdiscard"]
    assert ("wipefs", "--all", "--", "/dev/md/data") in runner.asked


class Metadata(Script):
    """get-gi as drbdadm answers it: silent and 1 where there are none."""

    def __init__(self, gi: Answer, *answers: Answer) -> None:
        super().__init__(*answers)
        self.gi = gi

    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        return self.gi if argv[:2] == ("drbdadm", "get-gi") else super().answer(argv, stdin)


def test_a_copy_without_metadata_is_given_up_to_where_create_md_looks(tmp_path: Path) -> None:
    runner = Metadata(Answer(1), signatures(OURS), Answer(0, ""))
    perform(creating(tmp_path, runner), StepKind.GIVE_UP_COPY)
    tools = [argv[0] for argv in runner.asked]
    assert tools == ["drbdadm", "wipefs", "blkdiscard", "wipefs", "wipefs"]


def test_one_with_metadata_is_not(tmp_path: Path) -> None:
    gi = "19DAE8C5A98D62E0:0000000000000000:9213B9897D510335:9212B9897D510335:1:1:0:1:0:0:0\n"
    runner = Metadata(Answer(0, gi))
    with pytest.raises(Refused, match="nothing was erased") as raised:
        perform(creating(tmp_path, runner), StepKind.GIVE_UP_COPY)
    assert raised.value.code == "METADATA_PRESENT"
    assert len(runner.asked) == 1


def test_a_disk_that_drbd_does_not_hold_speaks_for_itself(tmp_path: Path) -> None:
    """drbdadm would ask the kernel of a resource that is up without its disk."""
    runner = Script(signatures(OURS), Answer(0, ""))
    made = creating(tmp_path, runner)
    (tmp_path / "dev/md").mkdir(parents=True)
    (tmp_path / "dev/md/data").write_bytes(bytes(8192))
    (tmp_path / "sys/block/data/holders").mkdir(parents=True)
    perform(made, StepKind.GIVE_UP_COPY)
    assert ("wipefs", "--all", "--", "/dev/md/data") in runner.asked
    perform(made, StepKind.MAKE_METADATA)
    assert runner.asked[-1] == ("drbdadm", "create-md", "data")
    (tmp_path / "dev/md/data").write_bytes(
        bytes(4096 + 60) + bytes.fromhex("8374026c") + bytes(4032)
    )
    perform(made, StepKind.MAKE_METADATA)
    assert runner.asked[-1] == ("drbdadm", "create-md", "data")
    assert ("drbdadm", "get-gi", "data") not in runner.asked


def test_another_filesystem_is_no_copy_of_it(tmp_path: Path) -> None:
    runner = Metadata(Answer(1), signatures({"type": "xfs", "uuid": "1-2"}))
    with pytest.raises(Refused, match="did not write"):
        perform(creating(tmp_path, runner), StepKind.GIVE_UP_COPY)


def test_the_good_copy_is_seen_by_connecting_without_a_disk(tmp_path: Path) -> None:
    runner = Script()
    perform(creating(tmp_path, runner), StepKind.SEE_GOOD_COPY)
    assert runner.asked[-2:] == [("drbdadm", "adjust", "data"), ("drbdadm", "connect", "data")]


def test_what_create_did_not_write_is_not_erased(tmp_path: Path) -> None:
    runner = Script(signatures(OURS, {"type": "ext4", "uuid": "another"}))
    with pytest.raises(Refused, match="ext4 another"):
        perform(creating(tmp_path, runner), StepKind.ERASE_CONTENT)
    assert [argv[1] for argv in runner.asked if argv[0] == "wipefs"] == ["--no-act"]


def test_what_is_still_there_afterwards_is_told(tmp_path: Path) -> None:
    runner = Script(signatures(OURS), signatures(OURS))
    with pytest.raises(OperationFailed, match="still carries ext4"):
        perform(creating(tmp_path, runner), StepKind.ERASE_CONTENT)


def test_nothing_there_is_nothing_to_erase(tmp_path: Path) -> None:
    runner = Script(Answer(0, ""), Answer(0, ""))
    perform(creating(tmp_path, runner), StepKind.ERASE_CONTENT)
    assert all(argv[1] == "--no-act" for argv in runner.asked if argv[0] == "wipefs")


def test_a_look_at_what_is_not_there(tmp_path: Path) -> None:
    found = creating(tmp_path, Script()).look(LOCAL)
    assert (found.files, found.signatures, found.generation, found.is_pristine) == (
        {}, None, None, None,
    )  # fmt: skip


def test_a_look_that_fails_is_a_fact(tmp_path: Path) -> None:
    made = creating(tmp_path, Script())
    (tmp_path / "var/lib/storage-agent").mkdir(parents=True)
    (tmp_path / "var/lib/storage-agent/made-data").write_text("{")
    assert isinstance(made.look(LOCAL).files, Unobserved)


def test_signatures_of_one_device() -> None:
    found = device_signatures(Script(signatures(OURS, {"type": "drbd"})), "/dev/x", timeout_s=1)
    assert found == (("ext4", FILESYSTEM_UUID), ("drbd", ""))
    for broken in ("[", '{"signatures": [7]}', "{}"):
        with pytest.raises(ParseError):
            device_signatures(Script(Answer(0, broken)), "/dev/x", timeout_s=1)


def test_who_has_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").write_text("")
    assert not is_claimed(str(tmp_path / "disk"))

    def busy(*_: object) -> int:
        raise OSError(16, "busy")

    def gone(*_: object) -> int:
        raise OSError(6, "no such device")

    monkeypatch.setattr("os.open", busy)
    assert is_claimed("/dev/x")
    monkeypatch.setattr("os.open", gone)
    with pytest.raises(OSError, match="no such device"):
        is_claimed("/dev/x")
