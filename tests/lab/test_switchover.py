"""A planned move under a client that holds a lock and fsyncs: nothing is lost, both ways."""

from __future__ import annotations

from functools import partial

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import is_mounted, operate, role, status
from tests.lab.writing import assert_nothing_lost, client_kernel_messages, start_writer

# The client's own TCP retransmissions set the scale (field: 3.3 s); a whole grace period is 90 s.
LONGEST_GAP_S = 20.0


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_there_and_back_with_a_lock_held(lab: Lab) -> None:
    writer = start_writer(lab)
    for old, new in (("alpha", "beta"), ("beta", "alpha")):
        demoted = operate(lab.hosts[old], "demote", "data")
        assert demoted["state"] == "succeeded"
        promoted = operate(lab.hosts[new], "promote", "data")
        assert promoted["state"] == "succeeded"
        assert promoted["message"] == f"serving on {new}"
        writer.wait_for_more()
        assert (role(lab.hosts[new]), role(lab.hosts[old])) == ("Primary", "Secondary")
        assert is_mounted(lab.hosts[new], "data")
        assert not is_mounted(lab.hosts[old], "data")
        # One that is left would answer its client when the volume comes back.
        lab.wait_until(
            "no old connection is left", partial(has_no_connection, lab.hosts[old]), timeout_s=20
        )
    result = writer.finish()
    print(f"longest gap {result['longest_gap_s']} s, {result['acknowledged']} records")
    assert_nothing_lost(result)
    assert result["longest_gap_s"] < LONGEST_GAP_S
    assert "lost" not in client_kernel_messages(lab)


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_run_twice_the_second_says_already_so(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    before = status(alpha, "data")["replica"]
    again = operate(alpha, "promote", "data")
    assert (again["state"], again["message"], again["changed"]) == (
        "succeeded",
        "already so",
        False,
    )
    assert status(alpha, "data")["replica"]["role"] == before["role"] == "Primary"
    operate(alpha, "demote", "data")
    again = operate(alpha, "demote", "data")
    assert (again["message"], again["changed"]) == ("already so", False)


@pytest.mark.lab_situation("two-serving-apart")
def test_two_volumes_move_in_opposite_directions_at_once(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    writers = {volume: start_writer(lab, volume) for volume in ("data", "logs")}
    moves = {
        "data": alpha.spawn("storage-agent demote data --json"),
        "logs": beta.spawn("storage-agent demote logs --json"),
    }
    for move in moves.values():
        move.require_success(timeout_s=240)
    moves = {
        "data": beta.spawn("storage-agent promote data --json"),
        "logs": alpha.spawn("storage-agent promote logs --json"),
    }
    for move in moves.values():
        move.require_success(timeout_s=240)
    for writer in writers.values():
        writer.wait_for_more()
    assert (role(beta, 0), role(alpha, 1)) == ("Primary", "Primary")
    assert (role(alpha, 0), role(beta, 1)) == ("Secondary", "Secondary")
    for volume, writer in writers.items():
        result = writer.finish()
        print(f"{volume}: longest gap {result['longest_gap_s']} s")
        assert_nothing_lost(result)


def has_no_connection(host: Host) -> bool:
    """In the namespaces of the NFS servers; listening is none."""
    each = "for name in $(ls /run/netns); do ip netns exec $name ss -Htan; done"
    return host.run(f"{each} | grep -v LISTEN", timeout_s=30, check=False).stdout == ""
