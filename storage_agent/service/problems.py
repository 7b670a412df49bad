"""What is wrong with the agent itself, as part of its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from storage_agent.model.errors import AgentError
from storage_agent.model.finding import Finding
from storage_agent.service.api.answers import Problem, Setup


def problems_of(
    setup: Setup,
    journal: AgentError | None,
    keys: tuple[Finding, ...],
    unfinished: Iterable[str],
) -> Iterator[Problem]:
    """journal: why it cannot be read.  keys: what is wrong with the file of coordinators' keys.
    unfinished: volumes whose `create` did not come to its end."""
    for error in (setup.problem, journal):
        if error is not None:
            yield Problem(code=error.code, message=error.message, remedy=error.remedy)
    for finding in keys:
        yield Problem(code=finding.code, message=finding.summary, remedy=finding.remedy)
    for name in unfinished:
        yield Problem(
            code="CREATION_UNFINISHED",
            message=f"create {name} has begun here and was not brought to its end",
            remedy=f"type it again, and it goes on; or: storage-agent create {name} --abandon",
        )
    if setup.note:
        yield Problem(code="NOT_CONFIGURED", message=setup.note, remedy="")
