"""The human view of `status`: verdict first, then the layers, then each finding with what to do."""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.cli.rows import Row, place_text, volume_rows
from storage_agent.cli.sync import SyncWatch
from storage_agent.cli.terminal import Screen, Tone
from storage_agent.cli.text import clean, duration_text
from storage_agent.model.answers import StatusAnswer, Verdict
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.operation import OperationRecord, StepOutcome
from storage_agent.model.snapshot import VolumeSnapshot

# A quiet host is looked at anew every 30 s; what happens in between is told by events.
STALE_AFTER_S = 90.0

_MARKS = {Tone.OK: "  ", Tone.WARN: " !", Tone.BAD: "!!", Tone.UNKNOWN: "??"}
_VERDICT_TONES = {
    "serving": Tone.OK,
    "ready": Tone.OK,
    "degraded": Tone.WARN,
    "blocked": Tone.BAD,
}
_SEVERITY_TONES = {
    Severity.BLOCKER: Tone.BAD,
    Severity.WARNING: Tone.WARN,
    Severity.NOTE: Tone.PLAIN,
}


def status_lines(
    answer: StatusAnswer,
    config: AgentConfig | None,
    screen: Screen,
    *,
    now_monotonic_s: float,
    syncs: SyncWatch,
) -> Iterator[str]:
    """config: as far as it is known here. syncs: keeps rates from one call to the next."""
    peer = peer_name(config)
    for name, snapshot in sorted(answer.snapshot.volumes.items()):
        verdict = answer.readiness.get(name)
        tone = _verdict_tone(verdict)
        yield screen.paint(clean(headline(snapshot, verdict, peer)), tone)
        known = config.volumes.get(name) if config else None
        for row in volume_rows(snapshot, peer, known):
            yield row_line(row, screen)
        for line in syncs.lines(snapshot, peer, answer.rates.get(name, {})):
            yield f"   {line}"
        for record in answer.operations:
            if record.request.volume == name:
                yield f"   {clean(operation_text(record))}"
        for finding in verdict.findings if verdict else ():
            yield from finding_lines(finding, screen)
        yield ""
    for problem in answer.problems:
        yield screen.paint(f"!! agent: {clean(problem.code)}: {clean(problem.message)}", Tone.BAD)
        if problem.remedy:
            yield f"      try: {clean(problem.remedy)}"
        yield f"      see: storage-agent explain {clean(problem.code)}"
    for unseen in answer.snapshot.problems:
        yield screen.paint(f"?? unknown: {clean(unseen)}", Tone.UNKNOWN)
    if not answer.snapshot.volumes:
        yield f"no volume is configured on {answer.host}"
    yield _footer(answer, screen, now_monotonic_s)


def _verdict_tone(verdict: Verdict | None) -> Tone:
    if verdict is None:
        return Tone.UNKNOWN
    # Serving with something broken is called degraded, and is no less broken.
    if blockers(verdict.findings):
        return Tone.BAD
    return _VERDICT_TONES.get(verdict.word, Tone.UNKNOWN)


def peer_name(config: AgentConfig | None) -> str:
    """The other host's name; `the peer` where it is not known."""
    peer = config.peer_of(config.host) if config else None
    return peer.name if peer else "the peer"


def headline(snapshot: VolumeSnapshot, verdict: Verdict | None, peer: str) -> str:
    """`data: serving on alpha, ready to move to beta`; `data: BLOCKED: … (standby on beta; CODE)`.

    The code also where nothing follows, as in `--watch` without a terminal."""
    place = place_text(snapshot)
    if verdict is None:
        return f"{snapshot.volume}: UNKNOWN: not judged yet ({place})"
    if verdict.word == "serving":
        alone = snapshot.replica is None
        return f"{snapshot.volume}: {place}" + ("" if alone else f", ready to move to {peer}")
    if verdict.word == "ready":
        return f"{snapshot.volume}: {place}, ready to take over"
    first = _loudest(verdict.findings)
    why, code = (f": {first.summary}", f"; {first.code}") if first else ("", "")
    return f"{snapshot.volume}: {verdict.word.upper()}{why} ({place}{code})"


def row_line(row: Row, screen: Screen) -> str:
    loud = row.tone if row.tone is not Tone.OK else Tone.PLAIN
    mark = _MARKS.get(row.tone, "  ")
    return screen.paint(f"{mark} {row.label:<11}  {clean(row.text)}", loud)


def finding_lines(
    finding: Finding, screen: Screen, program: str = "storage-agent"
) -> Iterator[str]:
    """What is wrong, measured against what is wanted, what one risks, what to type. program: whose
    `explain` is there."""
    from storage_agent.policy.catalogue import CATALOGUE

    tone = _SEVERITY_TONES[finding.severity]
    label = screen.paint(f"{finding.severity.upper()} {clean(finding.code)}", tone)
    yield f"   {label}: {clean(finding.summary)}"
    if finding.measured:
        yield f"      measured: {clean(finding.measured)}"
    if finding.limit:
        yield f"      wanted: {clean(finding.limit)}"
    known = CATALOGUE.get(finding.code)
    if known is not None and known.risk and finding.severity is not Severity.NOTE:
        yield f"      risk: {known.risk}"
    if finding.remedy:
        yield f"      try: {clean(finding.remedy)}"
    yield f"      see: {program} explain {clean(finding.code)}"


def operation_text(record: OperationRecord) -> str:
    """One line: what it is, how it stands, which step runs."""
    request = record.request
    text = f"{request.kind} {request.operation_id}: {record.state}"
    current = [s for s in record.steps if s.outcome in (StepOutcome.RUNNING, StepOutcome.UNDOING)]
    if current:
        return f"{text}, {current[-1].title}"
    return f"{text}, {record.message}" if record.message else text


def _loudest(findings: tuple[Finding, ...]) -> Finding | None:
    order = list(Severity)
    return min(findings, key=lambda finding: order.index(finding.severity), default=None)


def _no_version(answer: StatusAnswer) -> str:
    """The daemon has it from a volume's resource; this command has looked at the module."""
    return "no volume's DRBD resource is up" if answer.agent_version else "DRBD not loaded"


def _footer(answer: StatusAnswer, screen: Screen, now_monotonic_s: float) -> str:
    age_s = max(0.0, now_monotonic_s - answer.snapshot.taken_monotonic_s)
    by = f"storage-agentd {answer.agent_version}" if answer.agent_version else "this command"
    drbd = answer.snapshot.drbd_version
    text = (
        f"{answer.host}, seen {duration_text(age_s)} ago by {by}, "
        + (f"DRBD {drbd}" if drbd else _no_version(answer))
    )  # fmt: skip
    if age_s > STALE_AFTER_S:
        return screen.paint(f"!! STALE: {text}", Tone.BAD)
    return screen.paint(text, Tone.DIM)
