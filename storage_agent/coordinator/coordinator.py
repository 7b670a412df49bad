"""The two halves of a coordinator put together: hosts that are asked, and the record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from storage_agent.coordinator.arbiter import (
    Decision,
    State,
    decide_claim,
    epochs_refusal,
    finished,
    seen_in_sync,
)
from storage_agent.coordinator.fleet import Fleet
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.settings import Settings, VolumeSettings
from storage_agent.coordinator.store import Store
from storage_agent.coordinator.views import HostView, VolumeView, host_view, not_adopted
from storage_agent.model.answers import StatusAnswer
from storage_agent.model.clock import Clock
from storage_agent.model.errors import AgentError, Refused
from storage_agent.model.finding import Finding, blocker


class Coordinator:
    """new_id: an operation id nobody has used.  hooks: the site's own."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        store: Store,
        clock: Clock,
        new_id: Callable[[], str],
        hooks: Hooks,
    ) -> None:
        self.settings = settings
        self.fleet = fleet
        self.store = store
        self.clock = clock
        self.new_id = new_id
        self.hooks = hooks

    def unix_s(self) -> int:
        return int(self.clock.wall())

    # --- looking --------------------------------------------------------------------------------

    def look(self, volume: VolumeSettings) -> VolumeView:
        """Both hosts now, each within its deadline. What was seen in sync is recorded."""
        before = self.store.get(volume.key)
        answers = self.fleet.statuses(volume.hosts)
        return self._joined(volume, before, answers)

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
                state = self.note_sync(volume, state, view)
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
            raise refused(decision.refusal)
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
        above all that any of them has seen. takes_over: also from another coordinator; else it is
        refused where an agent knows more than our record.

        Raises Refused, OutcomeUnknown; can be repeated."""
        view = self.look(volume)
        if not takes_over:
            require_epochs(view)
        sole = sole_writer(view)
        claim_id = f"claim-{self.new_id()}"
        decision = self.store.decide(
            volume.key,
            lambda state: decide_claim(state, claim_id, view.epochs(), sole),
            self.unix_s(),
        )
        assert decision.grant is not None
        for host in volume.hosts:
            self.claim(volume, host, decision.grant.epoch, claim_id)
        primary = view.primary()
        self.finish(volume, primary.host if primary else None, decision.grant.epoch)
        self.store.vouch([volume.key])
        return self.look(volume)

    def claim(self, volume: VolumeSettings, host: str, epoch: int, operation_id: str) -> None:
        """From its answer on, the agent refuses everything that was sent with an older epoch."""
        params = {"volume": volume.name, "epoch": epoch, "operation_id": operation_id}
        self.fleet.ask(host, "epoch.claim", params)


def sole_writer(view: VolumeView) -> str | None:
    """Who may have written alone; None: nobody, both copies have everything.

    Raises Refused where that cannot be told."""
    for host in view.hosts:
        if host.error is not None:
            raise Refused(
                f"to take {view.volume.key} over, both hosts must answer: {host.error.message}",
                remedy=host.error.remedy,
                code="BOTH_MUST_ANSWER",
            )
        if host.operation is not None:
            raise Refused(
                f"an operation on {view.volume.name} runs on {host.host}",
                remedy=f"wait for it: on {host.host}: storage-agent operation "
                f"{host.operation.request.operation_id}",
                code="BUSY",
            )
    if view.state is not None and epochs_refusal(view.state, view.epochs()) is None:
        # Neither agent has accepted anything that is not in our record.
        return view.state.sole
    if all(host.is_in_sync for host in view.hosts):
        return None
    primary = view.primary()
    if primary is not None and not primary.is_frozen:
        return primary.host
    raise Refused(
        f"who may write {view.volume.key} cannot be told from what the hosts show",
        remedy="storage-coordinator status; bring the copies in sync, or one host to primary",
        code="OWNER_UNCLEAR",
    )


def require_epochs(view: VolumeView) -> State:
    """Our record, where no agent knows more. Raises Refused."""
    if view.state is None:
        raise refused(not_adopted(view.volume))
    if refusal := epochs_refusal(view.state, view.epochs()):
        raise refused(refusal)
    return view.state


def unproven(volume: VolumeSettings) -> Finding:
    return blocker(
        "STORE_UNPROVEN",
        f"the record of {volume.key} may be an old backup: since the last start of this machine "
        "both hosts have not confirmed it",
        remedy=f"with both hosts reachable: storage-coordinator adopt {volume.key}; if one is dead "
        f"and this disk was never restored: storage-coordinator trust-record {volume.key}",
    )


def refused(finding: Finding) -> Refused:
    return Refused(
        finding.summary, remedy=finding.remedy, code=finding.code, findings=(finding,)
    )  # fmt: skip
