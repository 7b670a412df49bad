"""One host of a bare DRBD pair. Runs in the guest for tests/lab/bare_pair.py: each line of stdin is
a verb with its arguments, each answer a line of JSON.

The backing disk is /dev/mapper/copy (which can be slow) on /dev/mapper/platter (which can fail).
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import re
import shlex
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path("/root/drbd-pair")
STOPPING, HOLDING = FOLDER / "stopping", FOLDER / "holding"
HELPER = Path("/sys/module/drbd/parameters/usermode_helper")
HOST = socket.gethostname()
PART = f"/dev/disk/by-id/virtio-{HOST}-3"
PLATTER, COPY = "/dev/mapper/platter", "/dev/mapper/copy"
SECTORS = 16 << 11
QUICK = f"0 {SECTORS} linear {PLATTER} 0"
# All that courses write is here; DRBD's metadata is far behind, and never slow.
SLOW_SECTORS = 1024
UNDER_WAY_S = 0.5
LATE_S = 8
# The superblock, the activity log and the bitmap.
METADATA_BYTES = 128 << 10
SUPERBLOCK_BYTES = BLOCK_BYTES = 4096
CONTENT_BYTES = 64 << 10
PORT = 7790
LINK = "eth1"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
ADDRESSES = {"alpha": f"ipv4:10.8.0.1:{PORT}", "beta": f"ipv4:10.8.0.2:{PORT}"}
PEER = next(address for host, address in ADDRESSES.items() if host != HOST)
# The program for driver 8.4 itself: every other one that is started is felt here.
DRBDSETUP = "/lib/drbd/drbdsetup-84"
STOP_ATTEMPTS = 10


def run(*argv: str, given: str | None = None, check: bool = False) -> str:
    ended = subprocess.run(
        argv, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if check and ended.returncode:
        raise OSError(f"{' '.join(argv)}: {ended.stdout.strip()}")
    return ended.stdout


def transfer(path: str, offset: int, size: int, content: bytes = b"") -> bytes:
    """Reads, or writes, past the page cache. Empty where the disk fails."""
    file = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        with mmap.mmap(-1, size) as buffer:
            if content:
                buffer[: len(content)] = content
                os.pwritev(file, [buffer], offset)
            else:
                os.preadv(file, [buffer], offset)
            return buffer[:]
    except OSError:
        return b""
    finally:
        os.close(file)


class PairHost:
    """One method a verb."""

    def __init__(self) -> None:
        self.mapped: dict[str, str] = {}
        self.is_deaf = self.is_late = False
        self.options: dict[str, list[str]] = {}
        self.command: subprocess.Popen[str] | None = None
        self.writes: dict[str, subprocess.Popen[bytes]] = {}
        self.opener: subprocess.Popen[bytes] | None = None

    # --- between courses ------------------------------------------------------------------------

    def prepare(self) -> None:
        """Once after each boot."""
        run("modprobe", "-a", "drbd", "dm-delay", "sch_netem", check=True)
        # Not by way of drbdadm: it takes a second here to find the handler in its configuration.
        HELPER.write_text(str(FOLDER / "fence-peer"))
        for name, below in (("platter", PART), ("copy", PLATTER)):
            self.mapped[name] = f"0 {SECTORS} linear {below} 0"
            run("dmsetup", "create", name, given=self.mapped[name], check=True)
        # Its rules would look into every new mapping: seconds of work in an emulated host.
        run("udevadm", "settle", check=True)
        run("udevadm", "control", "--stop-exec-queue", check=True)
        # What drbdadm gives to drbdsetup, which is called without it for the same reason.
        for line in run("drbdadm", "-d", "up", "pair", check=True).splitlines():
            words = shlex.split(line)
            self.options[words[1]] = [word for word in words if word.startswith("--")]

    def create(self) -> None:
        run("drbdadm", "create-md", "pair", "--force", given="yes\nyes\n", check=True)
        self.up()

    def equal(self) -> None:
        """Both copies are called the same: no first sync."""
        run("drbdadm", "--", "--clear-bitmap", "new-current-uuid", "pair", check=True)

    def keep(self) -> None:
        """What every course starts from."""
        run(DRBDSETUP, "down", "pair", check=True)
        found = transfer(COPY, SECTORS * 512 - METADATA_BYTES, METADATA_BYTES)
        (FOLDER / "metadata").write_bytes(found)

    def start(self, fencing: str) -> None:
        """After both have stopped: what is left of one course would get into the next."""
        self.speak()
        self.mend()
        self.repair()
        self.take_first_disk()
        kept_options = [o for o in self.options["attach"] if not o.startswith("--fencing")]
        self.options["attach"] = [*kept_options, f"--fencing={fencing}"]
        self.up()

    def take_first_disk(self) -> None:
        """Empty, and of the generation that every course starts from."""
        kept = (FOLDER / "metadata").read_bytes()
        transfer(COPY, SECTORS * 512 - METADATA_BYTES, METADATA_BYTES, kept)
        transfer(COPY, 0, CONTENT_BYTES, bytes(CONTENT_BYTES))

    def stop(self) -> None:
        """Ends DRBD in whatever state it is. Its disk stays as it is at this moment."""
        # Until the next `up` no fence-peer handler waits.
        STOPPING.touch()
        HOLDING.unlink(missing_ok=True)
        if self.mapped["copy"] != QUICK:
            self.break_()
            self.let_go()
        for _ in range(STOP_ATTEMPTS):
            if self.opener:
                self.close()
            if "ro:Primary" in proc_drbd():
                self.break_()
                # Each waits for another in one state or the other.
                self._begin(DRBDSETUP, "disconnect", ADDRESSES[HOST], PEER, "--force")
                self._begin(DRBDSETUP, "detach", "0", "--force")
                run(DRBDSETUP, "resume-io", "0")
            run(DRBDSETUP, "down", "pair")
            if not proc_drbd():
                break
        else:
            raise OSError(f"it does not go down: {proc_drbd()}")
        self.command, self.writes = None, {}

    # --- what a course does ---------------------------------------------------------------------

    def crash(self) -> None:
        """The disk and the link stop at one moment; what is left of DRBD is taken down."""
        take_link(up=False)
        self.break_()
        self.stop()
        self.repair()
        self.speak()

    def _begin(self, *argv: str) -> None:
        self.command = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def primary(self) -> None:
        self._begin(DRBDSETUP, "primary", "0")

    def secondary(self) -> None:
        self._begin(DRBDSETUP, "secondary", "0")

    def disconnect(self) -> None:
        self._begin(DRBDSETUP, "disconnect", ADDRESSES[HOST], PEER)

    def down(self) -> None:
        self._begin(DRBDSETUP, "down", "pair")

    def connect(self) -> None:
        options = self.options["connect"]
        self._begin(DRBDSETUP, "connect", "pair", ADDRESSES[HOST], PEER, *options)

    def attach(self) -> None:
        """As drbdadm attach does it."""
        run("drbdmeta", "0", "v08", COPY, "internal", "apply-al", check=True)
        self._begin(DRBDSETUP, "attach", "0", COPY, COPY, "internal", *self.options["attach"])

    def up(self) -> None:
        """As drbdadm up does it."""
        STOPPING.unlink(missing_ok=True)
        run(DRBDSETUP, "new-resource", "pair", check=True)
        run(DRBDSETUP, "new-minor", "pair", "0", "0", check=True)
        self.attach()
        assert self.command
        self.command.wait()
        self.connect()

    def write(self, number: str, name: str) -> None:
        argv = ("dd", "of=/dev/drbd0", f"bs={BLOCK_BYTES}", f"seek={number}")
        process = subprocess.Popen(
            (*argv, "conv=sync,notrunc", "oflag=direct"),
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin
        process.stdin.write(name.encode())
        process.stdin.close()
        self.writes[name] = process

    def open(self) -> None:
        with Path("/dev/drbd0").open("rb") as device:
            self.opener = subprocess.Popen(("sleep", "100000"), stdin=device)

    def close(self) -> None:
        assert self.opener
        self.opener.kill()
        self.opener.wait()
        self.opener = None

    def say(self, status: str) -> None:
        """Until one of the handlers has heard it."""
        waiting = set(FOLDER.glob("asks.*"))
        (FOLDER / "say.new").write_text(status + "\n")
        (FOLDER / "say.new").rename(FOLDER / "say")
        for _ in range(100):
            if not waiting <= set(FOLDER.glob("asks.*")):
                return
            time.sleep(0.05)
        raise OSError("no fence-peer handler waits")

    # --- disk and link --------------------------------------------------------------------------

    def fail(self) -> None:
        """DRBD notices at once: by what the disk still holds, which may not be taken from under it
        (the kernel crashes), else by being told."""
        self.break_()
        if self.mapped["copy"] != QUICK:
            self.let_go()
        run(DRBDSETUP, "detach", "0", "--force")

    def break_(self) -> None:
        self._map("platter", f"0 {SECTORS} error")

    def repair(self) -> None:
        self._map("platter", f"0 {SECTORS} linear {PART} 0")

    def hold_writes(self) -> None:
        self._slow(write_ms=600_000)

    def hold_reads(self) -> None:
        self._slow(read_ms=600_000)

    def hold_flushes(self) -> None:
        self._slow(flush_ms=600_000)

    def _slow(self, *, read_ms: int = 0, write_ms: int = 0, flush_ms: int = 0) -> None:
        """dm-delay: reads, writes and flushes, each with a delay of its own."""
        delays = f"{PLATTER} 0 {read_ms} {PLATTER} 0 {write_ms} {PLATTER} 0 {flush_ms}"
        rest = f"{SLOW_SECTORS} {SECTORS - SLOW_SECTORS} linear {PLATTER} {SLOW_SECTORS}"
        self._map("copy", f"0 {SLOW_SECTORS} delay {delays}\n{rest}\n")

    def hold_resync(self) -> None:
        """Both have exchanged bitmaps; this host, the source, does not begin."""
        HOLDING.touch()

    def let_go(self) -> None:
        """What was held goes on its way first."""
        HOLDING.unlink(missing_ok=True)
        self._map("copy", QUICK)

    def _map(self, name: str, text: str) -> None:
        """Another mapping at once: what is under way is not waited for."""
        if self.mapped[name] != text:
            run("dmsetup", "load", name, given=text, check=True)
            run("dmsetup", "resume", "--noflush", "--noudevsync", name, check=True)
            self.mapped[name] = text

    def cut(self) -> None:
        """Noticed at once."""
        take_link(up=False)
        self.break_connections()

    def break_connections(self) -> None:
        run("ss", "-K", f"( sport = :{PORT} or dport = :{PORT} )")

    def cut_one_way(self) -> None:
        """Nothing goes out. Noticed when a ping is not answered."""
        chain = "inet cut output"
        rules = [f"add rule {chain} tcp {end} {PORT} drop" for end in ("sport", "dport")]
        hook = f"add chain {chain} {{ type filter hook output priority 0; }}"
        run("nft", "-f", "-", given="\n".join(("add table inet cut", hook, *rules)), check=True)
        self.is_deaf = True

    def speak_late(self) -> None:
        """What this host sends from now on arrives seconds later. Not what is under way."""
        time.sleep(UNDER_WAY_S)
        delay = ("netem", "delay", f"{LATE_S}s", "limit", "10000")
        run("tc", "qdisc", "add", "dev", LINK, "root", *delay, check=True)
        self.is_late = True

    def catch_up(self) -> None:
        """It will have arrived, by and by."""

    def speak(self) -> None:
        """In time again; what was still on its way is lost, and TCP repeats it."""
        if self.is_late:
            run("tc", "qdisc", "del", "dev", LINK, "root", check=True)
        self.is_late = False

    def wait_long(self) -> None:
        """For the answer to a ping."""
        options = ("--ping-timeout=300",)
        run(DRBDSETUP, "net-options", ADDRESSES[HOST], PEER, *options, check=True)

    def mend(self) -> None:
        take_link(up=True)
        if self.is_deaf:
            run("nft", "delete", "table", "inet", "cut", check=True)
        self.is_deaf = False

    # --- what is seen ---------------------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        """proc: what /proc/drbd says of the device.  superblock, blocks: what is on the disk.
        command: exit status (None: it runs) and what was said.  writes: exit statuses."""
        seen = proc_drbd()
        command = None
        if self.command:
            status = self.command.poll()
            assert self.command.stdout
            command = [status, "" if status is None else self.command.stdout.read()]
            self.command = None if status is not None else self.command
        writes = {name: process.poll() for name, process in self.writes.items()}
        self.writes = {n: p for n, p in self.writes.items() if writes[n] is None}
        is_attached = bool(seen) and "ds:Diskless" not in seen
        return {
            "proc": seen,
            "superblock": superblock() if is_attached else None,
            "blocks": transfer(PART, 0, CONTENT_BYTES).replace(b"\0", b" ").decode().split(),
            "command": command,
            "writes": writes,
            "asks": len(list(FOLDER.glob("asks.*"))),
        }


def proc_drbd() -> str:
    """Empty where the device is not configured."""
    text = Path("/proc/drbd").read_text()
    found = re.search(r"^ *0: cs:(?!Unconfigured).*\n.*", text, re.MULTILINE)
    return found.group() if found else ""


def superblock() -> tuple[list[int], int]:
    """drbd_main.c struct meta_data_on_disk: the identifiers and the flags."""
    found = transfer(PART, SECTORS * 512 - SUPERBLOCK_BYTES, SUPERBLOCK_BYTES)
    _, *identifiers, _, _, flags = struct.unpack_from(">7QI", found)
    return identifiers[:4], flags


def take_link(*, up: bool) -> None:
    """The replication's interface, by netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = LINK.encode()
        asked = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sH14x", name, 0))
        flags = struct.unpack("16sH14x", asked)[1]
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", name, flags))


def main() -> None:
    host = PairHost()
    for line in sys.stdin:
        verb, *arguments = line.split()
        try:
            answer = getattr(host, verb)(*arguments)
        except (OSError, AssertionError) as exc:
            answer = {"error": f"{verb}: {exc!r}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
