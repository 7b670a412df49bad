"""Going on without the peer, coming back, and ending a split brain."""

from __future__ import annotations

from functools import partial

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import agent, is_in_sync, operate, proc_drbd, role, status
from tests.lab.test_refusals import codes, refusal
from tests.lab.writing import assert_nothing_lost, start_writer

pytestmark = pytest.mark.lab_situation("data-serving-on-alpha")


def is_apart(host: Host) -> bool:
    return bool(status(host, "data")["replica"]["peer"]["connection"] != "Connected")


def test_a_dropped_secondary_cannot_take_over_with_old_data(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    writer = start_writer(lab)
    done = operate(alpha, "standalone", "data")
    print(f"standalone took {done['duration_s']:.1f} s")
    found = {finding["code"] for finding in done["findings"]}
    assert "STANDING_ALONE" in found
    assert "PEER_NOT_TOLD" not in found
    assert "cs:StandAlone" in proc_drbd(alpha)
    assert "ds:Outdated/" in proc_drbd(beta)
    writer.wait_for_more()
    lab.power_off("alpha")
    refused = refusal(beta, "promote", "data", "--peer-is-off", "alpha", "--confirm", "alpha")
    assert "DISK_NOT_UPTODATE" in codes(refused)
    assert role(beta) == "Secondary"


def test_an_unreached_secondary_is_named_and_rejoins(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    refused = refusal(beta, "standalone", "data")
    assert codes(refused) == {"NOT_PRIMARY"}
    writer = start_writer(lab)
    lab.cut("beta")
    lab.wait_until("alpha misses beta", partial(is_apart, alpha), timeout_s=60)
    done = operate(alpha, "standalone", "data")
    assert "PEER_NOT_TOLD" in {finding["code"] for finding in done["findings"]}
    writer.wait_for_more()
    lab.mend("beta")
    alpha.run("storage-agent rejoin data --wait 120 --json", timeout_s=180)
    assert is_in_sync(alpha)
    again = operate(alpha, "rejoin", "data")
    assert (again["message"], again["changed"]) == ("already so", False)
    assert_nothing_lost(writer.finish())


def test_a_split_brain_is_told_by_each_side_and_ended_by_a_person(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    lab.cut("beta")
    lab.cut("beta", link="service")
    for host in (alpha, beta):
        lab.wait_until("apart", partial(is_apart, host), timeout_s=60)
    alpha.run("echo alpha >/srv/data/alpha && sync /srv/data/alpha", timeout_s=30)
    # What no agent can see through: a person who is wrong.
    operate(beta, "promote", "data", "--peer-is-off", "alpha", "--confirm", "alpha")
    beta.run("echo beta >/srv/data/beta && sync /srv/data/beta", timeout_s=30)
    lab.mend("beta")
    for host in (alpha, beta):
        lab.wait_until("a split brain", partial(is_split, host), timeout_s=120)
        host.run("systemctl restart storage-agentd", timeout_s=60)
        lab.wait_until("still known", partial(is_split, host), timeout_s=60)
        assert codes(refusal(host, "rejoin", "data")) == {"SPLIT_BRAIN"}
    discard = ["storage-agent", "split-brain", "data", "--discard", "--dry-run"]
    used = beta.run(discard, timeout_s=60, check=False)
    assert used.exit_status == 3
    assert "STILL_USED" in used.stdout + used.stderr
    operate(beta, "demote", "data", "--yes-stop-serving", "beta/data")
    plan = agent(beta, "split-brain", "data", "--discard", "--dry-run")
    operate(beta, "split-brain", "data", "--discard", "--confirm", plan["digest"])
    keep = agent(alpha, "split-brain", "data", "--keep", "--dry-run")
    operate(alpha, "split-brain", "data", "--keep", "--confirm", keep["digest"])
    lab.wait_until("in sync again", lambda: is_in_sync(alpha), timeout_s=120)
    assert (role(alpha), role(beta)) == ("Primary", "Secondary")
    assert alpha.run("ls /srv/data/alpha /srv/data/beta", check=False).stdout == "/srv/data/alpha\n"
    assert not is_split(alpha)
    assert not is_split(beta)


def is_split(host: Host) -> bool:
    return bool(status(host, "data")["replica"]["split_brain"])
