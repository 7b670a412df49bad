"""What is said of a volume is what DRBD would do: a change of the configuration is told as not in
force, taken up while the volume is served, and then it is so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    HOSTS,
    agent,
    ask,
    assert_same_data,
    configure,
    is_at_rest,
    is_in_sync,
    one_volume,
    operate,
)
from tests.lab.test_arbitration import (
    COORDINATOR,
    FREEZE_TIMEOUT_S,
    answer,
    incident_of,
    server,
    take_over,
)
from tests.lab.test_refusals import codes, refusal
from tests.lab.writing import assert_nothing_lost, start_writer

pytestmark = pytest.mark.long

NOT_IN_FORCE = "ARBITRATION_NOT_IN_FORCE"
ARBITRATED = one_volume().replace("mount_point", 'arbitration = "coordinator"\nmount_point')


def findings(host: Host) -> Any:
    return agent(host, "status")["readiness"]["data"]["findings"]


def says_not_in_force(host: Host) -> bool:
    return NOT_IN_FORCE in {finding["code"] for finding in findings(host)}


def has_booted(host: Host) -> bool:
    return is_at_rest(host) and any(
        record["request"]["origin"] == "boot" for record in agent(host, "operation")["operations"]
    )


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_a_change_of_arbitration_is_told_and_taken_up_while_it_serves(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    for name in HOSTS:
        # What its first start in this boot assembles would take the change up by itself.
        host = lab.hosts[name]
        host.run("systemctl restart storage-agentd", timeout_s=60)
        lab.wait_until(f"{name} is at rest", lambda h=host: has_booted(h), timeout_s=120)  # type: ignore[misc]
    writer = start_writer(lab)
    writer.wait_for_more(5)
    configure(lab, ARBITRATED)
    for name in HOSTS:
        host = lab.hosts[name]
        lab.wait_until(f"{name} says so", lambda h=host: says_not_in_force(h), timeout_s=60)  # type: ignore[misc]
    shown = alpha.run("storage-agent status", check=False).stdout
    assert "coordinator is configured and NOT in force: fencing resource-only" in shown
    assert NOT_IN_FORCE in codes(refusal(beta, "promote", "data"))
    take_over(lab)
    epoch = agent(beta, "status")["epochs"]["data"] + 1
    granted = ask(
        beta,
        "grant.promote",
        volume="data",
        epoch=epoch,
        operation_id="to-beta",
        coordinator=COORDINATOR,
    )
    assert granted["error"]["data"]["code"] == NOT_IN_FORCE
    for name in HOSTS:
        taken = operate(lab.hosts[name], "assemble", "data")
        assert (taken["state"], taken["changed"]) == ("succeeded", True)
        assert "fencing         \tresource-and-stonith" in (
            lab.hosts[name].run("drbdsetup show data").stdout
        )
        again = operate(lab.hosts[name], "assemble", "data")
        assert (again["changed"], again["message"]) == (False, "already so")
        assert not says_not_in_force(lab.hosts[name])
    assert is_in_sync(alpha)
    writer.wait_for_more(10)
    lab.cut("beta")
    lab.wait_until("alpha asks", lambda: incident_of(alpha), timeout_s=FREEZE_TIMEOUT_S)
    lab.wait_until("clients are out", lambda: server(alpha) == "started", timeout_s=60)
    incident = incident_of(alpha)
    told = answer(alpha, incident, "continue", incident["epoch"] + 1)
    assert told["result"]["incident"]["answer"] == "continue"
    lab.wait_until("clients are in again", lambda: server(alpha) == "serving", timeout_s=60)
    writer.wait_for_more(10)
    lab.mend("beta")
    lab.wait_until("in sync again", lambda: is_in_sync(alpha), timeout_s=120)
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)
