"""The link breaks under a coordinator's arbitration: the primary freezes and asks, and exactly one
host goes on. The scenario gives the coordinator's answers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    HOSTS,
    agent,
    ask,
    assert_same_data,
    is_at_rest,
    is_in_sync,
    operate,
    proc_drbd,
    role,
    status,
)
from tests.lab.test_refusals import codes, refusal
from tests.lab.writing import WAITS_LONG, Writer, assert_nothing_lost, start_writer

pytestmark = pytest.mark.lab_situation("arbitrated-serving-on-alpha")
# The claim by which the scenario is the hosts' coordinator.
COORDINATOR = "scenario"
# DRBD's own timeouts under emulation, then the handler, then the link keeper.
FREEZE_TIMEOUT_S = 120


def incident_of(host: Host) -> Any:
    found = ask(host, "incident.list")["result"]["incidents"]
    return found[0] if found else None


def server(host: Host) -> str:
    return str(status(host, "data")["nfs"]["state"])


def peer_of(host: Host) -> Any:
    """As the host's replica sees it."""
    found = status(host, "data")["replica"]
    return (found and found.get("peer")) or {"disk": "", "connection": ""}


def take_over(lab: Lab) -> None:
    """As a coordinator does first: both hosts listen to nobody else."""
    epoch = max(agent(lab.hosts[name], "status")["epochs"]["data"] for name in HOSTS) + 1
    given = {"volume": "data", "epoch": epoch, "coordinator": COORDINATOR}
    for name in HOSTS:
        claimed = ask(lab.hosts[name], "epoch.claim", operation_id=COORDINATOR, **given)
        assert "result" in claimed, claimed


def grant(host: Host, epoch: int, promotion: str = "to-beta") -> None:
    """This promotion, and nothing else."""
    given = {"volume": "data", "epoch": epoch, "operation_id": promotion}
    other = ask(host, "grant.promote", **given, coordinator="other")
    assert other["error"]["data"]["code"] == "OTHER_COORDINATOR"
    granted = ask(host, "grant.promote", **given, coordinator=COORDINATOR)
    assert "result" in granted, granted
    wanted = ("--epoch", str(epoch), "--coordinator", COORDINATOR, "--operation-id", promotion)
    assert operate(host, "promote", "data", *wanted)["state"] == "succeeded"


def freeze(lab: Lab) -> tuple[Writer, Any]:
    """A writer at work, the link cut, alpha frozen and its clients shut out."""
    alpha = lab.hosts["alpha"]
    take_over(lab)
    writer = start_writer(lab)
    lab.cut("beta")
    lab.wait_until("alpha asks", lambda: incident_of(alpha), timeout_s=FREEZE_TIMEOUT_S)
    lab.wait_until("clients are out", lambda: server(alpha) == "started", timeout_s=60)
    assert status(alpha, "data")["replica"]["suspended"] == ["fencing"]
    return writer, incident_of(alpha)


def answer(host: Host, incident: Any, verdict: str, epoch: int, **changes: str) -> Any:
    given = {key: incident[key] for key in ("volume", "incident", "boot_id")}
    given |= {"coordinator": COORDINATOR} | changes
    return ask(host, "incident.answer", epoch=epoch, verdict=verdict, **given)


def test_the_frozen_primary_may_go_on(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    writer, incident = freeze(lab)
    epoch = incident["epoch"]
    forged = answer(alpha, incident, "continue", epoch + 1, boot_id="00000000-0000")
    assert forged["error"]["data"]["code"] == "INCIDENT_UNKNOWN"
    stale = answer(alpha, incident, "continue", epoch - 1)
    assert stale["error"]["data"]["code"] == "STALE_EPOCH"
    other = answer(alpha, incident, "continue", epoch + 1, coordinator="other")
    assert other["error"]["data"]["code"] == "OTHER_COORDINATOR"
    assert status(alpha, "data")["replica"]["suspended"] == ["fencing"]
    first = answer(alpha, incident, "continue", epoch + 1)
    assert first["result"]["incident"]["answer"] == "continue"
    lab.wait_until("clients are in again", lambda: server(alpha) == "serving", timeout_s=60)
    assert "ds:UpToDate/Outdated" in proc_drbd(alpha)
    writer.wait_for_more(10)
    lab.mend("beta")
    lab.wait_until("in sync again", lambda: is_in_sync(alpha), timeout_s=120)
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)


def test_the_other_host_is_granted_the_volume(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    writer, incident = freeze(lab)
    epoch = incident["epoch"] + 1
    assert "PROMOTION_NOT_GRANTED" in codes(
        refusal(beta, "promote", "data", "--peer-is-off", "alpha", "--confirm", "alpha")
    )
    typed = beta.run("drbdadm primary data", timeout_s=120, check=False)
    assert typed.exit_status != 0
    assert role(beta) == "Secondary"
    grant(beta, epoch)
    assert answer(alpha, incident, "deny", epoch + 1)["result"]["incident"]["answer"] == "deny"
    writer.wait_for_more(10)
    # Denied: it stays frozen and shut, and says so.
    assert server(alpha) == "started"
    assert " s" in proc_drbd(alpha).split("ro:Primary/Unknown")[1].splitlines()[0]
    assert_nothing_lost(writer.finish())


def test_a_killed_primary_is_replaced_by_grant(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    take_over(lab)
    writer = start_writer(lab)
    writer.wait_for_more(10)
    epoch = agent(alpha, "status")["epochs"]["data"] + 1
    lab.power_off("alpha")
    lab.wait_until(
        "beta misses alpha",
        lambda: status(beta, "data")["replica"]["peer"]["connection"] != "Connected",
        timeout_s=FREEZE_TIMEOUT_S,
    )
    assert "PROMOTION_NOT_GRANTED" in codes(
        refusal(beta, "promote", "data", "--peer-is-off", "alpha", "--confirm", "alpha")
    )
    grant(beta, epoch)
    writer.wait_for_more(10)
    assert_nothing_lost(writer.finish())


def test_a_primary_whose_peer_is_killed_goes_on_when_told(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    take_over(lab)
    writer = start_writer(lab)
    writer.wait_for_more(10)
    lab.power_off("beta")
    lab.wait_until("alpha asks", lambda: incident_of(alpha), timeout_s=FREEZE_TIMEOUT_S)
    incident = incident_of(alpha)
    told = answer(alpha, incident, "continue", incident["epoch"] + 1)
    assert told["result"]["incident"]["answer"] == "continue"
    lab.wait_until("clients are in again", lambda: server(alpha) == "serving", timeout_s=60)
    writer.wait_for_more(10)
    assert_nothing_lost(writer.finish())


@pytest.mark.long
@pytest.mark.lab_allows(WAITS_LONG)
def test_a_copy_that_has_lost_newer_data_does_not_thaw_the_older(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    writer, incident = freeze(lab)
    grant(beta, incident["epoch"] + 1)
    writer.wait_for_more(10)
    lab.power_off("beta")
    lab.power_on("beta")
    lab.wait_until("beta is up", lambda: peer_of(beta)["disk"] == "Outdated", timeout_s=120)
    lab.wait_until("nothing runs there", lambda: is_at_rest(beta), timeout_s=120)
    assert peer_of(beta)["connection"] == "Connecting"
    beta.run("drbdadm detach data", timeout_s=60)
    lab.wait_until("it leaves", lambda: status(beta, "data")["replica"] is None, timeout_s=60)
    lab.mend("beta")
    # DRBD would connect in a tenth of that.
    time.sleep(30)
    assert status(alpha, "data")["replica"]["suspended"] == ["fencing"]
    assert operate(beta, "assemble", "data")["state"] == "succeeded"
    lab.wait_until("DRBD parts them", lambda: "cs:StandAlone" in proc_drbd(alpha), timeout_s=60)
    assert status(alpha, "data")["replica"]["suspended"] == ["fencing"]
    grant(beta, incident["epoch"] + 2, "again")
    writer.wait_for_more(10)
    assert_nothing_lost(writer.finish())
