"""Power cuts that lose what the disks had not flushed: nothing that was acknowledged is lost."""

from __future__ import annotations

import time
from functools import partial

import pytest

from tests.lab.harness.lab import Lab, in_parallel
from tests.lab.situations import (
    HOSTS,
    assert_same_data,
    data_on_volatile_disks,
    is_at_rest,
    is_in_sync,
    operate,
    role,
)
from tests.lab.writing import UNFLUSHED, WAITS_LONG, assert_nothing_lost, start_writer

BACK_TIMEOUT_S = 420
UNFLUSHED_S = 1.0


@pytest.mark.long
@pytest.mark.lab_allows(WAITS_LONG)
def test_both_hosts_lose_their_power_at_once(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    data_on_volatile_disks(lab)
    operate(alpha, "promote", "data")
    writer = start_writer(lab)
    # Writes that reach the disks and are never flushed, beside those that are.
    alpha.spawn(f"while :; do {UNFLUSHED}; done")
    writer.wait_for_more(20)
    # Its fsyncs would flush the others' writes.
    lab.freeze("client")
    time.sleep(UNFLUSHED_S)
    cuts = {host: lab.power_off(host, lose_cache=11) for host in HOSTS}
    print("cut:", cuts)
    assert any(disk["lost_sectors"] for cut in cuts.values() for disk in cut.values())
    lab.thaw("client")
    in_parallel(HOSTS, lab.power_on)
    for name in HOSTS:
        host = lab.hosts[name]
        lab.wait_until(f"{name} is at rest", partial(is_at_rest, host), timeout_s=BACK_TIMEOUT_S)
        # Up by itself, and writing nowhere until somebody says so.
        assert role(host) == "Secondary"
    lab.wait_until("in sync again", lambda: is_in_sync(alpha), timeout_s=BACK_TIMEOUT_S)
    operate(alpha, "promote", "data")
    writer.wait_for_more(5)
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)
