"""20,000 frames of the fuzzer in every run; scripts/fuzz takes as many as one likes. And that it
would see what it watches for."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from tests.gateway.fuzz_frames import Frames
from tests.gateway.fuzz_watch import Lines
from tests.gateway.host import ROOT

EXPECTED = {"ok", "bad-json", "bad-type", "bad-request", "bad-encoding", "bad-string", "bad-name"}
EXPECTED |= {"too-deep", "too-large", "unknown-key", "missing-key", "duplicate-key"}
EXPECTED |= {"unknown-method", "out-of-bounds", "NOT_PERMITTED", "UNKNOWN_VOLUME"}


def test_twenty_thousand_hostile_frames() -> None:
    argv = [str(ROOT / "scripts/fuzz"), "--inputs", "20000", "--seed", "20"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    pairs = re.findall(r"^ +(\d+)  ([\w-]+)$", ended.stdout, re.MULTILINE)
    counts = {code: int(number) for number, code in pairs}
    assert set(counts) >= EXPECTED
    assert sum(counts.values()) == 20_000
    assert "tracebacks 0, child processes 0, unanswered 0" in ended.stdout
    ((kept, reached, entered),) = re.findall(
        r"corpus (\d+) frames, lines reached (\d+) of (\d+) ", ended.stdout
    )
    assert int(kept) >= 20
    assert 800 < int(reached) < int(entered)
    # Looking is for every key, acting for those that may.
    began = set(re.findall(r"reached the engine: ssh key (\w+) (\w+)", ended.stdout))
    acting = {(role, kind) for role, kind in began if kind != "plan"}
    assert {role for role, _ in acting} == {"operate", "grant"}
    kinds = {"promote", "demote", "assemble", "standalone", "rejoin"}
    assert {kind for _, kind in acting} == kinds


# -- what it watches ------------------------------------------------------------------------------

# What does harm here is the list of operations: every role may ask for it.
SEEDED = """\
import os, subprocess, sys, threading
from tests.gateway import fuzz
from tests.unit.service.parts import FakeEngine
history = FakeEngine.history
def harm(self, limit):
    {harm}
    return history(self, limit)
FakeEngine.history = harm
sys.exit(fuzz.main(["--inputs", "1500", "--seed", "3"]))
"""
CHILDREN = {
    "subprocess": "subprocess.run(['true'], check=True)",
    "fork": "pid = os.fork()\n    pid or os._exit(0)\n    os.waitpid(pid, 0)",
    "spawn": "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
    "system": "os.system('true')",
    "fails": "try: subprocess.run(['/nowhere'])\n    except OSError: pass",
}


def seeded(harm: str) -> tuple[str, int]:
    argv = [sys.executable, "-c", SEEDED.format(harm=harm)]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return ended.stdout, ended.returncode


def test_without_harm_a_run_is_good() -> None:
    said, status = seeded("pass")
    assert (status, "came to harm" in said) == (0, False)


@pytest.mark.parametrize("how", CHILDREN)
def test_a_process_that_was_started_fails_the_run(how: str) -> None:
    """Also one that has ended before anybody looks."""
    said, status = seeded(CHILDREN[how])
    assert status == 1
    assert re.search(r"child processes [1-9]", said)
    assert re.search(r"^came to harm, as \w+: b'.*operation\.list", said, re.MULTILINE)


def test_a_traceback_fails_the_run_and_its_frame_is_shown() -> None:
    said, status = seeded("raise KeyError('seeded')")
    assert status == 1
    assert re.search(r"tracebacks [1-9]", said)
    assert re.search(r"^came to harm, as \w+: b'.*operation\.list", said, re.MULTILINE)


def test_memory_over_the_limit_fails_the_run() -> None:
    said, status = seeded("self.hoard = b'x' * (64 << 20)")
    assert status == 1
    assert "tracebacks 0, child processes 0, unanswered 0" in said
    assert "came to harm" not in said


# -- guidance -------------------------------------------------------------------------------------


def staircase(frame: bytes) -> None:
    """Each step is a guess of its own; all at once nobody guesses."""
    if frame[:1] == b"[":
        if frame[1:2] == b"{":
            if frame[2:3] == b"}":
                if frame[3:4] == b",":
                    if frame[4:5] == b"]":
                        return
                    return
                return
            return
        return


def climb(frames: Frames, keep: Callable[[bytes], None], inputs: int) -> int:
    """How many lines of the staircase were reached."""
    lines = Lines(__file__)

    def serve() -> None:
        for frame, _ in zip(frames, range(inputs), strict=False):
            before = lines.reached()
            staircase(frame)
            if lines.reached() > before:
                keep(frame)

    lines.start()
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    lines.stop()
    return lines.reached()


def test_what_reaches_something_new_is_followed() -> None:
    """One seed may have bad luck."""
    with_guidance = without = 0
    for seed in range(3, 6):
        guided = Frames(seed)
        with_guidance += climb(guided, guided.keep, 30_000)
        without += climb(Frames(seed), lambda _: None, 30_000)
    assert with_guidance >= without + 3


def test_the_same_seed_gives_the_same_frames() -> None:
    first, again, other = (iter(Frames(seed)) for seed in (7, 7, 8))
    assert [next(first) for _ in range(50)] == [next(again) for _ in range(50)]
    assert next(first) != next(other)


def test_only_what_is_short_is_kept() -> None:
    frames = Frames(1)
    frames.keep(b"x" * 5000)
    frames.keep(b"{}")
    assert frames.kept == [b"{}"]
