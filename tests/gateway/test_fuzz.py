"""20,000 frames of the fuzzer in every run; scripts/fuzz takes as many as one likes."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.gateway.fuzz import Frames
from tests.gateway.host import ROOT

EXPECTED = {"ok", "bad-json", "bad-type", "bad-request", "bad-encoding", "bad-string", "bad-name"}
EXPECTED |= {"too-deep", "too-large", "unknown-key", "missing-key", "duplicate-key"}
EXPECTED |= {"unknown-method", "NOT_PERMITTED", "UNKNOWN_VOLUME"}


def test_twenty_thousand_hostile_frames() -> None:
    argv = [sys.executable, "-m", "tests.gateway.fuzz", "--inputs", "20000", "--seed", "20"]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    pairs = re.findall(r"^ +(\d+)  ([\w-]+)$", ended.stdout, re.MULTILINE)
    counts = {code: int(number) for number, code in pairs}
    assert set(counts) >= EXPECTED
    assert sum(counts.values()) == 20_000
    assert "tracebacks 0, child processes 0, unanswered 0" in ended.stdout
    (peak_mib,) = re.findall(r"peak RSS ([\d.]+) MiB", ended.stdout)
    assert float(peak_mib) < 64
    # Looking is for every key, acting for those that may.
    reached = set(re.findall(r"reached the engine: ssh key (\w+) (\w+)", ended.stdout))
    acting = {(role, kind) for role, kind in reached if kind != "plan"}
    kinds = ("promote", "demote", "assemble", "standalone", "rejoin")
    assert acting == {(role, kind) for role in ("operate", "grant") for kind in kinds}


def test_the_same_seed_gives_the_same_frames() -> None:
    first, again, other = (iter(Frames(seed)) for seed in (7, 7, 8))
    assert [next(first) for _ in range(50)] == [next(again) for _ in range(50)]
    assert next(first) != next(other)
