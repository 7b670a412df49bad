"""Is the record still what was looked at? Pure."""

from __future__ import annotations

from storage_agent.coordinator.deciding.arbiter import State
from storage_agent.model.finding import Finding, blocker


def changed_refusal(seen: State | None, state: State) -> Finding | None:
    """What was looked at, planned and announced to hooks was another state of the record: somebody
    has decided something since."""
    if seen is not None and seen.revision == state.revision:
        return None
    return blocker(
        "RECORD_CHANGED",
        "something else was decided of this volume while this was prepared",
        measured=f"epoch {state.epoch}, owner {state.owner or 'nobody'}",
        limit=f"epoch {seen.epoch}, owner {seen.owner or 'nobody'}" if seen else "a record",
        remedy="see what it is, then again if it is still wanted: storage-coordinator status "
        "VOLUME",
    )
