"""Power, reboots and killed daemons: every end is a state that the agent names and goes on from."""

from __future__ import annotations

import json
from functools import partial

import pytest

from tests.lab.crash_points import Course, Point, kill, require_end_of_killed, walk
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    is_at_rest,
    is_in_sync,
    is_mounted,
    move,
    operate,
    role,
    status,
)
from tests.lab.test_refusals import codes, refusal
from tests.lab.writing import WAITS_LONG, assert_nothing_lost, start_writer

# A guest boots for 80 s on a quiet machine.
RESUME_TIMEOUT_S = 420


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_a_rebooted_host_comes_up_secondary(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    operate(alpha, "demote", "data")
    operate(beta, "promote", "data")
    writer = start_writer(lab)
    lab.reset("alpha")
    lab.wait_until(
        "alpha back as secondary", lambda: role(alpha) == "Secondary", timeout_s=RESUME_TIMEOUT_S
    )
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=RESUME_TIMEOUT_S)
    assert not is_mounted(alpha, "data")
    assert status(alpha, "data")["replica"]["role"] == "Secondary"
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_failover_needs_the_dead_host_named_and_loses_nothing(lab: Lab) -> None:
    beta = lab.hosts["beta"]
    writer = start_writer(lab)
    lab.power_off("alpha")
    lab.wait_until(
        "beta misses alpha",
        lambda: status(beta, "data")["replica"]["peer"]["connection"] != "Connected",
        timeout_s=60,
    )
    record = refusal(beta, "promote", "data")
    assert codes(record) == {"PEER_NOT_PROVEN_OFF"}
    assert role(beta) == "Secondary"
    record = operate(beta, "promote", "data", "--peer-is-off", "alpha", "--confirm", "alpha")
    assert record["state"] == "succeeded"
    writer.wait_for_more()
    result = writer.finish()
    print(f"longest gap {result['longest_gap_s']} s")
    assert_nothing_lost(result)
    lab.power_on("alpha")
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=RESUME_TIMEOUT_S)
    assert role(lab.hosts["alpha"]) == "Secondary"


@pytest.mark.lab_situation("data-in-sync")
def test_a_rebooted_isolated_host_refuses(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    operate(alpha, "promote", "data")
    lab.cut("beta")
    alpha.run("dd if=/dev/zero of=/srv/data/newer bs=1M count=2 conv=fsync", timeout_s=60)
    lab.reset("beta")
    lab.power_off("alpha")
    lab.wait_until("beta is up", lambda: role(beta) == "Secondary", timeout_s=RESUME_TIMEOUT_S)
    lab.wait_until("beta is at rest", lambda: is_at_rest(beta), timeout_s=RESUME_TIMEOUT_S)
    record = refusal(beta, "promote", "data", "--peer-is-off", "alpha", "--confirm", "alpha")
    assert "CURRENCY_UNPROVEN" in codes(record)
    assert role(beta) == "Secondary"


@pytest.mark.long
@pytest.mark.lab_situation("data-serving-on-alpha")
@pytest.mark.lab_allows(f"drbd|I/O error|{WAITS_LONG}")
def test_a_copy_whose_disk_was_away_refuses(lab: Lab) -> None:
    """DRBD itself would take it: no handler is called when only the peer's disk is lost."""
    beta = lab.hosts["beta"]
    writer = start_writer(lab)
    writer.wait_for_more(10)
    beta.run("drbdadm detach data", timeout_s=60)
    writer.wait_for_more(10)
    lab.power_off("alpha")
    lab.wait_until(
        "beta misses alpha",
        lambda: status(beta, "data")["replica"]["peer"]["connection"] != "Connected",
        timeout_s=60,
    )
    beta.run("drbdadm attach data", timeout_s=60)
    lab.wait_until(
        "beta has its disk again",
        lambda: status(beta, "data")["replica"]["disk"] in ("Consistent", "UpToDate"),
        timeout_s=60,
    )
    record = refusal(beta, "promote", "data", "--peer-is-off", "alpha", "--confirm", "alpha")
    assert "CURRENCY_UNPROVEN" in codes(record) or "DISK_NOT_UPTODATE" in codes(record)
    assert role(beta) == "Secondary"
    lab.power_on("alpha")
    alpha = lab.hosts["alpha"]
    lab.wait_until("in sync again", lambda: is_in_sync(alpha), timeout_s=RESUME_TIMEOUT_S)
    lab.wait_until("alpha is at rest", lambda: is_at_rest(alpha), timeout_s=RESUME_TIMEOUT_S)
    operate(alpha, "promote", "data")
    writer.wait_for_more(5)
    assert_nothing_lost(writer.finish())


@pytest.mark.lab_situation("data-in-sync")
@pytest.mark.parametrize(
    "point",
    [
        Point("promote", "after", 7, "intent start-server"),
        Point("promote", "before", 10, "ended"),
    ],
    ids=str,
)
def test_the_daemon_killed_in_the_middle_of_promote(lab: Lab, point: Point) -> None:
    assert kill_and_go_on(lab, point) == "Primary, serving"


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_the_daemon_killed_in_the_middle_of_demote(lab: Lab) -> None:
    point = Point("demote", "after", 5, "intent unmount")
    assert kill_and_go_on(lab, point) == "Secondary, standby"


def kill_and_go_on(lab: Lab, point: Point) -> str:
    """Some of the points that scripts/crash-points walks; where the volume stood."""
    course = Course(
        ready=lambda verb: None, crash=partial(kill, lab), require=require_end_of_killed
    )
    return walk(lab, course, point).stands


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_clients_do_not_notice_a_killed_daemon(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    writer = start_writer(lab)
    alpha.run("systemctl kill -s KILL storage-agentd", timeout_s=30)
    writer.wait_for_more(20)
    lab.wait_until("the daemon is back", lambda: is_back(alpha), timeout_s=120)
    assert status(alpha, "data")["nfs"]["state"] == "serving"
    result = writer.finish()
    assert_nothing_lost(result)
    print(f"longest gap {result['longest_gap_s']} s")


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_clients_do_not_notice_a_killed_nfs_supervisor(lab: Lab) -> None:
    """nfsd's threads are the kernel's, and go on: the same ones, in no grace period."""
    alpha, unit = lab.hosts["alpha"], "storage-agent-nfs@data"
    threads = "pgrep --exact nfsd"
    before = alpha.run(threads, timeout_s=30).stdout
    assert before
    writer = start_writer(lab)
    alpha.run(f"systemctl kill --kill-whom=main -s KILL {unit}", timeout_s=30)
    lab.wait_until("it is taken over", lambda: "taken over" in journal(alpha, unit), timeout_s=120)
    assert "taken over: serving" in journal(alpha, unit)
    assert alpha.run(threads, timeout_s=30).stdout == before
    writer.wait_for_more(20)
    lab.wait_until("it is seen", lambda: is_back(alpha), timeout_s=60)
    assert status(alpha, "data")["nfs"]["state"] == "serving"
    result = writer.finish()
    assert_nothing_lost(result)
    print(f"longest gap {result['longest_gap_s']} s")
    # Its records are kept on: a move finds them.
    for record in move(lab, "data", "alpha", "beta"):
        assert record["state"] == "succeeded", record


def journal(host: Host, unit: str) -> str:
    return host.run(f"journalctl --boot --unit {unit} --output cat", timeout_s=30).stdout


def is_back(host: Host) -> bool:
    """The daemon was started anew, has looked, and has nothing under way."""
    done = host.run("storage-agent status --json", timeout_s=60, check=False)
    if done.exit_status != 0:
        return False
    data = json.loads(done.stdout)["data"]
    nfs = data["snapshot"]["volumes"]["data"]["nfs"]
    return bool(data.get("agent_version")) and "state" in nfs and data["operations"] == []
