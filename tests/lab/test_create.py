"""`create` on hosts that others have used before, or use at this moment."""

from __future__ import annotations

import json

import pytest

from tests.lab.harness.errors import LabError
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import agent, ask, configure, create, one_volume, operate

pytestmark = pytest.mark.long

REFUSED, BUSY = 3, 5
# As guides have it: minor 0, port 7789, defined and not up. And one from elsewhere.
HAND = """\
resource hand {
  device /dev/drbd0; disk /dev/vdz1; meta-disk internal;
  on alpha { address 10.8.0.1:7789; }
  on beta { address 10.8.0.2:7789; }
}
"""
ELSEWHERE = """\
resource "elsewhere" {
  volume 0 { device minor 9; disk /dev/disk/by-id/virtio-alpha-3; meta-disk internal; }
  on alpha { address ipv6 [fd00::1]:7801; }
  on beta { address ipv6 [fd00::2]:7801; }
}
"""
TRACES = (
    "ls -A /etc/drbd.d /etc/mdadm/mdadm.conf.d /etc/storage-agent/agent.d 2>/dev/null; "
    "cat /proc/mdstat; wipefs -n /dev/vd?; ls -d /srv/data"
)


def traces(host: Host) -> str:
    """What a create that was refused must have left as it was."""
    shown = host.run(TRACES, timeout_s=30, check=False).stdout
    # Which modules the kernel has loaded is no trace.
    return "\n".join(line for line in shown.splitlines() if not line.startswith("Personalities"))


def test_create_over_what_is_defined_and_down(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    alpha.write_file("/etc/drbd.d/hand.res", HAND)
    alpha.write_file("/root/inc/elsewhere.res", ELSEWHERE)
    alpha.run("echo 'include \"/root/inc/*.res\";' >> /etc/drbd.conf; modprobe drbd", timeout_s=30)
    configure(lab, one_volume())
    before = traces(alpha)
    done = alpha.run(
        "storage-agent create data --first --dry-run --json", timeout_s=60, check=False
    )
    assert done.exit_status == REFUSED, done.stdout + done.stderr
    document = json.loads(done.stdout)
    found = {(f["code"], f["measured"]) for f in document["findings"]}
    assert ("DRBD_TAKEN", "hand: minor 0") in found
    assert ("DRBD_TAKEN", "hand: 10.8.0.1:7789") in found
    (disk,) = (f for f in document["findings"] if f["code"] == "DISK_IN_USE")
    assert "DRBD resource elsewhere (/root/inc/elsewhere.res:1)" in disk["measured"]
    assert "wipefs" not in disk["remedy"]
    assert "alpha-3" in disk["summary"]
    # Past the command's own look, as somebody with an old digest would come.
    digest = document["data"]["digest"]
    answer = ask(alpha, "create", volume="data", role="first", confirm=digest, operation_id="late")
    assert answer["result"]["state"] == "refused", answer
    assert traces(alpha) == before
    alpha.run("drbdadm sh-nop && drbdadm dump hand", timeout_s=30)
    # The remedy's minor and port are free.
    free = one_volume().replace("minor = 0", "minor = 100").replace("7789", "8789")
    alpha.run("rm /root/inc/elsewhere.res", timeout_s=30)
    configure(lab, free)
    create(alpha, "data", "--first")
    assert agent(alpha, "status")["snapshot"]["volumes"]["data"]["replica"]["disk"] == "UpToDate"
    alpha.run("drbdadm sh-nop && drbdadm dump hand", timeout_s=30)


def test_create_while_another_one_runs(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    configure(lab, one_volume())
    digest = agent(alpha, "create", "data", "--first", "--dry-run")["digest"]
    first = alpha.spawn(f"storage-agent create data --first --confirm {digest} --json")
    lab.wait_until("create runs", lambda: agent(alpha, "status")["operations"] != [], timeout_s=60)
    for words in ("--dry-run", f"--confirm {digest}"):
        command = f"storage-agent create data --first {words}"
        done = alpha.run(command, timeout_s=60, check=False)
        said = done.stdout + done.stderr
        assert done.exit_status == BUSY, said
        assert "data is busy with create" in said
        assert "wipefs" not in said
    lab.wait_until(
        "create has ended", lambda: agent(alpha, "status")["operations"] == [], timeout_s=420
    )
    first.kill()
    history = agent(alpha, "operation")
    states = [record["state"] for record in history["operations"]]
    assert "succeeded" in states


# Holds the daemon still once the journal announces a step.
AT_STEP = (
    "pid=$(systemctl show -p MainPID --value storage-agentd); "
    'while ! grep -qs \'"intent", "step": "{step}"\' /var/lib/storage-agent/operation-cut; '
    "do :; done; kill -STOP $pid; touch /run/held"
)


def lose_power_at(lab: Lab, step: str) -> None:
    """alpha, in the middle of `create data --first`; returns once it is up again."""
    alpha = lab.hosts["alpha"]
    # Written by hand a moment ago; what create itself writes is on disk.
    alpha.run("sync -f /etc/storage-agent", timeout_s=60)
    digest = agent(alpha, "create", "data", "--first", "--dry-run")["digest"]
    alpha.spawn(AT_STEP.format(step=step))
    alpha.spawn(f"storage-agent create data --first --confirm {digest} --operation-id cut")
    lab.wait_until(
        "create is held",
        lambda: alpha.run("test -e /run/held", timeout_s=30, check=False).exit_status == 0,
        timeout_s=420,
    )
    lab.power_off("alpha")
    lab.power_on("alpha")
    lab.wait_until("alpha answers", lambda: quietly(alpha), timeout_s=420)
    problems = agent(alpha, "status")["problems"]
    assert [problem["code"] for problem in problems] == ["CREATION_UNFINISHED"]


def quietly(host: Host) -> bool:
    """False while the host or its daemon cannot be reached."""
    try:
        command = "test ! -e /run/held && storage-agent status --json"
        return host.run(command, timeout_s=30, check=False).exit_status == 0
    except LabError:
        return False


def abandon(host: Host) -> None:
    digest = agent(host, "create", "data", "--abandon", "--dry-run")["digest"]
    record = agent(host, "create", "data", "--abandon", "--confirm", digest, timeout_s=420)
    assert record["state"] == "succeeded", record


@pytest.mark.parametrize("step", ["make-metadata", "first-primary"])
def test_power_lost_in_the_middle_of_create_and_the_same_again(lab: Lab, step: str) -> None:
    """The array is there, or DRBD is up: the two windows out of which nothing led."""
    alpha = lab.hosts["alpha"]
    configure(lab, one_volume())
    lose_power_at(lab, step)
    done = alpha.run("storage-agent promote data", timeout_s=60, check=False)
    assert done.exit_status == REFUSED
    assert "storage-agent create data --first" in done.stderr
    create(alpha, "data", "--first")
    assert agent(alpha, "status")["problems"] == []
    operate(alpha, "promote", "data", "--peer-is-off", "beta", "--confirm", "beta")


@pytest.mark.parametrize("step", ["make-metadata", "make-filesystem"])
def test_power_lost_in_the_middle_of_create_and_all_taken_back(lab: Lab, step: str) -> None:
    alpha = lab.hosts["alpha"]
    configure(lab, one_volume())
    before = traces(alpha)
    lose_power_at(lab, step)
    abandon(alpha)
    assert traces(alpha) == before
    alpha.run('drbdadm sh-nop; test -z "$(drbdsetup status)"', timeout_s=30)
    # Nothing of it is left that would stand in the way.
    create(alpha, "data", "--first")
    assert agent(alpha, "status")["snapshot"]["volumes"]["data"]["replica"]["disk"] == "UpToDate"
    # What is made to its end is never taken back.
    done = alpha.run("storage-agent create data --abandon --dry-run", timeout_s=60, check=False)
    assert done.exit_status == REFUSED, done.stdout + done.stderr
    assert "NOTHING_TO_ABANDON" in done.stdout + done.stderr


def test_config_check_knows_the_host(lab: Lab) -> None:
    """Each mistake by file and line, on a host that is described by its own configuration."""
    alpha = lab.hosts["alpha"]
    alpha.write_file("/etc/drbd.d/hand.res", HAND)
    wrong = one_volume().replace('"eth2"', '"eth7"').replace("10.9.0.10/24", "10.9.0.1/24")
    alpha.write_file("/etc/storage-agent/agent.toml", wrong)
    done = alpha.run("storage-agent config check", timeout_s=60, check=False)
    assert done.exit_status == 8, done.stdout + done.stderr
    said = done.stdout + done.stderr
    shown = {
        "volumes.data.replica.minor": "minor = 0",
        "volumes.data.replica.port": "port = 7789",
        "volumes.data.nfs.interface": '"eth7"',
        "volumes.data.nfs.address": '"10.9.0.1/24"',
    }
    for key, what in (
        ("volumes.data.replica.minor", "minor 0 of data belongs to the DRBD resource hand"),
        ("volumes.data.replica.port", "port 7789 of data belongs to the DRBD resource hand"),
        ("volumes.data.nfs.interface", "there is no network interface eth7"),
        ("volumes.data.nfs.address", "the service address 10.9.0.1 of data is this host's own"),
    ):
        number = 1 + next(i for i, line in enumerate(wrong.splitlines()) if shown[key] in line)
        assert f"/etc/storage-agent/agent.toml:{number}: error: {key}: {what}" in said, said
    alpha.run("rm /etc/drbd.d/hand.res", timeout_s=30)
    alpha.write_file("/etc/storage-agent/agent.toml", one_volume())
    alpha.run("storage-agent config check", timeout_s=60)
