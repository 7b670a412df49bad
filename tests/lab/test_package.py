"""The package on real hosts: harmless where nothing is configured, and an upgrade, a removal and a
purge leave a serving volume alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.debs import APT, APT_TIMEOUT_S, build_deb, install
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import is_mounted, operate, role, status
from tests.lab.writing import assert_nothing_lost, start_writer

SERVER = "storage-agent-nfs@data.service"
DAEMON = "storage-agentd.service"


def shown(host: Host, unit: str, prop: str) -> str:
    return host.run(f"systemctl show --value -p {prop} {unit}", timeout_s=30).stdout.strip()


def test_it_is_harmless_where_nothing_is_configured(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    assert alpha.run("storage-agent --version").stdout.startswith("storage-agent ")
    assert alpha.run("systemctl list-units --failed --plain --no-legend").stdout == ""
    assert shown(alpha, "storage-agent.socket", "ActiveState") == "active"
    for path in ("/run/storage-agent", "/run/storage-agent/nfs", "/run/storage-agent/grants"):
        assert alpha.run(f"stat -c %U {path}").stdout == "root\n"
    assert alpha.run("stat -c '%a %U' /var/lib/storage-agent").stdout == "700 root\n"
    assert (
        alpha.run("getent passwd storage-agent")
        .stdout.strip()
        .endswith(":/usr/lib/storage-agent/gateway")
    )
    assert alpha.run("cat /proc/drbd", check=False).stdout.count("cs:") == 0
    assert alpha.run("ls /sys/block | grep ^md", check=False).stdout == ""


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_drbd_service_leaves_our_resources_alone(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    alpha.run("systemctl start drbd.service", timeout_s=60)
    assert shown(alpha, "drbd.service", "ActiveState") == "inactive"
    assert shown(alpha, "drbd.service", "Result") == "exec-condition"
    alpha.run("systemctl stop drbd.service", timeout_s=60)
    assert role(alpha) == "Primary"
    assert is_mounted(alpha, "data")


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_an_upgrade_restarts_the_daemon_under_a_serving_volume(lab: Lab, tmp_path: Path) -> None:
    alpha = lab.hosts["alpha"]
    newer = build_deb("--version", "99.0~lab", "--output", str(tmp_path))
    before = {unit: shown(alpha, unit, "InvocationID") for unit in (SERVER, DAEMON)}
    writer = start_writer(lab)
    install(alpha, newer)
    assert shown(alpha, SERVER, "InvocationID") == before[SERVER]
    assert shown(alpha, DAEMON, "InvocationID") != before[DAEMON]
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())
    assert status(alpha, "data")["replica"]["role"] == "Primary"
    assert operate(alpha, "demote", "data")["state"] == "succeeded"


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_a_purge_is_refused_and_when_meant_leaves_a_serving_volume_and_its_state(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    alpha.run("cd /var/lib/storage-agent && find . -type f | sort >/root/state-before")
    writer = start_writer(lab)
    purge = f"{APT} purge storage-agent"
    refused = alpha.run(purge, timeout_s=APT_TIMEOUT_S, check=False)
    assert refused.exit_status != 0
    assert (
        "VOLUME_EXPORTED: the NFS server of data runs on alpha" in refused.stdout + refused.stderr
    )
    assert alpha.run("systemctl is-active storage-agent.socket").stdout == "active\n"
    meant = f"export STORAGE_AGENT_REMOVE_WHILE_SERVING=alpha; {purge}"
    purged = alpha.run(meant, timeout_s=APT_TIMEOUT_S)
    said = purged.stdout + purged.stderr
    assert "/etc/drbd.d/storage-agent-data.res" in said
    assert shown(alpha, SERVER, "ActiveState") == "active"
    assert role(alpha) == "Primary"
    assert is_mounted(alpha, "data")
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())
    alpha.run("cd /var/lib/storage-agent && find . -type f | sort | diff /root/state-before -")
    # Installed again, it finds its volume.
    install(alpha, build_deb())
    lab.wait_until(
        "the daemon sees its volume",
        lambda: status(alpha, "data")["replica"]["role"] == "Primary",
        timeout_s=60,
    )
    assert operate(alpha, "demote", "data")["state"] == "succeeded"
