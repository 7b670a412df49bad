"""All hosts: one kept connection each, asked in parallel, found again when lost.

An agent works on one request of a session at a time. What may be answered late (an operation, its
plan) is therefore asked in a session of its own over the same connection: a frozen primary is
answered while another volume of its host is being promoted.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, TypeVar

from storage_agent.coordinator.reaching.answers import (
    NotUnderstood,
    plan_of,
    record_of,
    status_of,
)
from storage_agent.coordinator.reaching.rpc import (
    Babbling,
    Channel,
    Connection,
    Disconnected,
    OnNotification,
    Silent,
    Unreachable,
)
from storage_agent.coordinator.settings import HostSettings, Settings
from storage_agent.model.answers import PlanAnswer, StatusAnswer, parse_config
from storage_agent.model.bounds import cut
from storage_agent.model.clock import Clock, Deadline
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import (
    AgentError,
    Busy,
    NotPermitted,
    OutcomeUnknown,
    Refused,
)
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import OperationKind

BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 30.0
REJOIN_POLL_S = 0.5
# Late answers of a host at a time. With the kept one that is less than sshd takes of a connection
# (MaxSessions: 8 in our package), and an agent of a key (service/api/sessions.py).
BESIDE_LIMIT = 6

T = TypeVar("T")
Connect = Callable[[HostSettings], Channel]
OnRecord = Callable[[OperationRecord], None]


@dataclass(slots=True)
class _Host:
    """lock: held while connecting, so that one connection is made.  error: of the last try; it
    counts until not_before_s.  beside: how many more late answers may be waited for."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    beside: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(BESIDE_LIMIT)
    )
    connection: Connection | None = None
    failures: int = 0
    not_before_s: float = 0.0
    error: AgentError | None = None


class Fleet:
    """Safe to use from several threads.

    connect: raises AgentError.  on_notification: (host, method, parameters); on a reading thread,
    must not block.  on_end: (host, why), when a connection is lost.
    """

    def __init__(
        self,
        settings: Settings,
        connect: Connect,
        clock: Clock,
        *,
        on_notification: Callable[[str, str, Any], None] = lambda _host, _method, _params: None,
        on_end: Callable[[str, str], None] = lambda _host, _why: None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._connect = connect
        self._on_notification = on_notification
        self._on_end = on_end
        self._hosts = {name: _Host() for name in settings.hosts}

    def close(self) -> None:
        for host in self._hosts.values():
            if host.connection is not None:
                host.connection.close()

    # --- asking ---------------------------------------------------------------------------------

    def ask(
        self,
        host: str,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        on_notification: OnNotification | None = None,
    ) -> Any:
        """The result of one request. Raises AgentError: the agent's own, Unreachable,
        Disconnected, Silent, Refused (WRONG_HOST: another agent answers)."""
        connection = self.connection(host)
        return connection.call(
            method,
            params or {},
            timeout_s=self.settings.deadlines.answer_s if timeout_s is None else timeout_s,
            on_notification=on_notification,
        )

    def ask_beside(
        self,
        host: str,
        method: str,
        params: dict[str, Any],
        *,
        timeout_s: float | None = None,
        on_notification: OnNotification | None = None,
    ) -> Any:
        """As `ask`, for what may be answered late: nothing else asked of the host waits for it.
        Raises also Busy, where BESIDE_LIMIT of them are under way until the deadline."""
        limit_s = self.settings.deadlines.answer_s if timeout_s is None else timeout_s
        connection = self.connection(host)
        kept = self._hosts[host]
        if not kept.beside.acquire(timeout=limit_s):
            raise Busy(
                f"{BESIDE_LIMIT} operations and plans run on {host} already",
                remedy="storage-coordinator status",
            )
        try:
            return connection.call_beside(
                method, params, timeout_s=limit_s, on_notification=on_notification
            )
        finally:
            kept.beside.release()

    def status(self, host: str) -> StatusAnswer:
        return status_of(host, self.ask(host, "status"))

    def subscribe(self, host: str) -> StatusAnswer:
        """As `status`; from now on changes come as notifications."""
        return status_of(host, self.ask(host, "subscribe"))

    def plan(self, host: str, operation: OperationKind, volume: str, **more: Any) -> PlanAnswer:
        params = {"operation": str(operation), "volume": volume}
        params |= {key: value for key, value in more.items() if value is not None}
        return plan_of(host, self.ask_beside(host, "plan", params))

    def config(self, host: str) -> AgentConfig:
        """As the host's daemon has taken it up. Raises AgentError."""
        return parse_config(self.ask_beside(host, "config.show", {}))

    def each(self, items: Iterable[str], ask: Callable[[str], T]) -> dict[str, T | AgentError]:
        """`ask(item)` for all, at most `parallel` at the same time; an error is that item's
        answer. In the order of `items`."""
        wanted = list(items)
        found = dict(self.as_answered(wanted, ask))
        return {item: found[item] for item in wanted}

    def as_answered(
        self, items: Iterable[str], ask: Callable[[str], T]
    ) -> Iterator[tuple[str, T | AgentError]]:
        """As `each`, one by one as they come: a slow one holds nobody up."""

        def one(item: str) -> tuple[str, T | AgentError]:
            try:
                return item, ask(item)
            except AgentError as exc:
                return item, exc
            except Exception as exc:
                # A fault of ours, in what this one has shown: the others are served.
                return item, broken_off(item, exc)

        wanted = list(items)
        workers = max(1, min(len(wanted), self.settings.parallel))
        with ThreadPoolExecutor(workers, thread_name_prefix="ask") as pool:
            for future in as_completed([pool.submit(one, item) for item in wanted]):
                yield future.result()

    def statuses(self, hosts: Iterable[str]) -> dict[str, StatusAnswer | AgentError]:
        return self.each(hosts, self.status)

    # --- operations -----------------------------------------------------------------------------

    def operate(
        self,
        host: str,
        kind: OperationKind,
        params: dict[str, Any],
        on_record: OnRecord = lambda _record: None,
    ) -> OperationRecord:
        """Runs one operation to its end. params: with volume and operation_id.

        A lost connection does not end it: the agent is asked again under the same operation id,
        which is done only once. Raises the agent's refusal to begin; OutcomeUnknown.
        """
        wanted = {key: value for key, value in params.items() if value is not None}
        deadline = Deadline.after(self.clock, self.settings.deadlines.operation_s)

        def progress(method: str, given: Any) -> None:
            if method != "operation.progress":
                return
            # The answer is what counts: what is not understood on the way is passed over.
            with contextlib.suppress(NotUnderstood):
                on_record(record_of(host, given, wanted["operation_id"]))

        while True:
            try:
                left_s = deadline.left_s(self.clock)
                answer = self.ask_beside(
                    host, str(kind), wanted, timeout_s=left_s, on_notification=progress
                )
                record = record_of(host, answer, wanted["operation_id"])
            except (Silent, Babbling, NotUnderstood) as exc:
                raise _unknown(host, kind, wanted, exc) from exc
            except (Disconnected, Unreachable) as exc:
                self._may_ask_again(host, kind, wanted, deadline, exc)
            else:
                if record.state is not OperationState.RUNNING:
                    on_record(record)
                    return record
                self._may_ask_again(host, kind, wanted, deadline, None)

    def _may_ask_again(
        self,
        host: str,
        kind: OperationKind,
        params: dict[str, Any],
        deadline: Deadline,
        exc: AgentError | None,
    ) -> None:
        """Raises OutcomeUnknown at the deadline."""
        if deadline.passed(self.clock):
            raise _unknown(host, kind, params, exc or OutcomeUnknown("it still runs"))
        self.clock.sleep(REJOIN_POLL_S)

    # --- connections ----------------------------------------------------------------------------

    def connection(self, host: str) -> Connection:
        """The kept one, or a new one. Raises AgentError; at once where a try has just failed."""
        kept = self._hosts[self.settings.require_host(host).name]
        with kept.lock:
            if kept.connection is not None and kept.connection.is_open():
                return kept.connection
            if kept.error is not None and self.clock.monotonic() < kept.not_before_s:
                raise kept.error
            try:
                connection = self._open(host)
            except AgentError as exc:
                self._put_off(kept, exc)
                raise
            kept.failures = 0
            kept.connection = connection
            return connection

    def _open(self, host: str) -> Connection:
        """A new one, whose other end has said who it is. Raises AgentError."""
        connection = Connection(
            host,
            self._connect(self.settings.hosts[host]),
            on_notification=lambda method, params: self._on_notification(host, method, params),
            on_end=lambda why: self._on_end(host, why),
        )
        try:
            self._require_named(host, connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def drop(self, host: str) -> None:
        """Gives a connection up whose other end does not answer."""
        connection = self._hosts[host].connection
        if connection is not None:
            connection.close()

    def try_again(self, host: str) -> None:
        """Whoever asks next may connect, however often that has failed."""
        self._hosts[host].not_before_s = 0.0

    def is_connected(self, host: str) -> bool:
        connection = self._hosts[host].connection
        return connection is not None and connection.is_open()

    def _require_named(self, host: str, connection: Connection) -> None:
        """Before anything else is asked: hosts that were cloned have the same SSH host key, and
        volumes of other pairs the same names. Raises Refused (WRONG_HOST)."""
        pong = connection.call("ping", {}, timeout_s=self.settings.deadlines.answer_s)
        named = str(pong.get("host", "")) if isinstance(pong, dict) else ""
        if named != host:
            address = self.settings.hosts[host].address
            raise Refused(
                f"the agent at {address} is {cut(named, 64)!a}, not {host}",
                remedy=f"correct the address of {host} in coordinator.toml",
                code="WRONG_HOST",
            )

    def _put_off(self, kept: _Host, exc: AgentError) -> None:
        is_costly = isinstance(exc, Babbling)
        if isinstance(exc, Refused | NotPermitted | Disconnected) and not is_costly:
            # The reason is to be seen each time; or it costs nothing to try again, as where the
            # daemon is being restarted.
            return
        pause_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(kept.failures, 10))
        kept.failures += 1
        kept.not_before_s = self.clock.monotonic() + pause_s
        kept.error = exc


def broken_off(item: str, exc: Exception) -> AgentError:
    """A fault of ours as an error of what was looked at."""
    return AgentError(
        f"{item}: looking broke off: {type(exc).__name__}: {cut(str(exc), 200)}",
        remedy="please report it; nothing was changed",
        code="INTERNAL",
    )


def _unknown(
    host: str, kind: OperationKind, params: dict[str, Any], exc: AgentError
) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"how {kind} {params['volume']} on {host} ends is not known: {exc.message}",
        remedy=f"on {host}: storage-agent operation {params['operation_id']}; then: "
        f"storage-coordinator status {params['volume']}",
    )
