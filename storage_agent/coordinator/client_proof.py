"""Proof that a client can use an export: a machine that is not the server mounts it through the
service address, writes a file, mounts it again, reads the file back and removes it.

The kernel's own NFS client, as users have it: it negotiates the version as theirs does, and takes
leave of the server when it unmounts. libnfs would leave an NFSv4.0 client behind, for which the
next server waits in grace, and its tools cannot remove what they have written.

The script needs root, sh, mount.nfs and coreutils. It runs on this machine, or by ssh on another
one where this one does not reach the clients' network.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from storage_agent.coordinator.commands import RunCommand
from storage_agent.coordinator.go_live import Prove
from storage_agent.coordinator.settings import address as address_rule
from storage_agent.model.errors import OperationFailed, UsageError

PROOF_TIMEOUT_S = 90.0
# Where every client may write, whatever its server makes of root (nfs_server/supervisor.py there).
FOLDER = ".storage-agent/clients"
# As the agents take it into their seals.
CLIENT_LIMIT_CHARS = 64
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# soft and short: a server that does not answer ends the script, and never holds the machine.
SCRIPT = """\
PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C; export PATH LC_ALL
say() { echo "$1" >&2; exit 1; }
work=$(mktemp -d) || exit 1
end() {
    umount "$work/export" 2>/dev/null
    rm -f "$work/written"
    rmdir "$work/export" "$work"
}
trap end EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/export" || exit 1
head -c 65536 /dev/urandom >"$work/written" || exit 1
attach() {
    mount -t nfs -o soft,timeo=50,retrans=2,retry=0,nosuid,nodev,noexec \\
        "$address:$path" "$work/export" || say "it cannot be mounted"
}
attach
said=$(dd if="$work/written" of="$work/export/$file" conv=fsync 2>&1) || {
    echo "$said" >&2
    say "it cannot be written"
}
umount "$work/export" || say "it cannot be unmounted"
attach
cmp "$work/written" "$work/export/$file" || say "what is read is not what was written"
rm "$work/export/$file" || say "what was written cannot be removed"
umount "$work/export" || say "it cannot be unmounted"
"""


def prover(run: RunCommand, client: str | None, new_id: Callable[[], str]) -> Prove:
    """client: `HOST` or `USER@HOST`, reached by ssh without a question; None: this machine.

    Raises UsageError."""
    argv = ("sh", "-s") if client is None else _ssh(client)
    name = client or "this machine"

    def prove(address: str, path: str) -> str:
        given = {"address": address, "path": path, "file": f"{FOLDER}/{new_id()}"}
        words = "".join(f"{key}={shlex.quote(value)}\n" for key, value in given.items())
        ended = run(argv, f"{words}{SCRIPT}".encode(), PROOF_TIMEOUT_S)
        if ended.exit_status != 0:
            why = "; ".join(ended.text.split("\n")[-6:]).strip("; ")
            raise OperationFailed(
                f"{name} cannot use the export {address}:{path}: {why or ended.exit_status}",
                remedy="is it among the volume's `clients`, has it mount.nfs, and are you root? "
                f"try by hand: mount -t nfs {address}:{path} /mnt; or another one: --client HOST",
                code="EXPORT_UNPROVEN",
            )
        return name

    return prove


def _ssh(client: str) -> tuple[str, ...]:
    user, _, host = client.rpartition("@")
    is_long = len(client) > CLIENT_LIMIT_CHARS
    if is_long or (user and not _USER.fullmatch(user)) or address_rule(host):
        raise UsageError(f"{client[:80]!a} is no host", remedy="--client HOST or USER@HOST")
    options = ("BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=10")
    return ("ssh", "-T", *(part for o in options for part in ("-o", o)), "--", client, "sh -s")
