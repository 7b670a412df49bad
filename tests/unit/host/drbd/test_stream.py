"""The merged events2 stream, on recorded streams of both drivers."""

from __future__ import annotations

import pytest

from storage_agent.host.drbd import EventStream, HelperCall, stream_argv
from storage_agent.model.replica import ConnectionState, DiskState, Replica, Role
from tests.unit.host.drbd_recorded import Recorded, all_recorded, in_words, recorded

SLUG = "drbdsetup-events2-stream"
R0 = frozenset({"r0"})
# Its file ends in zeroes: the guest was switched off while it was written.
TORN = "suspended-no-data-alpha"
WHOLE = [
    (version, seen)
    for version in ("8.4.11", "9.1.23")
    for seen in all_recorded(SLUG, version)
    if (version, seen.name) != ("9.1.23", TORN)
]
IDS = [f"{version}-{seen.name}" for version, seen in WHOLE]
SNAPSHOT = (
    "exists resource name:r0 role:Secondary suspended:no write-ordering:flush\n"
    "exists connection name:r0 peer-node-id:0 conn-name:peer connection:Connected role:Primary"
    " congested:no\n"
    "exists device name:r0 volume:0 minor:4 disk:UpToDate size:1024\n"
    "exists peer-device name:r0 peer-node-id:0 conn-name:peer volume:0 replication:Established"
    " peer-disk:UpToDate resync-suspended:no out-of-sync:0\n"
    "exists -\n"
)


def stream(version: str = "8.4.11") -> EventStream:
    events = EventStream(version, R0)
    assert set(events.feed(SNAPSHOT).replicas()) == R0
    return events


def states_of(version: str, name: str) -> list[Replica | None]:
    update = EventStream(version, R0).feed(recorded(SLUG, version, name).stdout)
    assert update.resync == ""
    return [replica for _, replica in update.states]


@pytest.mark.parametrize(("version", "seen"), WHOLE, ids=IDS)
def test_every_recorded_stream_in_chunks_of_any_size(version: str, seen: Recorded) -> None:
    at_once = EventStream(version, R0)
    expected = at_once.feed(seen.stdout)
    assert expected.resync == ""
    assert at_once.complete
    for size in (1, 7, 100, 4096):
        events = EventStream(version, R0)
        raw = seen.stdout.encode()
        updates = [events.feed(raw[at : at + size]) for at in range(0, len(raw), size)]
        assert sum((u.states for u in updates), ()) == expected.states
        assert sum((u.helpers for u in updates), ()) == expected.helpers
        assert events.replicas() == at_once.replicas() == expected.replicas()


def test_from_nothing_to_in_sync() -> None:
    states = states_of("8.4.11", "connect-sync-primary-alpha")
    assert states[0] is None
    assert in_words(states[-1]) == (
        "Primary UpToDate 131032 | Connected Secondary UpToDate Established 0"
    )
    assert [s for s in states if s is not None and s.in_sync()] == states[-1:]


def test_a_fenced_primary_freezes_and_flows_again() -> None:
    states = [s for s in states_of("8.4.11", "fencing-alpha") if s is not None]
    reasons = [s.suspended for s in states]
    assert reasons[0] == () == reasons[-1]
    assert ("fencing",) in reasons
    frozen = [s for s in states if s.suspended]
    # The first mixes old and new: `suspended` has come, the lost connection has not yet.
    assert [s.in_sync() for s in frozen[:2]] == [True, False]
    assert not any(s.in_sync() for s in frozen[1:])


def test_helpers_are_told_with_their_exit_status() -> None:
    update = EventStream("8.4.11", R0).feed(recorded(SLUG, "8.4.11", "fencing-alpha").stdout)
    assert update.helpers[:2] == (
        HelperCall(resource="r0", helper="fence-peer", exit_status=None),
        HelperCall(resource="r0", helper="fence-peer", exit_status=4),
    )
    killed = stream().feed("response helper name:r0 helper:fence-peer status:9\n")
    assert killed.helpers[0].exit_status == -9
    assert stream().feed("response helper name:r0 helper:x status:many\n").resync


def test_split_brain_on_8_4_ends_standalone_although_the_connection_is_destroyed() -> None:
    last = states_of("8.4.11", "split-brain-alpha")[-1]
    assert in_words(last) == "Primary UpToDate 131032 | StandAlone Unknown DUnknown Off ?"
    assert last is not None
    assert last.peer is not None
    assert last.peer.connection is ConnectionState.STANDALONE


def test_standalone_8_4_connection_is_created_again_by_connect() -> None:
    states = states_of("8.4.11", "split-brain-recovery-beta")
    assert in_words(states[0]).endswith("| StandAlone Unknown DUnknown Off 512")
    assert in_words(states[-1]).endswith("| Connected Primary UpToDate Established 0")


def test_a_disk_that_fails_and_returns_within_one_chunk_is_not_hidden() -> None:
    update = stream().feed(
        "change device name:r0 volume:0 minor:4 disk:Failed\n"
        "change device name:r0 volume:0 minor:4 disk:Diskless\n"
        "change device name:r0 volume:0 minor:4 disk:UpToDate\n"
    )
    disks = [replica.disk for _, replica in update.states if replica]
    assert disks == [DiskState.FAILED, DiskState.DISKLESS, DiskState.UP_TO_DATE]
    newest = update.replicas()["r0"]
    assert newest is not None
    assert newest.disk is DiskState.UP_TO_DATE


def test_nothing_is_told_before_the_snapshot_is_complete() -> None:
    events = EventStream("8.4.11", R0)
    first, end = SNAPSHOT[:-9], SNAPSHOT[-9:]
    assert events.feed(first).states == ()
    assert not events.complete
    assert events.replicas() == {}
    assert set(events.feed(end).replicas()) == R0


def test_an_empty_snapshot_says_not_configured() -> None:
    assert EventStream("8.4.11", R0).feed("exists -\n").states == (("r0", None),)


def test_a_change_of_nothing_is_no_update() -> None:
    assert stream().feed("change resource name:r0\n").states == ()
    assert stream().feed("change device name:r0 volume:0 minor:4 read:99\n").states == ()


def test_other_resources_are_not_looked_at() -> None:
    update = stream().feed(
        "create resource name:r1 role:Quantum suspended:no\n"
        "change resource name:r7 role:Primary\n"
        "rename resource name:r1 new_name:r2\n"
    )
    assert update.states == ()
    assert update.resync == ""


def test_down_step_by_step() -> None:
    events = stream()
    updates = [
        events.feed(f"{line}\n").replicas()
        for line in (
            "change connection name:r0 peer-node-id:0 conn-name:peer connection:StandAlone"
            " role:Unknown",
            "destroy peer-device name:r0 peer-node-id:0 conn-name:peer volume:0",
            "destroy connection name:r0 peer-node-id:0 conn-name:peer",
            "change device name:r0 volume:0 minor:4 disk:Diskless",
            "destroy device name:r0 volume:0 minor:4",
            "destroy resource name:r0",
        )
    ]
    assert updates[4] == {"r0": None}
    assert updates[5] == {}
    assert events.replicas() == {"r0": None}
    again = events.feed(
        "create resource name:r0 role:Secondary suspended:no\n"
        "create device name:r0 volume:0 minor:4 disk:Diskless size:0\n"
    ).replicas()
    assert in_words(again["r0"]) == "Secondary Diskless ? | StandAlone Unknown DUnknown Off ?"


@pytest.mark.parametrize(
    "line",
    [
        "- skipped 3",
        "2026-11-21T00:29:29.851556+00:00 - skipped 3",
        "rename resource name:r0 new_name:r1",
        "change device name:r0 volume:1 minor:5 disk:UpToDate",
        "change connection name:r0 peer-node-id:9 connection:Connected",
        "exists resource name:r0 role:Primary suspended:no",
        "change device name:r0",
        "change device",
        "melt resource name:r0",
        "create rack name:r0 unit:7",
        "\x00\x00\x00",
        "exists",
        "",
    ],
)
def test_what_is_not_understood_asks_for_a_new_snapshot(line: str) -> None:
    events = stream()
    update = events.feed(f"change resource name:r0 role:Primary\n{line}\n")
    assert update.resync
    assert update.states == ()
    assert events.replicas() == {}
    assert not events.complete
    # It stays so, whatever comes, until a new process begins with a new snapshot.
    assert events.feed(SNAPSHOT).resync == update.resync
    events.restart()
    fresh = events.feed(SNAPSHOT).replicas()["r0"]
    assert fresh is not None
    assert fresh.role is Role.SECONDARY


def test_an_unknown_word_and_a_third_host_restart_nothing() -> None:
    events = stream()
    (_, odd), (_, third) = events.feed(
        "change device name:r0 volume:0 disk:Shiny\n"
        "create connection name:r0 peer-node-id:9 conn-name:gamma connection:Connected"
        " role:Primary\n"
    ).states
    assert odd is not None
    assert third is not None
    assert (odd.disk, odd.unread) == (DiskState.DUNKNOWN, ("disk 'Shiny'",))
    assert "peer gamma" in third.others
    gone = events.feed("destroy connection name:r0 peer-node-id:9 conn-name:gamma\n")
    known = events.feed("change device name:r0 volume:0 disk:UpToDate\n").replicas()["r0"]
    assert gone.replicas()["r0"] == odd
    assert known is not None
    assert known.why_undecidable() == ""


def test_a_torn_recording_asks_for_a_new_snapshot() -> None:
    assert EventStream("9.1.23", R0).feed(recorded(SLUG, "9.1.23", TORN).stdout + "\n").resync


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    assert stream().feed(b"x" * 70000).resync


def test_a_kind_that_nobody_knows_costs_one_resync_only() -> None:
    events = stream()
    assert events.feed("change rack name:r0 unit:7\n").resync
    events.restart()
    events.feed(SNAPSHOT)
    assert events.feed("change rack name:r0 unit:8\n").resync == ""
    assert events.unknown_kinds == {"rack": 2}


def test_a_kind_that_the_snapshot_has_costs_none() -> None:
    events = EventStream("9.1.23", R0)
    assert events.feed("exists rack unit:7\n" + SNAPSHOT).resync == ""
    assert events.feed("change rack unit:8\n").resync == ""


def test_unknown_keys_change_nothing() -> None:
    assert stream().feed("change resource name:r0 shiny:new-2\n").states == ()


def test_argv() -> None:
    assert stream_argv() == ("drbdsetup", "events2", "--statistics")
