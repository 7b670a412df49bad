"""/etc/drbd.d/storage-agent-VOLUME.res: how both hosts replicate one volume.

Source of every option: drbd.conf(5) of drbd-utils, the pages for 8.4 and 9.
"""

from __future__ import annotations

from pathlib import Path

from storage_agent.model.configuration import (
    AgentConfig,
    HostConfig,
    ReplicaConfig,
    VolumeConfig,
)
from storage_agent.model.errors import ConfigurationError
from storage_agent.model.guards import (
    FENCING,
    HANDLER,
    SAFETY,
    SAFETY_9,
    SPLIT_BRAIN,
    TIMEOUTS,
)

FOLDER = Path("etc/drbd.d")
_NET = {
    **{name: value for name, value in SAFETY.items() if name.startswith("net.")},
    **TIMEOUTS,
    "net.max-buffers": "8000",
    "net.verify-alg": "crc32c",
}
NET = "\n".join(
    ("    net {", *(f"        {name[4:]:<20} {value};" for name, value in _NET.items()))
)

# The first sync and every resync: the controller may use what the link gives, and yields to
# writes down to c-min-rate. Its default floor of 250 KiB/s would take 45 days for a terabyte on
# a busy volume. resync-rate is only where it begins.
DISK = f"""\
    disk {{
        on-io-error          {SAFETY["disk.on-io-error"]};
        resync-rate          50M;
        c-fill-target        1M;
        c-min-rate           10M;
        c-max-rate           700M;"""

# Ours is never brought up by drbd.service. Should that be enabled for other resources, it waits
# this long for ours, and not for ever (the default).
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
    # `fencing` moved from the disk to the net section with 9.
    net = (NET, fencing, "    }") if driver_version_9 else (NET, "    }")
    disk = (DISK, "    }") if driver_version_9 else (DISK, fencing, "    }")
    auto_promote = f"        auto-promote         {SAFETY_9['options.auto-promote']};"
    lines = (
        "# Written by storage-agent from its configuration. Do not edit: it is written anew.",
        f"resource {volume.name} {{",
        *net,
        *disk,
        *(("    options {", auto_promote, "    }") if driver_version_9 else ()),
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
