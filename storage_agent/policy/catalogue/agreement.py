"""What codes mean that tell of the two hosts' configurations: alike, or not known to be."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_SHOW = "on both hosts: storage-agent config show"
_SECRET = "storage-agent pair-secret VOLUME"

AGREEMENT: dict[str, Explanation] = {
    "CONFIG_DISAGREES": Explanation(
        meaning="The two hosts have something configured differently that must be the same: an "
        "address, options, exports, the mount point, disks. Neither lets go nor takes over from "
        "the other before it is.",
        risk="the other host would serve something else, or nothing, once this one has let go",
        next_steps=(_SHOW, "make them the same in agent.toml", "systemctl reload storage-agentd"),
    ),
    "CONFIG_NOT_COMPARED": Explanation(
        meaning="Whether the two hosts are configured alike could not be compared: the other "
        "host's agent, or the coordinator's way to it, gave no answer. A host without its agent "
        "could not take over either. For a volume that nobody shall serve, `demote VOLUME "
        "--yes-stop-serving HOST/VOLUME` passes; a shutdown of the host does in any case.",
        risk="the other host might serve something else, or nothing, once this one has let go",
        next_steps=("on the other host: systemctl status storage-agentd", _SHOW),
    ),
    "PEER_WOULD_REFUSE": Explanation(
        meaning="The other host has the data, and its agent says that a promotion there would be "
        "refused: its own records are lost, its state folder cannot be written, its mount point is "
        "taken. What it is stands in the finding, and there in `status`. For a volume that nobody "
        "shall serve, `demote VOLUME --yes-stop-serving HOST/VOLUME` passes.",
        risk="nobody would serve the volume once this host has let go, or has died",
        next_steps=("on the other host: storage-agent status VOLUME",),
    ),
    "NO_PAIR_SECRET": Explanation(
        meaning="The two hosts' agents compare what they have configured only where both have the "
        "volume's secret, which is no file of the package: somebody makes it on one host and "
        "copies it to the other, as agent.toml. A coordinator compares both without it.",
        risk="a difference would be found out after the serving host has let go",
        next_steps=(_SECRET,),
    ),
    "PAIR_SECRET_UNUSABLE": Explanation(
        meaning="The file with the volume's secret is not root's alone, or holds something else "
        "than 64 hexadecimal digits.",
        risk="the two hosts' configurations are not compared",
        next_steps=("ls -l /etc/storage-agent/pair", _SECRET),
    ),
}
