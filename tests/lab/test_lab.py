"""The lab itself: what scenarios rely on, proven on the guests without the project's package."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.lab.harness.collect import collect, kernel_trouble
from tests.lab.harness.errors import CommandFailed, LabError, LabTimeout, LabUsage
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.harness.volatile import Order

# The goal is 3 s on an idle machine of two cores; a busy one must not fail the run.
RESTORE_BOUND_S = 15.0
CLOCK_BOUND_S = 15.0


def serials(host: Host) -> set[str]:
    """Serial numbers of the data disks that the host's kernel sees."""
    script = "for file in /sys/block/vd*/serial; do cat $file; echo; done"
    found = host.run(script, timeout_s=30).stdout.split()
    return {serial for serial in found if "-" in serial}


def pings(host: Host, address: str) -> bool:
    ping = f"ping -n -q -c 1 -W 2 {address}"
    return host.run(ping, timeout_s=20, check=False).exit_status == 0


# -- start, restore, snapshot ---------------------------------------------------------------------


def test_restore_is_quick_and_whole(lab: Lab, lab_image: Path) -> None:
    lab.hosts["alpha"].write_file("/root/from-before", "x")
    took_s = [lab.restore(lab_image) for _ in range(3)]
    print("seconds to ssh on all hosts:", ", ".join(f"{seconds:.2f}" for seconds in took_s))
    assert min(took_s) < RESTORE_BOUND_S
    assert lab.hosts["alpha"].run("test -e /root/from-before", check=False).exit_status == 1


def test_guests_are_who_they_should_be(lab: Lab) -> None:
    identities = set()
    for name, host in lab.hosts.items():
        assert host.run("hostname").stdout.strip() == name
        identities.add(host.read_file("/etc/machine-id"))
        assert host.run("systemctl is-system-running", check=False).stdout.strip() == "running"
    assert len(identities) == len(lab.hosts)
    assert serials(lab.hosts["alpha"]) == {f"alpha-{n}" for n in range(4)}
    assert serials(lab.hosts["beta"]) == {f"beta-{n}" for n in range(4)}
    assert serials(lab.hosts["client"]) == set()
    addresses = lab.hosts["alpha"].run("ip -brief -4 address show scope global").stdout
    assert [line.split()[0] for line in addresses.splitlines()] == ["eth0", "eth1", "eth2"]


def test_guests_reach_only_each_other(lab: Lab) -> None:
    assert pings(lab.hosts["alpha"], "beta-replication")
    assert pings(lab.hosts["client"], "alpha")
    assert pings(lab.hosts["client"], "beta")
    # The control network's gateway is this machine.
    reach = "timeout 5 bash -c 'exec 3<>/dev/tcp/10.0.2.2/22'"
    assert lab.hosts["alpha"].run(reach, check=False).exit_status != 0


def test_clocks_are_set_after_restore(lab: Lab) -> None:
    for host in lab.hosts.values():
        guest_s = float(host.run("date +%s.%N").stdout)
        assert abs(time.time() - guest_s) < CLOCK_BOUND_S


def test_snapshot_keeps_memory_disks_and_faults(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    counting = alpha.spawn("i=0; while :; do echo $((i+=1)); sleep 0.1; done")
    alpha.write_file("/root/mark", "before")
    alpha.run("echo on-disk | dd of=/dev/disk/by-id/virtio-alpha-1 conv=fsync status=none")
    lab.unplug("alpha", "alpha-0")
    lab.cut("beta")
    lab.snapshot("situation")
    # What was running goes on from the record.
    assert counting.poll() is None
    lab.mend("beta")
    lab.plug("beta", "alpha-0")
    alpha.write_file("/root/mark", "after")
    lab.restore("situation")
    assert alpha.read_file("/root/mark") == "before"
    assert alpha.run("head -c 7 /dev/disk/by-id/virtio-alpha-1").stdout == "on-disk"
    assert counting.poll() is None
    assert serials(alpha) == {"alpha-1", "alpha-2", "alpha-3"}
    assert "alpha-0" not in serials(lab.hosts["beta"])
    assert not pings(alpha, "beta-replication")


def test_two_labs_side_by_side(lab: Lab, lab_image: Path) -> None:
    other = Lab.start(f"{lab.name}-second", snapshot=lab_image)
    try:
        other.hosts["alpha"].write_file("/root/which", "second")
        assert lab.hosts["alpha"].run("test -e /root/which", check=False).exit_status == 1
        assert pings(other.hosts["alpha"], "beta-replication")
    finally:
        other.stop()
    assert not other.folder.joinpath("state.json").exists()


# -- faults ---------------------------------------------------------------------------------------


def test_cut_and_mend_each_link_alone(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    lab.cut("alpha")
    assert not pings(alpha, "beta-replication")
    assert pings(alpha, "client")
    lab.mend("alpha")
    lab.wait_until("ping", lambda: pings(alpha, "beta-replication"), timeout_s=30)
    lab.cut("alpha", link="service")
    assert not pings(lab.hosts["client"], "alpha")
    assert pings(alpha, "beta-replication")
    lab.mend("alpha", link="service")
    lab.wait_until("ping", lambda: pings(alpha, "client"), timeout_s=30)


def test_control_link_can_be_cut(lab: Lab) -> None:
    beta = lab.hosts["beta"]
    lab.cut("beta", link="control")
    with pytest.raises(LabError):
        beta.run("true", timeout_s=3)
    assert pings(lab.hosts["alpha"], "beta-replication")
    lab.mend("beta", link="control")
    beta.drop_connection()
    assert beta.run("hostname", timeout_s=60).stdout == "beta\n"


def test_disk_moves_with_its_serial_and_content(lab: Lab) -> None:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    alpha.run("echo travels | dd of=/dev/disk/by-id/virtio-alpha-2 conv=fsync status=none")
    lab.plug("beta", "alpha-2", from_host="alpha")
    assert "alpha-2" not in serials(alpha)
    lab.wait_until("alpha-2 in beta", lambda: "alpha-2" in serials(beta), timeout_s=20)
    beta.run("udevadm settle")
    assert beta.run("head -c 7 /dev/disk/by-id/virtio-alpha-2").stdout == "travels"
    lab.unplug("beta", "alpha-2")
    lab.plug("alpha", "alpha-2")
    lab.wait_until("alpha-2 in alpha", lambda: "alpha-2" in serials(alpha), timeout_s=20)


def test_power_off_and_on_keeps_what_was_flushed(lab: Lab) -> None:
    beta = lab.hosts["beta"]
    before = beta.boot_id()
    beta.run("echo kept >/root/kept; sync; echo raw | dd of=/dev/vdb conv=fsync status=none")
    lab.power_off("beta")
    assert not lab.is_on("beta")
    with pytest.raises(LabError, match="beta is off"):
        beta.run("true")
    lab.power_on("beta")
    assert beta.boot_id() != before
    assert beta.read_file("/root/kept") == "kept\n"
    assert beta.run("head -c 3 /dev/vdb").stdout == "raw"
    assert serials(beta) == {f"beta-{n}" for n in range(4)}
    # The journal of the boot before is still there.
    assert beta.run("journalctl --list-boots --no-pager").stdout.count("\n") >= 2


def test_freeze_stops_time_and_thaw_goes_on(lab: Lab) -> None:
    beta = lab.hosts["beta"]
    counting = beta.spawn("while :; do echo tick; sleep 0.2; done")
    lab.freeze("beta")
    with pytest.raises(LabTimeout):
        beta.run("true", timeout_s=2)
    assert not pings(lab.hosts["alpha"], "beta-replication")
    lab.thaw("beta")
    before = counting.output(timeout_s=60).count("tick")
    lab.wait_until("ticks go on", lambda: counting.output().count("tick") > before, timeout_s=20)
    counting.kill()
    assert counting.wait(timeout_s=20) == -9


# -- disks that lose, fail and stall --------------------------------------------------------------


def test_power_cut_loses_only_what_was_not_flushed(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    lab.add_volatile_disk("alpha", "alpha-4", size_mib=64)
    disk = "/dev/disk/by-id/virtio-alpha-4"
    alpha.run("udevadm settle")
    pattern = "yes safe | dd iflag=fullblock bs=64k count=16 status=none"
    alpha.run(f"{pattern} of={disk} oflag=direct conv=fsync")
    assert lab.disturb("alpha-4", Order(do="look")) == {"unsafe_sectors": 0}
    # Written past the page cache and answered, but never flushed.
    alpha.run(f"{pattern.replace('safe', 'lost')} of={disk} oflag=direct seek=16", timeout_s=30)
    cut = lab.power_off("alpha", lose_cache=7)["alpha-4"]
    assert cut["lost_sectors"] > 0
    assert cut["lost_sectors"] + cut["kept_sectors"] == 2048
    lab.power_on("alpha")
    intact = f"cmp -n 1M {disk} <(yes safe | head -c 1M)"
    alpha.run(["bash", "-c", intact])
    damaged = f"cmp -n 1M -i 1M:0 {disk} <(yes lost | head -c 1M)"
    assert alpha.run(["bash", "-c", damaged], check=False).exit_status == 1


def test_disk_fails_stalls_and_heals(lab: Lab) -> None:
    beta = lab.hosts["beta"]
    lab.add_volatile_disk("beta", "beta-4", size_mib=16)
    beta.run("udevadm settle")
    read = "dd if=/dev/disk/by-id/virtio-beta-4 of=/dev/null bs=4k count=1 iflag=direct"
    beta.run(read)
    lab.disturb("beta-4", Order(do="fail", kinds=("read",)))
    with pytest.raises(CommandFailed, match="Input/output error"):
        beta.run(read)
    lab.disturb("beta-4", Order(do="heal"))
    beta.run(read)
    lab.disturb("beta-4", Order(do="stall"))
    with pytest.raises(LabTimeout):
        beta.run(read, timeout_s=3)
    lab.disturb("beta-4", Order(do="heal"))
    beta.run(read)
    with pytest.raises(LabUsage, match="cannot be part of a snapshot"):
        lab.snapshot("with-volatile")


# -- deadlines and errors -------------------------------------------------------------------------


def test_command_on_frozen_storage_does_not_hang_the_lab(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    size = alpha.run("blockdev --getsz /dev/vdb").stdout.strip()
    alpha.run(f"dmsetup create stuck --table '0 {size} linear /dev/vdb 0'; dmsetup suspend stuck")
    began_s = time.monotonic()
    with pytest.raises(LabTimeout, match="dd if=/dev/mapper/stuck"):
        alpha.run("dd if=/dev/mapper/stuck of=/dev/null iflag=direct count=1", timeout_s=3)
    assert time.monotonic() - began_s < 6
    # The host still answers to others.
    assert alpha.run("echo here").stdout == "here\n"
    alpha.run("dmsetup resume stuck")


def test_background_command_is_followed(lab: Lab) -> None:
    client = lab.hosts["client"]
    good, bad = client.spawn("echo out; echo err >&2"), client.spawn("exit 3")
    assert good.require_success(timeout_s=20) == "out\n"
    assert good.errors() == "err\n"
    assert bad.wait(timeout_s=20) == 3


def test_commands_from_several_threads(lab: Lab) -> None:
    """Also the first ones, which open the connection."""
    host = lab.hosts["client"]
    host.drop_connection()
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: said.append(host.run(["echo", str(n)]).stdout))
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [f"{n}\n" for n in range(5)]


def test_errors_name_the_thing(lab: Lab) -> None:
    with pytest.raises(LabUsage, match="no host gamma; there are alpha, beta, client"):
        lab.cut("gamma")
    with pytest.raises(LabUsage, match="client has no link replication"):
        lab.cut("client")
    with pytest.raises(LabUsage, match="alpha-0 is in alpha"):
        lab.plug("beta", "alpha-0")
    with pytest.raises(LabUsage, match="no disk alpha-9"):
        lab.unplug("alpha", "alpha-9")
    with pytest.raises(CommandFailed, match="exit status 3"):
        lab.hosts["alpha"].run("echo why >&2; exit 3")
    with pytest.raises(LabError, match="is up already"):
        Lab.start(lab.name, snapshot=Path("/"))


# -- what scenarios need of the kernels, and what is kept -----------------------------------------


def test_kernels_have_what_the_product_needs(lab: Lab) -> None:
    for name in ("alpha", "beta"):
        host = lab.hosts[name]
        host.run("modprobe -a drbd raid10 raid1 nfsd dm-flakey macvlan sch_netem", timeout_s=120)
        assert host.read_file("/proc/drbd").startswith("version: 8.4.11")
    lab.hosts["client"].run("modprobe nfs", timeout_s=60)


def test_artefacts_of_a_failure(lab: Lab, tmp_path: Path) -> None:
    lab.power_off("beta")
    lab.hosts["alpha"].run("echo from the test >/dev/kmsg")
    folder = collect(lab, tmp_path / "artefacts")
    assert "from the test" in (folder / "alpha" / "dmesg.txt").read_text()
    assert "systemd" in (folder / "alpha" / "journal.txt").read_text()
    assert "beta is off" in (folder / "beta" / "unreachable.txt").read_text()
    kept = {path.name for path in (folder / "client").iterdir()}
    assert {"drbd-events.txt", "proc.txt", "agent.txt", "network.txt"} <= kept


@pytest.mark.lab_allows("BUG: made by this test")
def test_kernel_trouble_is_found(lab: Lab) -> None:
    assert kernel_trouble(lab) == []
    lab.hosts["beta"].run("echo 'BUG: made by this test' >/dev/kmsg")
    trouble = kernel_trouble(lab)
    assert len(trouble) == 1
    assert trouble[0].startswith("beta: ")
