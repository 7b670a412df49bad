"""agent.d/VOLUME.toml, the one file that the agent writes there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from storage_agent.configuration.load import load
from storage_agent.configuration.read import Paths
from storage_agent.host.identity import write_identity
from storage_agent.model.errors import ConfigurationError, OperationFailed, Refused

ALPHA = {"alpha": "a1b2c3d4:a1b2c3d4:a1b2c3d4:00000001"}
BETA = {"beta": "a1b2c3d4:a1b2c3d4:a1b2c3d4:00000002"}
FILESYSTEM = "0f4c2a36-9b5e-4b5e-8f4e-3f1f6f1e9a10"
EXAMPLE = Path(__file__).parents[3] / "examples" / "agent.toml"


def test_what_is_written_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(EXAMPLE.read_text())
    (tmp_path / "agent.toml").chmod(0o644)
    paths = Paths(main=tmp_path / "agent.toml", folder=tmp_path / "agent.d")
    file = write_identity("data", ALPHA | BETA, FILESYSTEM, paths.folder)
    assert file == paths.folder / "data.toml"
    assert file.read_text().startswith("# Written by `storage-agent create`")
    assert file.stat().st_mode & 0o777 == 0o644
    volume = load(paths).volumes["data"]
    assert volume.array.uuid == ALPHA | BETA
    assert volume.filesystem.uuid == FILESYSTEM
    assert [entry.name for entry in paths.folder.iterdir()] == ["data.toml"]


def test_it_adds_to_what_is_known(tmp_path: Path) -> None:
    write_identity("data", ALPHA, FILESYSTEM, tmp_path)
    file = write_identity("data", BETA, None, tmp_path)
    tables = tomllib.loads(file.read_text())["volumes"]["data"]
    assert tables == {"array": {"uuid": ALPHA | BETA}, "filesystem": {"uuid": FILESYSTEM}}
    before = file.read_bytes()
    write_identity("data", ALPHA | BETA, FILESYSTEM, tmp_path)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("uuids", "filesystem"),
    [({"alpha": BETA["beta"]}, None), ({}, "0f4c2a36-9b5e-4b5e-8f4e-3f1f6f1e9a11")],
)
def test_it_never_changes_an_identity(
    tmp_path: Path, uuids: dict[str, str], filesystem: str | None
) -> None:
    before = write_identity("data", ALPHA, FILESYSTEM, tmp_path).read_bytes()
    with pytest.raises(Refused, match=r"data\.toml says that the"):
        write_identity("data", uuids, filesystem, tmp_path)
    assert (tmp_path / "data.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("volume", "uuids", "filesystem"),
    [
        ("../data", ALPHA, None),
        ("data", {"al.pha": ALPHA["alpha"]}, None),
        ("data", {"alpha": 'x"\n[hosts]'}, None),
        ("data", ALPHA, "FILESYSTEM"),
    ],
)
def test_it_writes_nothing_that_could_not_be_loaded(
    tmp_path: Path, volume: str, uuids: dict[str, str], filesystem: str | None
) -> None:
    with pytest.raises(Refused):
        write_identity(volume, uuids, filesystem, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["not toml", "[volumes.other]\n", "[volumes]\ndata = 1\n"])
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"data\.toml:1: "):
        write_identity("data", ALPHA, None, tmp_path)
    assert (tmp_path / "data.toml").read_text() == text


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "agent.d").symlink_to("nowhere")
    with pytest.raises(OperationFailed, match=r"data\.toml: ") as caught:
        write_identity("data", ALPHA, None, tmp_path / "agent.d")
    assert caught.value.code == "IDENTITY_NOT_WRITTEN"
