"""The two halves of a coordinator put together: hosts that are asked, and the record."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from storage_agent.coordinator.background import Background, Promote
from storage_agent.coordinator.budget import Budget
from storage_agent.coordinator.deciding.arbiter import (
    Decision,
    State,
    claim_refusal,
    finished,
    seen_guarded,
    seen_in_sync,
)
from storage_agent.coordinator.deciding.claims import (
    adopted,
    decide_claim,
    goes_on,
    is_newest,
)
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.reaching.answers import replica_of
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.reaching.rpc import Disconnected, Silent, Unreachable
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator.requirements import (
    refused,
    require_plausible,
    require_quiet,
    require_untaken,
    sole_writer,
    unproven,
    with_replicas,
)
from storage_agent.coordinator.settings import Settings, VolumeSettings
from storage_agent.coordinator.views import (
    HostView,
    VolumeView,
    host_view,
    not_adopted,
)
from storage_agent.model.answers import StatusAnswer
from storage_agent.model.clock import Clock, Deadline
from storage_agent.model.errors import AgentError, Busy
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import Replica

# New incidents of one volume on one host that get an epoch: a link that comes and goes wants one
# each time.
INCIDENT_BURST = 10
INCIDENT_EVERY_S = 10.0

# How long a person's adoption waits for an operation that has begun meanwhile.
BUSY_S = 15.0
BUSY_PAUSE_S = 0.5


class Coordinator:
    """new_id: an operation id nobody has used.  hooks: the site's own.  in_background: how a
    promotion goes on while something else is asked."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        store: Store,
        clock: Clock,
        new_id: Callable[[], str],
        hooks: Hooks,
        in_background: Callable[[Promote], Background] = Background,
    ) -> None:
        self.settings = settings
        self.fleet = fleet
        self.store = store
        self.clock = clock
        self.new_id = new_id
        self.hooks = hooks
        self.in_background = in_background
        self.incident_budget = Budget(INCIDENT_BURST, INCIDENT_EVERY_S)
        # By volume and host: which incident was denied last, and under which epoch.
        self.denied: dict[tuple[str, str], tuple[str, int]] = {}

    def unix_s(self) -> int:
        return int(self.clock.wall())

    # --- looking --------------------------------------------------------------------------------

    def look(
        self, volume: VolumeSettings, known: Mapping[str, AgentError] = MappingProxyType({})
    ) -> VolumeView:
        """Both hosts now, each within its deadline. What was seen in sync is recorded. known: why
        a host gives no answer, which is not asked."""
        before = self.store.get(volume.key)
        answers = self.fleet.statuses(host for host in volume.hosts if host not in known)
        return self._joined(volume, before, {**answers, **known})

    def look_at_all(self, volumes: Iterable[VolumeSettings]) -> Iterator[VolumeView]:
        """Every host is asked once, all in parallel; each volume as soon as both its hosts have
        answered or failed."""
        waiting = {volume.key: volume for volume in volumes}
        before = {key: self.store.get(key) for key in waiting}
        answers: dict[str, StatusAnswer | AgentError] = {}
        hosts = dict.fromkeys(host for volume in waiting.values() for host in volume.hosts)
        for host, answer in self.fleet.as_answered(hosts, self.fleet.status):
            answers[host] = answer
            ready = [v for v in waiting.values() if all(h in answers for h in v.hosts)]
            for volume in ready:
                del waiting[volume.key]
                yield self._joined(volume, before[volume.key], answers)

    def _joined(
        self,
        volume: VolumeSettings,
        before: State | None,
        answers: dict[str, StatusAnswer | AgentError],
    ) -> VolumeView:
        """before: the record as it was before the hosts were asked."""
        one, two = (host_view(volume.name, host, answers[host]) for host in volume.hosts)
        state = before
        for view in (one, two):
            if state is not None:
                state = self.note_sync(volume, self.note_guard(volume, state, view), view)
        return VolumeView(volume=volume, hosts=(one, two), state=state)

    def note_sync(self, volume: VolumeSettings, asked: State, view: HostView) -> State:
        """Records what a look says of who may write. asked: the record before it was asked for."""
        if asked.sole != view.host or view.snapshot is None:
            return asked
        snapshot = view.snapshot

        def rule(state: State) -> State:
            if state.revision != asked.revision:
                return state
            return seen_in_sync(
                state,
                view.host,
                snapshot.boot_id,
                taken_s=snapshot.taken_monotonic_s,
                now_s=view.now_s,
                is_in_sync=view.is_in_sync,
            )

        return self.store.change(volume.key, rule) or asked

    def note_guard(self, volume: VolumeSettings, known: State, view: HostView) -> State:
        """Records whether the host would stand still without its peer."""
        is_guarded = view.is_guarded
        if view.error is not None or is_guarded is (view.host in known.guarded):
            return known

        def rule(state: State) -> State:
            return seen_guarded(state, view.host, is_guarded=is_guarded)

        changed = self.store.change(volume.key, rule)
        return known if changed is None else dataclasses.replace(known, guarded=changed.guarded)

    # --- the record -----------------------------------------------------------------------------

    def decide(self, volume: VolumeSettings, rule: Callable[[State], Decision]) -> Decision:
        """Durable on return. Raises Refused: NOT_ADOPTED, STORE_UNPROVEN, the rule's own."""

        def known(state: State | None) -> Decision:
            if state is None:
                return Decision(state=State(epoch=0), refusal=not_adopted(volume))
            return rule(state)

        if self.store.get(volume.key) is None:
            raise refused(not_adopted(volume))
        if not self.store.is_proven(volume.key):
            raise refused(unproven(volume))
        decision = self.store.decide(volume.key, known, self.unix_s())
        if decision.refusal is not None:
            raise refused(volume.named_in(decision.refusal))
        return decision

    def finish(self, volume: VolumeSettings, owner: str | None, epoch: int) -> None:
        """The grant of this epoch is carried out."""
        unix_s = self.unix_s()

        def rule(state: State) -> State:
            if state.grant is None or state.grant.epoch != epoch:
                return state
            return finished(state, owner=owner, unix_s=unix_s)

        self.store.change(volume.key, rule)

    # --- taking a volume over -------------------------------------------------------------------

    def adopt(self, volume: VolumeSettings, *, takes_over: bool = True) -> VolumeView:
        """Makes this coordinator the only one that the agents listen to: both accept a new epoch,
        above all that any of them has seen. takes_over: a person wants it, also from another
        coordinator; else it is refused where an agent knows more than our record, or listens to
        somebody else, and waits for nothing.

        Raises Refused, Busy, OutcomeUnknown; can be repeated. Until it has succeeded nothing is
        granted.
        """
        view = self.look(volume)
        if not takes_over:
            require_untaken(view)
        require_quiet(view)
        require_plausible(view)
        heard = view.coordinators()
        if not is_newest(view.state, view.epochs(), heard):
            sole_writer(view)
        claim_id = f"claim-{self.new_id()}"
        state = self.store.decide(
            volume.key,
            lambda known: decide_claim(known, claim_id, view.epochs(), heard),
            self.unix_s(),
        ).state
        deadline = Deadline.after(self.clock, BUSY_S if takes_over else 0.0)
        for host in volume.hosts:
            succeeds = heard[host] if goes_on(state) else None
            self._claim_when_free(volume, host, state, succeeds, deadline)
        sole = state.sole
        if not goes_on(state):
            # Now that both listen to nobody else, the same again shows what was done until then.
            shown = [self.claim(volume, host, state, claim_id) for host in volume.hosts]
            view = with_replicas(view, shown)
            sole = sole_writer(view)
        primary = view.primary()
        self._adopted(volume, state, sole, primary.host if primary else None)
        return self.look(volume)

    def _claim_when_free(
        self,
        volume: VolumeSettings,
        host: str,
        state: State,
        succeeds: str | None,
        deadline: Deadline,
    ) -> None:
        """An operation that has begun since the look is waited for, as long as the deadline
        allows. Raises Busy and what `claim` does."""
        while True:
            try:
                self.claim(volume, host, state, state.coordinator, succeeds)
                return
            except Busy:
                if deadline.left_s(self.clock) <= 0:
                    raise
                self.clock.sleep(BUSY_PAUSE_S)

    def trust(self, volume: VolumeSettings) -> None:
        """A person says that the record is the newest, also where one host is dead. Raises Refused
        where an adoption was begun without one: there is nothing to be trusted."""
        state = self.store.get(volume.key)
        if state is None or (refusal := claim_refusal(state)) is None:
            self.store.vouch([volume.key])
            return
        if not goes_on(state):
            raise refused(volume.named_in(refusal))
        self._go_on_with(volume, state, self._accepting(volume, state))

    def go_on_alone(self, volume: VolumeSettings) -> bool:
        """An adoption was broken off, and one host is gone since: the other one's ear is enough
        where the record is known to be the newest, for whoever else wants to grant anything needs
        it, too. False where that is not so."""
        state = self.store.get(volume.key)
        if state is None or claim_refusal(state) is None or not goes_on(state):
            return False
        if not self.store.is_proven(volume.key):
            return False
        accepting = self._accepting(volume, state)
        if accepting:
            self._go_on_with(volume, state, accepting)
        return bool(accepting)

    def _accepting(self, volume: VolumeSettings, state: State) -> list[str]:
        """Who accepts the claim that was broken off; a host that is gone does not. Raises
        AgentError: one is there and refuses."""
        accepting = []
        for view in self.look(volume).hosts:
            if view.error is None:
                with contextlib.suppress(Unreachable, Disconnected, Silent):
                    self.claim(volume, view.host, state, state.coordinator, view.coordinator)
                    accepting.append(view.host)
        return accepting

    def _go_on_with(self, volume: VolumeSettings, state: State, accepting: list[str]) -> None:
        by_both = set(accepting) == set(volume.hosts)
        self._adopted(volume, state, state.sole, state.owner, by_both=by_both)

    def _adopted(
        self,
        volume: VolumeSettings,
        claimed: State,
        sole: str | None,
        owner: str | None,
        *,
        by_both: bool = True,
    ) -> None:
        unix_s = self.unix_s()

        def rule(state: State) -> State:
            if state.grant != claimed.grant:
                return state
            return adopted(state, sole, owner, unix_s, by_both=by_both)

        self.store.change(volume.key, rule)
        self.store.vouch([volume.key])

    def claim(
        self,
        volume: VolumeSettings,
        host: str,
        state: State,
        operation_id: str,
        succeeds: str | None = None,
    ) -> Replica | Unobserved | None:
        """From its answer on, the agent refuses everything that was sent with an older epoch than
        the state's, which is durable. succeeds: it accepts that only from whoever listens to this
        claim of ours.  Returns the replica as it was seen after that."""
        params = {
            "volume": volume.name,
            "epoch": state.epoch,
            "operation_id": operation_id,
            "coordinator": state.coordinator,
        }
        if succeeds is not None:
            params["succeeds"] = succeeds
        return replica_of(host, self.fleet.ask(host, "epoch.claim", params))
