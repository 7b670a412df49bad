"""One volume's settings, for tests."""

from __future__ import annotations

from storage_agent.host.nfs.settings import ServerSettings

SETTINGS = ServerSettings(
    volume="data",
    hosts=("alpha", "beta"),
    minor=0,
    mount_point="/srv/data",
    filesystem_uuid="0d8e1b1e-8f0b-4d0f-9a60-6c9a1c0b4e11",
    address="10.9.0.10/24",
    interface="eth2",
    link="macvlan",
    clients=("10.9.0.0/24", "@office"),
    options=("rw", "sync", "no_subtree_check"),
    threads=8,
)
