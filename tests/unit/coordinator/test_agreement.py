"""Configurations that differ are found before the host that serves lets go."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.configuration.load import digest
from storage_agent.coordinator import move_check
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.move_check import check_move
from storage_agent.coordinator.switchover import switch_over
from storage_agent.model.agreement import differences
from storage_agent.model.configuration import AgentConfig, NfsConfig
from storage_agent.model.errors import Refused
from storage_agent.model.finding import Finding, blockers
from storage_agent.model.plan import StepKind
from storage_agent.service.api.answers import Setup
from tests.unit.coordinator.pair import VOLUME, Pair, performed
from tests.unit.fakes import agent_config, volume_config


def configure(pair: Pair, host: str, config: AgentConfig) -> None:
    pair.agents[host].setup = Setup(config=config, digest=digest(config))


def with_nfs(config: AgentConfig, **changes: Any) -> AgentConfig:
    volume = config.volumes["data"]
    assert isinstance(volume.nfs, NfsConfig)
    nfs = dataclasses.replace(volume.nfs, **changes)
    return dataclasses.replace(config, volumes={"data": dataclasses.replace(volume, nfs=nfs)})


def found(coordinator: Coordinator) -> list[Finding]:
    view = coordinator.look(VOLUME)
    return list(blockers(check_move(coordinator, view, "beta").findings))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"address": "10.9.0.77/24"},
         'volumes.data.nfs.address: alpha "10.9.0.10/24", beta "10.9.0.77/24"'),
        ({"options": ("ro", "sync")},
         'volumes.data.nfs.options: alpha ["rw", "sync"], beta ["ro", "sync"]'),
    ],
)  # fmt: skip
def test_a_difference_blocks_before_anybody_lets_go(
    pair: Pair, coordinator: Coordinator, changes: dict[str, Any], said: str
) -> None:
    configure(pair, "beta", with_nfs(pair.agents["beta"].setup.config, **changes))
    (finding,) = found(coordinator)
    assert finding.code == "CONFIG_DISAGREES"
    assert said in finding.measured
    with pytest.raises(Refused) as caught:
        switch_over(coordinator, VOLUME, "beta")
    assert caught.value.code == "CONFIG_DISAGREES"
    assert StepKind.SECONDARY not in performed(pair, "alpha")
    assert pair.serving() == ["alpha"]


def test_what_concerns_another_volume_does_not_block(pair: Pair, coordinator: Coordinator) -> None:
    config = pair.agents["beta"].setup.config
    other = dataclasses.replace(volume_config("logs"), mount_point="/srv/logs")
    more = dataclasses.replace(config, volumes={**config.volumes, "logs": other})
    configure(pair, "beta", more)
    assert found(coordinator) == []


def test_what_cannot_be_compared_blocks(pair: Pair, coordinator: Coordinator) -> None:
    configure(pair, "beta", with_nfs(pair.agents["beta"].setup.config, threads=9))

    def refuse(host: str, method: str) -> None:
        if (host, method) == ("beta", "config.show"):
            raise ConnectionError("gone")

    pair.before = refuse
    (finding,) = found(coordinator)
    assert finding.code == "CONFIG_NOT_COMPARED"


def test_many_differences_are_counted(pair: Pair, coordinator: Coordinator) -> None:
    changes: dict[str, Any] = {
        "address": "10.9.0.77/24", "interface": "eth9", "link": "ipvlan", "clients": ("1.1.1.1",),
        "options": ("ro", "sync"), "threads": 9,
    }  # fmt: skip
    configure(pair, "beta", with_nfs(pair.agents["beta"].setup.config, **changes))
    (finding,) = found(coordinator)
    assert finding.measured.endswith("; and 1 more")


def test_the_seeded_bug_of_not_comparing_is_noticed(
    pair: Pair, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(pair, "beta", with_nfs(pair.agents["beta"].setup.config, address="10.9.0.77/24"))
    monkeypatch.setattr(move_check, "agreement_findings", lambda *args: ())
    assert found(coordinator) == []


def test_what_belongs_to_one_host_alone_is_no_difference() -> None:
    here = agent_config()
    volume = volume_config()
    uuid = {"beta": "aaaaaaaa:22222222:33333333:44444444"}
    there = agent_config(
        dataclasses.replace(volume, array=dataclasses.replace(volume.array, uuid=uuid))
    )
    assert differences(here, dataclasses.replace(there, host="beta"), "data") == {}
    gone = dataclasses.replace(here, volumes={})
    assert differences(here, gone, "data")["volumes.data.mount_point"] == (
        '"/srv/data"', "not configured",
    )  # fmt: skip
    moved = dataclasses.replace(
        here,
        hosts=here.hosts | {"beta": dataclasses.replace(here.hosts["beta"], address="1.1.1.1")},
    )
    assert differences(here, moved, "data") == {"hosts.beta.address": ('"10.8.0.2"', '"1.1.1.1"')}
