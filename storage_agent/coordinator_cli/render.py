"""Both hosts of a volume for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from storage_agent.cli.render_status import finding_lines
from storage_agent.cli.terminal import Screen, Tone
from storage_agent.cli.text import clean, eta_text, size_text
from storage_agent.coordinator.failover import Loss, TakeoverCheck
from storage_agent.coordinator.move_check import MoveCheck
from storage_agent.coordinator.views import HostView, VolumeView
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.observed import Unobserved

PROGRAM = "storage-coordinator"


def view_lines(view: VolumeView, found: tuple[Finding, ...], screen: Screen) -> Iterator[str]:
    """The verdict, a line a host, what does not fit together, and what to do."""
    is_bad = any(f.severity is Severity.BLOCKER for f in found)
    tone = Tone.BAD if is_bad else Tone.WARN if found else Tone.OK
    yield screen.paint(clean(headline(view)), tone)
    for host in view.hosts:
        yield f"   {host.host:<12} {clean(host_text(host))}"
    if view.state is not None:
        yield f"   {'record':<12} {record_text(view)}"
    for finding in found:
        yield from finding_lines(finding, screen, PROGRAM)


def headline(view: VolumeView) -> str:
    """`office/data: serves from alpha, ready to move to beta`."""
    key, primary = view.volume.key, view.primary()
    if primary is None:
        return f"{key}: NOT SERVED by a host that can be told"
    if primary.is_frozen:
        return f"{key}: FROZEN on {primary.host}"
    if not primary.is_serving:
        return f"{key}: primary on {primary.host}, and does not serve"
    peer = view.peer_of(primary.host)
    if all(host.is_in_sync for host in view.hosts):
        unsealed = "" if view.is_sealed or view.state is None else "; NOT SEALED"
        return f"{key}: serves from {primary.host}, in sync with {peer.host}{unsealed}"
    return f"{key}: serves from {primary.host}, NO FALLBACK: {peer.host} is not in sync"


def host_text(host: HostView) -> str:
    """`Primary, UpToDate, Connected; serving; epoch 7`."""
    if host.error is not None:
        return f"unknown: {host.error.message}"
    replica = host.replica
    if replica is None:
        seen = host.snapshot.decidable().replica if host.snapshot else None
        why = f": {seen.reason}" if isinstance(seen, Unobserved) else ""
        return f"no replica is seen{why}"
    parts = [str(replica.role), str(replica.disk)]
    if replica.suspended:
        parts.append(f"writes frozen ({', '.join(replica.suspended)})")
    if replica.peer is not None:
        parts.append(str(replica.peer.connection))
        if behind := replica.peer.out_of_sync_bytes:
            parts.append(f"{size_text(behind)} out of sync")
    verdict = host.verdict.word if host.verdict else "not judged"
    running = f"; {host.operation.request.kind} runs" if host.operation else ""
    return f"{', '.join(parts)}; {verdict}; epoch {host.epoch}{running}"


def record_text(view: VolumeView) -> str:
    """`epoch 7, owner alpha; alpha alone since then`."""
    state = view.state
    assert state is not None
    text = f"epoch {state.epoch}, owner {state.owner or 'nobody'}"
    if state.sole is not None:
        text += f"; only {state.sole} may write until both were seen in sync"
    if state.automatic_used:
        text += "; has failed over by itself"
    return text


def view_document(view: VolumeView, found: tuple[Finding, ...]) -> dict[str, Any]:
    """One line of `status --json`."""
    return {
        "schema_version": 1,
        "volume": view.volume.key,
        "headline": headline(view),
        "hosts": {host.host: _host_document(host) for host in view.hosts},
        "is_sealed": view.is_sealed,
        "record": view.state,
        "findings": found,
    }


def _host_document(host: HostView) -> dict[str, Any]:
    if host.error is not None:
        return {"error": {"code": host.error.code, "message": host.error.message}}
    return {
        "role": host.role,
        "is_serving": host.is_serving,
        "is_frozen": host.is_frozen,
        "is_in_sync": host.is_in_sync,
        "epoch": host.epoch,
        "readiness": host.verdict.word if host.verdict else None,
        "config_digest": host.config_digest,
        "operation_id": host.operation.request.operation_id if host.operation else None,
        "replica": host.replica,
    }


def move_lines(view: VolumeView, move: MoveCheck, screen: Screen) -> Iterator[str]:
    """`switchover alpha to beta: yes`, or no with each reason."""
    source = move.source or view.peer_of(move.target).host
    yield from _verdict(f"switchover {source} to {move.target}", move.findings, screen)


def takeover_lines(check: TakeoverCheck, when: str, screen: Screen) -> Iterator[str]:
    """As move_lines; what would be lost, and what proves that the other host does not write."""
    yield from _verdict(f"failover to {check.target}{when}", check.findings, screen)
    if check.loss is not None:
        yield f"      lost: {loss_text(check.loss)}"
    if check.proof:
        yield f"      proof: {check.proof}"


def findings_lines(findings: Sequence[Finding], screen: Screen) -> Iterator[str]:
    """One after the other; nothing where there are none."""
    for finding in findings:
        yield from finding_lines(finding, screen, PROGRAM)


def _verdict(what: str, findings: tuple[Finding, ...], screen: Screen) -> Iterator[str]:
    word, tone = ("no", Tone.BAD) if blockers(findings) else ("yes", Tone.OK)
    yield screen.paint(f"   {what}: {word}", tone)
    for finding in findings:
        yield from finding_lines(finding, screen, PROGRAM)


def loss_text(loss: Loss) -> str:
    """`nothing: in sync until …`, or what may be missing."""
    if loss.is_proven:
        return f"nothing: {loss.why}"
    since = "not known since when" if loss.seconds is None else f"the last {eta_text(loss.seconds)}"
    known = "bytes not known" if loss.bytes is None else size_text(loss.bytes)
    return f"{since}, {known}: {loss.why}"
