"""Turning a host off through Debian's fence-agents, and believing only its `status`.

The agents take their options on stdin, `name=value` a line (fence-agents: fencing.py,
`process_input`): passwords are never in an argv. `status` exits 0 for on and 2 for off.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from storage_agent.coordinator.commands import RunCommand, shown
from storage_agent.coordinator.settings import FenceSettings, HostSettings
from storage_agent.model.clock import Clock, Deadline
from storage_agent.model.errors import AgentError, ConfigurationError, Missing, OperationFailed

# Where nothing else proves it, and where something does and clients wait.
ONLY_PROOF_TIMEOUT_S = 90.0
BESIDE_TIMEOUT_S = 20.0
# Of that, at most, until it is asked whether the host is off by now.
_OFF_SHARE = 0.75
STATUS_TIMEOUT_S = 20.0
POLL_S = 1.0
_STATUS_WORDS = {0: "on", 2: "off"}
_OPTION = re.compile(r"[a-z][a-z0-9_-]{0,40}=[^\x00-\x1f\x7f]{0,500}")
# (host, timeout_s): turns it off and says how that is known. Raises AgentError.
Fence = Callable[[str, float], str]


def require_off(host: HostSettings, run: RunCommand, clock: Clock, timeout_s: float) -> str:
    """Turns the host off and waits until its agent says `off`. Returns how that is known.

    timeout_s: for all of it. Raises ConfigurationError, OperationFailed (FENCING_FAILED): the host
    is not proven to be off.
    """
    if host.fence is None:
        raise ConfigurationError(
            f"no fence agent is configured for {host.name}",
            remedy=f"in coordinator.toml: [hosts.{host.name}.fence] agent, options",
        )
    agent = _FenceAgent(host.fence, run)
    deadline = Deadline.after(clock, timeout_s)
    # Its own end proves nothing: the status afterwards does.
    _, ended = agent.ask("off", _OFF_SHARE * timeout_s)
    while True:
        word, said = agent.ask("status", min(STATUS_TIMEOUT_S, deadline.left_s(clock)))
        if word == "off":
            return f"{host.fence.agent} reports off"
        if agent.is_missing or deadline.left_s(clock) <= POLL_S:
            raise OperationFailed(
                f"{host.name} is not proven to be off: {host.fence.agent}: off: {ended}; "
                f"status: {said}",
                remedy=f"look at {host.name}'s power yourself; nothing was promoted",
                code="FENCING_FAILED",
            )
        clock.sleep(POLL_S)


class _FenceAgent:
    """is_missing: it cannot be started, so asking again is no use."""

    def __init__(self, settings: FenceSettings, run: RunCommand) -> None:
        self._argv = (settings.agent,)
        self._options = read_options(Path(settings.options))
        self._run = run
        self.is_missing = False

    def ask(self, action: str, timeout_s: float) -> tuple[str, str]:
        """What its exit status means as an answer to `status`, empty for nothing; and all that is
        known of its end, for people."""
        try:
            stdin = self._options + f"action={action}\n".encode()
            ended = self._run(self._argv, stdin, timeout_s)
        except AgentError as exc:
            self.is_missing = isinstance(exc, Missing)
            return "", shown(exc.message)
        word = _STATUS_WORDS.get(ended.exit_status, "") if action == "status" else ""
        text = word or f"exit {ended.exit_status}"
        wrote = shown(self._without_secrets(ended.text))
        return word, f"{text}: {wrote}" if wrote else text

    def _without_secrets(self, text: str) -> str:
        for line in self._options.decode().splitlines():
            name, _, value = line.partition("=")
            if "passw" in name and value:
                text = text.replace(value, "***")
        return text


def read_options(path: Path) -> bytes:
    """Checked `name=value` lines. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(1 << 16).decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"{path}:1: {exc}", remedy=f"see whether root can read it: ls -l {path}"
        ) from exc
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
