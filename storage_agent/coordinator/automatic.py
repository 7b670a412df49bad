"""Fails a volume over without a person, where an admin has allowed that and its owner is gone.

Two signals are needed, which come by two ways: the other host's DRBD has lost its connection to the
owner, and the owner answers nothing that we ask. Either alone is no death: a link that is cut, a
daemon that is being restarted, a network of our own that fails. DRBD needs 3 to 6 s for its signal
(ping-int, ping-timeout); a host that stood still for less than `unreachable_s` is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import automatic_refusal
from storage_agent.coordinator.failover import fail_over
from storage_agent.coordinator.fencing import Fence
from storage_agent.coordinator.reaching.rpc import Silent
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.silence import Silence
from storage_agent.coordinator.views import HostView
from storage_agent.model.finding import Severity

# Between two tries of the same failover.
RETRY_S = 10.0
# host, volume key, severity, text
Tell = Callable[[str, str, Severity, str], None]


class AutomaticFailover:
    """view_of: what the host has shown last of the volume.  tell: gets what is done, and why it is
    not.  fence: as for fail_over, or None for a host without a fence agent."""

    def __init__(
        self,
        coordinator: Coordinator,
        silence: Silence,
        view_of: Callable[[VolumeSettings, str], HostView | None],
        tell: Tell,
        fence: Callable[[str], Fence | None],
    ) -> None:
        self._coordinator = coordinator
        self._silence = silence
        self._view_of = view_of
        self._tell = tell
        self._fence = fence
        self._tried_s: dict[str, float] = {}

    def judge(self, volume: VolumeSettings) -> None:
        """Raises AgentError."""
        coordinator, now_s = self._coordinator, self._coordinator.clock.monotonic()
        limit_s = coordinator.settings.deadlines.unreachable_s
        silent = [h for h in volume.hosts if self._silence.of_s(h, now_s) >= limit_s]
        # Both: it is our own network that is gone, or there is nobody who could take over.
        if len(silent) != 1:
            return
        owner, target = silent[0], volume.peer_of(silent[0])
        view = self._view_of(volume, target)
        if view is None or view.is_connected is not False or view.is_primary:
            return
        state = coordinator.store.get(volume.key)
        if state is None or state.owner != owner:
            return
        if now_s - self._tried_s.get(volume.key, -RETRY_S) < RETRY_S:
            return
        self._tried_s[volume.key] = now_s
        if refusal := automatic_refusal(
            state,
            automatic=volume.automatic,
            cooldown_s=volume.cooldown_s,
            unix_s=coordinator.unix_s(),
        ):
            text = f"{owner} is gone, and no failover without a person: {refusal.summary}; " + (
                volume.named_in(refusal, target).remedy
            )
            self._tell(owner, volume.key, Severity.BLOCKER, text)
            return
        silent_s = int(self._silence.of_s(owner, now_s))
        text = f"{owner} is gone for {silent_s} s: failing over"
        self._tell(target, volume.key, Severity.WARNING, text)
        done = fail_over(
            coordinator,
            volume,
            target,
            automatic=True,
            silent=Silent(f"{owner} has answered nothing for {silent_s} s"),
            fence=self._fence(owner),
            on_text=lambda text: self._tell(owner, volume.key, Severity.WARNING, text),
        )
        text, severity = f"{target} serves: {done.proof}", Severity.WARNING
        if not done.are_hooks_done:
            text += "; but a hook failed after it: do by hand what it should have done"
            severity = Severity.BLOCKER
        self._tell(target, volume.key, severity, text)
