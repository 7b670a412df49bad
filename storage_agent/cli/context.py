"""What a command needs of the world, so that every command also runs against fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from storage_agent.cli.client import SOCKET_PATH, Disconnected, Silent
from storage_agent.cli.terminal import Screen
from storage_agent.model.errors import AgentError, Missing, NotPermitted, OutcomeUnknown
from storage_agent.model.finding import Finding

if TYPE_CHECKING:
    from storage_agent.host.keys.authorized_keys import KeyFile
    from storage_agent.model.array import Disk
    from storage_agent.model.clock import Clock
    from storage_agent.model.configuration import AgentConfig
    from storage_agent.model.doctor import DoctorFacts

START_DAEMON = "systemctl start storage-agent.socket; journalctl -u storage-agentd -n 50"


class Session(Protocol):
    """A connection to the daemon; cli/client.py has the real one."""

    def call(
        self,
        method: str,
        params: dict[str, Any],
        *,
        silence_s: float = ...,
        on_notification: Callable[[str, Any], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> Any: ...

    def close(self) -> None: ...


class LocalHost(Protocol):
    """This host without the daemon: its files, and looks that change nothing. All raise
    AgentError."""

    def config(self) -> AgentConfig: ...

    def config_problems(self) -> tuple[str, ...]:
        """`FILE:LINE: error: …` of everything that is wrong."""
        ...

    def config_document(self, *, origin: bool) -> dict[str, Any]:
        """The configuration as JSON; with `origin`, `{"KEY": "FILE:LINE"}` beside it."""
        ...

    def is_configured(self) -> bool:
        """There is a file of configuration, right or wrong."""
        ...

    def status(self, *, with_use: bool = False) -> dict[str, Any]:
        """The same answer as the daemon's `status`, from a look of our own; its operations are
        those that did not end. with_use: also who uses each volume, which takes seconds."""
        ...

    def replica_devices(self) -> tuple[str, ...]:
        """Paths of the DRBD devices that the kernel has."""
        ...

    def facts(self, config: AgentConfig | None) -> DoctorFacts: ...

    def disks(self, serials: Iterable[str]) -> tuple[Disk, ...]: ...

    def make_pair_secret(self, volume: str) -> bool:
        """False where there is one already."""
        ...

    def key_file(self) -> KeyFile: ...


@dataclass(slots=True, kw_only=True)
class Context:
    """connect: raises OSError. new_id: an operation id nobody has used."""

    out: Screen
    err: Screen
    stdin: TextIO
    clock: Clock
    connect: Callable[[], Session]
    local: LocalHost
    is_root: bool
    new_id: Callable[[], str]

    def open_session(self) -> Session:
        """Raises Missing (the daemon is down), NotPermitted, OutcomeUnknown (no answer)."""
        try:
            return self.connect()
        except PermissionError as exc:
            raise NotPermitted(
                f"{SOCKET_PATH}: permission denied", remedy="run it as root (sudo)"
            ) from exc
        except TimeoutError as exc:
            raise OutcomeUnknown(
                f"{SOCKET_PATH}: the daemon does not take connections",
                remedy="systemctl status storage-agentd",
                code="DAEMON_SILENT",
            ) from exc
        except OSError as exc:
            raise Missing(
                f"storage-agentd does not run: {SOCKET_PATH}: {exc.strerror or exc}",
                remedy=START_DAEMON,
                code="DAEMON_DOWN",
            ) from exc

    def ask_daemon(self, method: str, params: dict[str, Any]) -> Any:
        """One read. Raises AgentError."""
        session = self.open_session()
        try:
            return session.call(method, params)
        except (Disconnected, Silent) as exc:
            raise lost(exc) from exc
        finally:
            session.close()

    def can_ask(self) -> bool:
        """A person sits at both ends."""
        return self.out.is_terminal and self.stdin.isatty()

    def ask(self, question: str) -> str:
        """What was typed, empty at the end of input."""
        self.out.ask(question)
        return self.stdin.readline().strip()


def lost(exc: Exception) -> OutcomeUnknown:
    """A read that was not answered."""
    return OutcomeUnknown(
        f"storage-agentd did not answer: {exc}",
        remedy="systemctl status storage-agentd; then try again",
        code="DAEMON_SILENT",
    )


@dataclass(slots=True, kw_only=True)
class Answer:
    """What a command hands to the edge. data: for --json; lines: for people (both optional, a
    command that runs on shows as it goes).  exit_status: where it is not that of `error`."""

    data: Any = None
    lines: Iterable[str] = ()
    changed: bool = False
    findings: tuple[Finding, ...] = ()
    error: AgentError | None = None
    exit_status: int | None = None
    notes: list[str] = field(default_factory=list)
    """For people, on stderr, also with --json."""
