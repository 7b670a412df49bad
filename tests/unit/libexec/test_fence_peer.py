"""fence-peer says 4 for exactly one situation, and 1 for everything else."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.libexec.conftest import Run, Tool

pytestmark = pytest.mark.processes

BOOT = "4e4c0a0e-4a5c-4b8f-9f7e-0a4a6f3f9d10"
OTHER_BOOT = "11111111-4a5c-4b8f-9f7e-0a4a6f3f9d10"
YES = 4
NO = 1


@dataclass
class Handler:
    """The script in a small world of its own."""

    run: Run
    folder: Path
    env: dict[str, str] = field(default_factory=lambda: {"DRBD_RESOURCE": "home", "DRBD_PEER": "b"})

    @property
    def grants(self) -> Path:
        return self.folder / "run/storage-agent/grants"

    def grant(self, text: str, *, name: str = "home", age_s: float = 0) -> None:
        path = self.grants / name
        path.write_text(text)
        when = time.time() - age_s
        os.utime(path, (when, when))

    def answer(self) -> int:
        return self.run("fence-peer", "none", self.folder, env=self.env).returncode

    def logged(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()


@pytest.fixture
def handler(run_script: Run, tool: Tool, tmp_path: Path) -> Handler:
    (tmp_path / "run/storage-agent/grants").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text(f"{BOOT}\n")
    tool("logger", f"echo \"$*\" >> '{tmp_path}/log'")
    return Handler(run=run_script, folder=tmp_path)


def test_a_promotion_under_way_is_granted(handler: Handler) -> None:
    handler.grant(f"promote {BOOT} op-17\n")
    assert handler.answer() == YES
    assert handler.logged() == [
        "-t storage-agent-fence-peer -p daemon.notice -- "
        "resource home: promotion granted to operation op-17 (exit 4)"
    ]


def test_the_grant_may_lack_its_newline(handler: Handler) -> None:
    handler.grant(f"promote {BOOT} op-17")
    assert handler.answer() == YES


def test_no_grant_is_no_answer(handler: Handler) -> None:
    assert handler.answer() == NO
    assert handler.logged() == [
        "-t storage-agent-fence-peer -p daemon.notice -- "
        "resource home: no fresh grant: no answer (exit 1)"
    ]


def test_a_grant_for_another_resource_does_not_count(handler: Handler) -> None:
    for name in ("home2", "hom", "home.new", "HOME"):
        handler.grant(f"promote {BOOT} op-17\n", name=name)
    assert handler.answer() == NO


@pytest.mark.parametrize("age_s", [121, 3600, -60])
def test_a_grant_left_behind_does_not_count(handler: Handler, age_s: float) -> None:
    handler.grant(f"promote {BOOT} op-17\n", age_s=age_s)
    assert handler.answer() == NO


def test_a_grant_of_another_boot_does_not_count(handler: Handler) -> None:
    handler.grant(f"promote {OTHER_BOOT} op-17\n")
    assert handler.answer() == NO


def test_an_unreadable_boot_id_is_no_answer(handler: Handler) -> None:
    handler.grant("promote  op-17\n")
    (handler.folder / "proc/sys/kernel/random/boot_id").unlink()
    assert handler.answer() == NO


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "promote",
        f"promote {BOOT}",
        f"continue {BOOT} op-17",
        f"promote {BOOT} op-17 more",
        f"promote {BOOT} $(id)",
        f"promote {BOOT[:-1]} op-17",
        f"\npromote {BOOT} op-17\n",
        "\0" * 100,
    ],
)
def test_a_damaged_grant_does_not_count(handler: Handler, text: str) -> None:
    handler.grant(text)
    assert handler.answer() == NO


def test_a_link_is_not_a_grant(handler: Handler) -> None:
    handler.grant(f"promote {BOOT} op-17\n", name="elsewhere")
    (handler.grants / "home").symlink_to("elsewhere")
    assert handler.answer() == NO


@pytest.mark.parametrize(
    "resource", ["", ".", "..", "../grants/home", "-home", "home\n", "ho me", "/etc/passwd"]
)
def test_a_name_that_is_no_resource_is_no_answer(handler: Handler, resource: str) -> None:
    handler.grant(f"promote {BOOT} op-17\n")
    handler.env["DRBD_RESOURCE"] = resource
    assert handler.answer() == NO


def test_without_a_resource_there_is_no_answer(handler: Handler) -> None:
    handler.grant(f"promote {BOOT} op-17\n")
    del handler.env["DRBD_RESOURCE"]
    assert handler.answer() == NO


def test_a_journal_that_hangs_delays_the_answer_by_two_seconds(
    handler: Handler, tool: Tool
) -> None:
    handler.grant(f"promote {BOOT} op-17\n")
    tool("logger", "exec sleep 60")
    begin = time.monotonic()
    assert handler.answer() == YES
    assert time.monotonic() - begin < 30


def test_a_missing_logger_changes_nothing(handler: Handler, tool: Tool) -> None:
    handler.grant(f"promote {BOOT} op-17\n")
    tool("logger", "exit 127")
    assert handler.answer() == YES
