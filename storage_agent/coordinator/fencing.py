"""Turning a host off through Debian's fence-agents, and what counts as a proof of that.

The agents take their options on stdin, `name=value` a line (fence-agents: fencing.py,
`process_input`): passwords are never in an argv. `off` exits 0 where it has worked. `status` then
says so twice: it writes `Status: ON` and exits 0, or writes `Status: OFF` and exits 2 (fence_action
there; fence-virt does the same). An exit status of 2 alone is also that of a shell's syntax error,
of argparse and of grep: whatever is not said in both ways is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from storage_agent.coordinator.commands import Ended, RunCommand, shown
from storage_agent.coordinator.fence_options import read_options
from storage_agent.coordinator.settings import FenceSettings, HostSettings, Settings
from storage_agent.coordinator.views import VolumeView
from storage_agent.model.clock import Clock, Deadline
from storage_agent.model.errors import AgentError, ConfigurationError, Missing, OperationFailed
from storage_agent.model.finding import Finding, warning

# Where nothing else proves it, and where something does and clients wait.
ONLY_PROOF_TIMEOUT_S = 90.0
BESIDE_TIMEOUT_S = 20.0
# Of that, at most, until it is asked whether the host is off by now.
_OFF_SHARE = 0.75
STATUS_TIMEOUT_S = 20.0
POLL_S = 1.0
_STATUS_WORDS = {"ON": 0, "OFF": 2}
_STATUS_LINE = re.compile(r"^Status:(.*)$", re.MULTILINE)
# (host, timeout_s): turns it off and says how that is known. Raises AgentError.
Fence = Callable[[str, float], str]


def require_off(host: HostSettings, run: RunCommand, clock: Clock, timeout_s: float) -> str:
    """Turns the host off and waits until its agent says `off`. Returns how that is known.

    timeout_s: for all of it. Raises ConfigurationError, OperationFailed (FENCING_FAILED): the host
    is not proven to be off.
    """
    agent = _FenceAgent(host, run)
    deadline = Deadline.after(clock, timeout_s)
    is_done, ended, said = False, "not asked", "not asked"
    while not agent.is_missing and (left_s := deadline.left_s(clock)) > 0:
        if not is_done:
            # Asked again where it failed: an agent that finds the host off by now exits 0.
            is_done, ended = agent.turn_off(min(_OFF_SHARE * timeout_s, left_s))
        if not agent.is_missing and (left_s := deadline.left_s(clock)) > 0:
            word, said = agent.status(min(STATUS_TIMEOUT_S, left_s))
            if is_done and word == "OFF":
                return f"{agent.name} reports off"
        clock.sleep(min(POLL_S, deadline.left_s(clock)))
    raise OperationFailed(
        f"{host.name} is not proven to be off: {agent.name}: off: {ended}; status: {said}",
        remedy=f"look at {host.name}'s power yourself; nothing was promoted",
        code="FENCING_FAILED",
    )


def fence_findings(settings: Settings, view: VolumeView, run: RunCommand) -> list[Finding]:
    """Of a pair that was just looked at: the fence agent of a host that answers has to say `on`."""
    return [
        _unproven(view, host.name, why)
        for host in (settings.hosts[found.host] for found in view.hosts if found.error is None)
        if host.fence is not None and (why := _why_not_on(host, run))
    ]


def _why_not_on(host: HostSettings, run: RunCommand) -> str:
    """For people; empty where it does."""
    try:
        word, said = _FenceAgent(host, run).status(STATUS_TIMEOUT_S)
    except ConfigurationError as exc:
        return exc.message
    return "" if word == "ON" else said


def _unproven(view: VolumeView, host: str, why: str) -> Finding:
    return warning(
        "FENCE_UNPROVEN",
        f"{host} answers, and its fence agent does not say that it is on",
        measured=why,
        limit="Status: ON, exit 0",
        remedy="storage-coordinator config check; then, with the options corrected: "
        f"storage-coordinator preflight {view.volume.key}",
    )


class _FenceAgent:
    """is_missing: it cannot be started, so asking again is no use."""

    def __init__(self, host: HostSettings, run: RunCommand) -> None:
        settings = _settings(host)
        self.name = settings.agent
        self._options = read_options(settings.agent, Path(settings.options))
        self._run = run
        self.is_missing = False

    def turn_off(self, timeout_s: float) -> tuple[bool, str]:
        """Whether it says that it has; and all that is known of its end, for people."""
        ended, told = self._ask("off", timeout_s)
        return ended is not None and ended.exit_status == 0, told

    def status(self, timeout_s: float) -> tuple[str, str]:
        """`ON` or `OFF` where it says so in both ways, else empty; and what it did, for people."""
        ended, told = self._ask("status", timeout_s)
        if ended is None:
            return "", told
        words = {found.strip() for found in _STATUS_LINE.findall(ended.out)}
        word = words.pop() if len(words) == 1 else ""
        if _STATUS_WORDS.get(word) == ended.exit_status:
            return word, told
        return "", f"not understood: {told}"

    def _ask(self, action: str, timeout_s: float) -> tuple[Ended | None, str]:
        try:
            stdin = self._options + f"action={action}\n".encode()
            ended = self._run((self.name,), stdin, timeout_s)
        except AgentError as exc:
            self.is_missing = isinstance(exc, Missing)
            return None, shown(self._without_secrets(exc.message))
        wrote = shown(self._without_secrets(f"{ended.text}\n{ended.out}"))
        return ended, f"exit {ended.exit_status}: {wrote or 'it wrote nothing'}"

    def _without_secrets(self, text: str) -> str:
        for line in self._options.decode().splitlines():
            name, _, value = line.partition("=")
            if "passw" in name and value:
                text = text.replace(value, "***")
        return text


def _settings(host: HostSettings) -> FenceSettings:
    if host.fence is None:
        raise ConfigurationError(
            f"no fence agent is configured for {host.name}",
            remedy=f"in coordinator.toml: [hosts.{host.name}.fence] agent, options",
        )
    return host.fence
