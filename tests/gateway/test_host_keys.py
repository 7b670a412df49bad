"""The host's key as the coordinator believes it, of a real sshd that has several. Row 38 of the
hostile inputs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage_agent.coordinator.reaching import ssh
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.settings import HostSettings, Settings
from storage_agent.host.system.clock import SystemClock
from storage_agent.model.errors import AgentError, Missing, Refused
from tests.gateway.host import StorageHost, wait_for
from tests.unit.coordinator.pair import make_settings

KINDS = ("ed25519", "ecdsa", "rsa")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three of a host, and an impostor's."""
    folder = tmp_path_factory.mktemp("host-keys")
    for name, kind in (*((kind, kind) for kind in KINDS), ("impostor", "ed25519")):
        argv = ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(folder / name))
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return {path.stem: path for path in folder.iterdir() if not path.suffix}


@pytest.fixture(scope="module")
def several(keys: dict[str, Path]) -> Iterator[StorageHost]:
    """ed25519 comes first, as StorageHost makes its own; here it has the other two as well."""
    more = (f"HostKey={keys[kind]}" for kind in ("ecdsa", "rsa"))
    with StorageHost(*more) as made:
        yield made


def public(path: Path) -> str:
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


Pin = Callable[[str], Fleet]


@pytest.fixture
def pin(several: StorageHost, tmp_path: Path) -> Iterator[Pin]:
    """A fleet whose known_hosts has this one key for alpha, or none."""
    known = tmp_path / "known_hosts"
    fleets = []

    def make(key: str) -> Fleet:
        known.write_text(f"alpha {key}\n" if key else "")
        settings: Settings = dataclasses.replace(
            make_settings(tmp_path),
            key_file=os.fspath(several.key("operate")),
            known_hosts=os.fspath(known),
            hosts={"alpha": HostSettings(name="alpha", address="127.0.0.1", port=several.port)},
        )
        fleets.append(Fleet(settings, lambda one: ssh.connect(one, settings), SystemClock()))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.close()


def refusal(several: StorageHost, fleet: Fleet) -> AgentError:
    """And that our key was shown to nobody, nor anything asked."""
    begun, logged = len(several.daemon_log()), len(several.sshd_log())
    with pytest.raises(AgentError) as caught:
        fleet.status("alpha")
    assert not fleet.is_connected("alpha")
    assert "Accepted publickey" not in several.sshd_log()[logged:]
    assert [line for line in several.daemon_log()[begun:] if line.get("method") == "hello"] == []
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_whichever_of_its_keys_is_pinned_is_the_one_that_is_asked_for(
    several: StorageHost, keys: dict[str, Path], pin: Pin, kind: str
) -> None:
    pinned = several.folder / "host_key" if kind == "ed25519" else keys[kind]
    assert pin(public(pinned)).status("alpha").host == "alpha"


def test_an_unknown_host_is_not_even_called(several: StorageHost, pin: Pin) -> None:
    found = refusal(several, pin(""))
    assert found.code == "HOST_KEY_UNKNOWN"
    assert "storage-coordinator enroll alpha" in found.remedy


@pytest.mark.parametrize("kind", ["impostor", "ed25519"])
def test_a_changed_key_is_refused_although_other_keys_would_do(
    several: StorageHost, keys: dict[str, Path], pin: Pin, kind: str
) -> None:
    found = refusal(several, pin(public(keys[kind])))
    assert isinstance(found, Refused)
    assert found.code == "HOST_KEY_CHANGED"
    assert found.remedy.count("SHA256:") == 2


def test_a_key_of_another_kind_does_not_stand_in(
    several: StorageHost, keys: dict[str, Path], pin: Pin
) -> None:
    """The host is started anew without the kind that is pinned."""
    with StorageHost() as other:
        fleet = pin(public(keys["rsa"]))
        alpha = HostSettings(name="alpha", address="127.0.0.1", port=other.port)
        fleet.settings.hosts["alpha"] = alpha
        with pytest.raises(Missing) as caught:
            fleet.status("alpha")
        assert caught.value.code == "HOST_SSH_ALGORITHMS"
        wait_for(lambda: "no matching host key type" in other.sshd_log(), "sshd says why")
        assert [line for line in other.daemon_log() if line.get("method") == "hello"] == []
