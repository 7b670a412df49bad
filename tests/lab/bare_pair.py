"""Courses done to DRBD alone on the lab's hosts: no agent, no filesystem, one disk a host.

The resource has the agent's own options; only the fence-peer handler waits for what the course
says. guest/drbd_pair.py does the work in the guests.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from storage_agent.host.drbd.resource_file import DISK, NET
from tests.lab.harness.deadline import Deadline
from tests.lab.harness.errors import LabError
from tests.lab.harness.lab import Lab
from tests.lab.harness.session import Session
from tests.simulation.courses import FENCING, HOSTS, Letters, Look, are_as_written, shown

GUEST = Path(__file__).parent / "guest"
FOLDER = "/root/drbd-pair"
SETTLE_TIMEOUT_S = 20
LOOK_PAUSE_S = 0.1
CALL_TIMEOUT_S = 90
# drbd_int.h, MDF_*
FLAGS = {"C": 1 << 0, "U": 1 << 4, "P": 1 << 1, "O": 1 << 5, "X": 1 << 6}
RESOURCE = f"""\
resource pair {{
{NET}
    }}
{DISK}
        fencing              {FENCING[0]};
    }}
    handlers {{
        fence-peer           "{FOLDER}/fence-peer";
    }}
    on alpha {{
        device /dev/drbd0 minor 0; disk /dev/mapper/copy; meta-disk internal;
        address ipv4 10.8.0.1:7790;
    }}
    on beta {{
        device /dev/drbd0 minor 0; disk /dev/mapper/copy; meta-disk internal;
        address ipv4 10.8.0.2:7790;
    }}
}}
"""
# Not rules, but how soon a broken link is noticed and made again; and a write that is held is no
# sign of a dead peer.
QUICK = {"connect-int": 1, "ping-int": 1, "timeout": 9, "ko-count": 0, "socket-check-timeout": 1}
# What a host without power shows.
OFF: dict[str, Any] = {
    "proc": "",
    "superblock": None,
    "blocks": [],
    "command": None,
    "writes": {},
    "asks": 0,
}
VERBS = {
    "disk-fails": "fail",
    "disk-breaks": "break_",
    "disk-works": "repair",
    "old-disk": "take_first_disk",
    "holds-writes": "hold_writes",
    "holds-reads": "hold_reads",
    "holds-resync": "hold_resync",
    "holds-flushes": "hold_flushes",
    "lets-go": "let_go",
    "opens": "open",
    "closes": "close",
    "says": "say",
    "speaks": "speak",
    "catches-up": "catch_up",
    "cut": "cut_one_way",
}


def resource() -> str:
    text = RESOURCE
    for option, value in QUICK.items():
        text = re.sub(rf"\b{option} +\d+;", f"{option} {value};", text)
    return text


class BarePair:
    """The hosts of a lab, prepared once for all courses."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._pool = ThreadPoolExecutor(len(HOSTS))
        self._count = 0
        self._sessions: dict[str, Session] = {}
        for host in HOSTS:
            self._install(host)
        self._both("prepare")
        self._both("create")
        self._wait_for("cs:Connected")
        self._ask("alpha", "equal")
        self._wait_for("ds:UpToDate/UpToDate")
        self._both("keep")

    def close(self) -> None:
        for session in self._sessions.values():
            session.end()
        self._pool.shutdown()

    def _install(self, name: str) -> None:
        host = self.lab.hosts[name]
        for program in ("drbd_pair.py", "fence-peer"):
            content = (GUEST / program).read_bytes()
            host.write_file(f"{FOLDER}/{program}", content, mode=0o755)
        host.write_file("/etc/drbd.d/pair.res", resource())
        self._sessions[name] = Session(host, f"exec python3 -u {FOLDER}/drbd_pair.py")

    def _wait_for(self, words: str) -> None:
        def is_shown() -> bool:
            return all(words in look["proc"] for look in self._both("look").values())

        self.lab.wait_until(words, is_shown, timeout_s=CALL_TIMEOUT_S)

    def _ask(self, host: str, verb: str, *more: str) -> Any:
        line = " ".join((verb, *more))
        answer = json.loads(self._sessions[host].ask(line, timeout_s=CALL_TIMEOUT_S))
        if answer and "error" in answer:
            raise LabError(f"{host}: {answer['error']}")
        return answer

    def _both(self, verb: str, *more: str) -> dict[str, Any]:
        """On both hosts at once."""
        asked = {host: self._pool.submit(self._ask, host, verb, *more) for host in HOSTS}
        return {host: answer.result() for host, answer in asked.items()}

    # --- actions --------------------------------------------------------------------------------

    def start(self, fencing: str) -> None:
        self._count, self._is_cut = 0, False
        self._both("stop")
        self._both("start", fencing)

    def act(self, action: str) -> None:
        words = action.split()
        if words[0] not in HOSTS:
            self._is_cut = action == "cut"
            self._both(action)
            return
        host, verb, more = words[0], VERBS.get(words[1], words[1]), words[2:]
        if verb == "crashes":
            self._crash(host, *(set(HOSTS) - {host}))
        elif verb == "speaks-late":
            self._both("wait_long")
            self._ask(host, "speak_late")
        elif verb == "writes":
            self._count += 1
            self._ask(host, "write", str(self._count), f"{host[0]}{self._count}")
        else:
            self._ask(host, verb, *more)

    def _crash(self, host: str, other: str) -> None:
        """As a power cut, but what the disk held and who was connected goes at one moment, and
        nothing has to boot."""
        self._ask(host, "crash")
        self._ask(other, "break_connections")
        if not self._is_cut:
            self._ask(host, "mend")

    # --- what can be seen -----------------------------------------------------------------------

    def settled(self, expected: Mapping[str, str], letters: Letters) -> dict[str, str]:
        """As soon as both show what is expected, at two looks; else what they show at the end."""
        deadline = Deadline(SETTLE_TIMEOUT_S, "settled")
        failed: dict[str, set[str]] = {host: set() for host in HOSTS}
        before: dict[str, str] = {}
        while True:
            looks = {}
            for host, seen in self._both("look").items():
                # The host tells of each end once.
                failed[host] |= failures(seen)
                looks[host] = read_look(seen, failed[host])
            tried = letters.copy()
            lines = shown(looks, tried)
            is_right = are_as_written(expected, lines)
            if (is_right and lines == before) or deadline.is_over():
                shown(looks, letters)
                return lines
            before = lines
            time.sleep(LOOK_PAUSE_S)


class PoweredPair(BarePair):
    """A crash is a power cut: the host boots again when it is to come up."""

    def __init__(self, lab: Lab) -> None:
        self._off: set[str] = set()
        super().__init__(lab)

    def _ask(self, host: str, verb: str, *more: str) -> Any:
        if host not in self._off:
            return super()._ask(host, verb, *more)
        if verb == "look":
            return OFF
        if verb in ("up", "stop"):
            self._power_on(host)
            return super()._ask(host, verb)
        return None

    def _power_on(self, host: str) -> None:
        self._off.remove(host)
        self.lab.power_on(host)
        self._install(host)
        self._ask(host, "prepare")

    def _crash(self, host: str, other: str) -> None:
        self._sessions[host].end()
        self.lab.power_off(host)
        self._off.add(host)
        self._ask(other, "break_connections")


def read_look(seen: Mapping[str, Any], failed: Set[str]) -> Look:
    """What guest/drbd_pair.py answers to `look`, and what failed since the last action."""
    besides = {*failed, *(["asks"] if seen["asks"] else [])}
    besides |= {f"{name}-hangs" for name, status in seen["writes"].items() if status is None}
    if seen["command"] and seen["command"][0] is None:
        besides.add("waits")
    if not seen["proc"]:
        return Look(besides=tuple(besides))
    state = read_state(seen["proc"])
    if not seen["superblock"]:
        return Look(state, besides=tuple(besides))
    identifiers, bits = seen["superblock"]
    # The lowest bit says that the host is Primary.
    named = tuple(identifier & ~1 for identifier in identifiers)
    flags = "".join(flag for flag, bit in FLAGS.items() if bits & bit)
    return Look(state, named, flags, tuple(seen["blocks"]), tuple(besides))


def read_state(proc: str) -> str:
    """The two lines of a device in /proc/drbd."""
    words = proc.split()
    named = dict(word.split(":", 1) for word in words[1:4])
    # The protocol's letter stands before the flags while there is a connection.
    is_frozen = re.search(r" s\S{5}$", proc, re.MULTILINE) is not None
    is_dirty = words[-1] != "oos:0"
    more = ["frozen"] * is_frozen + ["out-of-sync"] * is_dirty
    # The simulator has one state for both.
    connection = named["cs"].replace("WFSyncUUID", "WFBitMapT")
    return " ".join((connection, named["ro"], named["ds"], *more))


def failures(seen: Mapping[str, Any]) -> set[str]:
    """By the number that the kernel gives, where it gives one."""
    found = {f"{name}-failed" for name, status in seen["writes"].items() if status}
    if seen["command"] and seen["command"][0]:
        number = re.search(r"\(-?\d+\)", seen["command"][1])
        found.add(number.group() if number else "failed")
    return found
