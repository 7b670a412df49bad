"""Turning a host off through Debian's fence-agents, and believing only its `status`.

The agents take their options on stdin, `name=value` a line (fence-agents: fencing.py,
`process_input`): passwords are never in an argv. `status` exits 0 for on and 2 for off.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from storage_agent.coordinator.commands import RunCommand
from storage_agent.coordinator.settings import HostSettings
from storage_agent.model.clock import Clock, Deadline
from storage_agent.model.errors import AgentError, ConfigurationError, OperationFailed

OFF_TIMEOUT_S = 90.0
STATUS_TIMEOUT_S = 20.0
POLL_S = 1.0
STATUS_OFF = 2
_OPTION = re.compile(r"[a-z][a-z0-9_-]{0,40}=[^\x00-\x1f\x7f]{0,500}")


def require_off(host: HostSettings, run: RunCommand, clock: Clock) -> str:
    """Turns the host off and waits until its agent says `off`. Returns how that is known.

    Raises ConfigurationError, OperationFailed: the host is not proven to be off.
    """
    if host.fence is None:
        raise ConfigurationError(
            f"no fence agent is configured for {host.name}",
            remedy=f"in coordinator.toml: [hosts.{host.name}.fence] agent, options",
        )
    options = read_options(Path(host.fence.options))
    argv = (host.fence.agent,)
    deadline = Deadline.after(clock, OFF_TIMEOUT_S)
    try:
        # Its own exit status proves nothing: the status afterwards does.
        ended = str(run(argv, options + b"action=off\n", OFF_TIMEOUT_S).exit_status)
    except AgentError as exc:
        ended = exc.message
    while True:
        try:
            status = run(argv, options + b"action=status\n", STATUS_TIMEOUT_S).exit_status
        except AgentError as exc:
            status, ended = -1, exc.message
        if status == STATUS_OFF:
            return f"{host.fence.agent} reports off"
        if deadline.passed(clock):
            raise OperationFailed(
                f"{host.name} is not proven to be off: {host.fence.agent} off: {ended}; "
                f"status: {status}",
                remedy=f"look at {host.name}'s power yourself; nothing was promoted",
                code="FENCING_FAILED",
            )
        clock.sleep(POLL_S)


def read_options(path: Path) -> bytes:
    """Checked `name=value` lines. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(1 << 16).decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path}:1: {exc}") from exc
    if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"{path}:1: it holds a password and others may read it",
            remedy=f"chown root {path}; chmod 600 {path}",
        )
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not _OPTION.fullmatch(line) or line.startswith("action="):
            raise ConfigurationError(
                f"{path}:{number}: name=value is wanted, and no action",
                remedy="see the man page of the fence agent, STDIN PARAMETERS",
            )
        lines.append(line)
    return "".join(f"{line}\n" for line in lines).encode()
