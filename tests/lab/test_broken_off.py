"""An adoption that was broken off half-way, and then the hosts lose each other."""

from __future__ import annotations

import pytest

from tests.lab.coordination import is_killed_after
from tests.lab.harness.lab import Lab
from tests.lab.situations import agent, is_in_sync, proc_drbd, role, status
from tests.lab.writing import WAITS_LONG, assert_nothing_lost, start_writer

ANSWER_TIMEOUT_S = 120


@pytest.mark.long
@pytest.mark.lab_allows(WAITS_LONG)
@pytest.mark.lab_situation("coordinated-by-itself")
@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_primary_that_freezes_then_is_answered_all_the_same(lab: Lab, step: int) -> None:
    """The claim is recorded, and one of the hosts, or none, has heard of it; nobody else is ahead.
    Nobody types anything from then on."""
    control, alpha, beta = (lab.hosts[name] for name in ("client", "alpha", "beta"))
    writer = start_writer(lab)
    control.run("systemctl stop storage-coordinator", timeout_s=60)
    assert is_killed_after(control, step, "adopt", "data")
    lab.cut("beta")
    lab.wait_until(
        "alpha is frozen",
        lambda: status(alpha, "data")["replica"]["suspended"] != [],
        timeout_s=ANSWER_TIMEOUT_S,
    )
    control.run("systemctl start storage-coordinator", timeout_s=60)
    lab.wait_until(
        "alpha goes on alone",
        lambda: (
            "ds:UpToDate/Outdated" in proc_drbd(alpha)
            and status(alpha, "data")["replica"]["suspended"] == []
        ),
        timeout_s=ANSWER_TIMEOUT_S,
    )
    writer.wait_for_more(10)
    lab.mend("beta")
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=ANSWER_TIMEOUT_S)
    assert (role(alpha), role(beta)) == ("Primary", "Secondary")
    lab.wait_until(
        "the coordinator finds nothing wrong",
        lambda: control.run("storage-coordinator status", check=False).exit_status == 0,
        timeout_s=ANSWER_TIMEOUT_S,
    )
    assert agent(alpha, "status")["epochs"] == agent(beta, "status")["epochs"]
    assert_nothing_lost(writer.finish())
