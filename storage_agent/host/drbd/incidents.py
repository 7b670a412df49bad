"""What libexec/fence-peer asks, and how it is answered: two folders in /run, which no restart
of the host outlives.

incidents/VOLUME: `incident BOOT-ID NONCE UNIX-TIME PID`, written by the handler.
answers/VOLUME: `continue|deny BOOT-ID NONCE EPOCH`, written here.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from storage_agent.model.errors import OperationFailed, ParseError
from storage_agent.model.incident import Incident, IncidentAnswer

FOLDER = Path("run/storage-agent")
HANDLER = "fence-peer"
LIMIT_BYTES = 512
_ID = r"[0-9A-Za-z-]{1,64}"
_INCIDENT = re.compile(rf"incident ({_ID}) ({_ID}) ([0-9]{{1,12}}) ([0-9]{{1,10}})\n")
_ANSWER = re.compile(rf"(continue|deny) ({_ID}) ({_ID}) ([0-9]{{1,18}})\n")


def read_incident(volume: str, root: Path = Path("/")) -> Incident | None:
    """The volume's newest incident that is answered or that somebody still waits for.

    Raises ParseError for a file that is not as the handler writes it, OSError.
    """
    text = _read(root / FOLDER / "incidents" / volume)
    if text is None:
        return None
    match = _INCIDENT.fullmatch(text)
    if match is None:
        raise ParseError(f"incidents/{volume}", "not as fence-peer writes it", text)
    boot_id, nonce, opened, pid = match.groups()
    answer, epoch = _read_answer(volume, boot_id, nonce, root)
    if answer is IncidentAnswer.NONE and not _waits(pid, root):
        # Killed: nobody would hear an answer. The kernel says that writes are frozen.
        return None
    return Incident(
        incident=nonce,
        volume=volume,
        resource=volume,
        boot_id=boot_id,
        opened_unix_s=int(opened),
        epoch=epoch,
        answer=answer,
    )


def write_answer(incident: Incident, root: Path = Path("/")) -> None:
    """Gives `incident.answer` with `incident.epoch` to the handler that waits. Atomic.

    Raises OperationFailed.
    """
    folder = root / FOLDER / "answers"
    beside = folder / f".{incident.volume}.new"
    line = f"{incident.answer} {incident.boot_id} {incident.incident} {incident.epoch}\n"
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # /run is memory: nothing to fsync.
        with os.fdopen(os.open(beside, flags, 0o600), "w") as file:
            file.write(line)
        beside.rename(folder / incident.volume)
    except OSError as exc:
        raise OperationFailed(f"{folder}: {exc.strerror}") from exc


def last_change_ns(root: Path = Path("/")) -> tuple[int, ...]:
    """Differs once an incident was opened, closed or answered: two stat(2)."""
    return tuple(_changed_ns(root / FOLDER / name) for name in ("incidents", "answers"))


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _read_answer(
    volume: str, boot_id: str, nonce: str, root: Path
) -> tuple[IncidentAnswer, int | None]:
    text = _read(root / FOLDER / "answers" / volume)
    match = _ANSWER.fullmatch(text or "")
    # An earlier incident's is none for this one.
    if match is None or match.group(2, 3) != (boot_id, nonce):
        return IncidentAnswer.NONE, None
    return IncidentAnswer(match[1]), int(match[4])


def _waits(pid: str, root: Path) -> bool:
    try:
        return (root / "proc" / pid / "comm").read_text().strip() == HANDLER
    except OSError:
        return False


def _read(path: Path) -> str | None:
    """None where it does not exist. Raises ParseError for what nobody but root may have put
    there, OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
            raise ParseError(str(path), "not a plain file that only root can write")
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ParseError(str(path), f"longer than {LIMIT_BYTES} bytes")
    return content.decode("utf-8", "replace")
