"""Users write on a volume, and with no_root_squash (as here) a client's root does. What they make
of the agent's folder changes nothing outside the volume, and costs nobody a lock."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import agent, is_mounted, move, operate, role
from tests.lab.writing import assert_nothing_lost, mount_client, start_writer

OWN = "/srv/data/.storage-agent"
# "within a few seconds": two looks of the daemon, on a slow machine.
SOON_S = 30
# As the client's root and as the user who owns the volume's root folder.
ATTACKS = (
    "mv .storage-agent .was",
    "rm -rf .storage-agent",
    "mkdir -p d; mv -T d .storage-agent",
    "mv .storage-agent/clients .n",
    "ln -s /etc .storage-agent/zz",
    "rm -f .storage-agent/marker",
    "echo x >.storage-agent/marker",
    "ln .storage-agent/marker lnk",
    "chmod 777 .storage-agent",
    "chown 1000 .storage-agent",
    "mv .storage-agent/nfs .n",
)
USER = "setpriv --reuid=1000 --regid=1000 --clear-groups "
# The case that made root of a user, on a volume of an earlier version.
LINKS = (
    f"mv {OWN} /srv/data/.was; mkdir -p {OWN}/canary; ln -s /etc {OWN}/clients; "
    f"ln -s /etc/shadow {OWN}/canary/probe; chown -R 1000 {OWN}"
)


def lifted(host: Host, change: str) -> None:
    """As on a volume that was never protected, or by root on the host."""
    host.run(f"chattr -R -i {OWN}; {change}", timeout_s=30)


def outside(host: Host) -> str:
    """What must not change: contents, owners, modes."""
    return host.run(
        "sha256sum /etc/shadow /etc/passwd; stat -c '%a %u %g %n' /etc /etc/shadow / /srv",
        timeout_s=30,
    ).stdout


def codes(host: Host) -> set[str]:
    found: Any = agent(host, "status")["readiness"]["data"]["findings"]
    return {finding["code"] for finding in found}


def is_told(host: Host) -> bool:
    return "FOLDER_PUT_RIGHT" in codes(host)


def is_right(host: Host) -> bool:
    """Folder, marker and flag are there, by the kernel's word."""
    done = host.run(
        f"stat -c '%a %u %F' {OWN} {OWN}/nfs/nfsdcld {OWN}/marker; "
        f"lsattr -d {OWN} {OWN}/marker | cut -c5",
        timeout_s=30,
        check=False,
    )
    return done.stdout.split("\n")[:-1] == [
        "711 0 directory",
        "700 0 directory",
        "600 0 regular file",
        "i",
        "i",
    ]


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_no_client_can_move_or_remove_the_folder(lab: Lab) -> None:
    alpha, client = lab.hosts["alpha"], lab.hosts["client"]
    alpha.run("chown 1000:1000 /srv/data; chmod 0777 /srv/data", timeout_s=30)
    assert is_right(alpha)
    mount_client(lab, "data")
    for who in ("", USER):
        for attack in ATTACKS:
            done = client.run(
                f"cd /mnt/data && {who}sh -c '{attack}' 2>&1", timeout_s=60, check=False
            )
            print(f"{who or 'root'} {attack}: {done.exit_status} {done.stdout.strip()}")
            # What clients need is not protected as a whole, and put back where it is taken away.
            lab.wait_until(f"after {attack}", partial(is_right, alpha), timeout_s=SOON_S)
            assert alpha.run(f"lsattr -d {OWN} | cut -c5").stdout.strip() == "i", attack
    done = client.run(
        f"cd /mnt/data/.storage-agent/clients && {USER} sh -c 'echo x >mine && rm mine'",
        timeout_s=60,
    )
    assert done.exit_status == 0
    assert "FOLDER_DISTURBED" not in codes(alpha)


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_a_folder_that_was_moved_or_removed_is_back_and_locks_are_kept(lab: Lab) -> None:
    writer = start_writer(lab)
    changes = {"alpha": f"mv {OWN} /srv/data/.trash", "beta": f"rm -rf {OWN}"}
    for host, other in (("alpha", "beta"), ("beta", "alpha")):
        here = lab.hosts[host]
        before = outside(here)
        lifted(here, changes[host])
        lab.wait_until("the folder is back", partial(is_right, here), timeout_s=SOON_S)
        lab.wait_until("it is told", partial(is_told, here), timeout_s=SOON_S)
        for record in move(lab, "data", host, other):
            assert record["state"] == "succeeded", record
        writer.wait_for_more()
        assert outside(here) == before
    assert_nothing_lost(writer.finish())


@pytest.mark.long
@pytest.mark.lab_situation("data-serving-on-alpha")
def test_links_in_its_place_lead_nowhere(lab: Lab) -> None:
    """While it serves, and where the server finds them at its start."""
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    before = outside(alpha)
    writer = start_writer(lab)
    lifted(alpha, LINKS)
    lab.wait_until("the folder is back", partial(is_right, alpha), timeout_s=SOON_S)
    assert_nothing_lost(writer.finish())
    assert outside(alpha) == before
    # The supervisor dies with what it held open, and the next one starts on the links.
    unit = "storage-agent-nfs@data"
    pid = alpha.run(f"systemctl show -P MainPID {unit}", timeout_s=30).stdout.strip()
    alpha.run(f"kill -STOP {pid}", timeout_s=30)
    lifted(alpha, LINKS.replace(".was", ".was2"))
    alpha.run(f"kill -KILL {pid}", timeout_s=30)
    lab.wait_until("the folder is made anew", partial(is_right, alpha), timeout_s=120)
    assert outside(alpha) == before
    for record in move(lab, "data", "alpha", "beta"):
        assert record["state"] == "succeeded", record
    assert (role(beta), is_mounted(beta, "data")) == ("Primary", True)


@pytest.mark.long
@pytest.mark.lab_situation("data-in-sync")
def test_a_folder_that_is_gone_wants_a_persons_word(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    for host in (alpha, beta):
        operate(host, "promote", "data")
        operate(host, "demote", "data")
    alpha.run(
        "drbdadm primary data && mount /dev/drbd0 /mnt && rm -rf /mnt/.storage-agent && "
        "umount /mnt && drbdadm secondary data",
        timeout_s=60,
    )
    for host, name in ((alpha, "alpha"), (beta, "beta")):
        record = operate(host, "promote", "data", check=False)
        assert record["state"] != "succeeded"
        assert [finding["code"] for finding in record["findings"]] == ["MARKER_GONE"]
        assert f"--marker-lost {name}/data" in record["remedy"]
        assert role(host) == "Secondary"
    wrong = operate(beta, "promote", "data", "--marker-lost", "alpha/data", check=False)
    assert wrong["state"] != "succeeded"
    record = operate(beta, "promote", "data", "--marker-lost", "beta/data")
    assert record["state"] == "succeeded"
    assert is_right(beta)
    for record in move(lab, "data", "beta", "alpha"):
        assert record["state"] == "succeeded", record
