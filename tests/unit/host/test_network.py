"""Who answers for a service address: asked for what is not made here, by another than the peer."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.host.network import link_address, look_at_network
from storage_agent.host.nfs.address import Addresses
from storage_agent.model.errors import Missing
from storage_agent.model.surroundings import NetworkView
from tests.unit.fakes import agent_config, volume_config
from tests.unit.host.recorded import Answer, ScriptedRunner

IP = """[{"ifname": "eth2", "flags": ["UP", "LOWER_UP"], "address": "52:54:00:00:00:02",
 "addr_info": [{"local": "10.9.0.1", "prefixlen": 24}]}]"""
VOLUME = volume_config()
UNMADE = dataclasses.replace(VOLUME, array=dataclasses.replace(VOLUME.array, uuid={}))
OWN = link_address("data", "10.9.0.10/24", "beta").hex(":")


def look(
    monkeypatch: pytest.MonkeyPatch, mac: str | Exception | None, *, made: bool = False
) -> NetworkView:
    def answerer(*_: object) -> str | None:
        if isinstance(mac, Exception):
            raise mac
        return mac

    monkeypatch.setattr(Addresses, "answerer", answerer)
    config = agent_config(VOLUME if made else UNMADE)
    return look_at_network(config, ScriptedRunner(ip=Answer(0, IP)))


def test_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = look(monkeypatch, "52:54:00:00:00:09")
    assert seen.answering == {"10.9.0.10": "52:54:00:00:00:09"}
    assert [i.name for i in seen.interfaces] == ["eth2"]


@pytest.mark.parametrize("mac", [None, OWN, Missing("not allowed")])
def test_nobody_the_volume_itself_or_unheard(
    monkeypatch: pytest.MonkeyPatch, mac: str | Exception | None
) -> None:
    assert look(monkeypatch, mac).answering == {}


def test_a_volume_that_is_made_may_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(monkeypatch, "52:54:00:00:00:09", made=True).answering == {}
