"""Sizes in words."""

from __future__ import annotations


def bytes_text(size_bytes: int) -> str:
    """`1.5 GiB (1610612736 bytes)`: readable, and exact."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    units = ("KiB", "MiB", "GiB", "TiB")
    power = min((size_bytes.bit_length() - 1) // 10, len(units))
    return f"{size_bytes / (1 << 10 * power):.1f} {units[power - 1]} ({size_bytes} bytes)"
