"""Every failure that a caller may see, with the exit status that a shell gets for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from storage_agent.model.finding import Finding, blocker, blockers


class AgentError(Exception):
    """Base of all: `code` is stable upper-case, `remedy` says what to type or check next.

    The one that shows the error to a person or puts it on the wire writes the text; whoever
    raises it fills the fields.
    """

    exit_status: ClassVar[int] = 1
    default_code: ClassVar[str] = "FAILED"

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        code: str | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code or self.default_code
        self.findings = findings


class OperationFailed(AgentError):
    """An operation began and did not reach its goal; the message names the state it is in now."""


class UsageError(AgentError):
    exit_status = 2
    default_code = "USAGE"


class Refused(AgentError):
    """A safety guard said no and nothing was changed; `findings` say which and why."""

    exit_status = 3
    default_code = "REFUSED"


def error_finding(
    error: AgentError, *, measured: str, limit: str, remedy: str, where: str = ""
) -> Finding:
    """An error as a blocker, in its own words. remedy: where it has none of its own.  where: in
    front of its message, with its colon."""
    return blocker(
        error.code,
        f"{where}{error.message}",
        measured=measured,
        limit=limit,
        remedy=error.remedy or remedy,
    )


def refuse_blockers(findings: tuple[Finding, ...]) -> None:
    """Raises Refused, in the words of the first blocker, where there is one."""
    if refusals := blockers(findings):
        first = refusals[0]
        raise Refused(first.summary, remedy=first.remedy, code=first.code, findings=refusals)


class NotPermitted(AgentError):
    exit_status = 4
    default_code = "NOT_PERMITTED"


class Busy(AgentError):
    """Another operation holds the volume."""

    exit_status = 5
    default_code = "BUSY"


class OutcomeUnknown(AgentError):
    """Something was started and its end was not seen: look again before trying again."""

    exit_status = 6
    default_code = "OUTCOME_UNKNOWN"


class CommandTimeout(OutcomeUnknown):
    """A command was ended at its deadline."""

    default_code = "COMMAND_TIMEOUT"


class CommandStuck(OutcomeUnknown):
    """A command does not die even of SIGKILL (D state: it waits for frozen or dead I/O)."""

    default_code = "COMMAND_STUCK"

    def still_runs(self) -> bool:
        """Overwritten by who left a process behind; it may end later."""
        return False


class Missing(AgentError):
    """A tool, a kernel module, a device or the daemon is not there."""

    exit_status = 7
    default_code = "MISSING"


class ConfigurationError(AgentError):
    """The configuration is wrong; the message begins with `file:line:`."""

    exit_status = 8
    default_code = "CONFIGURATION"


class ParseError(AgentError):
    """A host tool printed something that we do not understand: what it shows is unknown."""

    default_code = "PARSE"

    def __init__(self, tool: str, problem: str, line: str = "") -> None:
        shown = f": {line[:200]!r}" if line else ""
        super().__init__(
            f"{tool}: {problem}{shown}",
            remedy=f"run {tool} by hand and report its output; until then its state is unknown",
        )
        self.tool = tool
        self.problem = problem
        self.line = line


class CommandFailed(AgentError):
    """A host tool exited with a status that means failure."""

    default_code = "COMMAND_FAILED"

    def __init__(
        self, argv: tuple[str, ...], exit_status: int, stderr: str, stdout: str = ""
    ) -> None:
        lines = [line for line in (stderr.strip() or stdout.strip()).splitlines() if line.strip()]
        shown = "; ".join(line.strip() for line in lines[:4])
        super().__init__(
            f"{' '.join(argv)}: exit {exit_status}" + (f": {shown}" if shown else ""),
            remedy="run the command by hand to see its whole output",
        )
        self.argv = argv
        self.tool_exit_status = exit_status
        self.stderr = stderr
        self.stdout = stdout


def unknown_volume(name: str, known: Iterable[str], host: str) -> UsageError:
    """known: the volumes of the configuration that was read."""
    # It takes longer to load than the rest of a command to run.
    from difflib import get_close_matches

    names = sorted(known)
    near, listed = get_close_matches(name, names, 1), ", ".join(names) or "none"
    return UsageError(
        f"no volume {name!r} is configured on {host}",
        remedy=f"did you mean {near[0]!r}?"
        if near
        else f"configured are: {listed}; what agent.toml has more counts after: "
        "systemctl reload storage-agentd",
        code="UNKNOWN_VOLUME",
    )
