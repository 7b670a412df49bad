"""What a host says of its peer's configuration, and why it says nothing."""

from __future__ import annotations

import dataclasses
import socket
import threading
from pathlib import Path

import pytest

from storage_agent import __version__
from storage_agent.host.pair.compare import RESERVED_PORTS, compare, connect, statement
from storage_agent.host.pair.exchange import answer
from storage_agent.host.pair.secret import make_secret, read_secret
from storage_agent.model.agreement import Agreement, Silence
from storage_agent.model.configuration import AgentConfig
from tests.unit.fakes import agent_config, volume_config

VOLUME = volume_config()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/storage-agent").mkdir(parents=True)
    make_secret("data", tmp_path)
    return tmp_path


def served_by(config: AgentConfig, root: Path, *, secret: bytes | None = None) -> Agreement:
    """With beta's agent at the other end, which has this configuration."""
    mine, theirs = socket.socketpair()

    def run() -> None:
        with theirs:
            try:
                answer(
                    theirs,
                    lambda volume: secret or read_secret(volume, root),
                    lambda volume: statement(config, volume),
                    host="beta",
                    peer="alpha",
                )
            except Exception:
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    asked: list[tuple[str, str, int]] = []

    def open_(*place: object) -> socket.socket:
        asked.append(place)  # type: ignore[arg-type]
        return mine

    found = compare(agent_config(), VOLUME, root, open_)
    thread.join(10.0)
    assert asked == [("10.8.0.1", "10.8.0.2", 8780)]
    assert found is not None
    return found


def as_beta(config: AgentConfig) -> AgentConfig:
    return dataclasses.replace(config, host="beta")


def test_the_same_on_both(root: Path) -> None:
    assert served_by(as_beta(agent_config()), root) == Agreement(
        has_secret=True, asked="10.8.0.2 port 8780", peer_version=__version__
    )


def test_what_differs_is_named_with_both_values(root: Path) -> None:
    filesystem = dataclasses.replace(VOLUME.filesystem, options=("noatime",))
    other = agent_config(dataclasses.replace(VOLUME, filesystem=filesystem))
    found = served_by(as_beta(other), root)
    assert found.differing == {"volumes.data.filesystem.options": ("[]", '["noatime"]')}


def test_a_volume_that_the_peer_does_not_have_differs(root: Path) -> None:
    found = served_by(dataclasses.replace(as_beta(agent_config()), volumes={}), root)
    assert found.differing["volumes.data.mount_point"] == ('"/srv/data"', "not configured")


def test_another_secret(root: Path) -> None:
    found = served_by(as_beta(agent_config()), root, secret=bytes(32))
    assert (found.silence, found.differing) == (Silence.DISBELIEVED, {})


def unreachable(*_place: object) -> socket.socket:
    raise AssertionError("nobody is to be asked")


def test_without_a_secret_nobody_is_asked(tmp_path: Path) -> None:
    found = compare(agent_config(), VOLUME, tmp_path, unreachable)
    assert found == Agreement(has_secret=False, asked="10.8.0.2 port 8780")


def test_with_a_bad_secret_nobody_is_asked(root: Path) -> None:
    (root / "etc/storage-agent/pair/data.secret").chmod(0o644)
    found = compare(agent_config(), VOLUME, root, unreachable)
    assert found is not None
    assert (found.has_secret, found.silence) == (True, Silence.SECRET_UNUSABLE)
    assert "not root's alone" in found.detail


def test_where_there_is_nobody_to_compare_with(root: Path) -> None:
    config = agent_config()
    local = dataclasses.replace(VOLUME, replica=None)
    alone = dataclasses.replace(config, hosts={"alpha": config.hosts["alpha"]})
    elsewhere = dataclasses.replace(config, host="gamma")
    assert compare(config, local, root, unreachable) is None
    assert compare(alone, VOLUME, root, unreachable) is None
    assert compare(elsewhere, VOLUME, root, unreachable) is None


@pytest.mark.parametrize(
    ("error", "silence"),
    [
        (ConnectionRefusedError(111, "Connection refused"), Silence.REFUSED),
        (TimeoutError("timed out"), Silence.UNREACHABLE),
        (OSError(99, "Cannot assign requested address"), Silence.UNREACHABLE),
    ],
)
def test_why_nobody_answered(root: Path, error: OSError, silence: Silence) -> None:
    def fail(*_place: object) -> socket.socket:
        raise error

    found = compare(agent_config(), VOLUME, root, fail)
    assert found is not None
    assert (found.silence, found.detail) == (silence, error.strerror or str(error))


def test_a_peer_that_closes_at_once_has_turned_this_host_away(root: Path) -> None:
    mine, theirs = socket.socketpair()
    theirs.close()
    found = compare(agent_config(), VOLUME, root, lambda *_: mine)
    assert found is not None
    assert found.silence is Silence.TURNED_AWAY


@pytest.mark.sockets
def test_it_asks_from_its_own_address_and_as_root() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        listener.listen(1)
        with connect("127.0.0.3", "127.0.0.2", listener.getsockname()[1]) as mine:
            theirs, address = listener.accept()
            theirs.close()
            assert (address[0], mine.gettimeout()) == ("127.0.0.3", 2.0)
            assert address[1] in RESERVED_PORTS
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        connect("127.0.0.3", "127.0.0.2", port)
