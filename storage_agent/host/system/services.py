"""systemd units that run where a volume is served. Host tool: systemctl.

Units are started and stopped, never enabled, disabled or masked: what starts at boot is the
admin's, and a service of a volume must not.
"""

from __future__ import annotations

from collections.abc import Sequence

from storage_agent.host.system.runner import Runner
from storage_agent.model.errors import CommandFailed, OperationFailed, ParseError
from storage_agent.model.snapshot import ServiceView

VIEW_TIMEOUT_S = 5.0
PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState")
# systemctl(1), `systemctl --state=help`, systemd 252.
UNKNOWN = "unknown"


def parse_systemctl_show(text: str) -> tuple[ServiceView, ...]:
    """`systemctl show` of one or several units, in the order that they were named.

    enabled is the LoadState where that is not `loaded` (`not-found`, `masked`, `bad-setting`).
    unit is systemd's own name, also where an alias was asked for. A state that came after this was
    written is passed on; what is missing is `unknown`. Raises ParseError.
    """
    blocks = (block for block in text.split("\n\n") if block.strip())
    return tuple(_parse_unit(block) for block in blocks)


def _parse_unit(block: str) -> ServiceView:
    found: dict[str, str] = {}
    for line in block.strip("\n").splitlines():
        key, equals, value = line.partition("=")
        # Other keys may come twice (ExecStopPost=) or go over several lines.
        if equals and key in PROPERTIES:
            if key in found:
                raise ParseError("systemctl show", f"{key} comes twice", line)
            found[key] = value
    if not found:
        raise ParseError("systemctl show", "none of what was asked for", block)
    found = {key: found.get(key) or UNKNOWN for key in PROPERTIES}
    is_loaded = found["LoadState"] == "loaded"
    return ServiceView(
        unit=found["Id"],
        active=found["ActiveState"],
        sub=found["SubState"],
        enabled=found["UnitFileState"] if is_loaded else found["LoadState"],
    )


def show_argv(units: Sequence[str]) -> tuple[str, ...]:
    return ("systemctl", "show", "--property", ",".join(PROPERTIES), "--", *units)


class Services:
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def view(self, units: Sequence[str]) -> tuple[ServiceView, ...]:
        """All of them by one process, none where there are no units; each under the name that
        was asked for. Raises ParseError, CommandFailed, CommandTimeout."""
        if not units:
            return ()
        text = self._runner.run(show_argv(units), timeout_s=VIEW_TIMEOUT_S).stdout
        views = parse_systemctl_show(text)
        if len(views) != len(units):
            raise ParseError("systemctl show", f"{len(views)} answers for {len(units)} units")
        return tuple(
            ServiceView(unit=unit, active=seen.active, sub=seen.sub, enabled=seen.enabled)
            for unit, seen in zip(units, views, strict=True)
        )

    def start(self, unit: str, *, timeout_s: float) -> None:
        """Returns when systemd's job has ended; running already: does nothing.

        Raises OperationFailed (code `SERVICE_FAILED`), CommandTimeout: the job then goes on.
        """
        self._do("start", unit, timeout_s)

    def stop(self, unit: str, *, timeout_s: float) -> None:
        """As `start`."""
        self._do("stop", unit, timeout_s)

    def is_host_stopping(self) -> bool:
        """A shutdown, reboot or halt is under way. Raises CommandTimeout, CommandFailed."""
        # Exit status 0 for `running` alone: systemctl(1), is-system-running.
        argv = ("systemctl", "is-system-running")
        done = self._runner.run(argv, timeout_s=VIEW_TIMEOUT_S, ok=frozenset(range(5)))
        return done.stdout.strip() == "stopping"

    def _do(self, verb: str, unit: str, timeout_s: float) -> None:
        argv = ("systemctl", "--no-ask-password", verb, "--", unit)
        try:
            self._runner.run(argv, timeout_s=timeout_s)
        except CommandFailed as exc:
            raise OperationFailed(
                f"{unit} did not {verb}: {exc.message}",
                remedy=f"see why: journalctl -u {unit} -n 50",
                code="SERVICE_FAILED",
            ) from exc
