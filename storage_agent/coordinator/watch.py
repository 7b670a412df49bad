"""The service: a subscription to every host, frozen primaries answered, and, where an admin has
allowed it, a failover when a primary is gone.

A thread a host, and one a volume that may fail over by itself, so that none waits for another. What
they share is the record, which decides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from storage_agent.coordinator.automatic import AutomaticFailover
from storage_agent.coordinator.budget import Budget
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import State, claim_refusal
from storage_agent.coordinator.deciding.contradictions import disagreements, is_behind
from storage_agent.coordinator.fencing import Fence
from storage_agent.coordinator.incidents import Answered, answer_incidents
from storage_agent.coordinator.reaching.rpc import Disconnected, Silent, Unreachable
from storage_agent.coordinator.record.lasting import LASTS_S, Contradictions
from storage_agent.coordinator.record.store import RecordBusy, RecordFailed
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.silence import Silence
from storage_agent.coordinator.views import HostView, VolumeView, host_view
from storage_agent.coordinator.withdrawal import settle
from storage_agent.model.answers import StatusAnswer
from storage_agent.model.clock import Deadline
from storage_agent.model.errors import AgentError
from storage_agent.model.finding import Severity

HEARTBEAT_S = 2.0
HEARTBEAT_TIMEOUT_S = 4.0
# Looks at one host at once, by its hints, and after that one in so many seconds.
LOOKS = 20
LOOK_EVERY_S = 0.25
# Adoptions that the service tries by itself: each takes an epoch, whatever a host shows after it.
PROOFS = 10
PROOF_EVERY_S = 20.0
JUDGE_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, for the journal and the hooks. kind: incident, host, failover, record,
    contradiction.  volume: empty for what concerns a host.  severity: note, warning, blocker."""

    kind: str
    host: str
    volume: str
    severity: Severity
    text: str


class Watch:
    """tell: gets every event, from several threads; must not block. fence: as for fail_over, or
    None for a host without a fence agent."""

    def __init__(
        self,
        coordinator: Coordinator,
        tell: Callable[[Event], None],
        fence: Callable[[str], Fence | None] = lambda _host: None,
    ) -> None:
        self._coordinator = coordinator
        self._tell = tell
        self._stopping = threading.Event()
        self._hints = {host: threading.Event() for host in coordinator.settings.hosts}
        self._silence = Silence()
        self._views: dict[tuple[str, str], HostView] = {}
        self._contradictions = Contradictions()
        self._last_told: dict[tuple[str, str, str], str] = {}
        self._looks = Budget(LOOKS, LOOK_EVERY_S)
        self._proofs = Budget(PROOFS, PROOF_EVERY_S)
        self._threads: list[threading.Thread] = []
        self._automatic = AutomaticFailover(
            coordinator,
            self._silence,
            lambda volume, host: self._views.get((volume.key, host)),
            lambda host, volume, severity, text: self._tell_change(
                "failover", host, volume, severity, text
            ),
            fence,
        )
        # Takeovers at a time; whoever waits for one judges after that.
        self._may_judge = threading.BoundedSemaphore(coordinator.settings.parallel)

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        for host in self._coordinator.settings.hosts:
            self._start(f"watch {host}", lambda host=host: self._keep(host))  # type: ignore[misc]
        for volume in self._coordinator.settings.volumes.values():
            if volume.automatic:
                self._start(f"judge {volume.key}", lambda volume=volume: self._judge(volume))  # type: ignore[misc]

    def stop(self) -> None:
        """No new decision is made after its return; one under way is in the record."""
        self._stopping.set()
        for hint in self._hints.values():
            hint.set()
        deadline = Deadline.after(self._coordinator.clock, HEARTBEAT_TIMEOUT_S)
        for thread in self._threads:
            thread.join(deadline.left_s(self._coordinator.clock))

    def hint(self, host: str, method: str = "changed", _params: Any = None) -> None:
        """Something happened there: look now. For Fleet's on_notification and on_end."""
        if method != "operation.progress" and host in self._hints:
            self._hints[host].set()

    def summary(self) -> str:
        """One line for `systemctl status`."""
        hosts = self._coordinator.settings.hosts
        count = sum(self._coordinator.fleet.is_connected(host) for host in hosts)
        return f"{count} of {len(hosts)} hosts connected"

    def _start(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    # --- one host -------------------------------------------------------------------------------

    def _keep(self, host: str) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            pause_s = HEARTBEAT_S
            if self.try_to_look(host):
                self._hints[host].wait(HEARTBEAT_S)
                self._hints[host].clear()
                is_early = self._looks.take(host, self._coordinator.clock.monotonic())
                pause_s = 0.0 if is_early else LOOK_EVERY_S

    def try_to_look(self, host: str) -> bool:
        """A look, and what is in its way told. False where it could not be ended."""
        try:
            self.look(host)
        except (RecordBusy, RecordFailed) as exc:
            # The host has done nothing wrong.
            self._tell_change("record", host, "", Severity.BLOCKER, exc.message)
        except AgentError as exc:
            self._tell_change("host", host, "", Severity.WARNING, exc.message)
            if not isinstance(exc, Unreachable):
                self._coordinator.fleet.drop(host)
        except Exception as exc:
            # A fault of ours: whoever freezes there next must still be answered.
            self._tell_change("host", host, "", Severity.BLOCKER, _broken_off(exc))
        else:
            self._tell_change("host", host, "", Severity.NOTE, "answers")
            if ("record", host, "") in self._last_told:
                text = "the record can be used again"
                self._tell_change("record", host, "", Severity.NOTE, text)
            return True
        return False

    def look(self, host: str) -> None:
        """One look at a host: incidents first, then what it shows. Raises AgentError."""
        self._silence.asked(host, self._coordinator.clock.monotonic())
        try:
            status, records = self._ask(host)
        except (Unreachable, Disconnected, Silent):
            self._silence.failed(host, self._coordinator.clock.monotonic())
            raise
        except Exception:
            # It has answered, or the fault is ours.
            self._silence.heard(host)
            raise
        self._silence.heard(host)
        for volume in self._volumes(host):
            view = host_view(volume.name, host, status)
            self._views[volume.key, host] = view
            if view.is_connected is False:
                # Whether the other one is still there has to be known now.
                self._coordinator.fleet.try_again(volume.peer_of(host))
            record = records[volume.key]
            joined = self._joined(volume, record)
            missed = joined is not None and is_behind(joined)
            if record is not None:
                self._coordinator.note_guard(volume, record, view)
            if record is None or missed or self._is_unheard(volume, record):
                self._prove(volume, host, is_known=record is not None)
            elif record.sole == host:
                self._coordinator.note_sync(volume, record, view)
            if joined is not None:
                self._settle(host, joined)
                self._compare(joined)

    def _ask(self, host: str) -> tuple[StatusAnswer, dict[str, State | None]]:
        """What it shows, and the records as they were before it was asked."""
        for answered in answer_incidents(self._coordinator, host):
            event = _answered_event(answered)
            self._tell_change(event.kind, event.host, event.volume, event.severity, event.text)
        records = {
            volume.key: self._coordinator.store.get(volume.key) for volume in self._volumes(host)
        }
        # Again on the same session it changes nothing, and answers like `status`.
        return self._coordinator.fleet.subscribe(host), records

    def _joined(self, volume: VolumeSettings, record: State | None) -> VolumeView | None:
        """What both hosts have shown last; None where one of them has not for a while."""
        now_s = self._coordinator.clock.monotonic()
        one, two = (self._views.get((volume.key, host)) for host in volume.hosts)
        if one is None or two is None or record is None:
            return None
        if any(self._silence.owes_since(host, now_s, LASTS_S) for host in volume.hosts):
            return None
        return VolumeView(volume=volume, hosts=(one, two), state=record)

    def _settle(self, host: str, view: VolumeView) -> None:
        """A failover that nobody saw the end of keeps everybody else from being chosen."""
        grant = view.state.grant if view.state else None
        if grant is None or grant.host != host:
            return
        try:
            settle(self._coordinator, view)
        except AgentError as exc:
            text = f"how the failover to {host} has ended is not known: {exc.message}"
            self._tell_change("record", host, view.volume.key, Severity.WARNING, text)

    def _compare(self, view: VolumeView) -> None:
        """Tells what the hosts have contradicted each other in for a while, or do no longer."""
        now_s = self._coordinator.clock.monotonic()
        for finding, is_there in self._contradictions.seen(
            view.volume.key, disagreements(view), now_s
        ):
            self._tell(
                Event(
                    kind="contradiction",
                    host="",
                    volume=view.volume.key,
                    severity=finding.severity if is_there else Severity.NOTE,
                    text=f"{finding.code}: {finding.summary}"
                    if is_there
                    else f"{finding.code}: no more",
                )
            )

    def _is_unheard(self, volume: VolumeSettings, record: State) -> bool:
        """Whether both agents have to be asked for their ear: after a start of this machine, an
        adoption that was broken off, or where one of them listens to nobody, or to an earlier claim
        of ours."""
        views = [self._views.get((volume.key, host)) for host in volume.hosts]
        stale = {"", *(claimed.coordinator for claimed in record.former)}
        return (
            not self._coordinator.store.is_proven(volume.key)
            or claim_refusal(record) is not None
            or any(v is not None and v.error is None and v.coordinator in stale for v in views)
        )

    def _prove(self, volume: VolumeSettings, host: str, *, is_known: bool) -> None:
        """Both agents must confirm the record; then it counts. Where one of them is gone, an
        adoption that was broken off goes on with the other one."""
        if not is_known:
            self._tell_change(
                "record",
                "",
                volume.key,
                Severity.WARNING,
                f"never adopted: storage-coordinator adopt {volume.key}",
            )
            return
        gone = volume.peer_of(host)
        is_alone = not self._coordinator.fleet.is_connected(gone)
        # One of the two threads does it.
        if not is_alone and host != volume.hosts[0]:
            return
        if not self._proofs.take(volume.key, self._coordinator.clock.monotonic()):
            return
        try:
            if is_alone:
                limit_s = self._coordinator.settings.deadlines.unreachable_s
                now_s = self._coordinator.clock.monotonic()
                is_gone = self._silence.owes_since(gone, now_s, limit_s)
                if not is_gone or not self._coordinator.go_on_alone(volume):
                    return
                text = f"the adoption that was broken off goes on with {host} alone"
                self._tell_change("record", "", volume.key, Severity.WARNING, text)
            else:
                shown = self._coordinator.adopt(volume, takes_over=False)
                for view in shown.hosts:
                    if view.error is None:
                        self._views[volume.key, view.host] = view
                text = "confirmed by both hosts"
                self._tell_change("record", "", volume.key, Severity.NOTE, text)
            # What was asked meanwhile is answered at once.
            for name in volume.hosts:
                self.hint(name)
        except AgentError as exc:
            # An operation on its way ends, which is a hint to look again.
            severity = Severity.NOTE if exc.code == "BUSY" else Severity.BLOCKER
            self._tell_change("record", "", volume.key, severity, exc.message)

    # --- failing over ---------------------------------------------------------------------------

    def _judge(self, volume: VolumeSettings) -> None:
        while not self._pauses(self._stopping.wait):
            if not self._pauses(lambda s: not self._may_judge.acquire(timeout=s)):
                try:
                    if not self._stopping.is_set():
                        self._try_to_judge(volume)
                finally:
                    self._may_judge.release()

    def _pauses(self, wait: Callable[[float], bool]) -> bool:
        """Whatever it returns, after JUDGE_S at most; where that takes longer we were asleep."""
        end_s = self._coordinator.clock.monotonic() + JUDGE_S
        found = wait(JUDGE_S)
        self._silence.woke(end_s, self._coordinator.clock.monotonic())
        return found

    def _try_to_judge(self, volume: VolumeSettings) -> None:
        try:
            self.judge(volume)
        except AgentError as exc:
            text = f"no failover: {exc.message}"
            self._tell_change("failover", "", volume.key, Severity.BLOCKER, text)
        except Exception as exc:
            self._tell_change("failover", "", volume.key, Severity.BLOCKER, _broken_off(exc))

    def judge(self, volume: VolumeSettings) -> None:
        """Fails over if the owner is gone. Raises AgentError."""
        self._automatic.judge(volume)

    # --- telling --------------------------------------------------------------------------------

    def _volumes(self, host: str) -> list[VolumeSettings]:
        return [v for v in self._coordinator.settings.volumes.values() if host in v.hosts]

    def _tell_change(
        self, kind: str, host: str, volume: str, severity: Severity, text: str
    ) -> None:  # fmt: skip
        """Only what was not told last."""
        if self._last_told.get((kind, host, volume)) != text:
            self._last_told[kind, host, volume] = text
            self._tell(Event(kind=kind, host=host, volume=volume, severity=severity, text=text))


def _broken_off(exc: Exception) -> str:
    return f"looking broke off, goes on; please report it: {type(exc).__name__}: {exc}"


def _answered_event(answered: Answered) -> Event:
    verdict = answered.verdict or "no answer"
    return Event(
        kind="incident",
        host=answered.host,
        volume=answered.volume,
        severity=Severity.WARNING if answered.verdict else Severity.BLOCKER,
        text=f"{answered.host} is frozen and asks: {verdict} ({answered.why})",
    )
