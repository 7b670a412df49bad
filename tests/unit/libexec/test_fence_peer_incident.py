"""fence-peer of a volume with arbitration by a coordinator: a frozen Primary asks and waits."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.host.drbd.incidents import read_incident, write_answer
from storage_agent.model.incident import IncidentAnswer
from tests.unit.libexec.asking import (
    BOOT,
    FROZEN,
    FROZEN_EARLY,
    HEAD,
    NINE,
    NONCE,
    OTHER,
    SECONDARY,
    THAWED,
    Asking,
)
from tests.unit.libexec.conftest import Tool

pytestmark = pytest.mark.processes

CONTINUE, DENY, NO = 4, 6, 1
# Recorded: proc-drbd/8.4.11, link-cut, frozen-by-fencing and their like.


@pytest.fixture
def asking(tool: Tool, tmp_path: Path) -> Iterator[Asking]:
    random = tmp_path / "proc/sys/kernel/random"
    random.mkdir(parents=True)
    (random / "boot_id").write_text(f"{BOOT}\n")
    (random / "uuid").write_text(f"{NONCE}\n")
    (tmp_path / "proc/uptime").symlink_to("/proc/uptime")
    (tmp_path / "run/storage-agent/grants").mkdir(parents=True)
    tool("logger", f"echo \"$*\" >> '{tmp_path}/log'")
    asking = Asking(tmp_path)
    asking.kernel_shows(FROZEN)
    yield asking
    if asking.process is not None and asking.process.poll() is None:
        asking.process.kill()
        asking.process.wait()


def test_a_frozen_primary_opens_an_incident(asking: Asking) -> None:
    words = asking.begin_and_open()
    assert asking.process is not None
    assert words[:3] == ["incident", BOOT, NONCE]
    assert abs(int(words[3]) - time.time()) < 20
    assert int(words[4]) == asking.process.pid
    assert asking.process.poll() is None
    assert asking.incident.stat().st_mode & 0o077 == 0
    # How host/drbd/incidents.py knows that somebody still waits.
    assert Path(f"/proc/{words[4]}/comm").read_text() == "fence-peer\n"


SHUT = "ip -n storage-agent-home link set dev nfs0 group 99 down"


def test_its_clients_are_shut_out_before_it_asks(asking: Asking, tool: Tool) -> None:
    """Also where that fails or hangs it asks."""
    incident = asking.incident
    tool("ip", f"[ -e '{incident}' ] || echo \"ip $*\" >> '{asking.root}/log'; exit 1")
    asking.begin_and_open()
    assert not (asking.root / "log").exists(), "it has no NFS server here"
    assert asking.process is not None
    asking.process.kill()
    asking.process.wait()
    incident.unlink()
    (asking.root / "run/netns").mkdir()
    (asking.root / "run/netns/storage-agent-home").touch()
    asking.begin_and_open()
    first, *rest = asking.logged().splitlines()
    assert first == SHUT
    assert "its clients could not be shut out" in rest[0]


def test_a_secondary_shuts_nobody_out(asking: Asking, tool: Tool) -> None:
    tool("ip", f"echo ip >> '{asking.root}/log'")
    (asking.root / "run/netns").mkdir()
    (asking.root / "run/netns/storage-agent-home").touch()
    asking.kernel_shows(SECONDARY)
    asking.begin()
    assert asking.ended() == NO
    assert "ip" not in asking.logged().split()


@pytest.mark.parametrize(("word", "status"), [("continue", CONTINUE), ("deny", DENY)])
def test_the_verdict_is_the_exit_status(asking: Asking, word: str, status: int) -> None:
    asking.begin_and_open()
    asking.answer(f"{word} {BOOT} {NONCE} 17\n")
    assert asking.ended() == status
    assert "epoch 17" in asking.logged()
    # It stays for the status and for a caller that asks again.
    assert asking.incident.exists()


@pytest.mark.parametrize(("word", "status"), [("continue", CONTINUE), ("deny", DENY)])
def test_handler_and_agent_understand_each_other(asking: Asking, word: str, status: int) -> None:
    asking.begin_and_open()
    assert asking.process is not None
    own = asking.root / "proc" / str(asking.process.pid)
    own.symlink_to(f"/proc/{asking.process.pid}")
    found = read_incident("home", asking.root)
    assert found is not None
    assert (found.incident, found.boot_id, found.answer) == (NONCE, BOOT, IncidentAnswer.NONE)
    given = dataclasses.replace(found, answer=IncidentAnswer(word), epoch=17)
    write_answer(given, asking.root)
    assert asking.ended() == status
    assert read_incident("home", asking.root) == given


def test_a_killed_handler_asks_no_more(asking: Asking) -> None:
    asking.begin_and_open()
    assert asking.process is not None
    asking.process.kill()
    asking.process.wait()
    assert asking.incident.exists()
    assert read_incident("home", asking.root) is None


def test_the_verdict_may_come_late_and_the_state_is_then_read_again(asking: Asking) -> None:
    asking.kernel_shows(FROZEN_EARLY)
    asking.begin_and_open()
    asking.kernel_shows(FROZEN)
    time.sleep(0.6)
    asking.answer(f"continue {BOOT} {NONCE} 17\n")
    assert asking.ended() == CONTINUE


@pytest.mark.parametrize(
    "text",
    [f"continue {BOOT} {OTHER} 17\n", f"continue {OTHER} {NONCE} 17\n", f"deny {BOOT} x 3\n"],
)
def test_an_answer_for_another_incident_is_none(asking: Asking, text: str) -> None:
    asking.wait_s = "2"
    asking.answer(text)
    asking.begin_and_open()
    assert asking.ended() == NO
    assert not asking.incident.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\0" * 50,
        f"continue {BOOT} {NONCE}\n",
        f"continue {BOOT} {NONCE} 17 more\n",
        f"continue {BOOT} {NONCE} 1x7\n",
        f"continue {BOOT} {NONCE} $(id)\n",
        f"promote {BOOT} {NONCE} 17\n",
        f"Continue {BOOT} {NONCE} 17\n",
        f"{BOOT} continue {NONCE} 17\n",
    ],
)
def test_a_damaged_answer_leaves_it_frozen(asking: Asking, text: str) -> None:
    asking.begin_and_open()
    asking.answer(text)
    assert asking.ended() == NO
    assert "damaged" in asking.logged()


def test_a_link_is_no_answer(asking: Asking) -> None:
    asking.wait_s = "2"
    (asking.run / "answers").mkdir()
    (asking.root / "elsewhere").write_text(f"continue {BOOT} {NONCE} 17\n")
    (asking.run / "answers/home").symlink_to(asking.root / "elsewhere")
    asking.begin_and_open()
    assert asking.ended() == NO


def test_without_an_answer_it_ends_frozen(asking: Asking) -> None:
    asking.wait_s = "1"
    asking.begin_and_open()
    assert asking.ended() == NO
    assert not asking.incident.exists()
    assert "no verdict within 1 s: stays frozen" in asking.logged()


def test_a_peer_that_is_back_ends_it(asking: Asking) -> None:
    asking.begin_and_open()
    asking.kernel_shows(THAWED)
    assert asking.ended() == NO
    assert not asking.incident.exists()


def test_a_newer_incident_ends_the_older_one(asking: Asking) -> None:
    asking.begin_and_open()
    newer = f"incident {BOOT} {OTHER} 1700000000 1\n"
    asking.incident.write_text(newer)
    assert asking.ended() == NO
    assert asking.incident.read_text() == newer


def test_ended_from_outside_it_takes_its_incident_along(asking: Asking) -> None:
    asking.begin_and_open()
    time.sleep(0.3)
    assert asking.process is not None
    asking.process.send_signal(signal.SIGTERM)
    assert asking.ended() == NO
    assert not asking.incident.exists()


def test_a_promotion_is_no_permission_for_a_primary(asking: Asking) -> None:
    asking.wait_s = "1"
    (asking.run / "grants/home").write_text(f"promote {BOOT} op-17\n")
    asking.begin_and_open()
    assert asking.ended() == NO


def test_a_promoting_secondary_opens_nothing_and_is_never_told_six(asking: Asking) -> None:
    asking.kernel_shows(SECONDARY)
    asking.answer(f"deny {BOOT} {NONCE} 17\n")
    asking.begin()
    assert asking.ended() == NO
    (asking.run / "grants/home").write_text(f"promote {BOOT} op-17\n")
    asking.begin()
    assert asking.ended() == CONTINUE
    assert not asking.incident.exists()


@pytest.mark.parametrize(
    ("shown", "head", "minor"),
    [
        ("", HEAD, "0"),
        (FROZEN, HEAD, "1"),
        (FROZEN, HEAD, ""),
        ("", NINE, "0"),
        (THAWED, HEAD, "0"),
        (" 0: cs:Unconfigured\n", HEAD, "0"),
    ],
)
def test_without_a_frozen_primary_there_is_no_incident(
    asking: Asking, shown: str, head: str, minor: str
) -> None:
    asking.kernel_shows(shown, head)
    asking.env["DRBD_MINOR"] = minor
    asking.begin()
    assert asking.ended() == NO
    assert not asking.incident.exists()


# Recorded in the field, 8.4.11: the protocol's letter is blank.
ALONE = " 0: cs:StandAlone ro:Primary/Unknown ds:UpToDate/Outdated   r-----\n    ns:1250 nr:0\n"


@pytest.mark.parametrize(
    "shown", [ALONE.replace("r-----", flags) for flags in ("s-----", "sa----")]
)
def test_a_frozen_primary_that_stands_alone_opens_one_and_keeps_it(
    asking: Asking, shown: str
) -> None:
    asking.kernel_shows(shown)
    asking.begin_and_open()
    time.sleep(0.6)
    assert asking.incident.exists()
    asking.answer(f"continue {BOOT} {NONCE} 17\n")
    assert asking.ended() == CONTINUE


def test_one_that_stands_alone_and_writes_ends_it(asking: Asking) -> None:
    asking.begin_and_open()
    asking.kernel_shows(ALONE)
    assert asking.ended() == NO
    assert "not frozen any more" in asking.logged()


@pytest.mark.parametrize(
    "shown",
    [
        "",
        " 0: cs:Unconfigured\n",
        " 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown\n",
        " 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C ?-----\n",
        " 0: cs:WFConnection ro:Tertiary/Unknown ds:UpToDate/DUnknown C r-----\n",
    ],
)
def test_what_is_not_understood_closes_no_incident(asking: Asking, shown: str) -> None:
    asking.begin_and_open()
    asking.kernel_shows(shown)
    time.sleep(0.6)
    assert asking.incident.exists()
    asking.answer(f"continue {BOOT} {NONCE} 17\n")
    assert asking.ended() == CONTINUE


# As recorded of 9.1.23, drbdsetup-events2-now: frozen-by-fencing, after-fencing-reconnected.
NINE_SHOWS = (
    "exists resource name:home role:{role} suspended:{suspended} may_promote:no\n"
    "exists connection name:home peer-node-id:1 conn-name:b connection:Connecting role:Unknown\n"
    "exists -\n"
)


def nine_shows(asking: Asking, role: str, suspended: str) -> None:
    (asking.root / "events2").write_text(NINE_SHOWS.format(role=role, suspended=suspended))


@pytest.fixture
def nine(asking: Asking, tool: Tool) -> Asking:
    tool(
        "drbdsetup",
        f"[ \"$*\" = 'events2 --now home' ] || exit 20\ncat '{asking.root}/events2'",
    )
    asking.kernel_shows("", NINE)
    return asking


@pytest.mark.parametrize("suspended", ["fencing", "user,fencing", "fencing,quorum"])
def test_a_primary_of_nine_that_is_frozen_asks_too(nine: Asking, suspended: str) -> None:
    nine_shows(nine, "Primary", suspended)
    nine.begin_and_open()
    nine.answer(f"continue {BOOT} {NONCE} 17\n")
    assert nine.ended() == CONTINUE


def test_a_primary_of_nine_whose_peer_is_back_asks_no_more(nine: Asking) -> None:
    nine_shows(nine, "Primary", "fencing")
    nine.begin_and_open()
    (nine.root / "events2").write_text("")
    time.sleep(0.6)
    assert nine.incident.exists()
    nine_shows(nine, "Primary", "no")
    assert nine.ended() == NO
    assert not nine.incident.exists()


def test_a_secondary_of_nine_is_promoted_by_its_grant_alone(nine: Asking) -> None:
    nine_shows(nine, "Secondary", "no")
    nine.begin()
    assert nine.ended() == NO
    (nine.run / "grants/home").write_text(f"promote {BOOT} op-17\n")
    nine.begin()
    assert nine.ended() == CONTINUE


@pytest.mark.parametrize(("role", "suspended"), [("Primary", "no"), ("Primary", "quorum")])
def test_a_primary_of_nine_that_is_not_frozen_by_fencing_gets_nothing(
    nine: Asking, role: str, suspended: str
) -> None:
    (nine.run / "grants/home").write_text(f"promote {BOOT} op-17\n")
    nine_shows(nine, role, suspended)
    nine.begin()
    assert nine.ended() == NO


def test_another_minor_is_not_taken_for_it(asking: Asking) -> None:
    asking.kernel_shows(SECONDARY + FROZEN.replace(" 0:", "10:").replace("ns:1", "ns:2"))
    asking.begin()
    assert asking.ended() == NO
    asking.env["DRBD_MINOR"] = "10"
    asking.begin_and_open()


def test_without_proc_drbd_there_is_no_incident(asking: Asking) -> None:
    (asking.root / "proc/drbd").unlink()
    asking.begin()
    assert asking.ended() == NO


def test_an_incident_that_cannot_be_written_is_no_answer(asking: Asking) -> None:
    (asking.run / "incidents").write_text("in the way")
    asking.begin()
    assert asking.ended() == NO
