"""The host that serves loses its own disks: the one good copy is the other host's, and what status
says is to be typed brings it there."""

from __future__ import annotations

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import agent, is_in_sync, move, proc_drbd, role, status
from tests.lab.writing import assert_nothing_lost, client_kernel_messages, start_writer

pytestmark = pytest.mark.long

MEMBERS = ("alpha-0", "alpha-1")


def findings(host: Host) -> dict[str, str]:
    """Code and remedy of what status says of the volume."""
    found = agent(host, "status")["readiness"]["data"]["findings"]
    return {finding["code"]: finding["remedy"] for finding in found}


@pytest.mark.lab_situation("data-serving-on-alpha")
@pytest.mark.lab_allows("md/raid|I/O error|super_written|Buffer I/O|lost async page write")
def test_a_primary_that_has_lost_its_disks_is_moved_as_status_says(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    writer = start_writer(lab)
    for member in MEMBERS:
        lab.unplug("alpha", member)
    lab.wait_until(
        "alpha serves without a disk",
        lambda: "ro:Primary/Secondary ds:Diskless/UpToDate" in proc_drbd(alpha),
        timeout_s=60,
    )
    writer.wait_for_more()
    lab.wait_until("status names it", lambda: "OWN_DISK_LOST" in findings(alpha), timeout_s=30)
    assert findings(alpha)["OWN_DISK_LOST"].startswith(
        "on beta: storage-agent promote data --wait 60; then on alpha: storage-agent demote data"
    )
    # What beta's daemon had watched is gone with it; what the kernels show for a while is enough.
    beta.run("systemctl restart storage-agentd", timeout_s=60)
    lab.wait_until(
        "beta may take over", lambda: "CURRENCY_UNPROVEN" not in findings(beta), timeout_s=120
    )
    demoted, promoted = move(lab, "data", "alpha", "beta")
    assert (demoted["state"], promoted["state"]) == ("succeeded", "succeeded")
    writer.wait_for_more()
    assert (role(alpha), role(beta)) == ("Secondary", "Primary")
    result = writer.finish()
    print(f"longest gap {result['longest_gap_s']} s, {result['acknowledged']} records")
    assert_nothing_lost(result)
    assert "lost" not in client_kernel_messages(lab)


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_a_primary_that_is_resynced_may_be_moved_meanwhile(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    writer = start_writer(lab)
    slow = "drbdadm disk-options --c-plan-ahead=0 --resync-rate=500k data"
    beta.run(slow, timeout_s=30)
    alpha.run("drbdadm detach data", timeout_s=60)
    writer.wait_for_more()
    # What was written since is resynced; slowly, and more of it.
    alpha.run("dd if=/dev/zero of=/srv/data/more bs=1M count=64 conv=fsync", timeout_s=120)
    alpha.run(f"drbdadm attach data && {slow}", timeout_s=60)
    lab.wait_until(
        "alpha is resynced under its clients",
        lambda: "cs:SyncTarget ro:Primary/Secondary ds:Inconsistent" in proc_drbd(alpha),
        timeout_s=60,
    )
    lab.wait_until("status names it", lambda: "OWN_COPY_BEHIND" in findings(alpha), timeout_s=30)
    demoted, promoted = move(lab, "data", "alpha", "beta")
    assert (demoted["state"], promoted["state"]) == ("succeeded", "succeeded")
    writer.wait_for_more()
    assert status(beta, "data")["replica"]["role"] == "Primary"
    for host in (alpha, beta):
        host.run("drbdadm disk-options --resync-rate=50M data", timeout_s=30)
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=120)
    assert_nothing_lost(writer.finish())
