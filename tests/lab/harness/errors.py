"""What can go wrong in the lab, each with the status that scripts/lab ends with."""

from __future__ import annotations


class LabError(Exception):
    """Something in the lab failed. One line: what, and what to do."""

    exit_status = 1


class LabTimeout(LabError):
    """A lab call did not end within its deadline."""


class LabUsage(LabError):
    """The call makes no sense: unknown host, disk, link or snapshot."""

    exit_status = 2


class MissingTool(LabError):
    """A tool of the machine is not installed."""

    exit_status = 7


class CommandFailed(LabError):
    """A command ended with a status that was not asked for."""

    def __init__(self, what: str, exit_status: int, stdout: str, stderr: str) -> None:
        self.command_exit_status, self.stdout, self.stderr = exit_status, stdout, stderr
        said = (stderr.strip() or stdout.strip())[-2000:]
        super().__init__(f"{what}: exit status {exit_status}: {said}")
