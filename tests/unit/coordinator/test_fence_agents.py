"""The table of fence agents against what each agent of Debian's package says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage_agent.coordinator.fence_agents import (
    OF_A_PLUG,
    OF_ONE_MACHINE,
    PROVES_NOTHING,
    proves_power,
    treacherous,
)
from storage_agent.coordinator.settings import check
from tests.unit.coordinator.test_settings import GOOD, paths

DATA = Path(__file__).parents[2] / "data" / "fence-agents" / "4.12.1-1" / "metadata.json"
METADATA = json.loads(DATA.read_text())
POWER = OF_ONE_MACHINE | OF_A_PLUG


def test_every_agent_of_the_package_is_judged_and_in_one_way() -> None:
    # Of another package; its metadata is not recorded.
    virtual = {"fence_virt", "fence_xvm"}
    assert POWER | set(PROVES_NOTHING) == set(METADATA) | virtual
    assert not OF_ONE_MACHINE & OF_A_PLUG
    assert not POWER & set(PROVES_NOTHING)


@pytest.mark.parametrize("agent", sorted(POWER & set(METADATA)))
def test_what_counts_has_an_off_and_a_status(agent: str) -> None:
    known = METADATA[agent]
    assert {"off", "status"} <= set(known["actions"])
    assert "plug" in known["options"]
    if "plug" in known["required"]:
        assert agent in OF_A_PLUG


@pytest.mark.parametrize("agent", sorted(METADATA))
def test_options_that_take_the_proof_away_are_known(agent: str) -> None:
    found = {name for name in METADATA[agent]["options"] if treacherous(name)}
    assert found <= {"action", "missing_as_off", "network_fencing", "network-fencing"}
    assert "action" in found or not METADATA[agent]["options"]


@pytest.mark.parametrize("agent", [*sorted(PROVES_NOTHING), "fence_of_our_own", "fence_ipmilann"])
def test_others_are_refused_in_the_settings_with_line_and_reason(
    agent: str, tmp_path: Path
) -> None:
    where = paths(tmp_path, GOOD.replace("fence_ipmilan", agent))
    (problem,) = check(where)
    assert problem.startswith(f"{where.main}:10: error: hosts.alpha.fence.agent: {agent!r}")
    assert PROVES_NOTHING.get(agent, "it is not known as one that cuts a host's power") in problem
    assert ("did you mean 'fence_ipmilan'" in problem) == (agent == "fence_ipmilann")


def test_one_that_cuts_power_is_taken() -> None:
    assert not any(proves_power(agent) for agent in POWER)
