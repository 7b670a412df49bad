"""pair-secret: made once, and what to type next."""

from __future__ import annotations

import dataclasses
import json

import pytest

from storage_agent.model.configuration import ReplicaConfig
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World
from tests.unit.fakes import agent_config, volume_config


def test_it_is_made_and_the_way_to_the_other_host_is_said() -> None:
    world = World()
    assert world.run("pair-secret", "data") == 0
    assert_golden("pair-secret", world.out)
    assert world.local.secrets == ["data"]
    assert world.asked == []


def test_one_that_is_there_stays() -> None:
    world = World()
    world.local.secrets.append("data")
    assert world.run("pair-secret", "data", "--json") == 0
    answer = json.loads(world.out)
    assert answer["changed"] is False
    assert answer["data"]["copy"] == (
        "scp -p /etc/storage-agent/pair/data.secret beta:/etc/storage-agent/pair/data.secret"
    )
    world = World()
    world.local.secrets.append("data")
    world.run("pair-secret", "data")
    assert world.out.startswith("there already: /etc/storage-agent/pair/data.secret\n")


def test_only_root_may() -> None:
    world = World(root=False)
    assert world.run("pair-secret", "data") == 4
    assert world.local.secrets == []


@pytest.mark.parametrize("case", ["unknown", "local", "alone", "port"])
def test_where_there_is_nothing_to_compare_none_is_made(case: str) -> None:
    world, volume = World(), volume_config()
    config = agent_config()
    if case == "local":
        config = agent_config(dataclasses.replace(volume, replica=None))
    elif case == "alone":
        config = dataclasses.replace(config, hosts={"alpha": config.hosts["alpha"]})
    elif case == "port":
        config = agent_config(
            dataclasses.replace(volume, replica=ReplicaConfig(minor=0, port=8780))
        )
    world.local.loaded = config
    assert world.run("pair-secret", "logs" if case == "unknown" else "data") == 2
    assert world.local.secrets == []
