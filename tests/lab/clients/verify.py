"""Checks that every record which lockwriter.py saw acknowledged is in the file, whole, once and
in order. Runs in a guest with plain python3.

    python3 verify.py FILE LOG

One line of JSON: {"acknowledged", "found", "lost", "damaged", "doubled", "out_of_order",
"unacknowledged"}; lost: the first few missing ones as RUN/NUMBER. Exit status 0 if nothing is
lost, damaged, doubled or out of order, else 1. A record that is in the file without having been
acknowledged (the writer was ended while it waited) is no fault.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections import Counter

RECORD_BYTES = 64
_SHOWN = 20


def parse_record(line: bytes) -> tuple[str, int] | None:
    """(run, number), or None for a damaged one."""
    body, checksum = line[:-9], line[-9:-1]
    if len(line) != RECORD_BYTES or f"{zlib.crc32(body):08x}".encode() != checksum:
        return None
    run, number, _ = body.split(b" ", 2)
    return run.decode(), int(number)


def read_records(path: str) -> tuple[list[tuple[str, int]], int]:
    """Records in the file's order, and how many pieces are damaged."""
    records, damaged = [], 0
    with open(path, "rb") as file:
        for line in file:
            record = parse_record(line)
            if record is None:
                damaged += 1
            else:
                records.append(record)
    return records, damaged


def read_acknowledged(path: str) -> list[tuple[str, int]]:
    with open(path) as log:
        fields = (line.split() for line in log if line.endswith("\n"))
        return [(run, int(number)) for run, number, _ in fields]


def compare(
    records: list[tuple[str, int]], acknowledged: list[tuple[str, int]], damaged: int
) -> dict[str, object]:
    counted = Counter(records)
    last: dict[str, int] = {}
    out_of_order = 0
    for run, number in records:
        out_of_order += number < last.get(run, 0)
        last[run] = number
    lost = [f"{run}/{number}" for run, number in acknowledged if (run, number) not in counted]
    return {
        "acknowledged": len(acknowledged),
        "found": len(records),
        "lost": len(lost),
        "first_lost": lost[:_SHOWN],
        "damaged": damaged,
        "doubled": sum(count - 1 for count in counted.values()),
        "out_of_order": out_of_order,
        "unacknowledged": len(set(records) - set(acknowledged)),
    }


def main() -> int:
    records, damaged = read_records(sys.argv[1])
    result = compare(records, read_acknowledged(sys.argv[2]), damaged)
    print(json.dumps(result))
    faults = ("lost", "damaged", "doubled", "out_of_order")
    return 1 if any(result[fault] for fault in faults) else 0


if __name__ == "__main__":
    sys.exit(main())
