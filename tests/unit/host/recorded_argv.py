"""Which command's output each parser reads, and which recordings there are of it. As a table:

    python -m tests.unit.host.recorded_argv

A parser that is tried on what another command has printed proves nothing of the one that runs:
`drbdadm dump-xml` prints another document than `drbdadm dump-xml NAME`.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage_agent.host.doctor_facts import units_argv
from storage_agent.host.drbd import commands, definitions, stream
from storage_agent.host.md.commands import examine_argv
from storage_agent.host.sshd import sshd_argv
from storage_agent.host.system.services import show_argv

DATA = Path(__file__).parents[2] / "data"
Argv = tuple[str, ...]
# In a pattern: one word, whatever it is, and the rest of the words.
ONE, MANY = "NAME", "..."


@dataclass(frozen=True, kw_only=True)
class Row:
    """argv: as the product builds it.  slugs: folders of tests/data.  otherwise: the argv of
    recordings that were made by another one, and why they say something all the same.
    on: whose recordings by the product's own argv must be there; `` of any."""

    parser: str
    argv: Argv
    slugs: tuple[str, ...]
    otherwise: Mapping[Argv, str] = field(default_factory=dict)
    on: tuple[str, ...] = ("",)


def words(text: str) -> Argv:
    return tuple(text.split())


ALONE = "of a host with that one resource: by its name the same lines are printed"
PATTERNS = "a refusal, of which only exit status and words are read"
ROWS = (
    Row(
        parser="drbd.events.parse_events2_now",
        argv=commands.events2_now(ONE),
        slugs=("drbdsetup-events2-now", "drbdsetup-events2-now-statistics"),
        otherwise={
            words("drbdsetup events2 --now --statistics"): ALONE,
            definitions.KERNEL_ALL: "parse_kernel's, see there",
        },
        on=("8.4.11",),
    ),
    Row(
        parser="drbd.definitions.parse_kernel",
        argv=definitions.KERNEL_ALL,
        slugs=("drbdsetup-events2-now",),
        otherwise={
            words("drbdsetup events2 --now --statistics"): "statistics are left out",
        },
        on=("8.4.11",),
    ),
    Row(
        parser="libexec/fence-peer (9)",
        argv=words(f"drbdsetup events2 --now {ONE}"),
        slugs=("drbdsetup-events2-now",),
        otherwise={
            words("drbdsetup events2 --now --statistics"): "statistics are left out; " + ALONE,
            definitions.KERNEL_ALL: ALONE,
        },
        on=(),
    ),
    Row(
        parser="drbd.stream.EventStream",
        argv=stream.stream_argv(),
        slugs=("drbdsetup-events2-stream",),
        otherwise={
            words("drbdsetup events2 --timestamps --statistics"): "a time before each line, "
            "which is taken off",
        },
        on=(),
    ),
    Row(
        parser="drbd.status_json.parse_status_json",
        argv=commands.status_json(ONE),
        slugs=("drbdsetup-status-json",),
        otherwise={words("drbdsetup status --json"): ALONE},
        # Of the driver 9, which the lab does not have.
        on=(),
    ),
    Row(
        parser="drbd.guards.parse_show",
        argv=commands.show(ONE),
        slugs=(
            "drbdsetup-show-show-defaults",
            "drbdsetup-show-defaults",
            "drbdsetup-show",
        ),
        otherwise={
            words("drbdsetup show --show-defaults"): ALONE,
            words("drbdsetup show"): "without defaults: of a resource that stands alone",
        },
        on=("8.4.11",),
    ),
    Row(
        parser="drbd.dump.parse_replica_settings, drbd.definitions.parse_definitions",
        argv=commands.dump(ONE),
        slugs=("drbdadm-dump-xml",),
        otherwise={words("drbdadm dump-xml"): "a <config> around what is printed by name"},
        on=("8.4.11",),
    ),
    Row(
        parser="drbd.generation.parse_generation (8.4)",
        argv=commands.get_gi(ONE, 0, driver_version_9=False),
        slugs=("drbdsetup-get-gi",),
        on=("8.4.11",),
    ),
    Row(
        parser="drbd.generation.parse_generation (9, and of a disk)",
        argv=commands.get_gi(ONE, 0, driver_version_9=True),
        slugs=("drbdadm-get-gi",),
        on=("8.4.11", "9.1.23"),
    ),
    Row(
        parser="drbd.commands.option_changes",
        argv=commands.adjust_dry(ONE),
        slugs=("drbdadm-adjust-dry",),
        on=("8.4.11", "9.1.23"),
    ),
    Row(
        parser="surroundings (names)",
        argv=definitions.DEFINED_NAMES,
        slugs=("drbdadm-sh-resources",),
    ),
    Row(
        parser="drbd.adapter (a trial of a file)",
        argv=definitions.try_argv(ONE),
        slugs=("drbdadm-config-file",),
    ),
    Row(
        parser="drbd.failures.failure (drbdadm)",
        argv=commands.drbdadm(ONE, ONE),
        slugs=("refused-drbdadm",),
        on=("8.4.11", "9.1.23"),
    ),
    Row(
        parser="drbd.failures.failure (drbdsetup)",
        argv=("drbdsetup", ONE, ONE),
        slugs=("refused-drbdsetup",),
        on=("8.4.11", "9.1.23"),
    ),
    Row(
        parser="md.parse.parse_superblock",
        argv=examine_argv((MANY,)),
        slugs=("mdadm-examine",),
    ),
    Row(
        parser="filesystem.adapter.parse_blkid",
        argv=words(f"blkid -p -o export -- {ONE}"),
        slugs=("blkid", "blkid-member", "refused-blkid"),
        otherwise={
            words("blkid -p -o export NAME"): "the `--` only ends the options",
            words("blkid -p NAME"): PATTERNS,
        },
    ),
    Row(
        parser="block.devices.parse_probe",
        argv=words(f"wipefs --no-act --json -- {MANY}"),
        slugs=("wipefs",),
    ),
    Row(
        parser="nfs.address.parse_ip_addresses",
        argv=words("ip -j address show"),
        slugs=("ip-address",),
    ),
    Row(
        parser="system.services.parse_systemctl_show",
        argv=show_argv((MANY,)),
        slugs=("systemctl-show-property", "systemctl-show-nfs-server"),
        otherwise={
            words("systemctl show nfs-server"): "all properties",
            words(
                "systemctl show nfs-server -p LoadState,ActiveState,SubState,MainPID,Result,"
                "UnitFileState,ExecMainStatus"
            ): "other properties",
        },
    ),
    Row(
        parser="doctor_facts.parse_units",
        argv=(*units_argv(None)[:5], MANY),
        slugs=("systemctl-show-units",),
    ),
    Row(
        parser="sshd.parse_sshd",
        argv=(*sshd_argv("")[:3], ONE),
        slugs=("sshd",),
    ),
    Row(
        parser="doctor_facts (clock)",
        argv=words("timedatectl show -p NTPSynchronized --value"),
        slugs=("timedatectl",),
    ),
    Row(
        parser="doctor_facts (driver that is not loaded)",
        argv=words("modinfo -F version drbd"),
        slugs=("modinfo",),
    ),
    Row(
        parser="system.services.is_host_stopping",
        argv=words("systemctl is-system-running"),
        slugs=("systemctl-is-system-running",),
    ),
    Row(
        parser="filesystem.adapter (a refused mount)",
        argv=words(f"mount -t {ONE} -w {MANY}"),
        slugs=("refused-mount",),
        otherwise={words("mount NAME NAME"): PATTERNS},
    ),
    Row(
        parser="filesystem.adapter (a busy unmount)",
        argv=words(f"umount -- {ONE}"),
        slugs=("umount",),
        otherwise={words("umount NAME"): PATTERNS},
        on=(),
    ),
)
# Files that are read, not commands; and what was written down in another way.
READ = {
    "drbd-courses": "see its README",
    "fence-agents": "of sites' own programs",
    "filesystem-start": "the first blocks of filesystems",
    "golden": "what resource files are to look like",
    "nfs-etab": "a file",
    "proc-drbd": "a file",
    "proc-fs-nfsd-clients": "files",
    "proc-fs-nfsd-settings": "files",
    "proc-net-rpc-nfsd-export": "a file",
    "proc-net-tcp": "a file",
    "proc-net-tcp6": "a file",
    "proc-self-mountinfo": "a file",
    "sysfs-md": "files",
    "udevadm-info-disk": "of udev's database, which libudev reads",
}


def fits(argv: Argv, pattern: Argv) -> bool:
    if pattern and pattern[-1] == MANY:
        head = pattern[:-1]
        return len(argv) > len(head) and fits(argv[: len(head)], head)
    pairs = zip(argv, pattern, strict=False)
    return len(argv) == len(pattern) and all(b in (a, ONE) for a, b in pairs)


def recorded(slug: str) -> list[tuple[str, Argv]]:
    """Version, and the argv that the recording was made by."""
    found = []
    for path in sorted((DATA / slug).rglob("*.json")):
        found.append((path.parent.name, tuple(json.loads(path.read_text())["argv"])))
    return found


def table() -> str:
    lines = []
    for row in ROWS:
        counted: Counter[tuple[str, str]] = Counter()
        for slug in row.slugs:
            for version, argv in recorded(slug):
                other = next((o for o in row.otherwise if fits(argv, o)), None)
                is_own = fits(argv, row.argv)
                said = "its own" if is_own else shlex.join(other or argv)
                counted[version, said] += 1
        lines.append(f"{row.parser}\n    {shlex.join(row.argv)}")
        for (version, said), count in sorted(counted.items()):
            lines.append(f"    {count:4} of {version}: {said}")
        lines += (f"         {shlex.join(argv)}: {why}" for argv, why in row.otherwise.items())
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
