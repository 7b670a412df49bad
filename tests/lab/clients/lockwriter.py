"""Holds a POSIX lock on a file and appends fsynced, checksummed records to it, as an NFS client's
application would. Runs in a guest with plain python3, one file, nothing else needed.

    python3 lockwriter.py FILE LOG [--interval S] [--seconds S]

Each acknowledged record (fsync has returned) becomes a line `NUMBER MONOTONIC_S` of LOG, on the
client's own disk. SIGTERM, SIGINT or the end of --seconds: one line of JSON on stdout

    {"run", "acknowledged", "longest_gap_s", "longest_gap_at", "median_s", "errors",
     "lock_lost", "seconds"}

A gap is the time between two acknowledgements (or from the last one to the end). lock_lost: the
kernel gave an I/O error, which is how Linux reports a lost NFS lock, or /proc/locks no longer
shows it. Exit status 0 also then: the summary is the result. SIGUSR1 prints a summary so far.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import signal
import statistics
import sys
import time
import zlib

RECORD_BYTES = 64


def render_record(run: str, number: int) -> bytes:
    """`RUN NUMBER TIME padding CRC\\n`, always 64 bytes."""
    body = f"{run} {number:012d} {time.time():017.6f} ".encode().ljust(RECORD_BYTES - 9, b".")
    return body + f"{zlib.crc32(body):08x}\n".encode()


class Writer:
    """One run over one file."""

    def __init__(self, path: str, log_path: str) -> None:
        self.run = f"{os.getpid():08d}{int(time.time()):010d}"
        self.errors: list[str] = []
        self.lock_lost = False
        self.acknowledged = 0
        self.gaps: list[float] = []
        self.longest_gap_at = 0
        self._path = path
        self._log = open(log_path, "a", buffering=1)  # noqa: SIM115
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._inode = os.fstat(self._file).st_ino
        self._begin_s = self._last_s = time.monotonic()

    def write_one(self) -> None:
        """Raises OSError."""
        record = render_record(self.run, self.acknowledged + 1)
        written = os.write(self._file, record)
        if written != len(record):
            raise OSError(errno.EIO, f"short write of {written} bytes")
        os.fsync(self._file)
        now_s = time.monotonic()
        self.acknowledged += 1
        self.gaps.append(now_s - self._last_s)
        if self.gaps[-1] >= max(self.gaps):
            self.longest_gap_at = self.acknowledged
        self._last_s = now_s
        self._log.write(f"{self.run} {self.acknowledged} {now_s:.6f}\n")

    def note_error(self, exc: OSError) -> None:
        name = errno.errorcode.get(exc.errno or 0, str(exc.errno))
        self.errors.append(f"after {self.acknowledged}: {name} {exc.strerror}")
        if exc.errno in (errno.EIO, errno.ENOLCK, errno.EBADF):
            self.lock_lost = True

    def check_lock(self) -> None:
        """/proc/locks shows what this kernel believes to hold."""
        suffix = f":{self._inode}"
        with open("/proc/locks") as locks:
            held = any(
                len(fields) > 5 and fields[4] == str(os.getpid()) and fields[5].endswith(suffix)
                for fields in map(str.split, locks)
            )
        if not held:
            self.lock_lost = True

    def summary(self) -> str:
        now_s = time.monotonic()
        gaps = [*self.gaps, now_s - self._last_s]
        return json.dumps(
            {
                "run": self.run,
                "acknowledged": self.acknowledged,
                "longest_gap_s": round(max(gaps), 3),
                "longest_gap_at": self.longest_gap_at,
                "median_s": round(statistics.median(gaps), 4),
                "errors": self.errors,
                "lock_lost": self.lock_lost,
                "seconds": round(now_s - self._begin_s, 3),
            }
        )


class Ended(BaseException):
    """A signal came; also out of a write that waits for the server."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("log")
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between records")
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until a signal")
    options = parser.parse_args()

    writer = Writer(options.file, options.log)

    def end(*_: object) -> None:
        raise Ended

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGUSR1, lambda *_: print(writer.summary(), flush=True))
    print(json.dumps({"started": writer.run, "pid": os.getpid()}), flush=True)
    end_s = time.monotonic() + options.seconds if options.seconds else float("inf")
    try:
        while time.monotonic() < end_s:
            try:
                writer.write_one()
            except OSError as exc:
                writer.note_error(exc)
                time.sleep(0.2)
                if len(writer.errors) >= 20:
                    break
            if options.interval:
                time.sleep(options.interval)
    except Ended:
        pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    writer.check_lock()
    print(writer.summary(), flush=True)
    sys.stdout.flush()
    # Not through close(): after a lost server it could wait.
    os._exit(0)


if __name__ == "__main__":
    main()
