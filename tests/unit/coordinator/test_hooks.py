"""The site's own executables: real ones, before and after a move, and what their failures mean."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.failover import fail_over
from storage_agent.coordinator.hooks import Giving, Hooks, executables
from storage_agent.coordinator.switchover import switch_over
from storage_agent.coordinator_cli.wiring import run_command
from storage_agent.model.errors import ConfigurationError, OperationFailed, Refused
from storage_agent.model.plan import StepKind
from tests.unit.coordinator.pair import VOLUME, Killed, Pair, make_coordinator, performed

pytestmark = pytest.mark.processes
GIVING = Giving(operation="switchover", volume="office/data", source="alpha", target="beta")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "hooks.d"
    found.mkdir(mode=0o755)
    return found


def write(folder: Path, name: str, body: str = "", *, mode: int = 0o755) -> Path:
    """An executable that also notes how it was called."""
    path = folder / name
    log = folder.parent / "called"
    path.write_text(f'#!/bin/sh\n{{ echo "{name} $*"; cat; }} >>{log}\n{body}\n')
    path.chmod(mode)
    return path


def called(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    log = folder.parent / "called"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(one, json.loads(two)) for one, two in zip(lines[::2], lines[1::2], strict=True)]


def points(folder: Path) -> list[str]:
    return [words for words, _ in called(folder)]


# --- around a move -------------------------------------------------------------------------------


def test_before_and_after_a_switchover(pair: Pair, coordinator: Coordinator, folder: Path) -> None:
    write(folder, "20-pager")
    write(folder, "10-address")
    moved = switch_over(coordinator, VOLUME, "beta")
    assert moved.are_hooks_done
    assert points(folder) == [
        "10-address pre-promote",
        "20-pager pre-promote",
        "10-address post-promote",
        "20-pager post-promote",
    ]
    (_, before), *_, (_, after) = called(folder)
    assert before == {
        "point": "pre-promote",
        "is_dry_run": False,
        "operation": "switchover",
        "volume": "office/data",
        "source": "alpha",
        "target": "beta",
        "automatic": False,
    }
    assert (after["is_serving"], after["failure"]) == (True, "")


def test_one_that_is_against_it_stops_it_before_anything_is_changed(
    pair: Pair, coordinator: Coordinator, folder: Path
) -> None:
    write(folder, "10-volume", 'echo "the volume is attached elsewhere" >&2; exit 3')
    write(folder, "20-late")
    before = coordinator.store.get(VOLUME.key)
    with pytest.raises(Refused, match="10-volume is against it: the volume is attached elsewhere"):
        switch_over(coordinator, VOLUME, "beta")
    assert points(folder) == ["10-volume pre-promote"]
    assert coordinator.store.get(VOLUME.key) == before
    assert performed(pair, "alpha") == performed(pair, "beta") == []
    pair.kill("alpha")
    with pytest.raises(Refused) as caught:
        fail_over(coordinator, VOLUME, "beta")
    assert caught.value.code == "HOOK_REFUSED"
    assert coordinator.store.get(VOLUME.key) == before


def test_one_that_fails_afterwards_is_told_and_undoes_nothing(
    pair: Pair, coordinator: Coordinator, folder: Path
) -> None:
    write(folder, "10-address", '[ "$1" != post-promote ] || exit 7')
    write(folder, "20-pager")
    moved = switch_over(coordinator, VOLUME, "beta")
    assert not moved.are_hooks_done
    assert pair.serving() == ["beta"]
    assert pair.hook_failures == ["the hook 10-address failed at post-promote: exit 7"]
    assert points(folder)[-1] == "20-pager post-promote"


def test_a_failover_says_who_asked(pair: Pair, coordinator: Coordinator, folder: Path) -> None:
    write(folder, "address")
    pair.kill("alpha")
    fail_over(coordinator, VOLUME, "beta", automatic=True)
    (_, before), (_, after) = called(folder)
    assert (before["operation"], before["automatic"]) == ("failover", True)
    assert after["is_serving"]


def test_a_move_that_fails_is_told_too(
    pair: Pair, coordinator: Coordinator, folder: Path
) -> None:  # fmt: skip
    def fail() -> None:
        raise OperationFailed("nfsd does not start")

    write(folder, "address")
    pair.hosts["beta"].faults[StepKind.START_SERVER] = fail
    with pytest.raises(OperationFailed):
        switch_over(coordinator, VOLUME, "beta")
    _, (_, after) = called(folder)
    assert not after["is_serving"]
    assert "serves from alpha again" in after["failure"]


def test_killed_before_the_end_was_recorded_they_are_called_again(
    pair: Pair, coordinator: Coordinator, folder: Path
) -> None:
    def die(_host: str, _method: str) -> None:
        # The look after the promotion.
        if pair.serving() == ["beta"]:
            raise Killed

    write(folder, "address")
    pair.before = die
    with pytest.raises(Killed):
        switch_over(coordinator, VOLUME, "beta")
    pair.before = lambda _host, _method: None
    assert points(folder) == ["address pre-promote"]
    again = make_coordinator(pair)
    assert switch_over(again, VOLUME, "beta").is_already
    assert points(folder)[1:] == ["address post-promote"]
    assert switch_over(again, VOLUME, "beta").is_already
    assert len(points(folder)) == 2


# --- one directory -------------------------------------------------------------------------------


def test_a_dry_run_is_another_word(folder: Path) -> None:
    write(folder, "address", '[ "$1" != dry-run ] || echo "would move it" >&2')
    write(folder, "naive", '[ "$1" != pre-promote ] || exit 9')
    said = Hooks(folder, run_command, 5, pytest.fail).dry_run(GIVING)
    assert said == (
        "pre-promote address: would move it",
        "pre-promote naive: exit 0",
        "post-promote address: would move it",
        "post-promote naive: exit 0",
    )
    assert points(folder)[0] == "address dry-run pre-promote"
    assert all(document["is_dry_run"] for _, document in called(folder))


def test_events(folder: Path) -> None:
    failures: list[str] = []
    write(folder, "pager", "exit 1")
    assert not Hooks(folder, run_command, 5, failures.append).event({"kind": "host"})
    assert called(folder) == [("pager event", {"kind": "host", "point": "event",
                                               "is_dry_run": False})]  # fmt: skip
    assert failures == ["the hook pager failed at event: exit 1"]


def test_the_deadline_holds(folder: Path) -> None:
    failures: list[str] = []
    write(folder, "hangs", "exec sleep 600")
    hooks = Hooks(folder, run_command, 0.2, failures.append)
    assert not hooks.event({})
    assert "no answer within 0.2 s" in failures[0]
    with pytest.raises(Refused, match="no answer within"):
        hooks.before(GIVING)


def test_one_that_cannot_be_started(folder: Path) -> None:
    path = folder / "odd"
    path.write_text("#!/nonexistent\n")
    path.chmod(0o755)
    with pytest.raises(Refused, match="odd is against it"):
        Hooks(folder, run_command, 5, pytest.fail).before(GIVING)


def test_what_is_called_and_what_is_not(folder: Path) -> None:
    for name in ("b", "a", "c~", ".d", "e.dpkg-old"):
        write(folder, name)
    write(folder, "README", mode=0o644)
    assert [path.name for path in executables(folder)] == ["a", "b"]
    assert executables(folder / "nowhere") == ()


@pytest.mark.parametrize("how", ["group", "others", "owner", "link", "folder"])
def test_what_others_could_change_is_never_called(folder: Path, how: str) -> None:
    path = write(folder, "address")
    if how in ("group", "others"):
        path.chmod(0o775 if how == "group" else 0o757)
    elif how == "owner":
        os.chown(path, 12345, 12345)
    elif how == "link":
        path.rename(folder.parent / "elsewhere")
        path.symlink_to(folder.parent / "elsewhere")
    else:
        folder.chmod(0o777)
    failures: list[str] = []
    hooks = Hooks(folder, run_command, 5, failures.append)
    with pytest.raises(ConfigurationError) as caught:
        hooks.before(GIVING)
    assert caught.value.code == "HOOK_UNSAFE"
    assert not hooks.event({})
    assert "no hook was called" in failures[0]
    assert called(folder) == []


def test_a_folder_and_what_is_not_called_refuse_no_move_and_are_told(
    pair: Pair, coordinator: Coordinator, folder: Path
) -> None:
    write(folder, "10-address")
    write(folder, "20-veto.sh")
    write(folder, "30-off", mode=0o644)
    (folder / "old").mkdir(mode=0o755)
    switch_over(coordinator, VOLUME, "beta")
    assert points(folder) == ["10-address pre-promote", "10-address post-promote"]
    assert [text.removeprefix(f"{folder}/") for text in pair.hook_failures] == [
        "20-veto.sh is never called: its name has other signs than letters, digits, _ and -",
        "30-off is never called: it is not executable",
        "old is never called: it is a folder",
    ]


def test_a_link_may_have_been_meant_as_a_veto(
    pair: Pair, coordinator: Coordinator, folder: Path
) -> None:
    (folder / "10-veto").symlink_to(folder / "nowhere")
    with pytest.raises(ConfigurationError) as caught:
        switch_over(coordinator, VOLUME, "beta")
    assert caught.value.code == "HOOK_UNSAFE"
    assert pair.serving() == ["alpha"]


def test_a_folder_that_is_gone_vetoes_until_somebody_says_that_it_shall_be(folder: Path) -> None:
    said: list[str] = []
    hooks = Hooks(folder, run_command, 5, said.append, seen=folder.parent / "hooks-seen")
    path = write(folder, "10-address")
    hooks.before(GIVING)
    path.unlink()
    folder.rmdir()
    with pytest.raises(ConfigurationError) as caught:
        hooks.before(GIVING)
    assert caught.value.code == "HOOKS_MISSING"
    assert not hooks.after(GIVING, "")
    assert caught.value.remedy.endswith(f"mkdir -m 755 {folder}")
    folder.mkdir(mode=0o755)
    hooks.before(GIVING)


def test_a_folder_that_is_named_must_be_there(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    Hooks(gone, run_command, 5, pytest.fail).before(GIVING)
    with pytest.raises(ConfigurationError):
        Hooks(gone, run_command, 5, pytest.fail, is_wanted=True).before(GIVING)
