"""The export table that rpc.mountd answers from, written without exportfs.

exportfs would be one more process, and it leaves exports of missing directories in the table
(recorded with nfs-utils 2.6.2); rpc.mountd reads the table again whenever it changes.
"""

from __future__ import annotations

from storage_agent.host.nfs.adapter import CANARY_NETWORK
from storage_agent.host.nfs.settings import ServerSettings
from storage_agent.model.errors import ConfigurationError

CANARY_ADDRESS = f"{CANARY_NETWORK}2"
CANARY_OPTIONS = ("rw", "sync", "no_subtree_check", "no_root_squash")
# nfs-utils support/nfs/exports.c escapes these in paths.
_ESCAPED = ' \t\n"#\\'


def render_etab(settings: ServerSettings) -> str:
    """One line a client and one for the canary.

    `mountpoint`: rpc.mountd offers nothing while nothing is mounted there. Raises
    ConfigurationError while the filesystem has no UUID: exported under another fsid every
    client's handles would go stale.
    """
    if not settings.filesystem_uuid:
        raise ConfigurationError(
            f"the filesystem of {settings.volume} has no UUID in the configuration",
            remedy="storage-agent config show --origin; where it was never made: "
            f"storage-agent create {settings.volume} --first",
        )
    pinned = (f"fsid={settings.filesystem_uuid}", "mountpoint")
    lines = [
        _line(settings.mount_point, client, (*settings.options, *pinned))
        for client in settings.clients
    ]
    lines.append(_line(settings.mount_point, CANARY_ADDRESS, (*CANARY_OPTIONS, *pinned)))
    return "".join(lines)


def _line(path: str, client: str, options: tuple[str, ...]) -> str:
    escaped = "".join(f"\\{ord(c):03o}" if c in _ESCAPED else c for c in path)
    if not any(option.startswith("sec=") for option in options):
        options = (*options, "sec=sys")
    return f"{escaped}\t{client}({','.join(options)})\n"
