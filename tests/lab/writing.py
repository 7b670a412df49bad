"""An application on the NFS client: holds a lock, writes fsynced records, and is checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.harness.lab import Lab
from tests.lab.harness.spawn import Spawned
from tests.lab.situations import ADDRESSES

PROGRAMS = Path(__file__).parent / "clients"
FOLDER = "/root/clients"
MOUNT_TIMEOUT_S = 120
# What the client's kernel says of the writer while nobody serves for so long: no failure where a
# serving host boots and nobody takes over.
WAITS_LONG = "blocked for more than|hung_task_timeout_secs"
ENDING_TIMEOUT_S = 120
# On the serving host itself: reaches the disks and is never flushed.
UNFLUSHED = "dd if=/dev/urandom of=/srv/data/unflushed bs=64k count=64 oflag=direct conv=notrunc"


@dataclass(frozen=True, slots=True)
class Writer:
    """One lockwriter.py on the client, writing to one volume."""

    lab: Lab
    volume: str
    process: Spawned

    @property
    def file(self) -> str:
        return f"/mnt/{self.volume}/records"

    @property
    def log(self) -> str:
        return f"/root/{self.volume}.log"

    def acknowledged(self) -> int:
        """Records so far, by the writer's own log on the client's disk."""
        return int(self.lab.hosts["client"].run(f"wc -l <{self.log}", timeout_s=30).stdout)

    def wait_for_more(self, count: int = 3, *, timeout_s: float = 150) -> None:
        """Returns once that many more records were acknowledged than when it was called."""
        wanted = self.acknowledged() + count
        self.lab.wait_until(
            f"{count} more records on {self.volume}",
            lambda: self.acknowledged() >= wanted,
            timeout_s=timeout_s,
        )

    def finish(self) -> dict[str, Any]:
        """Ends the writer; its summary joined with what verify.py finds in the file."""
        self.process.signal("TERM")
        self.process.wait(timeout_s=ENDING_TIMEOUT_S)
        summary = json.loads(self.process.output().splitlines()[-1])
        checked = self.lab.hosts["client"].run(
            f"python3 {FOLDER}/verify.py {self.file} {self.log}", timeout_s=60, check=False
        )
        return {**summary, **json.loads(checked.stdout)}


def mount_client(lab: Lab, volume: str, address: str | None = None) -> None:
    """The client mounts the volume by its service address, as /etc/fstab would.

    address: another than the volume's own, for a server that is not the agent's.
    """
    client = lab.hosts["client"]
    target = f"/mnt/{volume}"
    client.run(f"mkdir -p {target}", timeout_s=30)
    client.run(
        f"mountpoint -q {target} || "
        f"mount -t nfs4 -o vers=4.2,hard {address or ADDRESSES[volume]}:/srv/{volume} {target}",
        timeout_s=MOUNT_TIMEOUT_S,
    )


def start_writer(lab: Lab, volume: str = "data", *, address: str | None = None) -> Writer:
    """Mounts if need be, opens, locks, writes; returns after the first acknowledged records. The
    log of an earlier writer is gone on with: what that was told is still to be there."""
    client = lab.hosts["client"]
    mount_client(lab, volume, address)
    client.run(f"mkdir -p {FOLDER}", timeout_s=30)
    for name in ("lockwriter.py", "verify.py"):
        client.write_file(f"{FOLDER}/{name}", (PROGRAMS / name).read_text())
    client.run(f"touch /root/{volume}.log", timeout_s=30)
    command = f"exec python3 {FOLDER}/lockwriter.py /mnt/{volume}/records /root/{volume}.log"
    writer = Writer(lab, volume, client.spawn(f"{command} --interval 0.02"))
    writer.wait_for_more(5, timeout_s=60)
    return writer


def assert_nothing_lost(result: dict[str, Any]) -> None:
    """No record, no lock, no error; and there was something to lose."""
    assert result["acknowledged"] > 10, result
    assert result["errors"] == [], result
    assert result["lock_lost"] is False, result
    assert (result["lost"], result["damaged"], result["doubled"]) == (0, 0, 0), result


def client_kernel_messages(lab: Lab) -> str:
    return lab.hosts["client"].run("dmesg", timeout_s=30).stdout
