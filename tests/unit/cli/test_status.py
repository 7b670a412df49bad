"""The whole human view of `status`, and what of it must be loud."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from storage_agent.cli.rows import is_serving, place_text, volume_rows
from storage_agent.cli.terminal import Tone
from storage_agent.model.errors import AgentError, Missing
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationState, StepOutcome
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.model.wire import to_wire
from tests.unit import incidents
from tests.unit.cli import answers, snapshots
from tests.unit.cli.answers import status_result
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World

SITUATIONS: dict[str, Callable[[], VolumeSnapshot]] = {
    "serving": snapshots.serving,
    "secondary-ready": snapshots.ready,
    "peer-serves": snapshots.secondary,
    "syncing": snapshots.syncing,
    "split-brain": snapshots.split_brain,
    "standing-alone": snapshots.standing_alone,
    "array-degraded": snapshots.degraded,
    "unknown": snapshots.unknown,
    "contradictory": snapshots.contradictory,
    "not-assembled": snapshots.unassembled,
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_whole_view(name: str) -> None:
    world = World()
    world.answers["status"] = status_result(SITUATIONS[name]())
    assert world.run("status") == 0
    assert_golden(f"status-{name}", world.out)
    assert world.err == ""


@pytest.mark.parametrize(
    ("name", "snapshot"),
    [("frozen", snapshots.frozen()), ("denied", snapshots.frozen("deny", 7))],
)
def test_a_frozen_primary_is_loud(name: str, snapshot: VolumeSnapshot) -> None:
    world = World()
    world.local.loaded = incidents.CONFIG
    world.answers["status"] = status_result(snapshot, config=incidents.CONFIG)
    world.run("status")
    assert_golden(f"status-{name}", world.out)


def test_the_first_line_is_the_verdict() -> None:
    world = World()
    world.answers["status"] = status_result(snapshots.serving())
    world.run("status")
    assert world.out.startswith("data: serving on alpha, ready to move to beta\n")


def test_a_running_operation_and_the_agents_own_problems_are_shown() -> None:
    world = World()
    running = answers.record(
        OperationState.RUNNING, StepOutcome.DONE, StepOutcome.RUNNING, message=""
    )
    problem = {"code": "CONFIGURATION", "message": "agent.toml:3: unknown key", "remedy": "mend it"}
    world.answers["status"] = status_result(
        snapshots.secondary(),
        operations=[to_wire(running)],
        problems=[problem],
        unseen=("md: no such folder",),
    )
    world.run("status")
    assert "promote 00000000000000aa: running, mount /srv/data" in world.out
    shown = [
        "!! agent: CONFIGURATION: agent.toml:3: unknown key",
        "      try: mend it",
        "      see: storage-agent explain CONFIGURATION",
    ]
    assert "\n".join(shown) in world.out
    assert "?? unknown: md: no such folder" in world.out


def test_an_old_snapshot_is_called_stale() -> None:
    world = World()
    world.clock.now_s = 1100.0
    world.answers["status"] = status_result(snapshots.serving())
    world.run("status")
    assert "!! STALE: alpha, seen 1m40s ago" in world.out


@pytest.mark.parametrize(
    "name", ["unknown", "contradictory", "split-brain", "standing-alone", "not-assembled"]
)
def test_what_is_wrong_is_loud_and_never_called_ready(name: str) -> None:
    snapshot = SITUATIONS[name]()
    tones = {row.tone for row in volume_rows(snapshot, "beta", None)}
    assert tones & {Tone.BAD, Tone.UNKNOWN}
    world = World()
    world.answers["status"] = status_result(snapshot)
    world.run("status")
    assert "ready" not in world.out.splitlines()[0]


def test_unknown_is_not_serving() -> None:
    assert not is_serving(snapshots.serving(nfs=Unobserved(reason="x")))
    assert place_text(snapshots.unknown()) == "state unknown on alpha"


def test_one_volume_as_json_is_the_daemons_answer_in_the_envelope() -> None:
    world = World()
    world.answers["status"] = status_result(snapshots.serving())
    assert world.run("status", "data", "--json") == 0
    shown = json.loads(world.out)
    assert shown["schema_version"] == 1
    assert shown["ok"] is True
    assert shown["error"] is None
    assert shown["data"] == status_result(snapshots.serving())


def test_an_unknown_volume_names_the_nearest() -> None:
    world = World()
    world.answers["status"] = status_result(snapshots.serving())
    assert world.run("status", "dta") == 2
    assert world.err == (
        "storage-agent: no volume 'dta' is configured on alpha\n  try: did you mean 'data'?\n"
    )


def test_with_the_daemon_down_root_still_sees_the_state() -> None:
    world = World()
    world.down = FileNotFoundError(2, "No such file or directory")
    assert world.run("status") == 0
    assert world.out.startswith("data: serving on alpha")
    assert "by this command" in world.out
    assert_golden("status-daemon-down-stderr", world.err)


def test_with_the_daemon_down_others_are_told_how_to_start_it() -> None:
    world = World(root=False)
    world.down = ConnectionRefusedError(111, "Connection refused")
    assert world.run("status") == 7
    assert "try: as root: systemctl start storage-agent.socket" in world.err


def test_an_answer_of_another_version_is_no_traceback() -> None:
    world = World()
    world.answers["status"] = {"host": "alpha", "snapshot": {"new": 1}, "readiness": {}}
    assert world.run("status") == 1
    assert "the daemon's answer is not understood" in world.err
    assert "Traceback" not in world.err


def test_watch_shows_bar_rate_and_eta() -> None:
    world = World()
    looks = iter([33, 32, 31])

    def answer(_: object) -> object:
        left = next(looks, None)
        if left is None:
            raise KeyboardInterrupt
        at_s = world.clock.now_s
        return status_result(snapshots.syncing(left_bytes=left * snapshots.GIB, at_s=at_s))

    world.answers["status"] = answer
    assert world.run("status", "--watch", "5") == 0
    assert_golden("watch-syncing", world.out)


def test_watch_on_a_terminal_redraws_the_whole_view() -> None:
    world = World(tty=True)
    answers = iter([status_result(snapshots.serving()), KeyboardInterrupt()])
    world.answers["status"] = lambda _: next(answers)
    assert world.run("status", "--watch") == 0
    assert world.out.startswith("\x1b[H\x1b[2Jdata: serving on alpha")


def test_text_from_elsewhere_cannot_steer_the_terminal() -> None:
    world = World()
    hostile = snapshots.serving(replica=Unobserved(reason="x\x1b[2J\rdata: all is well"))
    world.answers["status"] = status_result(hostile)
    world.run("status")
    assert "\x1b" not in world.out
    assert "\r" not in world.out


@pytest.mark.parametrize(
    ("down", "expected"),
    [(PermissionError(13, "Permission denied"), 4), (TimeoutError(), 6), (OSError(5, "I/O"), 7)],
)
def test_what_keeps_us_from_the_daemon_has_its_exit_status(down: OSError, expected: int) -> None:
    world = World(root=False)
    world.down = down
    assert world.run("status") == expected
    assert world.err.startswith("storage-agent: ")
    assert "\n  try: " in world.err


def test_looking_directly_can_fail_too() -> None:
    world = World()
    world.down = FileNotFoundError(2, "No such file or directory")
    world.local.snapshot = Missing("no mdadm", remedy="apt install mdadm")
    assert world.run("status") == 7
    assert isinstance(world.local.snapshot, AgentError)
    assert world.err == "storage-agent: no mdadm\n  try: apt install mdadm\n"
