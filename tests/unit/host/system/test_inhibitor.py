"""The transient unit that holds a volume's shutdown inhibitor."""

from __future__ import annotations

import pytest

from storage_agent.host.system.inhibitor import Inhibitor, take_argv
from storage_agent.host.system.services import PROPERTIES, Services
from storage_agent.model.errors import CommandFailed
from tests.unit.fakes import volume_config
from tests.unit.host.recorded import Answer, ScriptedRunner


def shown(active: str) -> Answer:
    values = {"Id": "x.service", "LoadState": "loaded", "ActiveState": active}
    lines = "".join(f"{name}={values.get(name, '')}\n" for name in PROPERTIES)
    return Answer(0, lines)


def runner(active: str, **more: Answer) -> ScriptedRunner:
    found = ScriptedRunner(systemctl=shown(active))
    found.answers |= {
        "systemd-escape": Answer(0, "srv-data.mount\n"),
        "systemd-run": Answer(),
        **{name.replace("_", "-"): answer for name, answer in more.items()},
    }
    return found


def test_it_ends_with_the_mount_and_is_no_ones_dependency() -> None:
    used = runner("inactive")
    Inhibitor(used).take(volume_config())
    assert used.asked[1] == ("systemd-escape", "--path", "--suffix=mount", "--", "/srv/data")
    assert used.asked[2] == take_argv("data", "srv-data.mount")
    argv = used.asked[2]
    assert "--unit=storage-agent-inhibit@data.service" in argv
    assert {"--property=BindsTo=srv-data.mount", "--property=After=srv-data.mount"} <= set(argv)
    assert argv[argv.index("--") + 1 :] == (
        "systemd-inhibit", "--what=shutdown", "--mode=block", "--who=storage-agent",
        "--why=serves data", "sleep", "infinity",
    )  # fmt: skip


@pytest.mark.parametrize("active", ["active", "activating"])
def test_one_that_is_held_stays(active: str) -> None:
    used = runner(active)
    Inhibitor(used).take(volume_config())
    assert len(used.asked) == 1


def test_systemd_that_does_not_know_the_mount_yet() -> None:
    refused = Answer(1, "", "Failed to start transient service unit: Unit srv-data.mount not found")
    with pytest.raises(CommandFailed):
        Inhibitor(runner("inactive", systemd_run=refused)).take(volume_config())


@pytest.mark.parametrize(
    ("said", "status", "stopping"),
    [("running", 0, False), ("degraded", 1, False), ("starting", 1, False), ("stopping", 1, True)],
)
def test_whether_the_host_goes_down(said: str, status: int, *, stopping: bool) -> None:
    used = ScriptedRunner(systemctl=Answer(status, f"{said}\n"))
    assert Services(used).is_host_stopping() is stopping
