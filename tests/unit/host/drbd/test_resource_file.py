"""The rendered resource file, compared with golden files.

`tests/data/golden/drbd-*.res` were read without complaint by drbd-utils 9.22's parsers for 8.4
and for 9 (`drbdadm dump`); each refuses the other's file.
"""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.host.drbd import render_resource, resource_path
from storage_agent.model.configuration import AgentConfig, Arbitration, HostConfig, VolumeConfig
from storage_agent.model.errors import ConfigurationError
from tests.unit.fakes import agent_config, volume_config
from tests.unit.host.drbd_recorded import DATA


def render(volume: VolumeConfig, *, nine: bool = False, config: AgentConfig | None = None) -> str:
    return render_resource(config or agent_config(volume), volume, driver_version_9=nine)


@pytest.mark.parametrize(
    ("arbitration", "nine", "golden"),
    [
        (Arbitration.NONE, False, "drbd-8.4-none.res"),
        (Arbitration.COORDINATOR, False, "drbd-8.4-coordinator.res"),
        (Arbitration.NONE, True, "drbd-9-none.res"),
    ],
)
def test_golden(arbitration: Arbitration, nine: bool, golden: str) -> None:
    volume = dataclasses.replace(volume_config(), arbitration=arbitration)
    assert render(volume, nine=nine) == (DATA / "golden" / golden).read_text()


def test_both_hosts_write_the_same_file() -> None:
    volume = volume_config()
    config = agent_config(volume)
    other = dataclasses.replace(
        config, host="beta", hosts=dict(reversed(list(config.hosts.items())))
    )
    for nine in (False, True):
        assert render(volume, nine=nine, config=other) == render(volume, nine=nine)


def test_never_automatic_and_never_two_primaries() -> None:
    for nine in (False, True):
        for arbitration in Arbitration:
            text = render(dataclasses.replace(volume_config(), arbitration=arbitration), nine=nine)
            words = dict(
                line.strip().rstrip(";").split(None, 1)
                for line in text.splitlines()
                if line.endswith(";")
            )
            assert words["protocol"] == "C"
            assert words["allow-two-primaries"] == "no"
            assert words["fencing"] in ("resource-only", "resource-and-stonith")
            assert {words[f"after-sb-{n}pri"] for n in (0, 1, 2)} == {"disconnect"}
            assert words.get("auto-promote") == ("no" if nine else None)
            # DRBD wants it so: drbd.conf(5), timeout.
            assert int(words["timeout"]) < 10 * int(words["ping-int"])
            assert int(words["timeout"]) < 10 * int(words["connect-int"])


def test_ipv6() -> None:
    config = agent_config()
    hosts = {**config.hosts, "beta": HostConfig(name="beta", address="fd00::2")}
    text = render(volume_config(), config=dataclasses.replace(config, hosts=hosts))
    assert "address   ipv6 [fd00::2]:7789;" in text


def test_no_replica_or_no_peer_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        render(dataclasses.replace(volume_config(), replica=None))
    config = agent_config()
    alone = dataclasses.replace(config, hosts={"alpha": config.hosts["alpha"]})
    with pytest.raises(ConfigurationError):
        render(volume_config(), config=alone)


def test_path() -> None:
    assert str(resource_path("home-vol.2")) == "etc/drbd.d/storage-agent-home-vol.2.res"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "ä", "a\n", "a*"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        resource_path(name)
