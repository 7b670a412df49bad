"""What is written into the guests' image: networks by MAC address, ssh, quiet timers, hosts file.

One image serves all guests. Who a guest is, it learns from its kernel command line (hostname,
machine id) and from its network cards (addresses).
"""

from __future__ import annotations

from .topology import HOST_NUMBERS, LINKS, address, links_of, mac

# QEMU's user network gives every guest the same address and answers as 10.0.2.2.
CONTROL_NETWORK = "Address=10.0.2.15/24\nGateway=10.0.2.2"

MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "logrotate.timer",
    "man-db.timer",
    "mdcheck_continue.timer",
    "mdcheck_start.timer",
    "mdmonitor-oneshot.timer",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-tmpfiles-clean.timer",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    # The host's own NFS server plays no part; its pieces are started per volume.
    "nfs-server.service",
)

# PAM, DNS and the message of the day make every connection slower in an emulated guest.
SSHD = """\
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
X11Forwarding no
MaxSessions 100
MaxStartups 100
HostKey /etc/ssh/ssh_host_ed25519_key
Subsystem sftp internal-sftp
"""

# Every guest makes its own host key on its first boot.
HOST_KEY = """\
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'cd /etc/ssh && test -s ssh_host_ed25519_key || \
 ssh-keygen -q -t ed25519 -N "" -f ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
"""

# Only what these guests need, because unpacking is slow under emulation. mdadm adds what it always
# adds, so arrays are assembled as early as on a real host.
INITRAMFS_MODULES = """\
virtio_pci
virtio_blk
ext4
crc32c_generic
"""


def _link_file(host: str, link: str) -> str:
    return f"[Match]\nMACAddress={mac(host, link)}\n\n[Link]\nName={LINKS[link]}\n"


def _network_file(host: str, link: str) -> str:
    addresses = CONTROL_NETWORK if link == "control" else f"Address={address(host, link)}/24"
    return (
        f"[Match]\nMACAddress={mac(host, link)}\n\n"
        "[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        # A cut cable must not take the address away: DRBD and NFS would see another fault.
        f"ConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes\n{addresses}\n"
    )


def _hosts_file() -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for host in HOST_NUMBERS:
        lines.append(f"{address(host, 'service')} {host}")
        if replication := address(host, "replication"):
            lines.append(f"{replication} {host}-replication")
    return "\n".join(lines) + "\n"


def guest_files(public_key: str) -> dict[str, str]:
    """Path in the image -> content."""
    files = {
        "etc/hosts": _hosts_file(),
        "etc/hostname": "",
        "etc/machine-id": "uninitialized\n",
        "etc/fstab": "LABEL=lab-root / ext4 noatime,errors=remount-ro 0 1\n",
        "etc/ssh/sshd_config": SSHD,
        "etc/systemd/system/ssh.service.d/lab.conf": HOST_KEY,
        "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\n",
        "etc/initramfs-tools/conf.d/lab": "MODULES=list\nCOMPRESS=lz4\nRESUME=none\n",
        "etc/initramfs-tools/modules": INITRAMFS_MODULES,
        "etc/apt/sources.list": "# no network: packages come as files\n",
        "root/.ssh/authorized_keys": public_key,
    }
    for host in HOST_NUMBERS:
        for link in links_of(host):
            name = f"etc/systemd/network/10-{host}-{link}"
            files[f"{name}.link"] = _link_file(host, link)
            files[f"{name}.network"] = _network_file(host, link)
    return files


def customize_script() -> str:
    """Run by sh in the image, after `guest_files` are in place."""
    masks = " ".join(MASKED)
    return f"""\
set -eu
systemctl mask -- {masks}
systemctl disable -- nfs-server.service 2>/dev/null || true
systemctl enable -- systemd-networkd.service ssh.service
rm -f /etc/ssh/ssh_host_* /root/.bashrc /root/.profile /etc/apt/sources.list.d/*
rm -rf /usr/share/doc/* /usr/share/man/* /usr/share/locale/* /var/cache/apt/*.bin
chmod 700 /root/.ssh && chmod 600 /root/.ssh/authorized_keys
mkdir -p /var/log/journal
update-initramfs -u
# Not again: each package that asks for it would cost an emulated guest a minute or more. What the
# agent writes for the initramfs comes after its installation anyway, as on a real host.
echo update_initramfs=no >/etc/initramfs-tools/update-initramfs.conf
"""
