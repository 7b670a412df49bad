"""What storage-agent-shutdown.service runs as it stops: where the host goes down, every volume of
it goes down first, in order, so that the peer sees Secondary before it sees the link go.

Everything is the daemon's work, by its ordinary operations. Whatever hangs, this ends within
LIMIT_S and the shutdown goes on: then DRBD and the filesystem are as after a power cut, and no
worse. Host tools: systemctl.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from storage_agent.cli.client import Disconnected, Silent
from storage_agent.cli.context import Context
from storage_agent.cli.text import clean
from storage_agent.model.answers import parse_record, parse_status
from storage_agent.model.clock import Deadline
from storage_agent.model.errors import AgentError, Busy
from storage_agent.model.finding import blockers
from storage_agent.model.operation import OperationRecord, OperationState

# Below TimeoutStopSec= of the unit.
LIMIT_S = 40.0
RETRY_S = 1.0
_AGAIN = frozenset({OperationState.ROLLED_BACK, OperationState.FAILED})
# Ended by the shutdown itself, sooner or later.
_PASSING = frozenset({"VOLUME_HELD", "VOLUME_WRITTEN"})


class Shutdown:
    """say: one line for the journal."""

    def __init__(self, context: Context, say: Callable[[str], None]) -> None:
        self._context = context
        self._say = say
        self._deadline = Deadline.after(context.clock, LIMIT_S)
        self._left: set[str] = set()

    def run(self, is_host_stopping: Callable[[], bool]) -> int:
        """0 where every volume went down in order, or the host is not going down at all."""
        try:
            if not is_host_stopping():
                self._say("the host is not going down: every volume is left as it is")
                return 0
            status = parse_status(self._context.ask_daemon("status", {}))
        except (AgentError, Disconnected, Silent) as exc:
            self._say(f"the volumes go down with the host, unprepared: {exc}")
            return 1
        volumes = sorted(status.snapshot.volumes)
        threads = [
            threading.Thread(target=self._take_down, args=(status.host, name), daemon=True)
            for name in volumes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self._deadline.left_s(self._context.clock))
        for name in sorted(set(volumes) - self._left):
            self._say(f"{name}: goes down with the host, unprepared")
        return 0 if self._left >= set(volumes) else 1

    def _take_down(self, host: str, volume: str) -> None:
        """A demote that was rolled back is asked for again: what held the volume is being ended
        by the shutdown too."""
        while not self._operate("demote", host, volume):
            self._context.clock.sleep(RETRY_S)
            if self._deadline.passed(self._context.clock):
                return
        while not self._operate("leave", host, volume):
            self._context.clock.sleep(RETRY_S)
            if self._deadline.passed(self._context.clock):
                return

    def _operate(self, method: str, host: str, volume: str) -> bool:
        """False where it is worth another try."""
        context = self._context
        request = {
            "volume": volume,
            "operation_id": f"shutdown-{context.new_id()}",
            # The host goes down in any case; who is left without service is known and told.
            "stop_serving": f"{host}/{volume}",
        }
        try:
            session = context.open_session()
            try:
                silence_s = self._deadline.left_s(context.clock)
                record = parse_record(session.call(method, request, silence_s=silence_s))
            finally:
                session.close()
        except Busy as exc:
            self._say(f"{volume}: {exc.message}")
            return False
        except (AgentError, Disconnected, Silent) as exc:
            self._say(f"{volume}: {method}: {exc}")
            return True
        self._say(f"{volume}: {method} {record.state}: {record.message}")
        if method == "leave" and record.state is OperationState.SUCCEEDED:
            self._left.add(volume)
        return not _is_worth_another_try(record)


def _is_worth_another_try(record: OperationRecord) -> bool:
    if record.state is OperationState.REFUSED:
        codes = {finding.code for finding in blockers(record.findings)}
        return bool(codes) and codes <= _PASSING
    return record.state in _AGAIN


def main() -> int:
    from storage_agent.cli.dispatch import real_context
    from storage_agent.host.system.runner import Runner
    from storage_agent.host.system.services import Services

    def say(text: str) -> None:
        print(clean(text), file=sys.stderr, flush=True)

    return Shutdown(real_context(), say).run(Services(Runner()).is_host_stopping)


if __name__ == "__main__":
    # Not sys.exit: a thread that still waits for the daemon must not hold up the end.
    os._exit(main())
