"""A good copy below DRBD stays within reach: an array that lost a member with the power, a disk
that was replaced, and a replica whose metadata are gone. What status says is typed."""

from __future__ import annotations

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    agent,
    assert_same_data,
    is_at_rest,
    is_in_sync,
    move,
    operate,
    proc_drbd,
    role,
    status,
)
from tests.lab.test_assemble import take_down
from tests.lab.test_refusals import REFUSED, codes, refusal
from tests.lab.writing import assert_nothing_lost, start_writer

BACK_TIMEOUT_S = 420
OF_DEGRADED_ARRAYS = "md/raid|I/O error|super_written|Buffer I/O|md: "


def remedies(host: Host) -> dict[str, str]:
    """Code and remedy of what status says of the volume."""
    found = agent(host, "status")["readiness"]["data"]["findings"]
    return {finding["code"]: finding["remedy"] for finding in found}


def confirmed(host: Host, *words: str) -> dict[str, object]:
    """Types it with the digest of the plan that was just shown."""
    digest = agent(host, *words, "--dry-run")["digest"]
    record: dict[str, object] = operate(host, *words, "--confirm", digest)
    return record


def in_array(host: Host) -> str:
    """`active raid1 …`, and `[UU]`."""
    return host.run("cat /proc/mdstat", timeout_s=20).stdout


@pytest.mark.long
@pytest.mark.lab_situation("mirror-serving-on-alpha")
@pytest.mark.lab_allows(OF_DEGRADED_ARRAYS)
def test_a_member_that_died_with_the_power(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    move(lab, "data", "alpha", "beta")
    writer = start_writer(lab)
    lab.power_off("alpha")
    lab.unplug("alpha", "alpha-1")
    writer.wait_for_more()
    lab.power_on("alpha")
    lab.wait_until("alpha is at rest", lambda: is_at_rest(alpha), timeout_s=BACK_TIMEOUT_S)
    # Never by itself.
    assert "active raid1" not in in_array(alpha)
    missing = remedies(alpha)["MEMBER_MISSING"]
    assert missing.endswith("start without it: storage-agent assemble data --degraded")
    shown = alpha.run("storage-agent assemble data --degraded --dry-run", timeout_s=60).stdout
    print(shown)
    assert "present: alpha-0 (slot 0, event count " in shown
    assert "absent: slot 1 (alpha-1)" in shown
    another = "storage-agent assemble data --degraded --confirm 0123456789ab"
    assert alpha.run(another, timeout_s=60, check=False).exit_status == REFUSED
    assert "active raid1" not in in_array(alpha)
    record = confirmed(alpha, "assemble", "data", "--degraded")
    assert (record["state"], record["message"]) == ("succeeded", "secondary on alpha")
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=BACK_TIMEOUT_S)
    lab.wait_until(
        "status says how to replace it",
        lambda: "mdadm /dev/md/data --add" in remedies(alpha).get("ARRAY_DEGRADED", ""),
        timeout_s=60,
    )
    # Another disk, that no agent.toml names.
    alpha.run("mdadm /dev/md/data --add /dev/disk/by-id/virtio-alpha-2", timeout_s=60)
    lab.wait_until("rebuilt", lambda: "[UU]" in in_array(alpha), timeout_s=BACK_TIMEOUT_S)
    lab.wait_until(
        "status names the new one", lambda: "MEMBER_REPLACED" in remedies(alpha), timeout_s=60
    )
    assert 'alpha = ["alpha-0", "alpha-2"]' in remedies(alpha)["MEMBER_REPLACED"]
    lab.reset("alpha")
    lab.wait_until("alpha is at rest", lambda: is_at_rest(alpha), timeout_s=BACK_TIMEOUT_S)
    # By itself this time.
    assert role(alpha) == "Secondary"
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=BACK_TIMEOUT_S)
    assert "MEMBER_MISSING" not in remedies(alpha)
    assert "MEMBER_REPLACED" in remedies(alpha)
    demoted, promoted = move(lab, "data", "beta", "alpha")
    assert (demoted["state"], promoted["state"]) == ("succeeded", "succeeded")
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)


@pytest.mark.lab_situation("mirror-serving-on-alpha")
@pytest.mark.lab_allows(OF_DEGRADED_ARRAYS)
def test_the_half_that_fell_out_before_is_not_started(lab: Lab) -> None:
    """DRBD would not find out: its generation on the old half is the same."""
    alpha = lab.hosts["alpha"]
    lab.unplug("alpha", "alpha-0")
    alpha.run("dd if=/dev/zero of=/srv/data/newer bs=1M count=4 conv=fsync", timeout_s=60)
    operate(alpha, "demote", "data", "--yes-stop-serving", "alpha/data")
    take_down(alpha)
    lab.unplug("alpha", "alpha-1")
    lab.plug("alpha", "alpha-0")
    alpha.run("udevadm settle", timeout_s=60)
    refused = alpha.run(
        "storage-agent assemble data --degraded --dry-run", timeout_s=60, check=False
    )
    assert "DEGRADED_OLDER" in refused.stdout
    # With the newer half back it is the older one that is left out, and rebuilt as is said.
    lab.plug("alpha", "alpha-1")
    alpha.run("udevadm settle", timeout_s=60)
    stale = refusal(alpha, "assemble", "data", "--wait", "3")
    assert codes(stale) == {"MEMBER_STALE"}
    assert "storage-agent assemble data --degraded" in stale["remedy"]
    add = stale["remedy"].rpartition("rebuild it: ")[2]
    assert confirmed(alpha, "assemble", "data", "--degraded")["state"] == "succeeded"
    alpha.run(add, timeout_s=60)
    lab.wait_until("rebuilt", lambda: "[UU]" in in_array(alpha), timeout_s=BACK_TIMEOUT_S)
    lab.wait_until("in sync", lambda: is_in_sync(alpha), timeout_s=BACK_TIMEOUT_S)
    assert_same_data(lab)


WIPE = (
    "python3 -c \"import os; f = os.open('/dev/md/data', os.O_WRONLY | os.O_SYNC); "
    'end = os.lseek(f, 0, 2) // 4096 * 4096; os.pwrite(f, bytes(4096), end - 4096)"'
)


@pytest.mark.long
@pytest.mark.lab_situation("mirror-serving-on-alpha")
def test_metadata_that_are_gone_are_made_anew_from_the_good_copy(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    move(lab, "data", "alpha", "beta")
    writer = start_writer(lab)
    alpha.run("systemctl stop storage-agent-nfs@data && drbdadm down data", timeout_s=60)
    alpha.run(WIPE, timeout_s=60)
    refused = refusal(alpha, "assemble", "data")
    assert codes(refused) == {"METADATA_LOST"}
    assert "--first" not in refused["remedy"]
    assert "storage-agent create data --join" in refused["remedy"]
    assert "METADATA_LOST" in remedies(alpha)
    doctor = alpha.run("storage-agent doctor", timeout_s=60, check=False)
    assert "METADATA_LOST" in doctor.stdout
    # Without the good copy nothing is erased.
    lab.cut("alpha")
    digest = agent(alpha, "create", "data", "--join", "--dry-run")["digest"]
    failed = operate(alpha, "create", "data", "--join", "--confirm", digest, check=False)
    assert failed["state"] == "rolled-back"
    assert "ext4" in alpha.run("blkid -p /dev/md127", timeout_s=60).stdout
    lab.mend("alpha")
    shown = alpha.run("storage-agent create data --join --dry-run", timeout_s=60).stdout
    print(shown)
    assert "a full sync of " in shown
    assert confirmed(alpha, "create", "data", "--join")["state"] == "succeeded"
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=BACK_TIMEOUT_S)
    writer.wait_for_more()
    print(proc_drbd(beta))
    demoted, promoted = move(lab, "data", "beta", "alpha")
    assert (demoted["state"], promoted["state"]) == ("succeeded", "succeeded")
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)


@pytest.mark.long
@pytest.mark.lab_situation("mirror-serving-on-alpha")
def test_an_array_that_is_lost_is_made_anew_from_the_good_copy(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    move(lab, "data", "alpha", "beta")
    writer = start_writer(lab)
    take_down(alpha)
    disks = "/dev/disk/by-id/virtio-alpha-[01]"
    alpha.run(f"mdadm --zero-superblock {disks} && wipefs --all {disks}", timeout_s=60)
    refused = refusal(alpha, "assemble", "data", "--wait", "3")
    assert "storage-agent create data --join" in refused["remedy"]
    assert confirmed(alpha, "create", "data", "--join")["state"] == "succeeded"
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=BACK_TIMEOUT_S)
    demoted, promoted = move(lab, "data", "beta", "alpha")
    assert (demoted["state"], promoted["state"]) == ("succeeded", "succeeded")
    assert status(alpha, "data")["replica"]["role"] == "Primary"
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())
    assert_same_data(lab)
