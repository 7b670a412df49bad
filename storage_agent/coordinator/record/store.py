"""The durable record: SQLite, synced to disk before any answer, one writer at a time. Who only
reads waits for no writer but in the moment of its commit.

A record that was put back from a backup has forgotten grants. Two things show it: an agent with a
newer epoch, and the number of the last change, kept apart in /run. After a reboot of the control
machine that number is gone, and nothing is granted until both agents have accepted a new epoch.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage_agent.coordinator.deciding.arbiter import Decision, State
from storage_agent.model.errors import AgentError, Busy, OutcomeUnknown
from storage_agent.model.wire import from_wire, to_wire

SCHEMA = 1
LOCK_TIMEOUT_S = 10.0
LOCK_POLL_S = 0.02
# Of each volume, the newest.
GRANTS_KEPT = 1000
RUN_FOLDER = Path("/run/storage-coordinator")
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE volumes (volume TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE grants (volume TEXT NOT NULL, epoch INTEGER NOT NULL, kind TEXT NOT NULL,
    host TEXT NOT NULL, operation_id TEXT NOT NULL, incident TEXT NOT NULL,
    unix_s INTEGER NOT NULL, PRIMARY KEY (volume, epoch));
INSERT INTO meta VALUES ('schema', 1), ('changes', 0);
"""


class RecordBusy(Busy):
    """Another process holds the record; no host has a part in it."""

    default_code = "STORE_BUSY"


class RecordFailed(OutcomeUnknown):
    """The record cannot be used; no host has a part in it."""

    default_code = "STORE_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """What lies in /run: the number of the last change, and the volumes that it vouches for."""

    changes: int
    volumes: tuple[str, ...]


class Store:
    """Several processes may use one: the service and commands. Each method is one transaction.

    run_folder: must be empty after a boot.
    """

    def __init__(self, folder: Path, run_folder: Path = RUN_FOLDER) -> None:
        self._path = folder / "coordinator.sqlite"
        self._continuity = run_folder / "changes"
        with self._reading() as db:
            is_new = not _has_tables(db)
        if is_new:
            self._create()
        with self._reading() as db:
            schema = _number(db, "schema")
        if schema != SCHEMA:
            raise AgentError(
                f"{self._path} has the form {schema}, this program knows {SCHEMA}",
                remedy="install the newer version again",
                code="STORE_SCHEMA",
            )

    def _create(self) -> None:
        with self._writing() as db:
            # Another process may have been first.
            if not _has_tables(db):
                for statement in _TABLES.split(";"):
                    db.execute(statement)

    def get(self, volume: str) -> State | None:
        """None for a volume that was never adopted."""
        with self._reading() as db:
            return _state(db, volume)

    def decide(
        self, volume: str, rule: Callable[[State | None], Decision], unix_s: int
    ) -> Decision:
        """Applies a rule to the stored state. What it decides is on disk on return."""
        with self._writing() as db:
            before = _state(db, volume)
            decision = rule(before)
            if decision.state == before:
                return decision
            changes = _put(db, volume, decision, unix_s, before)
        self._note(changes)
        return decision

    def change(self, volume: str, rule: Callable[[State], State]) -> State | None:
        """As `decide`, for what grants nothing. None where the volume is unknown."""
        with self._writing() as db:
            before = _state(db, volume)
            if before is None:
                return None
            after = rule(before)
            if after == before:
                return after
            changes = _put(db, volume, Decision(state=after), 0, before)
        self._note(changes)
        return after

    def grants(self, volume: str, limit: int = 20) -> list[tuple[int, str, str, int]]:
        """Epoch, kind, host, time: newest first."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT epoch, kind, host, unix_s FROM grants WHERE volume = ? "
                "ORDER BY epoch DESC LIMIT ?",
                (volume, limit),
            )
            return [(int(e), str(k), str(h), int(s)) for e, k, h, s in rows]

    def epochs(self, volume: str) -> list[int]:
        """All that are remembered as given."""
        with self._reading() as db:
            rows = db.execute("SELECT epoch FROM grants WHERE volume = ?", (volume,))
            return [int(epoch) for (epoch,) in rows]

    def is_proven(self, volume: str) -> bool:
        """Whether what is recorded of it is the newest: vouched for on this boot, and no change
        was lost since."""
        with self._reading():
            noted = self._noted()
        return noted is not None and volume in noted.volumes

    def vouch(self, volumes: Iterable[str]) -> None:
        """After all that may have been forgotten of them was made invalid (the agents accepted a
        new epoch), or a person said that nothing was."""
        with self._writing() as db:
            changes = _number(db, "changes")
        self._note(changes, frozenset(volumes))

    # --- inside ---------------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """One moment of the record. Raises as `_transaction`."""
        return self._transaction("BEGIN")

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """Nobody else writes meanwhile. Raises as `_transaction`."""
        return self._transaction("BEGIN IMMEDIATE")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        """Raises RecordBusy, RecordFailed: nothing was recorded then."""
        try:
            db = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
        except sqlite3.Error as exc:
            raise self._failed(exc) from exc
        try:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("PRAGMA synchronous = EXTRA")
            db.execute(begin)
            self._forget_if_older(db)
            yield db
            db.execute("COMMIT")
        except sqlite3.OperationalError as exc:
            if "locked" in str(exc):
                raise RecordBusy(
                    f"{self._path}: another process holds the record for more than "
                    f"{LOCK_TIMEOUT_S:g} s",
                    remedy=f"see who: fuser -v {self._path}",
                ) from exc
            raise self._failed(exc) from exc
        except (sqlite3.Error, OSError) as exc:
            raise self._failed(exc) from exc
        finally:
            # What was not committed is rolled back.
            db.close()

    def _failed(self, exc: Exception) -> AgentError:
        folder = self._path.parent
        remedy = f"look at its disk: df {folder}; journalctl -k; nothing is granted without it"
        if type(exc) is sqlite3.DatabaseError:
            remedy = _begin_anew(self._path)
        elif not os.access(folder, os.W_OK):
            remedy = "run it as root (sudo)"
        return RecordFailed(f"{self._path}: {exc}", remedy=remedy)

    def _forget_if_older(self, db: sqlite3.Connection) -> None:
        """While the record is read nothing is committed, and what was committed before may not be
        noted yet: more noted means that changes are missing here. It stays so, however many are
        made from now on."""
        # The record first: from here on it stands still.
        changes = _number(db, "changes") if _has_tables(db) else -1
        if not self._is_beyond(changes):
            return
        with self._noting():
            # Somebody may have vouched for it a moment ago.
            if self._is_beyond(changes):
                self._continuity.unlink(missing_ok=True)

    def _is_beyond(self, changes: int) -> bool:
        noted = self._noted()
        return noted is not None and noted.changes > changes

    def _noted(self) -> _Noted | None:
        try:
            return from_wire(_Noted, json.loads(self._continuity.read_text()))
        except (OSError, ValueError):
            return None

    def _note(self, changes: int, vouched: frozenset[str] = frozenset()) -> None:
        """The number only grows. Without anything vouched for there is nothing to note. Raises
        RecordFailed: the change is recorded, and is not vouched for."""
        try:
            with self._noting():
                noted = self._noted() or _Noted(changes=0, volumes=())
                if not (vouched or noted.volumes):
                    return
                volumes = tuple(sorted(vouched | set(noted.volumes)))
                fresh = self._continuity.with_suffix(".new")
                newest = _Noted(changes=max(changes, noted.changes), volumes=volumes)
                fresh.write_text(json.dumps(to_wire(newest)))
                os.replace(fresh, self._continuity)
        except OSError as exc:
            raise RecordFailed(
                f"{self._continuity}: {exc.strerror}: the change is recorded, and nothing shows "
                "that it is the newest",
                remedy=f"as root: df {self._continuity.parent}; then the same command again",
            ) from exc

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Raises OSError, TimeoutError where another process (stopped, say) holds it so long."""
        self._continuity.parent.mkdir(mode=0o700, exist_ok=True)
        with (self._continuity.parent / "lock").open("a") as lock:
            until_s = time.monotonic() + LOCK_TIMEOUT_S
            while not _try_lock(lock.fileno()):
                if time.monotonic() >= until_s:
                    raise TimeoutError(errno.ETIMEDOUT, f"{lock.name} is held by another process")
                time.sleep(LOCK_POLL_S)
            yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _put(
    db: sqlite3.Connection,
    volume: str,
    decision: Decision,
    unix_s: int,
    before: State | None,
) -> int:
    state = decision.state
    db.execute("INSERT OR REPLACE INTO volumes VALUES (?, ?)", (volume, json.dumps(to_wire(state))))
    grant = decision.grant
    if grant is not None and (before is None or before.grant != grant):
        # The primary key holds the promise: an epoch is given once.
        db.execute(
            "INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                volume,
                grant.epoch,
                str(grant.kind),
                grant.host,
                grant.operation_id,
                grant.incident,
                unix_s,
            ),
        )
        # Epochs only grow, so what is older is never given again.
        db.execute(
            "DELETE FROM grants WHERE volume = ? AND epoch < (SELECT epoch FROM grants "
            "WHERE volume = ? ORDER BY epoch DESC LIMIT 1 OFFSET ?)",
            (volume, volume, GRANTS_KEPT - 1),
        )
    db.execute("UPDATE meta SET value = value + 1 WHERE key = 'changes'")
    return _number(db, "changes")


def _has_tables(db: sqlite3.Connection) -> bool:
    return bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _number(db: sqlite3.Connection, key: str) -> int:
    """Raises sqlite3.DatabaseError where it is not there."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None or type(row[0]) is not int:
        raise sqlite3.DatabaseError(f"the number {key!r} is missing in it")
    return int(row[0])


def _begin_anew(path: Path) -> str:
    """Whoever may have written alone is asked of the hosts then."""
    return (
        f"keep it, and take the volumes over anew: mv {path} {path}.damaged; "
        "storage-coordinator adopt --all"
    )


def _state(db: sqlite3.Connection, volume: str) -> State | None:
    """Raises sqlite3.DatabaseError where the record of it is damaged."""
    row = db.execute("SELECT state FROM volumes WHERE volume = ?", (volume,)).fetchone()
    if row is None:
        return None
    try:
        return from_wire(State, json.loads(row[0]))
    except (TypeError, ValueError) as exc:
        raise sqlite3.DatabaseError(f"the record of {volume} is damaged: {exc}") from exc
