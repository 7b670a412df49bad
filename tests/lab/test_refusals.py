"""What must not happen is refused with the measured value, and nothing changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    configure,
    is_in_sync,
    one_volume,
    operate,
    proc_drbd,
    role,
)
from tests.lab.writing import assert_nothing_lost, start_writer

REFUSED = 3


def refusal(host: Host, *words: str) -> Any:
    """The record of a refused operation; its exit status is looked at too."""
    done = host.run(["storage-agent", *words, "--json"], timeout_s=180, check=False)
    assert done.exit_status == REFUSED, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    record = json.loads(done.stdout)["data"]
    assert record["state"] == "refused"
    assert record["changed"] is False
    return record


def codes(record: Any) -> set[str]:
    """Of what refuses; warnings go along with it."""
    return {f["code"] for f in record["findings"] if f["severity"] == "blocker"}


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_promote_while_the_peer_is_primary(lab: Lab) -> None:
    beta = lab.hosts["beta"]
    record = refusal(beta, "promote", "data")
    assert codes(record) == {"PEER_IS_PRIMARY"}
    assert record["remedy"] == "on alpha: storage-agent demote data"
    assert (role(lab.hosts["alpha"]), role(beta)) == ("Primary", "Secondary")


@pytest.mark.lab_situation("data-in-sync")
def test_promote_an_inconsistent_copy(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    # Slow enough to be met on its way.
    alpha.run("drbdadm disk-options --c-plan-ahead=0 --resync-rate=250k data", timeout_s=30)
    beta.run("drbdadm disk-options --c-plan-ahead=0 --resync-rate=250k data", timeout_s=30)
    beta.run("drbdadm invalidate data", timeout_s=30)
    lab.wait_until("resync", lambda: "ds:Inconsistent/UpToDate" in proc_drbd(beta), timeout_s=30)
    record = refusal(beta, "promote", "data")
    assert "DISK_NOT_UPTODATE" in codes(record)
    (finding,) = [f for f in record["findings"] if f["code"] == "DISK_NOT_UPTODATE"]
    assert finding["measured"] == "disk: Inconsistent"
    assert role(beta) == "Secondary"


@pytest.mark.lab_situation("data-in-sync")
def test_promote_with_a_wrong_mount_point(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    for prepare, measured, mend in (
        ("rmdir /srv/data", "missing", "mkdir /srv/data"),
        ("touch /srv/data/forgotten", "not-empty", "rm /srv/data/forgotten"),
        ("mount -t tmpfs none /srv/data", "occupied", "umount /srv/data"),
        ("rmdir /srv/data && mkdir /srv/real && ln -s real /srv/data", "unsafe", "true"),
    ):
        alpha.run(prepare, timeout_s=30)
        record = refusal(alpha, "promote", "data")
        assert codes(record) == {"MOUNT_POINT"}
        assert record["findings"][0]["measured"] == measured
        assert role(alpha) == "Secondary"
        alpha.run(mend, timeout_s=30)


@pytest.mark.lab_situation("data-in-sync")
def test_promote_another_filesystem(lab: Lab) -> None:
    """Read below DRBD, which nobody can open on a Secondary, before the role is taken."""
    alpha = lab.hosts["alpha"]
    alpha.run(
        "drbdadm primary data && yes | tune2fs -f -U random /dev/drbd0 && drbdadm secondary data",
        timeout_s=60,
    )
    assert "WRONG_FILESYSTEM" in codes(refusal(alpha, "promote", "data"))
    assert role(alpha) == "Secondary"


@pytest.mark.lab_situation("data-in-sync")
def test_promote_a_copy_that_is_older_than_what_was_seen_here(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    operate(alpha, "promote", "data")
    operate(alpha, "demote", "data")
    path = "/var/lib/storage-agent/marker-data"
    noted = json.loads(alpha.read_file(path))
    alpha.write_file(path, json.dumps(noted | {"counter": noted["counter"] + 100}))
    done = operate(alpha, "promote", "data", check=False)
    assert done["state"] == "rolled-back", done
    assert "MARKER_OLD" in codes(done)
    assert role(alpha) == "Secondary"


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_demote_with_a_busy_file_goes_back_to_serving_and_names_the_holder(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    holder = alpha.spawn("exec sleep 1000 </srv/data/.storage-agent/marker")
    done = alpha.run("storage-agent demote data", timeout_s=240, check=False)
    assert done.exit_status == 1, done.stdout + done.stderr
    assert "sleep" in done.stderr + done.stdout
    assert str(holder.pid) in done.stderr + done.stdout or "pid" in done.stderr + done.stdout
    assert role(alpha) == "Primary"
    writer = start_writer(lab)
    writer.wait_for_more(20)
    assert_nothing_lost(writer.finish())
    holder.kill()
    assert operate(alpha, "demote", "data")["state"] == "succeeded"


def test_create_refuses_a_disk_that_carries_something(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    configure(lab, one_volume())
    alpha.run("mkfs.ext4 -q /dev/disk/by-id/virtio-alpha-2", timeout_s=60)
    before = alpha.run("wipefs -n /dev/vd?; cat /proc/mdstat", timeout_s=30).stdout
    done = alpha.run("storage-agent create data --first --dry-run", timeout_s=60, check=False)
    assert done.exit_status == REFUSED, done.stdout + done.stderr
    assert "alpha-2" in done.stderr + done.stdout
    assert "ext4" in done.stderr + done.stdout
    assert alpha.run("wipefs -n /dev/vd?; cat /proc/mdstat", timeout_s=30).stdout == before


@pytest.mark.lab_situation("data-in-sync")
def test_create_again_is_refused(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    done = alpha.run("storage-agent create data --first --dry-run", timeout_s=60, check=False)
    assert done.exit_status == REFUSED
    assert "already has an array" in done.stderr + done.stdout
    assert is_in_sync(alpha)


@pytest.mark.lab_situation("data-in-sync")
def test_wrong_words(lab: Lab) -> None:
    for words, exit_status, said in (
        ("promote dta", 2, "dta"),
        ("promote", 2, "VOLUME"),
        ("frobnicate", 2, "frobnicate"),
        ("promote data --epoch x", 2, "epoch"),
    ):
        done = lab.hosts["alpha"].run(f"storage-agent {words}", timeout_s=60, check=False)
        assert done.exit_status == exit_status, done.stderr
        assert said.lower() in done.stderr.lower()
        assert "Traceback" not in done.stderr


@pytest.mark.lab_situation("data-in-sync")
def test_the_daemon_down_and_a_caller_without_rights(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    stranger = "runuser -u nobody -- storage-agent status"
    done = alpha.run(stranger, timeout_s=60, check=False)
    assert done.exit_status == 4, done.stderr
    alpha.run("systemctl stop storage-agent.socket storage-agentd.service", timeout_s=60)
    done = alpha.run("storage-agent promote data", timeout_s=60, check=False)
    assert done.exit_status == 7, done.stderr
    assert "systemctl start" in done.stderr
    done = alpha.run("storage-agent status", timeout_s=60, check=False)
    assert "data" in done.stdout, done.stderr
    assert role(alpha) == "Secondary"
