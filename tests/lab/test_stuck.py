"""Disks that answer nothing any more: what waits for them is reported and left, and nobody else
waits."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.volatile import Order
from tests.lab.situations import (
    OPERATION_TIMEOUT_S,
    agent,
    data_on_volatile_disks,
    is_mounted,
    operate,
    role,
)
from tests.lab.writing import WAITS_LONG, assert_nothing_lost, start_writer

DISKS = ("alpha-4", "alpha-5")
# Of one look, on emulated hosts: a hundred times what it takes on iron.
READ_S = 10.0


@pytest.mark.long
@pytest.mark.lab_allows(WAITS_LONG)
def test_a_command_that_does_not_end_is_reported_and_not_waited_for(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    data_on_volatile_disks(lab)
    operate(alpha, "promote", "data")
    writer = start_writer(lab)
    writer.wait_for_more(10)
    for disk in DISKS:
        lab.disturb(disk, Order(do="stall"))
    with ThreadPoolExecutor(1) as pool:
        words = ["storage-agent", "demote", "data", "--json"]
        asked = pool.submit(alpha.run, words, timeout_s=OPERATION_TIMEOUT_S, check=False)
        reads_s = []
        while not asked.done():
            begun_s = time.monotonic()
            agent(alpha, "status")
            reads_s.append(time.monotonic() - begun_s)
            time.sleep(0.5)
        ended = asked.result()
    print(f"{len(reads_s)} looks while it hung, the longest {max(reads_s):.1f} s")
    assert max(reads_s) < READ_S
    record = json.loads(ended.stdout)["data"]
    print(record["message"])
    assert record["state"] == "failed"
    assert "stop: no answer within 30 s" in record["message"]
    assert "now: primary on alpha, mounted, NFS server unknown" in record["message"]
    for disk in DISKS:
        lab.disturb(disk, Order(do="heal"))
    # What was asked of the server took effect after all: it goes on from there.
    operate(alpha, "demote", "data")
    assert (role(alpha), is_mounted(alpha, "data")) == ("Secondary", False)
    operate(alpha, "promote", "data")
    writer.wait_for_more(5)
    assert_nothing_lost(writer.finish())
