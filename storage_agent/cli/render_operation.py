"""The progress of an operation, one line a step."""

from __future__ import annotations

from storage_agent.cli.terminal import Screen, Tone
from storage_agent.cli.text import clean, duration_text
from storage_agent.model.operation import OperationRecord, OperationState, StepOutcome, StepRecord

_SIGNS = {
    StepOutcome.DONE: ("✓", "ok", Tone.OK),
    StepOutcome.ALREADY: ("✓", "ok", Tone.OK),
    StepOutcome.FAILED: ("✗", "FAILED", Tone.BAD),
    StepOutcome.UNDONE: ("↩", "undone", Tone.WARN),
    StepOutcome.UNDO_FAILED: ("✗", "UNDO FAILED", Tone.BAD),
    StepOutcome.RUNNING: ("…", "...", Tone.PLAIN),
    StepOutcome.UNDOING: ("↩", "undoing", Tone.PLAIN),
}
NOTE_EVERY_S = 10.0

_UNDOING_ENDED = frozenset({StepOutcome.UNDONE, StepOutcome.UNDO_FAILED})
_UNENDED = frozenset({StepOutcome.RUNNING, StepOutcome.UNDOING})


def step_line(step: StepRecord, screen: Screen, *, running_s: float | None = None) -> str:
    """`  ✓ mount /srv/data  0.3 s`. running_s: for a step that has not ended."""
    sign, word, tone = _SIGNS[step.outcome]
    text = f"  {screen.paint(sign if screen.unicode else word, tone)} {clean(step.title)}"
    if step.outcome is StepOutcome.ALREADY:
        return f"{text}  already so"
    duration_s = step.duration_s if running_s is None else running_s
    if duration_s is not None:
        text += f"  {duration_text(duration_s)}"
    if step.outcome in _UNDOING_ENDED:
        text += f"  {step.outcome.replace('-', ' ')}"
    return f"{text}  {clean(step.detail)}" if step.detail else text


class ProgressPrinter:
    """Prints each step once when it ends, and on a terminal the running one in place.

    The engine appends to `steps`: what is undone comes after what was done.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._printed = 0
        self._current: StepRecord | None = None
        self._waiting = ""
        self._since_s: float | None = None

    def update(self, record: OperationRecord, now_s: float) -> None:
        """now_s: monotonic."""
        ended = [step for step in record.steps if step.outcome not in _UNENDED]
        for step in ended[self._printed :]:
            self._screen.line(step_line(step, self._screen))
        self._printed = max(self._printed, len(ended))
        current = next((s for s in record.steps if s.outcome in _UNENDED), None)
        if current != self._current or self._since_s is None:
            self._current, self._since_s = current, now_s
        is_early = record.state is OperationState.RUNNING and not record.steps
        self._wait(record.message if is_early else "", now_s)
        self.tick(now_s)

    def _wait(self, message: str, now_s: float) -> None:
        """Before the first step: what it waits for. On a log a line every ten seconds."""
        self._waiting = message
        assert self._since_s is not None
        if message and not self._screen.is_terminal and now_s - self._since_s >= NOTE_EVERY_S:
            self._since_s = now_s
            self._screen.line(f"  {clean(message)}")

    def tick(self, now_s: float) -> None:
        """Called several times a second, so that the running step's time moves."""
        if self._current is not None and self._since_s is not None:
            running_s = now_s - self._since_s
            line = step_line(self._current, self._screen, running_s=running_s)
            self._screen.transient(line)
        elif self._waiting:
            self._screen.transient(f"  {clean(self._waiting)}")
        else:
            self._screen.drop_transient()

    def close(self) -> None:
        self._screen.drop_transient()


def closing_line(record: OperationRecord, screen: Screen) -> str:
    """`data: promoted; 3.2 s, epoch 7`."""
    tone = Tone.OK if record.state is OperationState.SUCCEEDED else Tone.BAD
    message = record.message or f"{record.request.kind} {record.state}"
    name = record.request.volume
    parts = [message if message.startswith(f"{name}:") else f"{name}: {message}"]
    if record.duration_s is not None:
        parts.append(duration_text(record.duration_s))
    if record.epoch is not None:
        parts.append(f"epoch {record.epoch}")
    return screen.paint(clean(", ".join(parts)), tone)
