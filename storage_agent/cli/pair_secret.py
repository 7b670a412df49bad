"""pair-secret: what lets the two hosts' agents compare what they have configured of a volume."""

from __future__ import annotations

import argparse

from storage_agent.cli.context import Answer, Context
from storage_agent.model.agreement import copy_secret, secret_path
from storage_agent.model.errors import NotPermitted, UsageError


def pair_secret(options: argparse.Namespace, context: Context) -> Answer:
    """Makes the secret where there is none, and says how it comes to the other host: by whoever has
    copied agent.toml there. It works without the daemon, which looks for it every few seconds."""
    if not context.is_root:
        raise NotPermitted("the secret is root's", remedy="run it as root (sudo)")
    config = context.local.config()
    name, peer = options.volume, config.peer_of(config.host)
    volume = config.require_volume(name)
    if volume.replica is None or peer is None:
        raise UsageError(
            f"{name} has no replica: there is nothing to compare", remedy="storage-agent status"
        )
    port = config.compare_port
    replicas = {v.name: v.replica for v in config.volumes.values() if v.replica}
    if taken := [n for n, replica in replicas.items() if replica.port == port]:
        raise UsageError(
            f"port {port}, where the agents would compare, is that of {taken[0]}'s replica",
            remedy="set another one, as compare_port, in agent.toml on both hosts",
        )
    changed = context.local.make_pair_secret(name)
    path, copy = secret_path(name), copy_secret(name, peer.name)
    made = f"made: {path}" if changed else f"there already: {path}"
    lines = (
        made,
        f"bring it to {peer.name}, which must have the same: {copy}",
        f"then, on either host: storage-agent status {name}",
    )
    data = {"path": path, "changed": changed, "copy": copy}
    return Answer(data=data, lines=lines, changed=changed)
