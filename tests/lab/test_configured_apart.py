"""Two hosts that are configured differently: told while one serves, and neither lets go nor takes
over before they are alike. Nobody else gets a word at the port where they compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    HOSTS,
    agent,
    assert_same_data,
    move,
    one_volume,
    operate,
    role,
    status,
)
from tests.lab.test_refusals import codes, refusal
from tests.lab.writing import assert_nothing_lost, start_writer

pytestmark = pytest.mark.long

SECRET = "/etc/storage-agent/pair/data.secret"
PORT = 8780
TOLD_TIMEOUT_S = 60
OTHER_OPTIONS = one_volume().replace(
    '["rw", "sync", "no_root_squash"]', '["ro", "sync", "no_root_squash"]'
)

# As any program would: all that comes, until the other side closes.
_LISTEN = """
import socket, sys
link = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
got = b""
try:
    link.sendall(b"what do you have?\\n")
    while more := link.recv(4096):
        got += more
except ConnectionError:
    pass
print(got.decode())
"""


def share_secret(lab: Lab) -> None:
    """As `storage-agent pair-secret` says, by the machine that runs the lab."""
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    made = agent(alpha, "pair-secret", "data")
    assert (made["path"], made["changed"]) == (SECRET, True)
    assert alpha.run(f"stat -c '%a %U' {SECRET}").stdout.split() == ["600", "root"]
    beta.run(f"umask 077; cat > {SECRET}", stdin=alpha.read_file(SECRET))


def finding_codes(host: Host) -> set[str]:
    found: Any = agent(host, "status")["readiness"]["data"]["findings"]
    return {finding["code"] for finding in found}


def says(lab: Lab, code: str) -> Callable[[], bool]:
    return lambda: all(code in finding_codes(lab.hosts[name]) for name in HOSTS)


def agree(lab: Lab) -> bool:
    views = [status(lab.hosts[name], "data")["agreement"] for name in HOSTS]
    return all(
        view.get("has_secret") and view["silence"] is None and not view["differing"]
        for view in views
    )


def reload(host: Host, text: str) -> None:
    host.write_file("/etc/storage-agent/agent.toml", text)
    host.run("systemctl reload storage-agentd", timeout_s=60)


def heard(host: Host, address: str) -> str:
    return host.run(["python3", "-c", _LISTEN, address, str(PORT)], timeout_s=60).stdout.strip()


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_who_is_configured_differently_is_not_let_go_to(lab: Lab) -> None:
    alpha, beta, client = (lab.hosts[name] for name in ("alpha", "beta", "client"))
    lab.wait_until("both miss it", says(lab, "NO_PAIR_SECRET"), timeout_s=TOLD_TIMEOUT_S)
    share_secret(lab)
    lab.wait_until("both agree", lambda: agree(lab), timeout_s=TOLD_TIMEOUT_S)
    writer = start_writer(lab)
    reload(beta, OTHER_OPTIONS)
    lab.wait_until("both say so", says(lab, "CONFIG_DISAGREES"), timeout_s=TOLD_TIMEOUT_S)
    refused = refusal(alpha, "demote", "data")
    assert codes(refused) == {"CONFIG_DISAGREES"}
    assert "volumes.data.nfs.options" in refused["message"]
    assert "CONFIG_DISAGREES" in codes(refusal(beta, "promote", "data", "--wait", "30"))
    assert (role(alpha), role(beta)) == ("Primary", "Secondary")
    writer.wait_for_more(10)
    reload(beta, one_volume())
    lab.wait_until("both agree again", lambda: agree(lab), timeout_s=TOLD_TIMEOUT_S)

    # A peer whose agent is down could not take over.
    beta.run("systemctl stop storage-agentd storage-agent.socket", timeout_s=60)
    silent = refusal(alpha, "demote", "data")
    assert codes(silent) == {"CONFIG_NOT_COMPARED"}
    assert silent["remedy"].startswith("on beta: systemctl start storage-agentd")
    beta.run("systemctl start storage-agent.socket storage-agentd", timeout_s=60)
    lab.wait_until("both agree once more", lambda: agree(lab), timeout_s=TOLD_TIMEOUT_S)
    writer.wait_for_more(10)

    # A third machine, by a way that a router would give it: nothing, and nothing is held up.
    client.run("ip route add 10.8.0.2 via 10.9.0.2", timeout_s=30)
    assert heard(client, "10.8.0.2") == ""
    # A user of the peer's own address: a number, and no answer.
    greeting = heard(alpha, "10.8.0.2")
    assert greeting.startswith("storage-agent-pair-1 ")
    assert len(greeting.splitlines()) == 1
    listening = beta.run(f"ss -Hltn sport = :{PORT}", timeout_s=30).stdout
    assert "10.8.0.2:" in listening
    assert len(listening.splitlines()) == 1

    for record in move(lab, "data", "alpha", "beta"):
        assert record["state"] == "succeeded", record
    writer.wait_for_more(10)
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_a_person_may_end_the_service_whatever_differs(lab: Lab) -> None:
    """And once both are alike, whichever is asked serves."""
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    share_secret(lab)
    lab.wait_until("both agree", lambda: agree(lab), timeout_s=TOLD_TIMEOUT_S)
    reload(beta, OTHER_OPTIONS)
    lab.wait_until("both say so", says(lab, "CONFIG_DISAGREES"), timeout_s=TOLD_TIMEOUT_S)
    meant = operate(alpha, "demote", "data", "--yes-stop-serving", "alpha/data")
    assert meant["state"] == "succeeded"
    assert "CONFIG_DISAGREES" in codes(refusal(beta, "promote", "data"))
    reload(beta, one_volume())
    lab.wait_until("both agree again", lambda: agree(lab), timeout_s=TOLD_TIMEOUT_S)
    assert operate(beta, "promote", "data")["state"] == "succeeded"
