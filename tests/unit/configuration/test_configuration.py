"""The configuration files: what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.model.configuration import (
    COMPARE_PORT,
    AgentConfig,
    Arbitration,
    ArrayConfig,
    FilesystemConfig,
    HostConfig,
    NfsConfig,
    ReplicaConfig,
    VolumeConfig,
)
from storage_agent.model.errors import ConfigurationError
from tests.unit.configuration.files import BASE, LOCAL, SECOND, Files

EXAMPLE = Path(__file__).parents[3] / "examples" / "agent.toml"


# -- what is accepted -----------------------------------------------------------------------------


def test_the_smallest_and_its_defaults(files: Files) -> None:
    assert files.load(BASE) == AgentConfig(
        host="alpha",
        hosts={
            "alpha": HostConfig(name="alpha", address="10.8.0.1"),
            "beta": HostConfig(name="beta", address="10.8.0.2"),
        },
        volumes={
            "data": VolumeConfig(
                name="data",
                mount_point="/srv/data",
                arbitration=Arbitration.NONE,
                array=ArrayConfig(
                    level="raid1", disks={"alpha": ("a0", "a1"), "beta": ("b0", "b1")}, uuid={}
                ),
                replica=ReplicaConfig(minor=0, port=7789),
                filesystem=FilesystemConfig(type="ext4", uuid=None, options=()),
                nfs=NfsConfig(
                    address="10.9.0.10/24",
                    interface="eth2",
                    link="macvlan",
                    clients=("10.9.0.0/24",),
                    options=("rw", "sync"),
                    threads=8,
                ),
                services=(),
            )
        },
    )
    assert files.problems() == []


def test_the_example_loads(files: Files) -> None:
    config = files.load(EXAMPLE.read_text())
    assert config.volumes["data"].array.disks["beta"] == ("beta-0", "beta-1", "beta-2", "beta-3")
    assert config.volumes["data"].filesystem.options == ("noatime",)


def test_no_volume_yet(files: Files) -> None:
    assert files.load(BASE.split("[volumes")[0]).volumes == {}


def test_where_the_agents_compare(files: Files) -> None:
    assert files.load(BASE).compare_port == COMPARE_PORT
    assert files.load("compare_port = 9000\n" + BASE).compare_port == 9000
    # A volume of before may have the default for its own.
    assert files.load(BASE.replace("port = 7789", f"port = {COMPARE_PORT}")).volumes


def test_two_volumes(files: Files) -> None:
    assert sorted(files.load(BASE + SECOND).volumes) == ["data", "two"]


def test_the_host_is_the_short_hostname_where_it_is_not_said(files: Files) -> None:
    text = BASE.replace('host = "alpha"\n', "")
    assert files.load(text, hostname="beta").host == "beta"
    with pytest.raises(ConfigurationError, match=r"this machine is called 'gamma'.*alpha, beta"):
        files.load(text, hostname="gamma")


def test_a_local_volume_belongs_to_the_hosts_that_have_disks_for_it(files: Files) -> None:
    assert sorted(files.load(BASE + LOCAL).volumes) == ["data"]
    on_beta = BASE.replace('host = "alpha"', 'host = "beta"') + LOCAL
    assert sorted(files.load(on_beta).volumes) == ["data", "scratch"]


def test_a_single_host_without_replica(files: Files) -> None:
    text = '[hosts.alpha]\naddress = "fd00::1"\n' + LOCAL.replace("disks.beta", "disks.alpha")
    config = files.load(text)
    assert config.peer_of("alpha") is None
    assert config.volumes["scratch"].device() == "/dev/md/scratch"


def test_identities_from_a_second_file(files: Files) -> None:
    files.write(
        "[volumes.data.array.uuid]\n"
        'alpha = "aaaaaaaa:bbbbbbbb:cccccccc:dddddddd"\n'
        "[volumes.data.filesystem]\n"
        'uuid = "0f4c2a36-9b5e-4b5e-8f4e-3f1f6f1e9a10"\n',
        "data.toml",
    )
    volume = files.load(BASE).volumes["data"]
    assert volume.array.uuid == {"alpha": "aaaaaaaa:bbbbbbbb:cccccccc:dddddddd"}
    assert volume.filesystem.uuid == "0f4c2a36-9b5e-4b5e-8f4e-3f1f6f1e9a10"
    assert volume.filesystem.type == "ext4"


def test_later_files_win_and_arrays_are_replaced(files: Files) -> None:
    files.write(
        '[volumes.data.nfs]\nthreads = 3\nclients = ["10.9.0.1", "10.9.0.2"]\n', "10-a.toml"
    )
    files.write('[volumes.data.nfs]\nthreads = 4\nclients = ["10.9.0.3"]\n', "20-b.toml")
    files.write("[volumes.data.nfs]\nthreads = 5\n", "30-c.toml.disabled")
    files.write("[volumes.data.nfs]\nthreads = 6\n", ".40-d.toml")
    nfs = files.load(BASE).volumes["data"].nfs
    assert nfs is not None
    assert (nfs.threads, nfs.clients) == (4, ("10.9.0.3",))
