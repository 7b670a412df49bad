"""What systemd and the daemon say to each other: the passed socket, readiness, the watchdog.

Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket

FIRST_PASSED_DESCRIPTOR = 3


def passed_listener() -> socket.socket | None:
    """The socket of storage-agent.socket; None where the daemon was started by hand."""
    is_for_us = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not is_for_us or count != "1":
        return None
    listener = socket.socket(fileno=FIRST_PASSED_DESCRIPTOR)
    listener.set_inheritable(False)
    return listener


def notify(*assignments: str) -> None:
    """`READY=1`, `STATUS=…`; does nothing without a service manager."""
    if "NOTIFY_SOCKET" in os.environ:
        # Where the daemon runs by hand it is not needed.
        from systemd import daemon

        daemon.notify("\n".join(assignments))


def watchdog_period_s() -> float | None:
    """How often `WATCHDOG=1` is due: thrice in the time that systemd allows. None: no watchdog."""
    is_for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    return int(limit_us) / 3e6 if is_for_us and limit_us.isdigit() else None
