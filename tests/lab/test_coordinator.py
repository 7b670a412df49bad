"""storage-coordinator, installed on a machine of its own, drives both hosts over real SSH."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import HOSTS, is_in_sync, role
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
cooldown_s = 0
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
    coordinate(control, "status")
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
    lab.wait_until("beta took over", lambda: role(beta) == "Primary", timeout_s=240)
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())
