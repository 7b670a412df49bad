"""storage-coordinator, installed on a machine of its own, drives both hosts over real SSH."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import HOSTS, is_in_sync, role, status
from tests.lab.test_package import build_deb, install
from tests.lab.writing import assert_nothing_lost, start_writer

pytestmark = pytest.mark.unproven
ADDRESSES = {"alpha": "10.9.0.1", "beta": "10.9.0.2"}
FOLDER = "/etc/storage-coordinator"
CONFIGURATION = f"""
key_file = "{FOLDER}/id_ed25519"
[deadlines]
connect_s = 30
answer_s = 60
[hosts.alpha]
address = "{ADDRESSES["alpha"]}"
[hosts.beta]
address = "{ADDRESSES["beta"]}"
[pairs.office]
hosts = ["alpha", "beta"]
[pairs.office.volumes.data]
automatic = AUTOMATIC
cooldown_s = 60
"""


def coordinate(control: Host, *words: str, timeout_s: float = 300) -> Any:
    """The answer of `storage-coordinator WORDS --json`."""
    command = shlex.join(("storage-coordinator", *words, "--json"))
    return json.loads(control.run(command, timeout_s=timeout_s).stdout)


def set_up(lab: Lab, *, automatic: bool) -> Host:
    """As docs say: a key, authorized on both hosts; both host keys, pinned from the hosts."""
    control = lab.hosts["client"]
    agent_deb = build_deb()
    install(control, Path(str(agent_deb).replace("storage-agent_", "storage-coordinator_")))
    control.run(f"ssh-keygen -q -t ed25519 -N '' -f {FOLDER}/id_ed25519", timeout_s=60)
    text = CONFIGURATION.replace("AUTOMATIC", str(automatic).lower())
    control.write_file(f"{FOLDER}/coordinator.toml", text)
    key = control.read_file(f"{FOLDER}/id_ed25519.pub")
    for name in HOSTS:
        host = lab.hosts[name]
        let_sshd_read_drop_ins(host)
        host.write_file("/root/coordinator.pub", key)
        host.run("storage-agent authorize --role grant /root/coordinator.pub", timeout_s=60)
        line = host.read_file("/etc/ssh/ssh_host_ed25519_key.pub").strip()
        control.run(["storage-coordinator", "enroll", name, "--known-hosts-line", line])
    coordinate(control, "adopt", "--all")
    return control


def let_sshd_read_drop_ins(host: Host) -> None:
    """The lab's own sshd_config is shorter than Debian's, which includes them and uses PAM."""
    host.run(
        "grep -q ^Include /etc/ssh/sshd_config || "
        "sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config; "
        "sed -i 's/^UsePAM no/UsePAM yes/' /etc/ssh/sshd_config; "
        "sshd -t && systemctl reload ssh",
        timeout_s=60,
    )


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_a_planned_move_there_and_back(lab: Lab) -> None:
    control = set_up(lab, automatic=False)
    assert not coordinate(control, "status")["is_sealed"]
    # Over NFS, from this machine, which is the clients' too.
    live = coordinate(control, "go-live", "data")
    assert (live["changed"], live["data"]["client"]) == (True, "this machine")
    assert not coordinate(control, "go-live", "data")["changed"]
    assert coordinate(control, "status")["is_sealed"]
    coordinate(control, "preflight", "data")
    writer = start_writer(lab)
    for target, source in (("beta", "alpha"), ("alpha", "beta")):
        coordinate(control, "switchover", "data", "--to", target)
        assert (role(lab.hosts[target]), role(lab.hosts[source])) == ("Primary", "Secondary")
        writer.wait_for_more()
    result = writer.finish()
    print(f"longest gap {result['longest_gap_s']} s")
    assert_nothing_lost(result)


@pytest.mark.lab_situation("arbitrated-serving-on-alpha")
def test_watch_answers_a_frozen_primary_and_fails_over_by_itself(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    control = set_up(lab, automatic=True)
    control.run("systemctl start storage-coordinator", timeout_s=60)
    writer = start_writer(lab)
    lab.cut("beta")
    lab.wait_until(
        "alpha goes on alone",
        lambda: "ds:UpToDate/Outdated" in alpha.run("cat /proc/drbd").stdout,
        timeout_s=120,
    )
    writer.wait_for_more()
    lab.mend("beta")
    lab.wait_until("in sync again", lambda: is_in_sync(beta), timeout_s=120)
    writer.wait_for_more(50)
    lab.power_off("alpha")
    lab.wait_until("beta took over", lambda: role(beta) == "Primary", timeout_s=400)
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_a_dead_host_that_is_named_is_taken_over_from(lab: Lab) -> None:
    beta = lab.hosts["beta"]
    control = set_up(lab, automatic=False)
    writer = start_writer(lab)
    writer.wait_for_more(10)
    alive = refused(control, "failover", "data", "--to", "beta", "--confirm", "alpha")
    assert role(beta) == "Secondary", alive
    lab.power_off("alpha")
    lab.wait_until("beta misses alpha", partial(misses_peer, beta), timeout_s=60)
    unnamed = refused(control, "failover", "data", "--to", "beta", "--confirm", "beta")
    assert role(beta) == "Secondary", unnamed
    shown = coordinate(control, "failover", "data", "--to", "beta", "--dry-run")
    assert role(beta) == "Secondary", shown
    coordinate(control, "failover", "data", "--to", "beta", "--confirm", "alpha")
    assert role(beta) == "Primary"
    writer.wait_for_more(10)
    assert_nothing_lost(writer.finish())


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_killed_in_the_middle_the_same_command_ends_the_move(lab: Lab) -> None:
    """At four moments of a move, there and back; each time the clients' records are all there."""
    hosts = [lab.hosts["beta"], lab.hosts["alpha"]]
    control = set_up(lab, automatic=False)
    writer = start_writer(lab)
    for number, alive_s in enumerate((3, 6, 9, 12)):
        target = hosts[number % 2]
        words = f"storage-coordinator switchover data --to {target.name} --json"
        # Its own end: no coordinator is there any more, the operations go on.
        control.run(f"timeout -s KILL {alive_s} {words}", timeout_s=60, check=False)
        coordinate(control, "switchover", "data", "--to", target.name)
        assert role(target) == "Primary", f"killed after {alive_s} s"
        writer.wait_for_more()
    assert_nothing_lost(writer.finish())


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_of_two_coordinators_one_wins_and_the_other_says_so(lab: Lab) -> None:
    """The same configuration and key with a record of its own, as after a restore elsewhere."""
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    control = set_up(lab, automatic=False)
    state = "/var/lib/storage-coordinator"
    control.run(f"cp -a {state} {state}.old", timeout_s=60)
    coordinate(control, "switchover", "data", "--to", "beta")
    control.run(f"mv {state} {state}.new; mv {state}.old {state}", timeout_s=60)
    said = refused(control, "switchover", "data", "--to", "alpha")
    assert "EPOCH" in json.dumps(said) or "STORE" in json.dumps(said), said
    assert (role(alpha), role(beta)) == ("Secondary", "Primary")
    control.run(f"rm -r {state}; mv {state}.new {state}", timeout_s=60)
    coordinate(control, "switchover", "data", "--to", "alpha")
    assert (role(alpha), role(beta)) == ("Primary", "Secondary")


def refused(control: Host, *words: str) -> Any:
    """The error of a command that has to fail."""
    command = shlex.join(("storage-coordinator", *words, "--json"))
    done = control.run(command, timeout_s=300, check=False)
    assert done.exit_status != 0, done.stdout
    return json.loads(done.stdout)["error"]


def misses_peer(host: Host) -> bool:
    return bool(status(host, "data")["replica"]["peer"]["connection"] != "Connected")
