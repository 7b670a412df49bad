"""What the two hosts must show, and our record say, before anything is decided: else a refusal."""

from __future__ import annotations

import dataclasses

from storage_agent.coordinator.deciding.arbiter import (
    State,
    coordinator_refusal,
    epochs_refusal,
)
from storage_agent.coordinator.deciding.claims import Shown, shown_sole, untaken_refusal
from storage_agent.coordinator.deciding.contradictions import epoch_missing
from storage_agent.coordinator.deciding.epochs import implausible
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.views import VolumeView, not_adopted
from storage_agent.model.errors import Refused
from storage_agent.model.finding import Finding, blocker
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import Replica


def with_replicas(view: VolumeView, shown: list[Replica | Unobserved | None]) -> VolumeView:
    """As the hosts have answered anew, one by one."""
    one, two = (
        dataclasses.replace(host, snapshot=dataclasses.replace(host.snapshot, replica=replica))
        for host, replica in zip(view.hosts, shown, strict=True)
        if host.snapshot is not None
    )
    return dataclasses.replace(view, hosts=(one, two))


def require_quiet(view: VolumeView) -> None:
    """Raises Refused."""
    for host in view.hosts:
        if host.error is not None:
            raise Refused(
                f"to take {view.volume.key} over, both hosts must answer: {host.error.message}",
                remedy=host.error.remedy or f"storage-coordinator ping {host.host}",
                code="BOTH_MUST_ANSWER",
            )
        if host.operation is not None:
            raise Refused(
                f"an operation on {view.volume.name} runs on {host.host}",
                remedy=f"wait for it: on {host.host}: storage-agent operation "
                f"{host.operation.request.operation_id}",
                code="BUSY",
            )
        if host.snapshot is None:
            raise Refused(
                f"{host.host} does not know the volume {view.volume.name}",
                remedy=f"on {host.host}: storage-agent config show",
                code="VOLUME_MISSING",
            )
        if host.epoch is None:
            raise Refused(
                f"{host.host} has no usable epoch of {view.volume.name}",
                remedy=epoch_missing(view, host).remedy,
                code="EPOCH_MISSING",
            )


def require_plausible(view: VolumeView) -> None:
    """Before anything is stored: a record above an epoch that nobody can have given would be of no
    use any more. Raises Refused."""
    record = view.state.epoch if view.state else None
    volume = view.volume
    if (odd := implausible(volume.name, volume.key, record, view.epochs())) is not None:
        raise refused(odd)


def sole_writer(view: VolumeView) -> str | None:
    """Who may have written alone; None: nobody, both copies have everything.

    Raises Refused where that cannot be told."""
    shown = {
        host.host: Shown(
            is_in_sync=host.is_in_sync, is_writing=host.is_primary and not host.is_frozen
        )
        for host in view.hosts
        if host.replica is not None
    }
    is_known, sole = shown_sole(shown)
    if is_known and len(shown) == len(view.hosts):
        return sole
    raise Refused(
        f"who may write {view.volume.key} cannot be told from what the hosts show",
        remedy=_unclear_remedy(view),
        code="OWNER_UNCLEAR",
    )


def _unclear_remedy(view: VolumeView) -> str:
    key, name = view.volume.key, view.volume.name
    again = f"storage-coordinator adopt {key}"
    if all(host.is_connected for host in view.hosts):
        return f"wait for the resync: storage-coordinator status {key}; then: {again}"
    frozen = [host.host for host in view.hosts if host.is_primary and host.is_frozen]
    back = f"mend what connects the two: on both: storage-agent status {name}"
    if frozen:
        return f"{back}; connected, {frozen[0]} goes on by itself; then: {again}"
    return f"{back}; once both copies are in sync: {again}"


def require_untaken(view: VolumeView) -> None:
    """Nobody but us has been told anything, or only those who have told it are forgotten. Raises
    Refused."""
    if view.state is None:
        raise refused(not_adopted(view.volume))
    refusal = untaken_refusal(view.state, view.epochs(), view.coordinators())
    if refusal is not None:
        raise refused(view.volume.named_in(refusal))


def require_epochs(view: VolumeView) -> State:
    """Our record, where no agent knows more, and each listens to us. Raises Refused."""
    if view.state is None:
        raise refused(not_adopted(view.volume))
    refusal = epochs_refusal(view.state, view.epochs()) or coordinator_refusal(
        view.state, view.coordinators()
    )
    if refusal is not None:
        raise refused(view.volume.named_in(refusal))
    return view.state


def unproven(volume: VolumeSettings) -> Finding:
    return blocker(
        "STORE_UNPROVEN",
        f"the record of {volume.key} may be an old backup: since the last start of this machine "
        "both hosts have not confirmed it",
        measured="not confirmed since the last start",
        limit="a new epoch that both hosts have accepted",
        remedy=f"with both hosts reachable: storage-coordinator adopt {volume.key}; if one is dead "
        f"and this disk was never restored: storage-coordinator trust-record {volume.key}",
    )


def refused(finding: Finding) -> Refused:
    return Refused(
        finding.summary, remedy=finding.remedy, code=finding.code, findings=(finding,)
    )  # fmt: skip
