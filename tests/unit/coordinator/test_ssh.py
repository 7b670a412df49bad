"""SSH as it really is, against paramiko's own server on loopback: who is believed, who is not."""

from __future__ import annotations

import dataclasses
import errno
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from storage_agent.coordinator.reaching import ssh
from storage_agent.coordinator.reaching.host_keys import HostKeys, fingerprint
from storage_agent.coordinator.reaching.rpc import Connection, Disconnected
from storage_agent.coordinator.settings import HostSettings, Settings
from storage_agent.model.errors import (
    AgentError,
    ConfigurationError,
    Missing,
    NotPermitted,
    Refused,
)
from storage_agent.model.ssh_algorithms import CIPHERS, HOST_KEYS, KEX, MACS
from tests.unit.coordinator.loopback import Gateway
from tests.unit.coordinator.pair import make_settings
from tests.unit.service.parts import wait_until

pytestmark = pytest.mark.sockets


@dataclasses.dataclass
class Server:
    host: HostSettings
    settings: Settings
    host_key: paramiko.PKey
    gateway: Gateway
    security: dict[str, Any] = dataclasses.field(default_factory=dict)
    seen: list[paramiko.Transport] = dataclasses.field(default_factory=list)

    def pin(self, key: paramiko.PKey | None = None) -> None:
        key = key or self.host_key
        keys = HostKeys(Path(self.settings.known_hosts))
        content = keys.with_key("alpha", key.get_name(), key.asbytes(), replace=True)
        if content is not None:
            keys.path.write_bytes(content)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    key_file = tmp_path / "key"
    ours = paramiko.ECDSAKey.generate()
    ours.write_private_key_file(str(key_file))
    listener = socket.create_server(("127.0.0.1", 0))
    found = Server(
        host=HostSettings(name="alpha", address="127.0.0.1", port=listener.getsockname()[1]),
        settings=dataclasses.replace(
            make_settings(tmp_path),
            key_file=str(key_file),
            known_hosts=str(tmp_path / "known_hosts"),
        ),
        host_key=paramiko.ECDSAKey.generate(),
        gateway=Gateway(ours),
    )

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(sock)
            transport.add_server_key(found.host_key)
            options = transport.get_security_options()
            for name, value in found.security.items():
                setattr(options, name, value)
            found.seen.append(transport)
            try:
                transport.start_server(server=found.gateway)
            except (paramiko.SSHException, OSError, EOFError):
                continue

    threading.Thread(target=serve, daemon=True).start()
    yield found
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for transport in found.seen:
        transport.close()


def refusal(server: Server) -> AgentError:
    with pytest.raises(AgentError) as caught:
        ssh.connect(server.host, server.settings)
    assert caught.value.remedy
    return caught.value


def test_many_requests_over_one_session(server: Server) -> None:
    server.pin()
    connection = Connection("alpha", ssh.connect(server.host, server.settings))
    for number in range(20):
        assert connection.call("echo", {"n": number}, timeout_s=5) == {"n": number}
    # What runs there is the forced command, whatever is asked for.
    assert server.gateway.commands == [b""]
    assert server.gateway.users == ["storage-agent"]
    connection.close()


def test_a_session_beside_it_shares_the_connection_and_ends_alone(server: Server) -> None:
    server.pin()
    connection = Connection("alpha", ssh.connect(server.host, server.settings))
    for number in range(3):
        asked = {"n": number}
        assert connection.call_beside("echo", asked, timeout_s=5) == asked
        assert connection.call("echo", asked, timeout_s=5) == asked
    assert (len(server.seen), server.gateway.commands) == (1, [b""] * 4)
    server.seen[0].close()
    wait_until(lambda: not connection.is_open())
    with pytest.raises(AgentError) as caught:
        connection.call_beside("echo", {}, timeout_s=5)
    assert caught.value.code == "HOST_UNREACHABLE"


def test_an_unknown_host_gets_nothing(server: Server) -> None:
    assert refusal(server).code == "HOST_KEY_UNKNOWN"
    assert server.seen == []


def test_another_key_than_the_pinned_one_is_refused(server: Server) -> None:
    server.pin(paramiko.ECDSAKey.generate())
    found = refusal(server)
    assert isinstance(found, Refused)
    assert found.code == "HOST_KEY_CHANGED"
    assert fingerprint(server.host_key.asbytes()) in found.remedy
    # Our key was not even offered to it.
    assert server.gateway.users == []


def test_a_second_key_type_of_the_host_changes_nothing(server: Server) -> None:
    server.pin(paramiko.RSAKey.generate(2048))
    assert isinstance(refusal(server), Missing)
    assert server.gateway.users == []


def test_a_key_that_is_not_accepted(server: Server) -> None:
    server.pin()
    server.gateway.accepted = paramiko.ECDSAKey.generate()
    assert isinstance(refusal(server), NotPermitted)


def test_nobody_there(server: Server) -> None:
    server.pin()
    server.host = dataclasses.replace(server.host, port=1)
    found = refusal(server)
    assert (found.code, "nothing listens at port 1" in found.message) == ("HOST_UNREACHABLE", True)


# -- algorithms -----------------------------------------------------------------------------------

# All that may ever be offered. What no list here has, a newer paramiko brought: to be judged.
STRONG = {
    "kex": set(KEX),
    "keys": set(HOST_KEYS),
    "ciphers": set(CIPHERS),
    "macs": set(MACS),
    "compression": {"none"},
}
# Debian 12's paramiko 2.12.0, Transport._preferred_*: offered by default, and weak.
WEAK = {
    "kex": {
        "diffie-hellman-group-exchange-sha256",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group14-sha1",
        "diffie-hellman-group1-sha1",
    },
    "keys": {"ssh-rsa", "ssh-dss"},
    "ciphers": {"aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"},
    "macs": {"hmac-sha1", "hmac-md5", "hmac-sha1-96", "hmac-md5-96"},
    "compression": set(),
}
# No algorithms: what either side understands (RFC 8308, OpenSSH's PROTOCOL 1.10).
MARKERS = {"ext-info-c", "kex-strict-c-v00@openssh.com"}
# RFC 4253 section 7.1; after them only languages.
OFFER = ("kex", "keys", "ciphers", "ciphers", "macs", "macs", "compression", "compression")


def offer(look: Callable[[HostSettings], object]) -> list[set[str]]:
    """What a client sends before anything is agreed on: its SSH_MSG_KEXINIT, list by list. A
    certificate of a strong key counts as that key."""
    sent = bytearray()

    def listen(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            connection.sendall(b"SSH-2.0-listener\r\n")
            while (end := sent.find(b"\n") + 1) == 0 or len(sent) < end + 4 + int.from_bytes(
                sent[end : end + 4], "big"
            ):
                sent.extend(connection.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen, args=(listener,))
        thread.start()
        with pytest.raises(AgentError):
            look(HostSettings(name="alpha", address="127.0.0.1", port=listener.getsockname()[1]))
        thread.join(10)
    payload = bytes(sent).partition(b"\n")[2][5:]
    assert payload[:1] == b"\x14"
    at, lists = 1 + 16, []
    for _ in OFFER:
        size = int.from_bytes(payload[at : at + 4], "big")
        names = payload[at + 4 : at + 4 + size].decode().split(",")
        lists.append({name.removesuffix("-cert-v01@openssh.com") for name in names} - MARKERS)
        at += 4 + size
    return lists


def test_every_algorithm_that_paramiko_would_offer_is_judged() -> None:
    for kind, strong in STRONG.items():
        defaults = set(getattr(paramiko.Transport, f"_preferred_{kind}"))
        assert defaults - MARKERS <= strong | WEAK[kind], kind
        if paramiko.__version__ == "2.12.0":
            assert defaults - strong == WEAK[kind], kind


def test_nothing_weak_is_offered_where_nothing_is_pinned(server: Server) -> None:
    sent = offer(lambda host: ssh.offered_key(host, 5))
    for kind, names in zip(OFFER, sent, strict=True):
        assert set() < names <= STRONG[kind], kind


def test_nothing_weak_is_offered_to_a_host(server: Server) -> None:
    """And of the kinds of keys only the pinned one."""
    server.pin()
    sent = offer(lambda host: ssh.connect(host, server.settings))
    assert sent[OFFER.index("keys")] == {server.host_key.get_name()}
    for kind, names in zip(OFFER, sent, strict=True):
        assert set() < names <= STRONG[kind], kind


OPTIONS = {"kex": "kex", "keys": "key_types", "ciphers": "ciphers", "macs": "digests"}
# Without a file of groups paramiko's own server speaks no group exchange.
SPOKEN = [
    (kind, name)
    for kind in OPTIONS
    for name in sorted(WEAK[kind])
    if "group-exchange" not in name and name != "ssh-dss"
]


@pytest.mark.parametrize(("kind", "name"), SPOKEN)
def test_a_host_that_speaks_only_what_is_weak_is_not_spoken_to(
    server: Server, kind: str, name: str
) -> None:
    if kind == "keys":
        server.host_key = paramiko.RSAKey.generate(2048)
    server.pin()
    server.security[OPTIONS[kind]] = (name,)
    # It does speak: paramiko as it comes agrees on it.
    plain = paramiko.Transport((server.host.address, server.host.port))
    plain.start_client(timeout=10)
    plain.close()
    found = refusal(server)
    assert (found.code, isinstance(found, Missing)) == ("HOST_SSH_ALGORITHMS", True)
    assert server.gateway.users == []


# After hardening guides: ssh-audit's and dev-sec's for Debian 12, of what paramiko's server has.
@pytest.mark.parametrize(
    ("option", "left"),
    [
        ("digests", ("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com")),
        ("digests", ("hmac-sha2-256-etm@openssh.com",)),
        ("kex", ("curve25519-sha256@libssh.org", "diffie-hellman-group16-sha512")),
        ("ciphers", ("aes256-ctr",)),
    ],
)
def test_a_hardened_host_is_spoken_to(server: Server, option: str, left: tuple[str, ...]) -> None:
    server.pin()
    server.security[option] = left
    channel = ssh.connect(server.host, server.settings)
    assert server.gateway.users == ["storage-agent"]
    channel.close()


def test_a_mac_over_what_is_encrypted_is_taken_last() -> None:
    """Before paramiko 3.4 there is no strict key exchange, which such a MAC wants."""
    etm = [name for name in MACS if "-etm@" in name]
    assert list(MACS[-len(etm) :]) == etm


def test_a_host_that_ends_the_connection_at_once_says_why_it_may_be(server: Server) -> None:
    server.pin()

    def end(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=end, args=(listener,))
        thread.start()
        server.host = dataclasses.replace(server.host, port=listener.getsockname()[1])
        found = refusal(server)
        thread.join(10)
    assert (found.code, "PerSourcePenalties" in found.message) == ("HOST_UNREACHABLE", True)


def test_a_lost_session_ends_what_waits(server: Server) -> None:
    server.pin()
    ended: list[str] = []
    connection = Connection("alpha", ssh.connect(server.host, server.settings), on_end=ended.append)
    with pytest.raises(Disconnected):
        connection.call("die", {}, timeout_s=5)
    assert not connection.is_open()
    wait_until(lambda: len(ended) == 1)


def test_a_banner_that_never_comes_ends_at_the_deadline(server: Server) -> None:
    server.pin()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        server.host = dataclasses.replace(server.host, port=mute.getsockname()[1])
        found = refusal(server)
    assert (found.code, "sshd says nothing" in found.message) == ("HOST_UNREACHABLE", True)


def test_what_is_no_ssh_at_all_is_a_host_that_cannot_be_reached(server: Server) -> None:
    """paramiko 2.12 raises UnicodeDecodeError for names of algorithms that are no UTF-8."""
    server.pin()
    names = struct.pack(">I", 4) + b"\xff\xfe\xfd\xfc"
    payload = b"\x14" + bytes(16) + names * 10 + bytes(5)
    padding = 8 - (5 + len(payload)) % 8 + 8
    packet = struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)

    def babble(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"SSH-2.0-babble\r\n" + packet)
            while connection.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=babble, args=(listener,))
        thread.start()
        server.host = dataclasses.replace(server.host, port=listener.getsockname()[1])
        assert refusal(server).code == "HOST_UNREACHABLE"
        thread.join(10)


def test_the_key_that_a_host_shows(server: Server) -> None:
    key_type, blob = ssh.offered_key(server.host, 5)
    assert (key_type, blob) == (server.host_key.get_name(), server.host_key.asbytes())


@pytest.mark.parametrize("what", ["missing", "readable by others", "no key", "unreadable"])
def test_our_key_must_be_ours_alone(server: Server, what: str) -> None:
    server.pin()
    path = Path(server.settings.key_file)
    if what == "missing":
        path.unlink()
    if what == "readable by others":
        path.chmod(0o644)
    if what == "no key":
        path.write_text("nonsense")
        path.chmod(0o600)
    if what == "unreadable":
        # For root, too.
        path.unlink()
        path.mkdir(mode=0o700)
    assert isinstance(refusal(server), ConfigurationError)


def test_a_key_that_only_root_may_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)

    def refuse(_path: str) -> paramiko.PKey:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(paramiko.Ed25519Key, "from_private_key_file", refuse)
    with pytest.raises(ConfigurationError, match="Permission denied") as caught:
        ssh.load_key(str(path))
    assert caught.value.remedy == "run it as root (sudo)"


def test_known_hosts_that_others_may_write_are_not_believed(server: Server) -> None:
    server.pin()
    Path(server.settings.known_hosts).chmod(0o666)
    assert isinstance(refusal(server), ConfigurationError)
