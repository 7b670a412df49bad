"""The shutdown inhibitor of a volume that this host serves: `systemd-inhibit --list` names it, and
logind refuses to shut down. Host tools: systemd-escape, systemd-run, systemd-inhibit.

It is a transient unit that systemd itself binds to the volume's mount: however the mount ends, and
whoever lives then, the inhibitor ends with it. Nothing depends on it: where logind is missing the
unit fails, and the volume is served all the same.
"""

from __future__ import annotations

from storage_agent.host.system.runner import Runner
from storage_agent.host.system.services import Services
from storage_agent.model.configuration import VolumeConfig

TIMEOUT_S = 20.0
# Where logind is missing the unit shall not try for ever.
_RESTART = ("Restart=on-failure", "RestartSec=30s", "StartLimitIntervalSec=10min")


def unit_name(volume: str) -> str:
    return f"storage-agent-inhibit@{volume}.service"


def take_argv(volume: str, mount_unit: str) -> tuple[str, ...]:
    properties = (f"BindsTo={mount_unit}", f"After={mount_unit}", *_RESTART)
    return (
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={unit_name(volume)}",
        f"--description=Shutdown inhibitor of the storage-agent volume {volume}",
        *(f"--property={setting}" for setting in properties),
        "--",
        "systemd-inhibit",
        "--what=shutdown",
        "--mode=block",
        "--who=storage-agent",
        f"--why=serves {volume}",
        "sleep",
        "infinity",
    )


class Inhibitor:
    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._services = Services(runner)

    def take(self, volume: VolumeConfig) -> None:
        """Idempotent. Raises AgentError, also while systemd has not yet seen the mount."""
        (view,) = self._services.view((unit_name(volume.name),))
        if view.active in ("active", "activating"):
            return
        argv = ("systemd-escape", "--path", "--suffix=mount", "--", volume.mount_point)
        mount_unit = self._runner.run(argv, timeout_s=TIMEOUT_S).stdout.strip()
        self._runner.run(take_argv(volume.name, mount_unit), timeout_s=TIMEOUT_S)
