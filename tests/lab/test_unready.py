"""What would refuse the next promotion is said while it can be mended, and nobody lets go to a host
that says so."""

from __future__ import annotations

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import agent, assert_same_data, operate, proc_drbd, role
from tests.lab.test_configured_apart import agree, finding_codes, share_secret
from tests.lab.test_refusals import REFUSED, codes, refusal
from tests.lab.writing import assert_nothing_lost, start_writer

pytestmark = [pytest.mark.long, pytest.mark.lab_situation("data-serving-on-alpha")]
TOLD_TIMEOUT_S = 90
FILL = """
import os
file = os.open("/var/fill", os.O_CREAT | os.O_WRONLY)
end = 0
for size in (1 << 26, 1 << 22, 1 << 18, 1 << 12):
    try:
        while True:
            os.posix_fallocate(file, end, size)
            end += size
    except OSError as exc:
        print(end, exc.strerror)
"""


def tells(lab: Lab, host: Host, code: str) -> None:
    lab.wait_until(code, lambda: code in finding_codes(host), timeout_s=TOLD_TIMEOUT_S)


def fails_doctor(host: Host) -> bool:
    done = host.run(["storage-agent", "doctor"], timeout_s=120, check=False)
    return "FAIL  volume data" in done.stdout


def test_a_state_folder_that_fills_while_a_promotion_waits(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    share_secret(lab)
    lab.wait_until("both agree", lambda: agree(lab), timeout_s=TOLD_TIMEOUT_S)
    writer = start_writer(lab)
    waiting = ["systemd-run", "--unit", "waiting", "--collect", "storage-agent", "promote", "data"]
    beta.run([*waiting, "--wait", "400"], timeout_s=60)
    lab.wait_until(
        "it waits", lambda: bool(agent(beta, "status")["operations"]), timeout_s=TOLD_TIMEOUT_S
    )
    assert "No space left on device" in beta.run(["python3", "-c", FILL], timeout_s=90).stdout
    refused = refusal(alpha, "demote", "data")
    assert codes(refused) == {"PEER_WOULD_REFUSE"}
    assert "STATE_FOLDER" in str(refused["findings"])
    assert (role(alpha), role(beta)) == ("Primary", "Secondary")
    tells(lab, beta, "STATE_FOLDER")
    tells(lab, alpha, "PEER_WOULD_REFUSE")
    assert fails_doctor(beta)
    writer.wait_for_more(10)

    beta.run("rm /var/fill", timeout_s=30)
    assert operate(alpha, "demote", "data")["state"] == "succeeded"
    lab.wait_until("it goes on", lambda: role(beta) == "Primary", timeout_s=60)
    writer.wait_for_more(10)
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)


def test_what_is_lost_on_the_standby(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    lab.wait_until("in sync", lambda: "ds:UpToDate/UpToDate" in proc_drbd(beta), timeout_s=60)
    beta.run("mv /var/lib/storage-agent/epoch-data /root/", timeout_s=30)
    tells(lab, beta, "EPOCH_MISSING")
    assert fails_doctor(beta)
    planned = beta.run("storage-agent plan promote data --json", timeout_s=60, check=False)
    assert (planned.exit_status, "EPOCH_MISSING" in planned.stdout) == (REFUSED, True)
    beta.run("mv /root/epoch-data /var/lib/storage-agent/", timeout_s=30)

    (array,) = beta.run("ls -d /sys/block/md*", timeout_s=30).stdout.split()
    (member, *_) = beta.run(f"ls {array}/slaves", timeout_s=30).stdout.split()
    kept = beta.run(f"mdadm --examine /dev/{member} | grep UUID", timeout_s=30).stdout
    beta.run(
        f"dd if=/dev/zero of=/dev/{member} bs=4096 seek=1 count=1 oflag=direct conv=notrunc",
        timeout_s=30,
    )
    tells(lab, beta, "MEMBER_NOT_RAID")
    found = agent(beta, "status")["readiness"]["data"]["findings"]
    (remedy,) = (f["remedy"] for f in found if f["code"] == "MEMBER_NOT_RAID")
    typed = remedy.partition(": ")[2].partition(" (")[0]
    assert typed == f"echo check > {array}/md/sync_action"
    beta.run(typed, timeout_s=30)
    lab.wait_until(
        "it is written anew",
        lambda: "MEMBER_NOT_RAID" not in finding_codes(beta),
        timeout_s=240,
    )
    assert beta.run(f"mdadm --examine /dev/{member} | grep UUID", timeout_s=30).stdout == kept

    alpha.run("mount -o remount,ro /srv/data", timeout_s=60)
    tells(lab, alpha, "MARKER_NOT_WRITTEN")
    assert "MARKER_NOT_WRITTEN" in codes(refusal(alpha, "demote", "data"))
    alpha.run("mount -o remount,rw /srv/data", timeout_s=60)
    lab.wait_until(
        "it is written", lambda: "MARKER_NOT_WRITTEN" not in finding_codes(alpha), timeout_s=60
    )
