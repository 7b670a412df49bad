"""What is shown of the configuration, and the digest that both hosts compare."""

from __future__ import annotations

import dataclasses
import re
import tomllib

import pytest

from storage_agent.configuration.load import digest
from storage_agent.configuration.show import effective, show
from storage_agent.model.errors import ConfigurationError
from tests.unit.configuration.files import BASE, LOCAL, SECOND, Files

# -- what is shown --------------------------------------------------------------------------------


def test_show_is_toml_that_means_the_same(files: Files) -> None:
    files.load(BASE + SECOND + LOCAL)
    shown = show(files.paths)
    tables = tomllib.loads(shown)
    assert sorted(tables["volumes"]) == ["data", "scratch", "two"]
    before = files.load()
    assert files.load(shown) == before
    assert show(files.paths) == shown


def test_show_origin(files: Files) -> None:
    files.write("[volumes.data.nfs]\nthreads = 3\n", "10-a.toml")
    files.load(BASE)
    shown = show(files.paths, origin=True).splitlines()
    assert f"port = 7789  # {files.paths.main}:15" in shown
    assert f"threads = 3  # {files.paths.folder}/10-a.toml:2" in shown
    assert 'link = "macvlan"  # default' in shown
    assert tomllib.loads("\n".join(shown)) == tomllib.loads(show(files.paths))


def test_effective(files: Files) -> None:
    files.load(BASE)
    tables, origins = effective(files.paths)
    assert tables["volumes"]["data"]["nfs"]["threads"] == 8
    assert origins["volumes.data.nfs.threads"] == "default"
    assert origins["volumes.data.nfs.clients"] == f"{files.paths.main}:21"
    assert origins["host"] == f"{files.paths.main}:1"


def test_show_of_a_wrong_file(files: Files) -> None:
    files.write(BASE.replace("7789", "1"))
    with pytest.raises(ConfigurationError):
        show(files.paths)


# -- parity ---------------------------------------------------------------------------------------


def test_digest_is_the_same_on_both_hosts(files: Files) -> None:
    alpha = files.load(BASE + LOCAL)
    beta = files.load(BASE.replace('host = "alpha"', 'host = "beta"') + LOCAL)
    assert re.fullmatch("[0-9a-f]{12}", digest(alpha))
    assert digest(alpha) == digest(beta)


def test_digest_leaves_out_what_each_host_has_for_itself(files: Files) -> None:
    config = files.load(BASE)
    data = config.volumes["data"]
    array = dataclasses.replace(data.array, uuid={"alpha": "a1b2c3d4:a1b2c3d4:a1b2c3d4:a1b2c3d4"})
    created = dataclasses.replace(config, volumes={"data": dataclasses.replace(data, array=array)})
    assert digest(created) == digest(config)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("7789", "7788"), ("10.8.0.2", "10.8.0.3"), ("b0", "b7"), ("ext4", "xfs"), ("/24", "/25")],
)
def test_digest_sees_a_difference(files: Files, right: str, wrong: str) -> None:
    assert digest(files.load(BASE)) != digest(files.load(BASE.replace(right, wrong)))
