"""/etc/drbd.d/storage-agent-VOLUME.res: how both hosts replicate one volume.

Source of every option: drbd.conf(5) of drbd-utils, the pages for 8.4 and 9.
"""

from __future__ import annotations

from pathlib import Path

from storage_agent.model.configuration import (
    AgentConfig,
    Arbitration,
    HostConfig,
    ReplicaConfig,
    VolumeConfig,
)
from storage_agent.model.errors import ConfigurationError

FOLDER = Path("etc/drbd.d")
FENCE_PEER = "/usr/lib/storage-agent/fence-peer"
# Called when a handshake has ended in a split brain that nobody resolves but a person.
SPLIT_BRAIN = "/usr/lib/storage-agent/split-brain"

# Design section 6. With resource-only the primary goes on alone when its peer is lost; with
# resource-and-stonith its writes freeze until the handler has answered. Never `dont-care`: then
# nobody asks before a disconnected copy becomes primary.
FENCING = {
    Arbitration.NONE: "resource-only",
    Arbitration.COORDINATOR: "resource-and-stonith",
}
# Only then may the handler open an incident and wait: without freezing nobody would answer it.
HANDLER = {
    Arbitration.NONE: FENCE_PEER,
    Arbitration.COORDINATOR: f"{FENCE_PEER} coordinator",
}

# A silent peer is noticed after at most ping-int + ping-timeout = 6 s on an idle link; the
# defaults (10 s, 0.5 s) take longer and yet call a host dead that stood still for half a second.
# 3 s is what an emulated or overloaded host needs, ten times slower than hardware.  timeout (in
# tenths of a second) must be less than ping-int and connect-int.  A peer that answers pings but
# completes no write for ko-count * timeout = 17.5 s is given up.  Every new connection is watched
# for socket-check-timeout before it is used; by default that is ping-timeout.
NET = """\
    net {
        protocol             C;
        allow-two-primaries  no;
        after-sb-0pri        disconnect;
        after-sb-1pri        disconnect;
        after-sb-2pri        disconnect;
        rr-conflict          disconnect;
        connect-int          3;
        ping-int             3;
        ping-timeout         30;
        socket-check-timeout 5;
        timeout              25;
        ko-count             7;
        max-buffers          8000;
        verify-alg           crc32c;"""

# The first sync and every resync: the controller may use what the link gives, and yields to
# writes down to c-min-rate. Its default floor of 250 KiB/s would take 45 days for a terabyte on
# a busy volume. resync-rate is only where it begins.
DISK = """\
    disk {
        on-io-error          detach;
        resync-rate          50M;
        c-fill-target        1M;
        c-min-rate           10M;
        c-max-rate           700M;"""

# Ours is never brought up by drbd.service. Should that be enabled for other resources, it waits
# this long and not for ever (the default).
STARTUP = """\
    startup {
        wfc-timeout          5;
        degr-wfc-timeout     5;
        outdated-wfc-timeout 5;
    }"""


def resource_path(name: str) -> Path:
    """Below the root. Raises ConfigurationError for a name that is no plain file name."""
    if not name or not name.isascii() or not all(c.isalnum() or c in "-_." for c in name):
        raise ConfigurationError(
            f"{name!r} cannot be a DRBD resource's name",
            remedy="use letters, digits, '-', '_' and '.'",
        )
    return FOLDER / f"storage-agent-{name}.res"


def render_resource(config: AgentConfig, volume: VolumeConfig, *, driver_version_9: bool) -> str:
    """The whole file. The same on both hosts as long as both run the same driver generation.

    Raises ConfigurationError for a volume without replica, or fewer than two hosts.
    """
    if volume.replica is None or len(config.hosts) != 2:
        raise ConfigurationError(
            f"volume {volume.name}: a replica needs a [replica] section and exactly two hosts",
            remedy="see them: storage-agent config show",
        )
    fencing = f"        fencing              {FENCING[volume.arbitration]};"
    # `fencing` moved from the disk to the net section with 9. 9 promotes a secondary that
    # somebody mounts unless it is told not to; 8.4 does neither and does not know the option.
    net = (NET, fencing, "    }") if driver_version_9 else (NET, "    }")
    disk = (DISK, "    }") if driver_version_9 else (DISK, fencing, "    }")
    options = ("    options {", "        auto-promote         no;", "    }")
    lines = (
        "# Written by storage-agent from its configuration. Do not edit: it is written anew.",
        f"resource {volume.name} {{",
        *net,
        *disk,
        *(options if driver_version_9 else ()),
        "    handlers {",
        f'        fence-peer           "{HANDLER[volume.arbitration]}";',
        f'        split-brain          "{SPLIT_BRAIN}";',
        "    }",
        STARTUP,
        *(
            _render_host(volume, volume.replica, host, node_id if driver_version_9 else None)
            for node_id, host in enumerate(sorted(config.hosts.values(), key=lambda h: h.name))
        ),
        "}",
    )
    return "\n".join(lines) + "\n"


def _render_host(
    volume: VolumeConfig, replica: ReplicaConfig, host: HostConfig, node_id: int | None
) -> str:
    """node_id: DRBD 9 wants one; by name order, so that both hosts come to the same."""
    family, address = ("ipv6", f"[{host.address}]") if ":" in host.address else (
        "ipv4", host.address
    )  # fmt: skip
    lines = [
        f"    on {host.name} {{",
        f"        device    /dev/drbd{replica.minor} minor {replica.minor};",
        f"        disk      {volume.array_device()};",
        "        meta-disk internal;",
        f"        address   {family} {address}:{replica.port};",
        "    }",
    ]
    if node_id is not None:
        lines.insert(1, f"        node-id   {node_id};")
    return "\n".join(lines)
