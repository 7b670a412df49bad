"""What the codes of `doctor` mean."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

DOCTOR: dict[str, Explanation] = {
    "PACKAGES_MISSING": Explanation(
        meaning="Programs that operations need are not installed.",
        risk="an operation would stop half-way and be rolled back",
        next_steps=("apt install what doctor names",),
    ),
    "MODULE_MISSING": Explanation(
        meaning="The running kernel has no such module, loaded or to be loaded.",
        risk="volumes that need it cannot be brought up on this host",
        next_steps=(
            "apt install linux-image-amd64",
            "reboot into it only when that interrupts nobody: storage-agent safe-to-terminate",
            "ls /lib/modules/$(uname -r) (an upgraded but not rebooted kernel has lost its own)",
        ),
    ),
    "DRBD_VERSION": Explanation(
        meaning="The DRBD driver is of a generation that storage-agent does not know (8.4 and 9 "
        "are), or does not say which one it is.",
        risk="what it reports may be misread",
        next_steps=("cat /sys/module/drbd/version", "modinfo drbd"),
    ),
    "DRBD_SERVICE": Explanation(
        meaning="drbd.service is enabled, and without storage-agent's drop-in it brings up the "
        "agent's resources too, also where every resource is the agent's.",
        risk="a resource is brought up on an array that nobody has looked at",
        next_steps=(
            "/usr/lib/storage-agent/other-drbd-resources (who else has resources)",
            "only if it names none: systemctl disable drbd.service",
        ),
    ),
    "HOST_EXPORT": Explanation(
        meaning="The host's own NFS server exports (part of) a volume's mount point. Each volume "
        "has a server of its own; this one is not moved, not stopped and not proven with it.",
        risk="an empty directory is exported where the volume is not mounted, and the volume "
        "cannot be unmounted where it is",
        next_steps=(
            "ss -tn sport = :2049 (who uses it)",
            "when that interrupts nobody: remove the line that doctor names, then exportfs -ra",
        ),
    ),
    "FSTAB_VOLUME": Explanation(
        meaning="/etc/fstab mounts something that the agent mounts, or a DRBD device, at boot or, "
        "with x-systemd.automount, as soon as somebody looks there.",
        risk="boot stops in emergency mode while the device is secondary or missing",
        next_steps=("remove the line", "systemctl daemon-reload"),
    ),
    "MD_AUTO_ASSEMBLY": Explanation(
        meaning="mdadm's own boot-time and hot-plug assembly is not switched off for an array of "
        "ours.",
        risk="udev assembles whatever is attached, and after 30 s starts it degraded",
        next_steps=(
            "add the ARRAY <ignore> line that doctor names",
            "update-initramfs -u",
        ),
    ),
    "DRBD_UNIT": Explanation(
        meaning="drbd-utils has units of its own (drbd@, drbd-promote@, drbd-wait-promotable@ and "
        "others), and one of them is active or enabled for a volume's resource.",
        risk="it promotes at boot, waits for the peer, or takes the resource down at an upgrade, "
        "without the agent",
        next_steps=(
            "systemctl list-units --all 'drbd*'",
            "systemctl disable UNIT (interrupts nothing that runs)",
        ),
    ),
    "AUTOMOUNT": Explanation(
        meaning="A systemd automount lies on a volume's mount point, by a line of /etc/fstab with "
        "x-systemd.automount or by a unit file.",
        risk="the volume cannot be mounted: after a reboot it is blocked on both hosts",
        next_steps=(
            "systemctl list-units --type=automount",
            "systemctl stop UNIT (interrupts nothing that is served)",
        ),
    ),
    "CLUSTER_MANAGER": Explanation(
        meaning="A cluster manager runs on this host. Two managers of one volume undo each "
        "other's decisions.",
        risk="it may promote, mount or fence while storage-agent moves a volume",
        next_steps=(
            "if it manages the same DRBD resources: use it, and look only with: "
            "storage-agent status, storage-agent doctor",
            "else keep it away from storage-agent's resources",
        ),
    ),
    "CLOCK": Explanation(
        meaning="The clock is not synchronised. Nothing is decided by it, but logs and events of "
        "the two hosts cannot be compared.",
        next_steps=("timedatectl", "apt install systemd-timesyncd"),
    ),
    "DOCTOR_STATE_FOLDER": Explanation(
        meaning="/var/lib/storage-agent, which holds journal and epochs, is missing, not root's, "
        "not writable, nearly full, or lies on a replicated volume.",
        risk="operations are refused; on a replicated volume the state would move away with it",
        next_steps=("df -h /var/lib/storage-agent", "systemd-tmpfiles --create"),
    ),
    "NOT_CONFIGURED": Explanation(
        meaning="There is no configuration yet, so the daemon does not start.",
        next_steps=(
            "write /etc/storage-agent/agent.toml, the same on both hosts",
            "storage-agent config check",
            "systemctl start storage-agent.socket",
        ),
    ),
    "REPLICA_UNSAFE": Explanation(
        meaning="A DRBD option that guards against two sets of data is not set as it must be.",
        risk="a split brain may be resolved by throwing away acknowledged writes, or a stale "
        "copy may become primary",
        next_steps=("drbdsetup show --show-defaults VOLUME", "storage-agent assemble VOLUME"),
    ),
    "REPLICA_TIMEOUT": Explanation(
        meaning="A DRBD time-out is not set or far from what is proposed.",
        risk="a dead peer is noticed late, or boot waits for it without end",
        next_steps=("drbdsetup show --show-defaults VOLUME", "storage-agent assemble VOLUME"),
    ),
    "HOST_NAME": Explanation(
        meaning="DRBD matches its configuration against the whole of `uname -n`, so `on alpha` is "
        "not found on `alpha.example.org`, nor on a host that is only called alpha in agent.toml.",
        risk="drbdadm refuses every command on this host: no volume comes up at the next boot",
        next_steps=("uname -n", "hostnamectl hostname NAME (as agent.toml has it)"),
    ),
    "SSHD_LOGIN": Explanation(
        meaning="sshd's own configuration for the user storage-agent lets no coordinator in: a "
        "list of users or groups without it, a locked or expired account, another shell, or the "
        "package's drop-in not being read.",
        risk="no coordinator reaches this host: nobody answers an incident, and no volume is moved",
        next_steps=(
            "sshd -T -C user=storage-agent,host=x,addr=127.0.0.1,laddr=127.0.0.1,lport=22",
            "journalctl -u ssh -n 20",
        ),
    ),
    "SSHD_ALGORITHMS": Explanation(
        meaning="sshd was hardened to algorithms that a coordinator's paramiko does not have. What "
        "it may use: AES in CTR mode, or GCM with paramiko 3.5 and newer, HMAC of SHA-2, also ETM, "
        "Curve25519, NIST's curves or the groups 14 and 16.",
        risk="no coordinator reaches this host: nobody answers an incident, and no volume is moved",
        next_steps=("sshd -T | grep -iE '^(ciphers|macs|kexalgorithms)'",),
    ),
    "SSHD_PENALTIES": Explanation(
        meaning="OpenSSH since 9.8 does not speak for a while to an address from which logins have "
        "failed (PerSourcePenalties).",
        risk="a coordinator whose key was not yet authorized is shut out when it is needed",
        next_steps=("sshd -T | grep -i persourcepenalt", "journalctl -u ssh -g penalty -n 20"),
    ),
    "NOT_CHECKED": Explanation(
        meaning="doctor could not look at this, so it may be fine or not.",
        next_steps=("run it as root: sudo storage-agent doctor",),
    ),
}
