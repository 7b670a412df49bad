"""Arrays are assembled when complete and current, and otherwise refused by name."""

from __future__ import annotations

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import operate, status
from tests.lab.test_refusals import codes, refusal


def take_down(host: Host) -> None:
    """As a person would, with the volume secondary."""
    host.run("systemctl stop storage-agent-nfs@data", timeout_s=60)
    host.run("drbdadm down data && mdadm --stop /dev/md/data", timeout_s=60)


def arrays(host: Host) -> list[str]:
    """The arrays' own lines of /proc/mdstat: `md127 : active raid10 vda[0] …`."""
    text = host.run("cat /proc/mdstat", timeout_s=20).stdout
    return [line for line in text.splitlines() if line.startswith("md")]


@pytest.mark.lab_situation("data-in-sync")
def test_complete(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    take_down(alpha)
    record = operate(alpha, "assemble", "data")
    assert (record["state"], record["message"]) == ("succeeded", "secondary on alpha")
    assert "active raid10" in arrays(alpha)[0]


@pytest.mark.lab_situation("data-in-sync")
def test_a_missing_member_is_waited_for_then_refused(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    take_down(alpha)
    lab.unplug("alpha", "alpha-2")
    record = refusal(alpha, "assemble", "data", "--wait", "3")
    assert codes(record) == {"MEMBER_MISSING"}
    assert "alpha-2" in record["message"]
    assert arrays(alpha) == []
    waiting = alpha.spawn("storage-agent assemble data --wait 60 --json")
    lab.plug("alpha", "alpha-2")
    waiting.require_success(timeout_s=120)
    assert status(alpha, "data")["replica"]["disk"] == "UpToDate"


@pytest.mark.lab_situation("data-in-sync")
def test_a_stale_member(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    lab.unplug("alpha", "alpha-1")
    operate(alpha, "promote", "data")
    alpha.run("dd if=/dev/zero of=/srv/data/zeros bs=1M count=4 conv=fsync", timeout_s=60)
    operate(alpha, "demote", "data")
    take_down(alpha)
    lab.plug("alpha", "alpha-1")
    record = refusal(alpha, "assemble", "data", "--wait", "3")
    assert codes(record) == {"MEMBER_STALE"}
    assert "alpha-1" in record["message"]
    assert arrays(alpha) == []


@pytest.mark.lab_situation("data-in-sync")
def test_a_foreign_member_in_a_members_place(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    take_down(alpha)
    take_down(beta)
    lab.unplug("alpha", "alpha-3")
    lab.unplug("beta", "beta-3")
    lab.plug("alpha", "beta-3")
    path = "/etc/storage-agent/agent.toml"
    text = alpha.read_file(path).replace('"beta-3"', '"beta-4"').replace('"alpha-3"', '"beta-3"')
    alpha.write_file(path, text)
    alpha.run("systemctl restart storage-agentd", timeout_s=60)
    record = refusal(alpha, "assemble", "data", "--wait", "3")
    assert "MEMBER_FOREIGN" in codes(record)
    assert "beta-3" in record["message"]
    assert arrays(alpha) == []


@pytest.mark.lab_situation("data-in-sync")
def test_what_udev_assembled_under_another_name_is_taken_over(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    take_down(alpha)
    # As it is where the ignore lines do not reach, for instance in an initramfs.
    alpha.run(
        "for disk in /dev/disk/by-id/virtio-alpha-[0-3]; do "
        "mdadm --incremental --config=none $disk; done",
        timeout_s=60,
        check=False,
    )
    assert [line.split()[0] for line in arrays(alpha)] == ["md127"]
    record = operate(alpha, "assemble", "data")
    assert record["state"] == "succeeded"
    assert status(alpha, "data")["replica"]["disk"] == "UpToDate"


@pytest.mark.lab_situation("data-in-sync")
def test_udev_leaves_our_disks_alone(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    take_down(alpha)
    for number in range(4):
        lab.unplug("alpha", f"alpha-{number}")
    for number in range(4):
        lab.plug("alpha", f"alpha-{number}")
    alpha.run("udevadm settle", timeout_s=60)
    assert arrays(alpha) == []
    assert operate(alpha, "assemble", "data")["state"] == "succeeded"
