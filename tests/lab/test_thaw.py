"""A primary stands still while it is replaced, and goes on as if nothing had been: nothing of it
may draw a client back, or answer one from a time before."""

from __future__ import annotations

import time

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.situations import agent, status
from tests.lab.test_arbitration import FREEZE_TIMEOUT_S, grant, server, take_over
from tests.lab.writing import WAITS_LONG, assert_nothing_lost, client_kernel_messages, start_writer


@pytest.mark.long
@pytest.mark.lab_allows(WAITS_LONG)
@pytest.mark.lab_situation("arbitrated-serving-on-alpha")
@pytest.mark.parametrize("seconds", [60, 300])
def test_a_paused_primary_that_was_replaced_keeps_its_mouth_shut(lab: Lab, seconds: int) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    take_over(lab)
    writer = start_writer(lab)
    writer.wait_for_more(10)
    epoch = agent(beta, "status")["epochs"]["data"] + 1
    lab.freeze("alpha")
    paused_s = time.monotonic()
    lab.wait_until(
        "beta misses alpha",
        lambda: status(beta, "data")["replica"]["peer"]["connection"] != "Connected",
        timeout_s=FREEZE_TIMEOUT_S,
    )
    grant(beta, epoch)
    writer.wait_for_more(10)
    time.sleep(max(0.0, seconds - (time.monotonic() - paused_s)))
    lab.thaw("alpha")
    # What it would do wrong it does within seconds.
    writer.wait_for_more(30)
    lab.wait_until("alpha shuts up", lambda: server(alpha) in ("halted", "started"), timeout_s=60)
    writer.wait_for_more(30)
    assert_nothing_lost(writer.finish())
    assert "lost" not in client_kernel_messages(lab)
