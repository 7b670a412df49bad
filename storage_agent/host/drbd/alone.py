"""Whether this host knows that it goes on without its peer. Starts no process and waits for nobody.

/proc/drbd of 8.4 (drbd_proc.c drbd_seq_show): ` 0: cs:WFConnection ro:Primary/Unknown
ds:UpToDate/Outdated C r-----`; the last word begins with `s` where the writes are frozen, and
StandAlone has no protocol letter. 9 shows no such line.
"""

from __future__ import annotations

import re
from pathlib import Path

_ALONE = re.compile(
    r"^ *(\d+): cs:(?:WFConnection|StandAlone) ro:Primary/\S+ ds:\S+ +(?:[ABC] )?r", re.MULTILINE
)


def goes_on_alone(minor: int, root: Path = Path("/")) -> bool:
    """Primary, without a connection, and not frozen: it has been told that it may, or need not be.
    False also where that cannot be seen."""
    try:
        text = (root / "proc/drbd").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return str(minor) in _ALONE.findall(text)
