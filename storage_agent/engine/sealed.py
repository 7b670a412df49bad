"""The form of a small state file: one JSON object and its checksum. It names the host and the
volume that it was written for, so that another one's copy is not taken for it."""

from __future__ import annotations

import json
import zlib
from typing import Any

_OWNER = frozenset({"host", "volume"})


def pack(value: dict[str, Any]) -> bytes:
    body = json.dumps(value).encode()
    return body + b"\n%08x\n" % zlib.crc32(body)


def unpack(content: bytes, known: frozenset[str], **owner: str) -> dict[str, Any]:
    """owner: what the file has to say of whose it is; where it says nothing it is of an earlier
    version. Raises ValueError for anything else."""
    body, checksum, rest = content.split(b"\n", 2)
    if rest or len(checksum) != 8 or int(checksum, 16) != zlib.crc32(body):
        raise ValueError("checksum")
    value = json.loads(body)
    if not isinstance(value, dict) or not value.keys() <= known | _OWNER:
        # Of a newer version: what is not understood may forbid what would be done.
        raise ValueError("unknown keys")
    for key in _OWNER:
        found = value.pop(key, None)
        if found is not None and found != owner.get(key, found):
            raise ValueError(f"of another {key}")
    return value
