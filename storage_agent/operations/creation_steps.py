"""The steps that make a volume, and those that take back an unfinished one."""

from __future__ import annotations

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.nfs import ServerState
from storage_agent.model.plan import StepKind
from storage_agent.model.snapshot import Facet
from storage_agent.operations import goals
from storage_agent.operations.definition import Definition, drbdadm, members


def _make_array(volume: VolumeConfig, host: str) -> tuple[str, ...]:
    return (
        f"mdadm --create {volume.array_device()} --level={volume.array.level} "
        f"--uuid={volume.array.uuid.get(host, '')} {members(volume, host)}",
    )


# What `drbdadm create-md` looks at, to see that nothing lies there (drbdmeta.c).
BLANKED_BYTES = 68 << 10
_ARRAY = frozenset({Facet.ARRAY})
_REPLICA = frozenset({Facet.REPLICA})

CREATION: dict[StepKind, Definition] = {
    StepKind.WRITE_CONFIGURATION: Definition(
        title=lambda v: "write identity, DRBD and mdadm configuration, make the mount point",
        commands=lambda v, h: (
            f"edit /etc/storage-agent/agent.d/{v.name}.toml",
            f"edit /etc/drbd.d/storage-agent-{v.name}.res",
            "edit /etc/mdadm/mdadm.conf.d/storage-agent.conf",
            f"mkdir -p {v.mount_point}",
        ),
        check="the files are there",
        goal=None,
        facets=frozenset(),
        undo=StepKind.REMOVE_CONFIGURATION,
        timeout_s=30,
    ),
    StepKind.MAKE_ARRAY: Definition(
        title=lambda v: f"create the array {v.array_device()}",
        commands=_make_array,
        check="the array runs",
        goal=goals.array_runs,
        facets=_ARRAY,
        undo=None,
        timeout_s=120,
    ),
    StepKind.SEE_GOOD_COPY: Definition(
        title=lambda v: "connect without a disk: the other host must have the whole copy",
        commands=lambda v, h: (f"drbdadm adjust {v.name}", f"drbdadm connect {v.name}"),
        check="peer disk: UpToDate",
        goal=goals.good_copy_seen,
        facets=_REPLICA,
        undo=StepKind.REPLICA_DOWN,
        timeout_s=60,
    ),
    StepKind.GIVE_UP_COPY: Definition(
        title=lambda v: f"ERASE the beginning of this host's copy on {v.array_device()}",
        commands=lambda v, h: (
            f"wipefs --all {v.array_device()}",
            f"blkdiscard --zeroout --offset 0 --length {BLANKED_BYTES} {v.array_device()}",
        ),
        check="wipefs finds nothing on it",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=30,
    ),
    StepKind.MAKE_METADATA: Definition(
        title=lambda v: "write DRBD's metadata",
        commands=drbdadm("create-md"),
        check="drbdadm dump-md shows it",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=120,
    ),
    StepKind.FIRST_PRIMARY: Definition(
        title=lambda v: "declare this host's blank copy the good one, once",
        commands=drbdadm("primary --force"),
        check="role: Primary",
        goal=goals.first_primary,
        facets=_REPLICA | {Facet.CONTENT},
        undo=None,
        timeout_s=30,
    ),
    StepKind.MAKE_FILESYSTEM: Definition(
        title=lambda v: f"make the {v.filesystem.type} filesystem",
        commands=lambda v, h: (
            f"mkfs.{v.filesystem.type} (UUID {v.filesystem.uuid}) {v.device()}",
        ),
        check="its type and UUID are read back",
        goal=goals.identified,
        facets=frozenset({Facet.FILESYSTEM, Facet.IDENTITY, Facet.CONTENT}),
        undo=None,
        timeout_s=600,
    ),
    StepKind.REMOVE_SERVER: Definition(
        title=lambda v: "end the NFS server's namespaces",
        commands=lambda v, h: (f"systemctl stop storage-agent-nfs@{v.name}",),
        check="there is none",
        goal=goals.server_is(ServerState.ABSENT),
        facets=frozenset({Facet.NFS}),
        undo=None,
        timeout_s=60,
    ),
    StepKind.ERASE_CONTENT: Definition(
        title=lambda v: f"ERASE what was made on {v.array_device()}, and nothing else",
        commands=lambda v, h: (f"wipefs --all {v.array_device()}",),
        check="wipefs finds nothing on it",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=30,
    ),
    StepKind.ERASE_ARRAY: Definition(
        title=lambda v: f"ERASE the array that was made: its superblocks ({v.array.level})",
        commands=lambda v, h: (f"mdadm --zero-superblock {members(v, h)}",),
        check="no disk carries the array's UUID",
        goal=goals.array_erased,
        facets=_ARRAY,
        undo=None,
        timeout_s=60,
    ),
    StepKind.REMOVE_CONFIGURATION: Definition(
        title=lambda v: "remove the files that were written, put back what was there before",
        commands=lambda v, h: (
            f"rm /etc/storage-agent/agent.d/{v.name}.toml",
            f"rm /etc/drbd.d/storage-agent-{v.name}.res",
            "edit /etc/mdadm/mdadm.conf.d/storage-agent.conf",
            f"rmdir {v.mount_point}",
        ),
        check="the files are gone",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=30,
    ),
}
