"""A context whose daemon is a table of answers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from storage_agent.cli.context import Context
from storage_agent.cli.terminal import Screen
from storage_agent.host.keys.authorized_keys import KeyFile
from storage_agent.model.array import Disk
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.doctor import DoctorFacts
from storage_agent.model.errors import AgentError
from storage_agent.model.wire import to_wire
from tests.unit.cli.answers import facts, status_result
from tests.unit.cli.snapshots import GIB, serving
from tests.unit.fakes import FakeClock, agent_config

# -- answers --------------------------------------------------------------------------------------


# -- this host ------------------------------------------------------------------------------------


class FakeSession:
    """Answers from a table: a value, an exception, or a function of the parameters."""

    def __init__(self, answers: dict[str, Any], asked: list[tuple[str, dict[str, Any]]]) -> None:
        self.answers = answers
        self.asked = asked
        self.closed = False

    def call(
        self,
        method: str,
        params: dict[str, Any],
        *,
        silence_s: float = 1.0,
        on_notification: Callable[[str, Any], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> Any:
        self.asked.append((method, params))
        answer = self.answers[method]
        if isinstance(answer, list):
            # Notifications first, the last one is the result.
            *notifications, answer = answer
            for notification in notifications:
                if on_notification:
                    on_notification("operation.progress", to_wire(notification))
                if on_tick:
                    on_tick()
        if callable(answer):
            answer = answer(params)
        if isinstance(answer, BaseException):
            raise answer
        return to_wire(answer)

    def close(self) -> None:
        self.closed = True


class FakeLocal:
    """Implements cli.context.LocalHost."""

    def __init__(self) -> None:
        self.loaded: AgentConfig | AgentError = agent_config()
        self.problems: tuple[str, ...] = ()
        self.snapshot: dict[str, Any] | AgentError = status_result(serving(), agent_version="")
        self.found: DoctorFacts = facts()
        self.has_files = True
        self.secrets: list[str] = []
        self.devices: tuple[str, ...] = ("/dev/drbd0",)
        self.keys = KeyFile(Path("/nonexistent/authorized_keys"))

    def make_pair_secret(self, volume: str) -> bool:
        self.secrets.append(volume)
        return self.secrets.count(volume) == 1

    def key_file(self) -> KeyFile:
        return self.keys

    def config(self) -> AgentConfig:
        if isinstance(self.loaded, AgentError):
            raise self.loaded
        return self.loaded

    def config_problems(self) -> tuple[str, ...]:
        return self.problems

    def config_document(self, *, origin: bool) -> dict[str, Any]:
        document = {"config": {"host": "alpha", "hosts": {"beta": {"address": "10.8.0.2"}}}}
        if origin:
            document["origin"] = {"hosts.beta.address": "/etc/storage-agent/agent.toml:5"}
        return document

    def is_configured(self) -> bool:
        return self.has_files

    def status(self, *, with_use: bool = False) -> dict[str, Any]:
        if isinstance(self.snapshot, AgentError):
            raise self.snapshot
        return self.snapshot

    def replica_devices(self) -> tuple[str, ...]:
        return self.devices

    def facts(self, config: AgentConfig | None) -> DoctorFacts:
        return self.found

    def disks(self, serials: Iterable[str]) -> tuple[Disk, ...]:
        return tuple(
            Disk(name=f"vd{n}", path=f"/dev/vd{n}", serial=serial, size_bytes=20 * GIB)
            for n, serial in zip("bcde", serials, strict=False)
        )


class Terminal(io.StringIO):
    """isatty as told."""

    def __init__(self, text: str = "", *, tty: bool = False) -> None:
        super().__init__(text)
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


class World:
    """One command's surroundings; `run` gives its exit status, `out` and `err` its texts."""

    def __init__(self, *, tty: bool = False, typed: str = "", root: bool = True) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.local = FakeLocal()
        self.clock = FakeClock()
        self.down: OSError | None = None
        self._out, self._err = Terminal(tty=tty), Terminal(tty=tty)
        self.context = Context(
            out=Screen(stream=self._out, is_terminal=tty, width=100),
            err=Screen(stream=self._err, is_terminal=tty, width=100),
            stdin=Terminal(typed, tty=tty),
            clock=self.clock,
            connect=self._connect,
            local=self.local,
            is_root=root,
            new_id=lambda: "00000000000000aa",
        )

    def _connect(self) -> FakeSession:
        if self.down is not None:
            raise self.down
        return FakeSession(self.answers, self.asked)

    def run(self, *arguments: str) -> int:
        from storage_agent.cli.dispatch import run

        return run(arguments, self.context)

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()
