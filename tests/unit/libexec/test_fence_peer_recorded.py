"""What the handler sees in each /proc/drbd that was recorded; and so does the simulated one."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.model.replica import DiskState, Role
from tests.simulation.handler import state_shown
from tests.simulation.sights import proc_drbd
from tests.simulation.states import CONNECTING, STANDALONE
from tests.unit.libexec.asking import BOOT, HEAD, NONCE
from tests.unit.libexec.conftest import Run, Tool

RECORDED = Path(__file__).parents[2] / "data/proc-drbd/8.4.11"
# By the words that it ends with, where nobody answers and no grant is there.
SAID = {
    "frozen": "no verdict within 0 s",
    "secondary": "no fresh grant",
    "primary": "role primary, no incident",
    "unknown": "role unknown, no incident",
}
SEEN = {
    "disconnected-by-admin-alpha": "primary",
    "disconnected-by-admin-beta": "secondary",
    "fencing-handler-failed-exit-1-alpha": "frozen",
    "frozen-by-fencing-alpha": "frozen",
    "frozen-by-fencing-beta": "secondary",
    "link-cut-alpha": "primary",
    "split-brain-both-primary-alpha": "primary",
    "suspended-by-user-alpha": "frozen",
    "suspended-no-data-alpha": "frozen",
    "sync-paused-by-both-beta": "secondary",
    "two-resources-two-volumes-alpha": "primary",
    "unconfigured-alpha": "unknown",
    "uptodate-primary-secondary-alpha": "primary",
}
# Of the field: no recording has a frozen primary that stands alone.
ALONE = " 0: cs:StandAlone ro:Primary/Unknown ds:UpToDate/Outdated   s-----\n"


def recorded() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(RECORDED.glob("*.out"))}


def said_by_script(text: str, root: Path, run_script: Run, resource: str = "home") -> str:
    random = root / "proc/sys/kernel/random"
    random.mkdir(parents=True, exist_ok=True)
    (random / "boot_id").write_text(f"{BOOT}\n")
    (random / "uuid").write_text(f"{NONCE}\n")
    (root / "proc/uptime").write_text("1.00 1.00\n")
    (root / "proc/drbd").write_text(text)
    (root / "log").unlink(missing_ok=True)
    ended = run_script(
        "fence-peer", "coordinator", root, "0", env={"DRBD_RESOURCE": resource, "DRBD_MINOR": "0"}
    )
    assert ended.returncode == 1
    said = (root / "log").read_text()
    return next(state for state, words in SAID.items() if words in said)


@pytest.fixture
def logging(tool: Tool, tmp_path: Path) -> Tool:
    tool("logger", f"echo \"$*\" >> '{tmp_path}/log'")
    return tool


@pytest.mark.processes
@pytest.mark.parametrize("name", [*SEEN, "alone"])
def test_script_and_simulation_see_the_same(
    name: str, logging: Tool, run_script: Run, tmp_path: Path
) -> None:
    text = HEAD + ALONE if name == "alone" else recorded()[name]
    wanted = "frozen" if name == "alone" else SEEN[name]
    assert state_shown(text) == wanted
    assert said_by_script(text, tmp_path, run_script) == wanted


def test_every_recording_is_one_of_them() -> None:
    assert set(SEEN) == set(recorded())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("frozen-by-fencing-alpha", (Role.PRIMARY, "UpToDate", CONNECTING, "DUnknown", True)),
        ("link-cut-alpha", (Role.PRIMARY, "UpToDate", CONNECTING, "DUnknown", False)),
        ("disconnected-by-admin-alpha", (Role.PRIMARY, "UpToDate", STANDALONE, "DUnknown", False)),
        ("alone", (Role.PRIMARY, "UpToDate", STANDALONE, "Outdated", True)),
        (
            "disconnected-by-admin-beta",
            (Role.SECONDARY, "UpToDate", CONNECTING, "DUnknown", False),
        ),
    ],
)
def test_the_simulated_kernel_writes_what_was_recorded(
    name: str, shown: tuple[Role, str, str, str, bool]
) -> None:
    text = ALONE if name == "alone" else recorded()[name]
    role, disk, conn, pdsk, susp = shown
    line = proc_drbd(role, DiskState(disk), conn, DiskState(pdsk), Role.UNKNOWN, susp)
    assert line in text


# Of the driver 9, which lists no resources in /proc/drbd. Two of them were recorded while a handler
# ran and the kernel waited for it: a frozen Primary's, and that of a Secondary that is promoted.
NINE = {
    "frozen-by-fencing-alpha": "frozen",
    "secondary-promotion-waiting-for-fence-handler-beta": "secondary",
    "fencing-handler-failed-exit-1-alpha": "frozen",
    "uptodate-primary-secondary-alpha": "primary",
    "quorum-lost-suspended-alpha": "primary",
    "no-config-alpha": "unknown",
}


@pytest.mark.processes
@pytest.mark.parametrize("name", NINE)
def test_what_drbdsetup_shows_of_the_driver_9(
    name: str, logging: Tool, run_script: Run, tmp_path: Path
) -> None:
    shown = RECORDED.parents[1] / f"drbdsetup-events2-now/9.1.23/{name}.out"
    logging("drbdsetup", f"[ \"$*\" = 'events2 --now r0' ] || exit 20; cat '{shown}'")
    said = said_by_script("version: 9.1.23 (api:2/proto:118-121)\n", tmp_path, run_script, "r0")
    assert said == NINE[name]
