"""storage-coordinator, installed on a machine of its own, drives both hosts over real SSH."""

from __future__ import annotations

import itertools
import shlex

import pytest

from tests.lab.coordination import coordinate, is_killed_after, refused, words_of
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    SYNC_TIMEOUT_S,
    ask,
    assert_same_data,
    is_in_sync,
    operate,
    proc_drbd,
    role,
    status,
)
from tests.lab.writing import WAITS_LONG, assert_nothing_lost, start_writer

BY_HAND = pytest.mark.lab_situation("coordinated-by-hand")
ARBITRATED = pytest.mark.lab_situation("arbitrated-by-hand")
BY_ITSELF = pytest.mark.lab_situation("coordinated-by-itself")


@BY_HAND
def test_live_then_moved_there_and_back_then_taken_over_from_a_dead_host(lab: Lab) -> None:
    control, alpha, beta = (lab.hosts[name] for name in ("client", "alpha", "beta"))
    assert not coordinate(control, "status")["is_sealed"]
    # Over NFS, from this machine, which is the clients' too.
    live = coordinate(control, "go-live", "data")
    assert (live["changed"], live["data"]["client"]) == (True, "this machine")
    assert not coordinate(control, "go-live", "data")["changed"]
    assert coordinate(control, "status")["is_sealed"]
    coordinate(control, "preflight", "data")
    writer = start_writer(lab)
    for target, source in ((beta, alpha), (alpha, beta)):
        coordinate(control, "switchover", "data", "--to", target.name)
        assert (role(target), role(source)) == ("Primary", "Secondary")
        writer.wait_for_more()
    alive = refused(control, "failover", "data", "--to", "beta", "--confirm", "alpha")
    assert role(beta) == "Secondary", alive
    lab.power_off("alpha")
    lab.wait_until("beta misses alpha", lambda: misses_peer(beta), timeout_s=60)
    other = refused(control, "failover", "data", "--to", "beta", "--confirm", "beta")
    assert role(beta) == "Secondary", other
    shown = coordinate(control, "failover", "data", "--to", "beta", "--dry-run")
    assert role(beta) == "Secondary", shown
    coordinate(control, "failover", "data", "--to", "beta", "--confirm", "alpha")
    assert role(beta) == "Primary"
    writer.wait_for_more(10)
    assert_nothing_lost(writer.finish())


@pytest.mark.long
# A frozen primary's own tasks wait.
@pytest.mark.lab_allows(WAITS_LONG)
@BY_ITSELF
def test_it_lets_a_lone_primary_go_on_and_replaces_one_that_is_out_of_reach(lab: Lab) -> None:
    control, alpha, beta = (lab.hosts[name] for name in ("client", "alpha", "beta"))
    writer = start_writer(lab)
    lab.cut("beta")
    lab.wait_until(
        "alpha goes on alone",
        lambda: "ds:UpToDate/Outdated" in proc_drbd(alpha),
        timeout_s=120,
    )
    print(f"the incident was answered after {answered_after_s(alpha):.1f} s")
    writer.wait_for_more()
    lab.mend("beta")
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=120)
    coordinate(control, "switchover", "data", "--to", "beta")
    coordinate(control, "switchover", "data", "--to", "alpha")
    writer.wait_for_more()
    for link in ("replication", "service"):
        lab.cut("alpha", link=link)
    lab.wait_until("beta took over", lambda: role(beta) == "Primary", timeout_s=400)
    writer.wait_for_more(10)
    for link in ("replication", "service"):
        lab.mend("alpha", link=link)
    lab.wait_until(
        "alpha has seen beta", lambda: "cs:StandAlone" in proc_drbd(alpha), timeout_s=120
    )
    assert is_shut(alpha)
    writer.wait_for_more(10)
    # As the status of each says: alpha is restarted, and beta takes it back.
    lab.power_off("alpha")
    lab.power_on("alpha")
    operate(beta, "rejoin", "data")
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=SYNC_TIMEOUT_S)
    assert (role(alpha), role(beta)) == ("Secondary", "Primary")
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)


@pytest.mark.long
@pytest.mark.timeout(3600)
@BY_HAND
def test_killed_after_each_of_its_steps_the_same_command_ends_the_move(lab: Lab) -> None:
    """There and back, from the first request's answer to the last. Each time the same command
    goes on, and in the end the clients' records are all there."""
    control = lab.hosts["client"]
    hosts = [lab.hosts["beta"], lab.hosts["alpha"]]
    writer = start_writer(lab)
    for step in itertools.count(1):
        target = hosts[(step - 1) % 2]
        words = ("switchover", "data", "--to", target.name)
        is_killed = is_killed_after(control, step, *words)
        coordinate(control, *words)
        assert role(target) == "Primary", f"killed after step {step}"
        writer.wait_for_more()
        if not is_killed:
            break
    # Two looks, two plans, the record, promote, demote, a last look, the record.
    assert step > 8
    print(f"killed after each of {step - 1} steps")
    assert_nothing_lost(writer.finish())


@pytest.mark.long
@pytest.mark.timeout(1800)
@BY_HAND
def test_killed_after_each_of_its_steps_in_turn_it_adopts_and_goes_live(lab: Lab) -> None:
    control, beta = lab.hosts["client"], lab.hosts["beta"]
    for words in (("adopt", "data"), ("go-live", "data")):
        assert kills(control, *words) > 4
    assert coordinate(control, "status")["is_sealed"]
    coordinate(control, "switchover", "data", "--to", "beta")
    assert role(beta) == "Primary"


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.lab_allows(WAITS_LONG)
@ARBITRATED
def test_killed_after_each_of_its_steps_in_turn_a_failover_ends(lab: Lab) -> None:
    """The hosts lose each other, a person lets beta take over, alpha stays frozen."""
    control, alpha, beta = (lab.hosts[name] for name in ("client", "alpha", "beta"))
    writer = start_writer(lab)
    for link in ("replication", "service"):
        lab.cut("alpha", link=link)
    lab.wait_until("beta misses alpha", lambda: misses_peer(beta), timeout_s=60)
    assert kills(control, "failover", "data", "--to", "beta", "--confirm", "alpha") > 6
    assert role(beta) == "Primary"
    writer.wait_for_more(10)
    lab.power_off("alpha")
    lab.power_on("alpha")
    for link in ("replication", "service"):
        lab.mend("alpha", link=link)
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=SYNC_TIMEOUT_S)
    assert (role(alpha), role(beta)) == ("Secondary", "Primary")
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)


def kills(control: Host, *words: str) -> int:
    """How often the command was killed until it ended: the first time after its first step, the
    next after its second, on from where the last was killed."""
    for count in itertools.count():
        if not is_killed_after(control, count + 1, *words):
            print(f"{words[0]}: killed after each of {count} steps")
            return count
    raise AssertionError


@pytest.mark.long
@BY_HAND
def test_its_ssh_sessions_cut_off_in_a_promote_the_same_command_ends_the_move(lab: Lab) -> None:
    """As soon as it is accepted, and in the middle of its steps; it goes on without them."""
    control = lab.hosts["client"]
    writer = start_writer(lab)
    for target, record in ((lab.hosts["beta"], "accepted"), (lab.hosts["alpha"], "intent")):
        words = ("switchover", "data", "--to", target.name)
        lose_sessions(lab, control, target, record, words_of(*words))
        coordinate(control, *words)
        assert role(target) == "Primary", f"cut off after {record}"
        writer.wait_for_more()
    assert_nothing_lost(writer.finish())


def lose_sessions(lab: Lab, control: Host, target: Host, record: str, words: str) -> None:
    """The target's sshd ends them while a promote runs that has such a record; the coordinator may
    say what it likes then."""
    ended = "/root/ended"
    script = f"rm -f {ended}; {words} >/root/said 2>&1; echo $? >{ended}"
    control.run(f"setsid sh -c {shlex.quote(script)} </dev/null >/dev/null 2>&1 &", timeout_s=30)
    running = (
        'grep -L \'"phase": "ended"\' /var/lib/storage-agent/operation-* | '
        'xargs -r grep -l \'"kind": "promote"\' | '
        f"xargs -r grep -l '\"{record}\"' | grep ."
    )
    kill = f"until {running}; do sleep 0.05; done; pkill -KILL -u storage-agent; {running}"
    at_the_kill = target.run(kill, timeout_s=120).stdout.split()
    assert len(at_the_kill) == 2, f"no promote ran any more: {at_the_kill}"
    lab.wait_until(
        "the coordinator has ended",
        lambda: control.run(f"cat {ended}", timeout_s=30, check=False).exit_status == 0,
        timeout_s=300,
    )


@pytest.mark.long
@BY_HAND
def test_of_two_coordinators_one_wins_and_the_other_says_so(lab: Lab) -> None:
    control, alpha, beta = (lab.hosts[name] for name in ("client", "alpha", "beta"))
    writer = start_writer(lab)
    control.run("mkdir -p /root/second/lib /root/second/run", timeout_s=30)
    assert refused(control, "switchover", "data", "--to", "beta", second=True)
    assert role(alpha) == "Primary"
    coordinate(control, "adopt", "data", second=True)
    said = refused(control, "switchover", "data", "--to", "beta")
    assert role(alpha) == "Primary", said
    # Both at once: each takes the volume over, and then wants to move it.
    wanted = (("adopt", "data"), ("switchover", "data", "--to", "beta"))
    one, two = (" && ".join(words_of(*w, second=is_second) for w in wanted)
                for is_second in (False, True))  # fmt: skip
    control.run(f"({one}) >/root/one 2>&1 & ({two}) >/root/two 2>&1; wait", timeout_s=400)
    said = control.run("cat /root/one /root/two", timeout_s=30).stdout
    roles = {role(alpha), role(beta)}
    assert roles == {"Primary", "Secondary"}, said
    lab.wait_until("in sync", lambda: is_in_sync(beta), timeout_s=60)
    writer.wait_for_more()
    # Whoever adopts now is obeyed.
    coordinate(control, "adopt", "data")
    coordinate(control, "switchover", "data", "--to", "beta")
    assert (role(alpha), role(beta)) == ("Secondary", "Primary")
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)


def answered_after_s(host: Host) -> float:
    """From when the agent tells of the incident to when it tells of the answer."""
    (found,) = ask(host, "incident.list")["result"]["incidents"]
    events = ask(host, "events", limit=1000)["result"]["events"]
    opened_s, *_ = (e["wall_s"] for e in events if f"{found['incident']} waits" in e["text"])
    told_s, *_ = (e["wall_s"] for e in events if f"{found['incident']} answered" in e["text"])
    return float(told_s) - float(opened_s)


def misses_peer(host: Host) -> bool:
    return bool(status(host, "data")["replica"]["peer"]["connection"] != "Connected")


def is_shut(host: Host) -> bool:
    """It stays frozen, and lets no client in."""
    found = status(host, "data")
    return (found["replica"]["suspended"], found["nfs"]["state"]) == (["fencing"], "started")
