"""What the fuzzer watches while frames are served: lines of the agent's code that are reached, and
processes that are started."""

from __future__ import annotations

import sys
import threading
from types import CodeType, FrameType
from typing import Any

# Raised by the interpreter itself, before the child exists: one that has already ended counts too.
CHILD_EVENTS = frozenset({
    "subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.spawn",
    "os.system",
})  # fmt: skip


class Children:
    """Counts each start of a process by this one, from `watch` on: an audit hook cannot be
    removed."""

    def __init__(self) -> None:
        self.count = 0

    def watch(self) -> None:
        sys.addaudithook(self._heard)

    def _heard(self, event: str, _arguments: Any) -> None:
        if event in CHILD_EVENTS:
            self.count += 1


class Lines:
    """Lines of code that are reached by threads started between `start` and `stop`. A function all
    of whose lines are known is not traced any more.

    folder: the beginning of the path of every file that counts.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        # By the code's id: its own hash is that of its content. `_codes` keeps the ids valid.
        self._missing: dict[int, set[int]] = {}
        self._tracers: dict[int, Any] = {}
        self._codes: list[CodeType] = []
        self._reached: list[int] = []

    def start(self) -> None:
        threading.settrace(self.enter)

    def stop(self) -> None:
        threading.settrace(None)

    def reached(self) -> int:
        return len(self._reached)

    def entered(self) -> int:
        """Lines of all functions that were entered: the most that `reached` can be for them."""
        return len(self._reached) + sum(map(len, self._missing.values()))

    def enter(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        """The trace function (sys.settrace)."""
        code = frame.f_code
        missing = self._missing.get(id(code))
        if missing is None:
            self._codes.append(code)
            missing = self._missing[id(code)] = self._lines_of(code)
            self._tracers[id(code)] = self._tracer(missing)
        return self._tracers[id(code)] if missing else None

    def _lines_of(self, code: CodeType) -> set[int]:
        if not code.co_filename.startswith(self._folder):
            return set()
        return {line for _, _, line in code.co_lines() if line} - {code.co_firstlineno}

    def _tracer(self, missing: set[int]) -> Any:
        def trace(frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "line" and frame.f_lineno in missing:
                missing.discard(frame.f_lineno)
                self._reached.append(frame.f_lineno)
            return trace

        return trace
