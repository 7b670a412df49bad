"""Fence agents as the commands use them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.settings import FenceSettings
from storage_agent.model.errors import Missing
from tests.unit.coordinator_cli.test_commands import Desk


@pytest.fixture
def adopted(tmp_path: Path) -> Desk:
    """Serves, and has gone live."""
    desk = Desk(tmp_path)
    assert desk.run("adopt", "data") == 0
    assert desk.run("go-live", "data") == 0
    desk.commands.clear()
    return desk


def test_a_fence_agent_that_cannot_answer_is_shown_and_stops_nothing(adopted: Desk) -> None:
    options = adopted.pair.folder / "options"
    options.write_text("ip=192.0.2.9\n")
    options.chmod(0o600)
    fence = FenceSettings(agent="fence_ipmilan", options=str(options))
    alpha = dataclasses.replace(adopted.settings.hosts["alpha"], fence=fence)
    adopted.settings = dataclasses.replace(
        adopted.settings, hosts={**adopted.settings.hosts, "alpha": alpha}
    )
    adopted.ends = Missing("the command 'fence_ipmilan' is not installed")
    adopted.pair.kill("alpha")
    assert adopted.run("failover", "data", "--to", "beta", "--confirm", "alpha") == 0
    assert "fencing failed, goes on by grant of epoch 7" in adopted.err.getvalue()
    assert "'fence_ipmilan' is not installed" in adopted.err.getvalue()
    assert "proof: grant of epoch 7\n" in adopted.out.getvalue()


def test_preflight_asks_the_fence_agents_of_hosts_that_answer(adopted: Desk) -> None:
    options = adopted.pair.folder / "options"
    options.write_text("ip=192.0.2.9\n")
    options.chmod(0o600)
    fence = FenceSettings(agent="fence_ipmilan", options=str(options))
    alpha = dataclasses.replace(adopted.settings.hosts["alpha"], fence=fence)
    adopted.settings = dataclasses.replace(
        adopted.settings, hosts={**adopted.settings.hosts, "alpha": alpha}
    )
    adopted.ends = Ended(exit_status=2, out="Status: OFF\n")
    adopted.run("preflight", "data")
    assert "FENCE_UNPROVEN" in adopted.out.getvalue()
    assert adopted.commands == [("fence_ipmilan",)]
    adopted.ends = Ended(exit_status=0, out="Status: ON\n")
    adopted.run("preflight", "data")
    assert "FENCE_UNPROVEN" not in adopted.out.getvalue()
