"""What keeps a command from beginning at all is one clear error, never a fault of ours."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import paramiko
import pytest

from storage_agent.cli.terminal import Screen
from storage_agent.coordinator.settings import Settings
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.main import run
from storage_agent.coordinator_cli.wiring import make_coordinator, run_command
from tests.unit.coordinator.pair import make_settings
from tests.unit.service.parts import ThreadClock


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    key = tmp_path / "key"
    paramiko.ECDSAKey.generate().write_private_key_file(str(key))
    state = tmp_path / "state"
    state.mkdir()
    return dataclasses.replace(make_settings(state), key_file=str(key), volumes={})


def status(settings: Settings) -> tuple[int, str]:
    """Exit status, and what it says of why."""
    err = io.StringIO()
    context = Context(
        out=Screen(stream=io.StringIO()),
        err=Screen(stream=err),
        stdin=io.StringIO(),
        clock=ThreadClock(),
        settings=lambda: settings,
        problems=lambda: (),
        coordinator=lambda: make_coordinator(settings),
        offered_key=lambda _host, _timeout_s: ("", b""),
        replace_file=lambda _path, _content: None,
        run_command=run_command,
    )
    return run(("status",), context), err.getvalue()


def damage_record(settings: Settings) -> None:
    (Path(settings.state_folder) / "coordinator.sqlite").write_bytes(b"no database" * 100)


def block_record(settings: Settings) -> None:
    (Path(settings.state_folder) / "coordinator.sqlite").mkdir()


def block_folder(settings: Settings) -> None:
    Path(settings.state_folder).rmdir()
    Path(settings.state_folder).write_text("in the way")


def block_key(settings: Settings) -> None:
    Path(settings.key_file).unlink()
    Path(settings.key_file).mkdir(mode=0o700)


def lose_key(settings: Settings) -> None:
    Path(settings.key_file).unlink()


def test_it_begins(settings: Settings) -> None:
    assert status(settings) == (0, "")


@pytest.mark.parametrize(
    ("harm", "exit_status", "names"),
    [
        (damage_record, 6, "coordinator.sqlite: file is not a database"),
        (block_record, 6, "coordinator.sqlite: unable to open database file"),
        (block_folder, 1, "state: File exists"),
        (block_key, 8, "key:1: Is a directory"),
        (lose_key, 8, "key:1: No such file or directory"),
    ],
)
def test_what_cannot_be_used_is_named(
    settings: Settings, harm: Callable[[Settings], None], exit_status: int, names: str
) -> None:
    harm(settings)
    found, text = status(settings)
    assert found == exit_status
    first, second = text.splitlines()
    assert first.startswith("storage-coordinator: ")
    assert names in first
    assert second.startswith("  try: ")
