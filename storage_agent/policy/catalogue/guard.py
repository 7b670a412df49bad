"""Explanations of what keeps a volume from being taken away, and its host from going."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_STATUS = "storage-agent status"
_WATCH = "storage-agent status --watch"
_ASK = "storage-agent safe-to-terminate"
_MOVE = ("storage-agent demote VOLUME, then on the peer: storage-agent promote VOLUME", _ASK)

GUARD: dict[str, Explanation] = {
    "VOLUME_PRIMARY": Explanation(
        meaning="This host has the volume's primary role: only it may write to the volume.",
        risk="without this host nobody writes until the other one is promoted",
        next_steps=_MOVE,
    ),
    "VOLUME_MOUNTED": Explanation(
        meaning="The volume's filesystem is mounted on this host.",
        risk="without this host the files are out of reach",
        next_steps=_MOVE,
    ),
    "VOLUME_EXPORTED": Explanation(
        meaning="The volume's own NFS server runs on this host; its clients are named.",
        risk="without this host their reads and writes hang",
        next_steps=_MOVE,
    ),
    "VOLUME_HELD": Explanation(
        meaning="Processes or services on this host use the volume's filesystem or device.",
        risk="they fail without this host, or keep the volume from moving",
        next_steps=("fuser -vm MOUNTPOINT", _ASK),
    ),
    "VOLUME_WRITTEN": Explanation(
        meaning="Bytes were written to the volume's device on this host while it was watched.",
        risk="somebody is at work on it right now",
        next_steps=_MOVE,
    ),
    "ONLY_GOOD_COPY": Explanation(
        meaning="That the other host has all of the volume's data is not seen, so this host's "
        "copy may be the only good one, whether it serves or not.",
        risk="with this host the data may be lost",
        next_steps=(_WATCH, "on the other host: storage-agent assemble VOLUME", _ASK),
    ),
    "RESYNC_RUNNING": Explanation(
        meaning="The two copies are being compared, or one is being copied from the other.",
        risk="ended now, one of them stays behind",
        next_steps=(_WATCH, _ASK),
    ),
    "OPERATION_RUNNING": Explanation(
        meaning="An operation has begun and not ended, or a daemon that stopped left it so.",
        risk="ended in the middle, the volume is served by nobody until it is resumed",
        next_steps=("storage-agent operation", "systemctl start storage-agentd", _ASK),
    ),
    "REPLICA_UNKNOWN": Explanation(
        meaning="The kernel has a DRBD device that no configured volume owns: somebody else's, or "
        "one of ours whose configuration is lost.",
        risk="what it holds is not judged, and may be in use",
        next_steps=("drbdsetup status", "ls /etc/drbd.d", "storage-agent config check"),
    ),
    "PEER_CANNOT_TAKE_OVER": Explanation(
        meaning="A demote here would end the service, because the other host cannot take it over: "
        "it is not connected, or does not have all the data.",
        risk="nobody serves the volume until one of the hosts is promoted again",
        next_steps=(
            _WATCH,
            "to end the service all the same: storage-agent standalone VOLUME, then "
            "storage-agent demote VOLUME --yes-stop-serving HOST/VOLUME",
        ),
    ),
    "INHIBITOR_UNAVAILABLE": Explanation(
        meaning="systemd-logind does not run, so no shutdown inhibitor is held while volumes are "
        "served; serving does not need it.",
        risk="a shutdown of a serving host is not refused, only made orderly",
        next_steps=("apt install dbus", "systemctl start systemd-logind",
                    "systemd-inhibit --list", _STATUS),
    ),
}  # fmt: skip
