"""A host that serves defends itself: it says so, refuses to be emptied, holds up a shutdown, and
one that goes down all the same goes down in order."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.lab.harness.errors import LabError
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    SYNC_TIMEOUT_S,
    is_at_rest,
    is_in_sync,
    is_mounted,
    operate,
    proc_drbd,
    role,
)
from tests.lab.test_refusals import codes, refusal
from tests.lab.writing import WAITS_LONG, assert_nothing_lost, start_writer

pytestmark = pytest.mark.lab_situation("data-serving-on-alpha")
INHIBITOR = "storage-agent-inhibit@data.service"
# Emulated: many times what hardware needs.
BOOT_TIMEOUT_S = 420


def reasons(host: Host) -> list[str]:
    """Why the host may not go; empty: it may. The exit status must say the same."""
    done = host.run("storage-agent safe-to-terminate --json", timeout_s=120, check=False)
    found = [finding["code"] for finding in json.loads(done.stdout)["findings"]]
    assert done.exit_status == (3 if found else 0)
    return found


def is_inhibited(host: Host) -> bool:
    listed = host.run("systemd-inhibit --list --no-legend", timeout_s=30).stdout
    return any("storage-agent" in line and "serves data" in line for line in listed.splitlines())


def test_who_may_be_terminated(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    served = {"VOLUME_PRIMARY", "VOLUME_MOUNTED", "VOLUME_EXPORTED"}
    assert served <= set(reasons(alpha))
    assert reasons(beta) == []
    writer = start_writer(lab)
    assert served | {"VOLUME_WRITTEN"} <= set(reasons(alpha))
    assert_nothing_lost(writer.finish())
    for host in (alpha, beta):
        host.run("systemctl stop storage-agent.socket storage-agentd.service", timeout_s=60)
    assert served <= set(reasons(alpha))
    assert reasons(beta) == []
    lab.cut("beta")
    lab.wait_until("beta alone", lambda: "cs:Connected" not in proc_drbd(beta), timeout_s=120)
    assert reasons(beta) == ["ONLY_GOOD_COPY"]


def test_a_demote_that_nobody_takes_over_wants_the_peer_given_up_and_the_name(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    lab.cut("beta")
    lab.wait_until("alpha alone", lambda: "cs:Connected" not in proc_drbd(alpha), timeout_s=120)
    record = refusal(alpha, "demote", "data")
    assert codes(record) == {"PEER_CANNOT_TAKE_OVER"}
    assert is_mounted(alpha, "data")
    refusal(alpha, "demote", "data", "--yes-stop-serving", "beta/data")
    counted_on = refusal(alpha, "demote", "data", "--yes-stop-serving", "alpha/data")
    assert codes(counted_on) == {"PEER_CANNOT_TAKE_OVER"}
    assert operate(alpha, "standalone", "data")["state"] == "succeeded"
    done = operate(alpha, "demote", "data", "--yes-stop-serving", "alpha/data")
    assert done["state"] == "succeeded"


def test_a_shutdown_is_inhibited_while_it_serves(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    lab.wait_until("an inhibitor", lambda: is_inhibited(alpha), timeout_s=60)
    boot_id = alpha.boot_id()
    asked = alpha.run("systemctl --check-inhibitors=yes reboot", timeout_s=60, check=False)
    assert asked.exit_status != 0
    alpha.run("systemctl restart storage-agentd", timeout_s=60)
    assert is_inhibited(alpha)
    assert alpha.boot_id() == boot_id
    operate(alpha, "demote", "data")
    lab.wait_until("none any more", lambda: not is_inhibited(alpha), timeout_s=30)
    operate(beta, "promote", "data")
    lab.wait_until("one on the other host", lambda: is_inhibited(beta), timeout_s=60)


def test_without_logind_it_serves_all_the_same(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    operate(alpha, "demote", "data")
    alpha.run("systemctl mask --now --runtime systemd-logind.service", timeout_s=60)
    assert operate(alpha, "promote", "data")["state"] == "succeeded"
    doctor = alpha.run("storage-agent doctor", timeout_s=60, check=False).stdout
    assert "INHIBITOR_UNAVAILABLE" in doctor


def reboot(lab: Lab, host: Host, *command: str) -> None:
    boot_id = host.boot_id()
    # A forced one answers nobody any more.
    with contextlib.suppress(LabError):
        host.run(list(command), timeout_s=20, check=False)

    def is_anew() -> bool:
        host.drop_connection()
        try:
            return host.boot_id(timeout_s=20) != boot_id
        except LabError:
            return False

    lab.wait_until(f"{host.name} boots", is_anew, timeout_s=BOOT_TIMEOUT_S, poll_s=2)


@pytest.mark.lab_allows(WAITS_LONG)
def test_a_reboot_of_the_serving_host_is_orderly(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    writer = start_writer(lab)
    writer.wait_for_more()
    beta.run("dmesg --clear", timeout_s=30)
    reboot(lab, alpha, "systemctl", "reboot", "--ignore-inhibitors")
    seen = beta.run("dmesg", timeout_s=30).stdout
    # Fault 50: Secondary first, then the connection, and that in order.
    assert seen.index("peer( Primary -> Secondary )") < seen.index("conn( Connected -> TearDown )")
    before = alpha.run("journalctl -b -1 -o cat -u storage-agent-shutdown", timeout_s=60).stdout
    assert "data: leave succeeded" in before
    lab.wait_until("in sync again", lambda: is_in_sync(alpha), timeout_s=SYNC_TIMEOUT_S)
    assert role(alpha) == "Secondary"
    lab.wait_until("alpha is at rest", lambda: is_at_rest(alpha), timeout_s=120)
    operate(alpha, "promote", "data")
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())


@pytest.mark.long
def test_frozen_writes_do_not_hold_up_a_forced_restart(lab: Lab) -> None:
    """A plain reboot was seen to take 450 s: systemd waits for what never ends. `systemctl reboot
    --force --force` never ends at all: it calls sync(2) first (systemd 252, halt_now())."""
    alpha = lab.hosts["alpha"]
    alpha.run("drbdadm suspend-io data", timeout_s=30)
    alpha.spawn("dd if=/dev/zero of=/srv/data/frozen bs=1M count=1 conv=fsync")
    reboot(lab, alpha, "reboot", "--force", "--no-sync")
    lab.wait_until("alpha is secondary", lambda: role(alpha) == "Secondary", timeout_s=120)
    assert not is_mounted(alpha, "data")


def test_stopping_the_unit_by_hand_stops_nothing(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    alpha.run("systemctl restart storage-agent-shutdown.service", timeout_s=60)
    assert role(alpha) == "Primary"
    assert is_mounted(alpha, "data")
