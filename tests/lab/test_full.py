"""A full volume is served and moved there and back, and its client keeps its lock."""

from __future__ import annotations

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import agent, move, operate, role
from tests.lab.test_refusals import codes, refusal
from tests.lab.writing import assert_nothing_lost, client_kernel_messages, start_writer

pytestmark = [pytest.mark.long, pytest.mark.lab_situation("few-inodes-serving-on-alpha")]
LONGEST_GAP_S = 20.0
# As root on the serving host, which may take all of it.
FILL_INODES = """
import itertools, os
os.makedirs("/srv/data/fill", exist_ok=True)
try:
    for number in itertools.count():
        os.close(os.open(f"/srv/data/fill/{number}", os.O_CREAT | os.O_WRONLY))
except OSError as exc:
    print(number, exc.strerror)
"""
FILL_BLOCKS = """
import os
file = os.open("/srv/data/big", os.O_CREAT | os.O_WRONLY)
end = 0
for size in (1 << 24, 1 << 20, 1 << 16, 1 << 12):
    try:
        while True:
            os.posix_fallocate(file, end, size)
            end += size
    except OSError as exc:
        print(end, exc.strerror)
os.fsync(file)
"""


def fill(host: Host, program: str) -> None:
    done = host.run(["python3", "-c", program], timeout_s=90)
    assert "No space left on device" in done.stdout


def found(host: Host) -> dict[str, str]:
    """Remedies by code, as status shows them now."""
    shown = agent(host, "status", "data")["readiness"]["data"]["findings"]
    return {finding["code"]: finding["remedy"] for finding in shown}


def there_and_back(lab: Lab) -> dict[str, object]:
    """Of the writer, which has lost nothing."""
    writer = start_writer(lab)
    for old, new in (("alpha", "beta"), ("beta", "alpha")):
        for record in move(lab, "data", old, new):
            assert record["state"] == "succeeded", record
        writer.wait_for_more()
        assert role(lab.hosts[new]) == "Primary"
    result = writer.finish()
    print(f"longest gap {result['longest_gap_s']} s, {result['acknowledged']} records")
    assert_nothing_lost(result)
    assert result["longest_gap_s"] < LONGEST_GAP_S
    assert "lost" not in client_kernel_messages(lab)
    return result


def test_without_an_inode(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    # Made before there is none left.
    alpha.run("touch /srv/data/records", timeout_s=30)
    fill(alpha, FILL_INODES)
    lab.wait_until("it is told", lambda: "FULL" in found(alpha), timeout_s=60)
    assert "df -i /srv/data" in found(alpha)["FULL"]
    there_and_back(lab)
    # Somebody removes what was held, and takes its place.
    alpha.run("rm /srv/data/.storage-agent/canary/probe", timeout_s=30)
    fill(alpha, FILL_INODES)
    lab.wait_until("it is told", lambda: "NO_ROOM_FOR_SERVER" in found(alpha), timeout_s=60)
    assert "NO_ROOM_FOR_SERVER" in codes(refusal(alpha, "demote", "data"))
    assert role(alpha) == "Primary"
    alpha.run("rm /srv/data/fill/1", timeout_s=30)
    assert operate(alpha, "demote", "data")["state"] == "succeeded"
    assert operate(alpha, "promote", "data")["state"] == "succeeded"


def test_without_a_block_for_anybody(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    # What the writer appends has its place; nothing else has.
    alpha.run("cd /srv/data && touch records && fallocate -n -l 4MiB records", timeout_s=30)
    fill(alpha, FILL_BLOCKS)
    lab.wait_until("it is told", lambda: "FULL" in found(alpha), timeout_s=60)
    assert "df -h /srv/data" in found(alpha)["FULL"]
    there_and_back(lab)
