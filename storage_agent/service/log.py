"""structlog to the journal with native fields, or to stderr when run by hand.

What goes in is chosen by name: no local variables, no environment, no secrets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import structlog

IDENTIFIER = "storage-agentd"
# syslog(3)
PRIORITIES = {"critical": 2, "error": 3, "exception": 3, "warning": 4, "info": 6, "debug": 7}
FIELD_LIMIT_CHARS = 4096
# The ones that people search for; everything else gets our prefix.
PLAIN_FIELDS = frozenset({"operation_id", "volume", "step"})

Send = Callable[..., Any]


def configure() -> None:
    """Once, before the first event. Under systemd (JOURNAL_STREAM is set) fields go to the
    journal as such."""
    renderer = _journal_renderer() if os.environ.get("JOURNAL_STREAM") else _line_renderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _journal_renderer() -> Any:
    # Where the daemon runs by hand it is not needed.
    from systemd import journal

    return render_to(journal.send)


def render_to(send: Send) -> Any:
    """A last processor that hands the event to `send` (systemd.journal.send)."""

    def render(_logger: object, _method: str, event: dict[str, Any]) -> Any:
        message, fields = journal_fields(event)
        send(message, **fields)
        raise structlog.DropEvent

    return render


def journal_fields(event: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Message and fields, systemd.journal-fields(7): upper-case ASCII names. What is None is left
    out."""
    message = str(event.get("event", ""))
    # To a person the traceback is the message.
    if exception := event.get("exception"):
        message = f"{message}\n{exception}"
    fields = {
        "PRIORITY": str(PRIORITIES.get(str(event.get("level", "info")), 6)),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
    }
    for key, value in event.items():
        if key in ("event", "level", "exception") or value is None:
            continue
        name = key.upper() if key in PLAIN_FIELDS else f"STORAGE_AGENT_{key.upper()}"
        fields[name] = str(value)[:FIELD_LIMIT_CHARS]
    return message, fields


def _line_renderer() -> Any:
    return structlog.dev.ConsoleRenderer(
        colors=False,
        # Not its default, which prints local variables where python3-rich is installed.
        exception_formatter=structlog.dev.plain_traceback,
    )
