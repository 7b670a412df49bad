"""Who asked what, and what was answered: one line a request in the journal.

Also in a flood: each caller has an allowance for each method and each kind of answer, so that no
number of reads or refusals can hide a change, and the line after a gap says how many are missing.
What an operation then does is logged by the agent, with its origin, without limit.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import structlog

from storage_agent.model.clock import Clock
from storage_agent.service.api.access import Role
from storage_agent.service.api.call import OK
from storage_agent.service.api.methods import METHODS, READS
from storage_agent.service.api.rpc import OUT_OF_BOUNDS, Request
from storage_agent.service.api.session import Session

BURST = 20
LINES_A_SECOND = 1.0
CALLERS_LIMIT = 1024
SHOWN_CHARS = 80
log = structlog.get_logger()


@dataclass(slots=True)
class _Allowance:
    lines: float
    at_s: float
    left_out: int = 0


class Audit:
    """The server's `answered`: on its loop only. Reads by local root are not logged: monitors ask
    every few seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._allowances: OrderedDict[tuple[str, str, bool], _Allowance] = OrderedDict()

    def __call__(self, session: Session, request: Request | None, code: str) -> None:
        method = "" if request is None else request.method
        if method in READS and session.role is Role.LOCAL and code == OK:
            return
        known = method if method in METHODS else ""
        allowance = self._allowance((session.origin, known, code == OK))
        if allowance.lines < 1:
            allowance.left_out += 1
            return
        allowance.lines -= 1
        left_out, allowance.left_out = allowance.left_out, 0
        log.info(
            f"{session.origin}: {_shown(method) or 'no request'}: {code}",
            origin=session.origin,
            role=str(session.role),
            method=_shown(method),
            answer=code,
            left_out=left_out or None,
            **_subject(request, code),
        )

    def _allowance(self, key: tuple[str, str, bool]) -> _Allowance:
        now_s = self._clock.monotonic()
        found = self._allowances.pop(key, None) or _Allowance(BURST, now_s)
        self._allowances[key] = found
        if len(self._allowances) > CALLERS_LIMIT:
            self._allowances.popitem(last=False)
        found.lines = min(BURST, found.lines + (now_s - found.at_s) * LINES_A_SECOND)
        found.at_s = now_s
        return found


def _subject(request: Request | None, code: str) -> dict[str, Any]:
    """Volume and operation, as far as the caller gave text for them, and none that is too long."""
    given = {} if request is None or code == OUT_OF_BOUNDS else request.parameters
    return {
        name: _shown(value)
        for name in ("volume", "operation_id")
        if isinstance(value := given.get(name), str)
    }


def _shown(text: str) -> str:
    """A caller's text on one line of ASCII."""
    return ascii(text[:SHOWN_CHARS])[1:-1]
