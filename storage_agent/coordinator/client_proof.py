"""Proof that a client can use an export: a machine that is not the server mounts it through the
service address, makes a new file, mounts it again and reads the file back. That it has arrived on
the volume the serving host says (go_live.py), which then removes it.

The kernel's own NFS client, as users have it: it negotiates the version as theirs does, and takes
leave of the server when it unmounts. libnfs would leave an NFSv4.0 client behind, for which the
next server waits in grace, and its tools cannot remove what they have written.

What a server shows is not trusted: no link is followed on its export, and nothing is opened but a
new file and that file again. The script needs root, sh, mount.nfs, util-linux (nosymfollow: 2.38
and Linux 5.10) and coreutils. It runs on this machine, or by ssh on another one where this one
does not reach the clients' network.
"""

from __future__ import annotations

import re
import shlex

from storage_agent.coordinator.commands import RunCommand
from storage_agent.coordinator.go_live import Errand, Prove
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
    rm -f "$work/written" "$work/read"
    rmdir "$work/export" "$work"
}
trap end EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/export" || exit 1
printf '%s' "$content" >"$work/written" || exit 1
attach() {
    mount -t nfs -o soft,timeo=50,retrans=2,retry=0,nosuid,nodev,noexec \\
        "$address:$path" "$work/export" || say "it cannot be mounted"
    # Not by mount.nfs, which knows no such option.
    mount -i -o remount,bind,nosuid,nodev,noexec,nosymfollow "$work/export" &&
        grep -q " $work/export [^-]*nosymfollow" /proc/self/mountinfo ||
        say "this machine cannot mount without following links (nosymfollow)"
}
attach
said=$(dd if="$work/written" of="$work/export/$file" conv=excl,fsync oflag=nofollow 2>&1) || {
    echo "$said" >&2
    say "it cannot be written"
}
umount "$work/export" || say "it cannot be unmounted"
attach
said=$(dd if="$work/export/$file" of="$work/read" bs=64k count=1 \\
    iflag=fullblock,nofollow,nonblock 2>&1) || {
    echo "$said" >&2
    say "it cannot be read"
}
cmp "$work/written" "$work/read" || say "what is read is not what was written"
umount "$work/export" || say "it cannot be unmounted"
"""


def prover(run: RunCommand, client: str | None) -> Prove:
    """client: `HOST` or `USER@HOST`, reached by ssh without a question; None: this machine.

    Raises UsageError."""
    argv = ("sh", "-s") if client is None else _ssh(client)
    name = client or "this machine"

    def prove(errand: Errand) -> str:
        given = {
            "address": errand.address,
            "path": errand.path,
            "file": f"{FOLDER}/{errand.name}",
            "content": errand.content.decode(),
        }
        words = "".join(f"{key}={shlex.quote(value)}\n" for key, value in given.items())
        ended = run(argv, f"{words}{SCRIPT}".encode(), PROOF_TIMEOUT_S)
        if ended.exit_status != 0:
            at = f"{errand.address}:{errand.path}"
            why = "; ".join(ended.text.split("\n")[-6:]).strip("; ")
            raise OperationFailed(
                f"{name} cannot use the export {at}: {why or ended.exit_status}",
                remedy="is it among the volume's `clients`, has it mount.nfs, and are you root? "
                f"try by hand: mount -t nfs {at} /mnt; or another one: --client HOST",
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
