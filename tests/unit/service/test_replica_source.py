"""The events2 stream: states in order, restarts, and what is lost with them. The child is a pair
of pipes; the lines are of the form that drbdsetup 8.4 prints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

import pytest

from storage_agent.model.errors import Missing
from storage_agent.model.replica import DiskState, Replica, Role
from storage_agent.model.snapshot import Facet
from storage_agent.service.observing.attachments import Attachments
from storage_agent.service.observing.replica_source import (
    COMPLETE_S,
    FIRST_RETRY_S,
    GOOD_LIFE_S,
    GUARDS_S,
    LAST_RETRY_S,
    SETTLING_TURN_S,
    ReplicaSource,
)
from storage_agent.service.observing.sources import Hint
from tests.unit.fakes import agent_config, volume_config

REPLICA = frozenset({Facet.REPLICA})
SNAPSHOT = """\
exists resource name:data role:Secondary suspended:no write-ordering:flush
exists connection name:data peer-node-id:0 conn-name:peer connection:Connected role:Secondary congested:no
exists device name:data volume:0 minor:0 disk:UpToDate size:1044412 read:0 written:0 al-writes:0 bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:no blocked:no
exists peer-device name:data peer-node-id:0 conn-name:peer volume:0 replication:Established peer-disk:UpToDate resync-suspended:no received:0 sent:0 out-of-sync:0 pending:0 unacked:0
exists -
"""  # noqa: E501
PRIMARY = "change resource name:data role:Primary suspended:no\n"
DISKLESS = (
    "change peer-device name:data peer-node-id:0 conn-name:peer volume:0 replication:Established "
    "peer-disk:Diskless resync-suspended:no\n"
)
BACK = DISKLESS.replace("Diskless", "UpToDate")


class Child:
    def __init__(self) -> None:
        self.stdout: IO[bytes] | None
        self.stderr: IO[bytes] | None
        self.stdout, self.out = self._pipe()
        self.stderr, self.err = self._pipe()

    @staticmethod
    def _pipe() -> tuple[IO[bytes], IO[bytes]]:
        read_fd, write_fd = os.pipe()
        return os.fdopen(read_fd, "rb", buffering=0), os.fdopen(write_fd, "wb", buffering=0)

    def say(self, text: str) -> None:
        self.out.write(text.encode())

    def die(self) -> None:
        for pipe in (self.out, self.err):
            pipe.close()


class Bench:
    def __init__(self, root: Path) -> None:
        self.version = root / "version"
        self.version.write_text("8.4.11\n")
        self.children: list[Child] = []
        self.ended: list[Child] = []
        self.seen: list[Replica | None] = []
        self.attachments = Attachments()
        self.fails = False
        self.source = ReplicaSource(
            start=self.start,
            end=self.end,
            attachments=self.attachments,
            seen=lambda _, replica: self.seen.append(replica),
            version_path=self.version,
        )

    def start(self) -> Child:
        if self.fails:
            raise Missing("drbdsetup is not installed")
        self.children.append(Child())
        return self.children[-1]

    def end(self, child: Any) -> None:
        self.ended.append(child)
        child.stdout.close()
        child.stderr.close()

    def settle(self, now_s: float = 0.0) -> None:
        """Both copies are in sync for so long that it is believed, turn by turn of the loop."""
        assert not self.attachments.of("data").in_sync_until_loss
        assert self.source.wake_s() == now_s + SETTLING_TURN_S
        while self.attachments.is_settling():
            now_s = self.source.wake_s()
            self.source.tick(now_s)
        assert self.attachments.of("data").in_sync_until_loss

    def read(self, now_s: float = 0.0) -> list[Hint]:
        """Takes what stdout has."""
        fd = min(self.source.descriptors())
        return list(self.source.ready(fd, now_s))

    def started(self) -> Child:
        self.source.configure(agent_config())
        assert self.source.tick(0.0) == (Hint(REPLICA),)
        return self.children[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_new_state_is_shown_at_once_and_completed_later(bench: Bench) -> None:
    child = bench.started()
    child.say(SNAPSHOT)
    assert bench.read() == [
        Hint(REPLICA, "data", COMPLETE_S),
        Hint(frozenset({Facet.GUARDS}), "data", GUARDS_S),
    ]
    (replica,) = bench.seen
    assert replica is not None
    assert (replica.role, replica.disk) == (Role.SECONDARY, DiskState.UP_TO_DATE)
    child.say(PRIMARY)
    bench.read()
    assert bench.seen[-1] is not None
    assert bench.seen[-1].role is Role.PRIMARY


def test_half_a_line_waits_for_its_end(bench: Bench) -> None:
    child = bench.started()
    child.say(SNAPSHOT + PRIMARY[:20])
    bench.read()
    assert len(bench.seen) == 1
    child.say(PRIMARY[20:])
    bench.read()
    assert len(bench.seen) == 2


def test_nothing_there_is_no_end(bench: Bench) -> None:
    bench.started()
    assert bench.read() == []
    assert bench.ended == []


def test_the_attachment_follows_every_state_also_within_one_chunk(bench: Bench) -> None:
    child = bench.started()
    assert not bench.attachments.of("data").in_sync_until_loss
    child.say(SNAPSHOT)
    bench.read()
    bench.settle()
    # The disk fails, the link goes, and the disk comes back, before anybody reads.
    child.say(
        "change device name:data volume:0 minor:0 disk:Diskless\n"
        "change connection name:data peer-node-id:0 conn-name:peer connection:Connecting "
        "role:Unknown\n"
        "change device name:data volume:0 minor:0 disk:UpToDate\n"
    )
    bench.read()
    record = bench.attachments.of("data")
    assert not record.in_sync_until_loss
    assert "Diskless" in record.broken_by


def test_a_lost_stream_starts_anew_and_forgets_what_it_knew(bench: Bench) -> None:
    child = bench.started()
    child.say(SNAPSHOT)
    bench.read()
    child.die()
    assert bench.read(1.0) == [Hint(REPLICA)]
    assert bench.ended == [child]
    assert bench.source.descriptors() == {}
    assert not bench.attachments.of("data").in_sync_until_loss
    assert bench.source.tick(1.0) == ()
    assert bench.source.wake_s() == 1.0 + FIRST_RETRY_S
    assert bench.source.tick(1.0 + FIRST_RETRY_S) == (Hint(REPLICA),)
    bench.children[-1].say(SNAPSHOT)
    bench.read()
    bench.settle(1.0 + FIRST_RETRY_S)


@pytest.mark.parametrize("line", ["- skipped 3\n", "garbage\n", "change resource role:Primary\n"])
def test_lost_events_and_nonsense_start_it_anew(bench: Bench, line: str) -> None:
    child = bench.started()
    child.say(SNAPSHOT)
    bench.read()
    child.say(line)
    assert bench.read(1.0) == [Hint(REPLICA)]
    assert bench.ended == [child]
    assert not bench.attachments.of("data").in_sync_until_loss


def test_one_that_dies_again_and_again_is_started_ever_later(bench: Bench) -> None:
    bench.started().die()
    now_s, pauses = 0.0, []
    for _ in range(10):
        bench.read(now_s)
        pauses.append(bench.source.wake_s() - now_s)
        now_s = bench.source.wake_s()
        assert bench.source.tick(now_s)
        bench.children[-1].die()
    assert pauses[:3] == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S]
    assert pauses[-1] == LAST_RETRY_S
    bench.read(now_s + GOOD_LIFE_S)
    assert bench.source.wake_s() - (now_s + GOOD_LIFE_S) == FIRST_RETRY_S


def test_a_missing_tool_is_tried_again_later(bench: Bench) -> None:
    bench.fails = True
    bench.source.configure(agent_config())
    assert bench.source.tick(0.0) == ()
    assert bench.source.wake_s() == FIRST_RETRY_S
    assert bench.source.tick(0.1) == ()
    bench.fails = False
    assert bench.source.tick(FIRST_RETRY_S) == (Hint(REPLICA),)


def test_without_the_driver_no_process_is_started(bench: Bench) -> None:
    bench.version.unlink()
    bench.source.configure(agent_config())
    assert bench.source.tick(0.0) == ()
    assert bench.source.wake_s() == float("inf")
    assert bench.children == []
    bench.version.write_text("9.1.23\n")
    assert bench.source.tick(5.0) == (Hint(REPLICA),)


def test_without_replicas_no_process_is_started(bench: Bench) -> None:
    import dataclasses

    local = dataclasses.replace(volume_config(), replica=None)
    bench.source.configure(agent_config(local))
    assert bench.source.tick(0.0) == ()
    assert bench.children == []


def test_other_volumes_start_it_anew_and_the_same_ones_do_not(bench: Bench) -> None:
    child = bench.started()
    bench.source.configure(agent_config())
    assert bench.ended == []
    bench.source.configure(agent_config(volume_config(), volume_config("home")))
    assert bench.ended == [child]
    assert bench.source.tick(0.0) == (Hint(REPLICA),)


def test_what_it_writes_to_stderr_is_no_event(bench: Bench) -> None:
    child = bench.started()
    child.err.write(b"could not do something\n")
    err = max(bench.source.descriptors())
    assert bench.source.ready(err, 0.0) == ()
    assert bench.ended == []


def test_closing_ends_the_child(bench: Bench) -> None:
    child = bench.started()
    bench.source.close()
    assert bench.ended == [child]
    bench.source.close()
    assert bench.ended == [child]
