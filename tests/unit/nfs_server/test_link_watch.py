"""Who is contradicted that claims the volume's address, and when."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from storage_agent.host.network import link_address
from storage_agent.nfs_server import link
from storage_agent.nfs_server.frames import arp_announcements, claimant
from storage_agent.nfs_server.link import ServiceLink
from storage_agent.nfs_server.link_watch import DOUBT_S, FORGOTTEN_S, LinkWatch
from tests.unit.nfs_server.settings import SETTINGS

ADDRESS = "10.9.0.10"
OWN, PEER = (link_address("data", SETTINGS.address, host) for host in ("alpha", "beta"))
STRANGER = bytes.fromhex("525400aabbcc")


@dataclass
class FakeLink(ServiceLink):
    """alpha's. right: DRBD shows that it goes on alone."""

    heard: socket.socket
    right: bool = False
    announced: list[float] = field(default_factory=list)
    now_s: float = 100.0

    def listen_to_claims(self) -> socket.socket:
        return self.heard

    def claimant(self, frame: bytes) -> bytes | None:
        return claimant(frame, ADDRESS, OWN)

    def may_be_peers(self, claimant: bytes) -> bool:
        return claimant == PEER

    def is_known_right(self) -> bool:
        return self.right

    def announce(self) -> None:
        self.announced.append(self.now_s)


class Watched:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.network, heard = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        heard.setblocking(False)
        self.link = FakeLink(heard)
        self.watch = LinkWatch(self.link, lambda: True)
        monkeypatch.setattr("time.monotonic", lambda: self.link.now_s)

    def claim(self, who: bytes, *, after_s: float = 1.0) -> bool:
        """Whether it is contradicted."""
        self.link.now_s += after_s
        before = len(self.link.announced)
        self.network.send(arp_announcements(who, ADDRESS)[0])
        self.watch.hear()
        return len(self.link.announced) > before


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    made = Watched(monkeypatch)
    yield made
    made.network.close()
    made.link.heard.close()


def test_a_stranger_is_contradicted_at_once(watched: Watched) -> None:
    assert watched.claim(STRANGER)
    assert not watched.claim(STRANGER, after_s=0.1)
    assert watched.claim(STRANGER)


def test_the_peer_may_be_right(watched: Watched) -> None:
    """A host that was replaced while it stood still would draw the clients back to itself."""
    assert not watched.claim(PEER)
    assert not watched.claim(PEER, after_s=DOUBT_S - 1)
    assert watched.claim(PEER, after_s=2)
    assert not watched.claim(PEER, after_s=FORGOTTEN_S + 1)


def test_who_has_been_told_to_go_on_alone_is_right(watched: Watched) -> None:
    watched.link.right = True
    assert watched.claim(PEER)


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_whose_address_may_be_the_peers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ServiceLink(dataclasses.replace(SETTINGS, link=kind), None)
    assert real.may_be_peers(PEER)
    assert real.may_be_peers(STRANGER) is (kind == "ipvlan")
    monkeypatch.setattr(link, "goes_on_alone", lambda minor: minor == 0)
    assert real.is_known_right()
    local = ServiceLink(dataclasses.replace(SETTINGS, minor=None), None)
    assert not local.is_known_right()
