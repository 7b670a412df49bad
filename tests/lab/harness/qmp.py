"""QEMU's control socket: one connection per conversation, so that the command line and a test run
can take turns on one guest.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from .deadline import Deadline
from .errors import LabError
from .process import ProcessId


class Qmp:
    """A conversation with one QEMU. Every wait ends with the deadline given at the start."""

    def __init__(self, path: Path, qemu: ProcessId, *, timeout_s: float) -> None:
        self._deadline = Deadline(timeout_s, f"QEMU of {path.stem}")
        self._qemu = qemu
        self._events: list[dict[str, Any]] = []
        self._socket = self._connect(path)
        self._lines = self._socket.makefile("rb")
        self._receive()
        self.execute("qmp_capabilities")

    def _connect(self, path: Path) -> socket.socket:
        """QEMU makes the socket early, but not at once."""
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(self._deadline.remaining_s())
                connection.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                if not self._qemu.is_alive():
                    raise LabError(f"{self._deadline.what} ended") from None
                self._deadline.pause(0.01)
            else:
                return connection

    def __enter__(self) -> Qmp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._socket.close()

    def execute(self, command: str, **arguments: Any) -> Any:
        """One command and its answer. Raises: LabError with QEMU's words."""
        self._socket.sendall(_request(command, arguments))
        return self._answer(command)

    def give_file(self, name: str, descriptor: int) -> None:
        """Hands an open file over to QEMU, which knows it as `name` from then on."""
        request = _request("getfd", {"fdname": name})
        socket.send_fds(self._socket, [request], [descriptor])
        self._answer("getfd")

    def _answer(self, command: str) -> Any:
        while True:
            answer = self._receive()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise LabError(f"QEMU refused {command}: {answer['error']['desc']}")
            self._events.append(answer)

    def wait_event(self, name: str, **expected: Any) -> None:
        """Waits for an event whose data hold `expected`; earlier ones count too."""
        while True:
            for event in self._events:
                data = event.get("data", {})
                if event.get("event") == name and expected.items() <= data.items():
                    return
            self._events = [self._receive()]

    def _receive(self) -> dict[str, Any]:
        self._socket.settimeout(self._deadline.remaining_s())
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise self._deadline.missed() from None
        if not line:
            raise LabError(f"{self._deadline.what}: ended while it was asked")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _request(command: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
