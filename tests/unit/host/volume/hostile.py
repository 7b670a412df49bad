"""Random trees in the place of the agent's folder, as hostile users make them: for fuzz.py."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from storage_agent.host.volume.marker import SLOT_BYTES
from storage_agent.model.operation import Marker
from storage_agent.model.wire import to_wire

OWN = ".storage-agent"
DATABASE = "main.sqlite"
NAMES = ("marker", "nfs", "canary", "clients", "nfsdcld", "connections", DATABASE,
         f"{DATABASE}-journal", f"{DATABASE}-wal", f"{DATABASE}-shm", "probe", "x",
         "new\nline", "-rf", "\x1b[2J", "a" * 255, "\udcff\udcfe")  # fmt: skip
# Where each of the agent's own names lies; the others lie anywhere.
PLACES = ("marker", "nfs", "canary", "clients", "nfs/nfsdcld", "nfs/connections",
          *(f"nfs/nfsdcld/{DATABASE}{end}" for end in ("", "-journal", "-wal", "-shm")),
          "canary/probe")  # fmt: skip
USERS, OUTSIDE = "users", "outside"
VAST_BYTES = 4 << 40


@dataclass(slots=True)
class Hostile:
    """root: of the volume.  outside: a folder elsewhere, which nobody is to reach."""

    random: Random
    root: str
    outside: str
    made: Counter[str]

    def plant(self) -> None:
        """Users' own data, some of it root's, that is not the agent's to touch."""
        for where in (f"{self.root}/{USERS}", self.outside):
            os.makedirs(f"{where}/folder", 0o755)
            for name in ("private", "folder/private"):
                with open(f"{where}/{name}", "wb") as file:
                    file.write(slot(10**9, 1) * 2)
                os.chmod(f"{where}/{name}", 0o600)

    def build(self) -> None:
        """All of a tree. Some look like the agent's own almost everywhere."""
        random = self.random
        honest = random.random() < 0.6
        self.make(f"{self.root}/{OWN}", honest=random.random() < 0.85)
        for place in PLACES:
            if random.random() < (0.9 if honest else 0.5):
                self.make(f"{self.root}/{OWN}/{place}", honest=random.random() < 0.75)
        for _ in range(random.randrange(6)):
            parent = random.choice(("", "nfs/", "nfs/nfsdcld/", "canary/", "clients/"))
            self.make(f"{self.root}/{OWN}/{parent}{random.choice(NAMES)}", honest=False)
        if random.random() < 0.02:
            self._many()

    def disturb(self) -> None:
        """While it is held: moved, removed, replaced."""
        random, own = self.random, f"{self.root}/{OWN}"
        place = f"{own}/{random.choice(('', '', *PLACES))}".rstrip("/")
        target = f"{self.root}/{random.choice(('.was', 'users/folder/x', OWN + '/clients/y'))}"
        self.made["disturbed"] += 1
        with contextlib.suppress(OSError):
            self._require_own(place)
            self._require_own(target)
            if random.random() < 0.7:
                os.rename(place, target)
            elif os.path.isdir(place) and not os.path.islink(place):
                os.rmdir(place)
            else:
                os.unlink(place)
        if random.random() < 0.6:
            self.make(place, honest=False)

    def make(self, path: str, *, honest: bool) -> None:
        """honest: what the agent itself would have there, with anything in it."""
        name = os.path.basename(path)
        is_file = name in ("marker", "connections", "probe") or name.startswith(DATABASE)
        kinds: tuple[Callable[[str], None], ...]
        kinds = (self._file if is_file else self._folder,)
        if not honest:
            kinds = (self._link, self._link, self._link, self._hard_link, self._fifo, self._device,
                     self._socket, self._folder, self._file, self._vast, self._users)  # fmt: skip
        kind = self.random.choice(kinds)
        with contextlib.suppress(OSError):
            self._require_own(path)
            kind(path)
            self.made[kind.__name__.strip("_")] += 1

    def _require_own(self, path: str) -> None:
        """This one follows no link that it has made: nothing but the door is tried here."""
        parent = os.path.dirname(path)
        if os.path.realpath(parent) != parent:
            raise NotADirectoryError(parent)

    def _folder(self, path: str) -> None:
        os.mkdir(path)
        os.chmod(path, self.random.choice((0o700, 0o711, 0o755, 0o1733, 0o777, 0)))

    def _users(self, path: str) -> None:
        os.mkdir(path, 0o777)
        os.chown(path, 1000, 1000)

    def _file(self, path: str) -> None:
        with open(path, "xb") as file:
            file.write(content(self.random))
        os.chmod(path, self.random.choice((0o600, 0o600, 0o600, 0o644, 0o666)))
        if self.random.random() < 0.1:
            os.chown(path, 1000, 1000)

    def _vast(self, path: str) -> None:
        self._file(path)
        os.truncate(path, VAST_BYTES)

    def _link(self, path: str) -> None:
        inside = f"{self.root}/{USERS}"
        targets = (self.outside, f"{self.outside}/private", f"{self.outside}/folder", inside,
                   f"{inside}/private", f"{inside}/folder", os.path.basename(path), ".", "..",
                   "../..", f"../{USERS}/folder", f"../../{USERS}/folder", f"../{USERS}/private",
                   f"../../{USERS}/private", f"../../../{USERS}/private", "/proc/self/root",
                   "/proc/self/cwd", f"{USERS}/folder", f"{USERS}/folder", USERS,
                   f"{USERS}/private", "clients", "../clients", "marker")  # fmt: skip
        os.symlink(self.random.choice(targets), path)

    def _hard_link(self, path: str) -> None:
        os.link(f"{self.root}/{USERS}/{self.random.choice(('linked', 'linked2'))}", path)

    def _fifo(self, path: str) -> None:
        os.mkfifo(path)

    def _socket(self, path: str) -> None:
        os.mknod(path, 0o600 | stat.S_IFSOCK)

    def _device(self, path: str) -> None:
        """/dev/zero."""
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))

    def _many(self) -> None:
        """A thousandth of a million entries."""
        folder = self.random.choice(("", "nfs", "nfs/nfsdcld", "clients"))
        with contextlib.suppress(OSError):
            self._require_own(f"{self.root}/{OWN}/{folder or '.'}/x".replace("/./", "/"))
            for number in range(1000):
                os.mknod(f"{self.root}/{OWN}/{folder}/{number}", 0o600 | stat.S_IFREG)
            self.made["many"] += 1


def slot(epoch: int, counter: int, **more: object) -> bytes:
    marker = Marker(
        epoch=epoch, counter=counter, operation_id="x", host="x", boot_id="x", wall_s=0.0
    )
    body = json.dumps({**to_wire(marker), **more}).encode()
    return (body + b"\n%08x\n" % zlib.crc32(body)).ljust(SLOT_BYTES, b"\0")[:SLOT_BYTES]


def content(random: Random) -> bytes:
    """Of any of the agent's files."""
    numbers = (0, 1, 7, 10**9, -1, 2**53, 2**64, 10**30)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: random.randbytes(random.randrange(20_000)),
        lambda: slot(random.choice(numbers), random.choice(numbers)) * random.randrange(4),
        lambda: (
            slot(7, 3, wall_s=random.choice((float("nan"), 1e308, "x", None)))
            + slot(7, 4, host=random.choice(("\x1b[2J", "x" * 9999, 7, [])))
        ),
        lambda: b"[" * random.choice((10, 4000, 200_000)),
        lambda: json.dumps({"address": "10.9.0.10", "connections": _connections(random)}).encode(),
        lambda: b"SQLite format 3\0" + random.randbytes(random.randrange(9000)),
        lambda: _database(random),
    )
    return random.choice(kinds)()


def _connections(random: Random) -> object:
    entries: tuple[object, ...] = ("10.9.0.3:761", "1.2.3.4:99999", "999.1.1.1:80", 7, None, [], "",
                                   "224.0.0.1:80", "1.2.3.4:80\n", "١.1.1.1:1")  # fmt: skip
    return random.choice((7, None, "10.9.0.3:761", {}, random.choices(entries, k=20)))


_DATABASES: list[bytes] = []
_SCRIPTS = (
    "CREATE TABLE grace (current, recovery); INSERT INTO grace VALUES (3, 2);"
    'CREATE TABLE "rec-0000000000000002" (id BLOB); CREATE TABLE "rec-0000000000000003" (id BLOB);'
    "INSERT INTO \"rec-0000000000000002\" VALUES (1000000000000), (x'00ff'), (NULL), (1.5)",
    "CREATE TABLE grace (current, recovery); INSERT INTO grace VALUES ('a', NULL)",
    "CREATE TABLE grace (current, recovery)",
    "CREATE VIEW grace AS SELECT zeroblob(999999999) AS current, 1e300 AS recovery",
    "CREATE TABLE other (a)",
)


def _database(random: Random) -> bytes:
    """A true one, forged; sometimes with a few bytes of it changed."""
    if not _DATABASES:
        for script in _SCRIPTS:
            with contextlib.closing(sqlite3.connect(":memory:")) as database:
                database.executescript(script)
                _DATABASES.append(database.serialize())
    found = bytearray(random.choice(_DATABASES))
    for _ in range(random.choice((0, 0, 1, 8))):
        found[random.randrange(len(found))] = random.randrange(256)
    return bytes(found)
