"""Sizes, durations, bars: numbers as a tired person reads them. Pure."""

from __future__ import annotations

import time

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def _unit(size_bytes: float) -> tuple[float, str]:
    """(divisor, unit) that leave one to four digits before the point."""
    divisor = 1.0
    for unit in UNITS:
        if size_bytes / divisor < 1024 or unit == UNITS[-1]:
            return divisor, unit
        divisor *= 1024
    raise AssertionError("the last unit always fits")


def size_text(size_bytes: float) -> str:
    """`1.9 GiB`."""
    divisor, unit = _unit(size_bytes)
    return f"{size_bytes:.0f} bytes" if unit == "bytes" else f"{size_bytes / divisor:.1f} {unit}"


def part_text(done_bytes: float, total_bytes: float, *, between: str = "/") -> str:
    """`41.2/71.9 GiB`: two sizes in the unit of the second."""
    divisor, unit = _unit(total_bytes)
    digits = 0 if unit == "bytes" else 1
    return f"{done_bytes / divisor:.{digits}f}{between}{total_bytes / divisor:.{digits}f} {unit}"


def percent_text(part: float, whole: float) -> str:
    """`57.3 %`, cut and never rounded up: 100.0 % is said only of the whole."""
    ratio = part / whole if whole else 1.0
    return f"{int(ratio * 1000) / 10:.1f} %"


def duration_text(seconds: float) -> str:
    """`0.3 s`, `2m28s`, `1h04m`, `3d02h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return eta_text(seconds)


def eta_text(seconds: float) -> str:
    """`28s`, `2m28s`, `1h04m`, `3d02h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def bar_text(ratio: float, width: int = 16) -> str:
    """`[########------]`, full only at 1."""
    filled = min(width, max(0, int(ratio * width)))
    return "[" + "#" * filled + "-" * (width - filled) + "]"


def when_text(wall_s: float) -> str:
    """Local time, as the journal shows it: `2026-11-21 02:03:04`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))


def counted(number: int, noun: str) -> str:
    """`1 disk`, `4 disks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def clean(text: str) -> str:
    """Without control characters: text that came from elsewhere must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
