"""The lines in mdadm's configuration that make udev leave our arrays alone.

Without them `mdadm --incremental` (udev's 64-md-raid-assembly.rules) assembles what is plugged
in before anyone asks, and mdadm-last-resort@.timer starts it degraded after 30 s. Runs nothing.
"""

from __future__ import annotations

from pathlib import Path

from storage_agent.host.md.commands import require_uuid
from storage_agent.host.system.files import replace_file
from storage_agent.model.errors import OperationFailed

# Read beside mdadm.conf by Debian's mdadm 4.2; only names that end in `.conf` are.
IGNORE_CONFIGURATION = Path("etc/mdadm/mdadm.conf.d/storage-agent.conf")


def render_ignore_configuration(uuids: tuple[str, ...]) -> str:
    """mdadm.conf(5) lines that keep udev, mdadm-last-resort and `mdadm --assemble --scan` away
    from these arrays. The same UUIDs in any order give the same text."""
    lines = [
        "# Written by storage-agent: it assembles these arrays itself, only when complete.",
        "# By hand: mdadm --assemble --config=none --uuid=UUID /dev/md/NAME DISK...",
        *(f"ARRAY <ignore> UUID={require_uuid(uuid)}" for uuid in sorted(set(uuids))),
    ]
    return "\n".join(lines) + "\n"


def write_ignore_configuration(text: str, root: Path = Path("/")) -> bool:
    """Atomic and durable. False if the file said so already. Raises OperationFailed."""
    path = root / IGNORE_CONFIGURATION
    try:
        if path.exists() and path.read_text() == text:
            return False
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(path, text.encode(), mode=0o644)
    except OSError as exc:
        raise OperationFailed(
            f"{path}: {exc.strerror or exc}",
            remedy=f"ls -ld {path.parent}; df -h {path.parent}",
        ) from exc
    return True
