"""SSH to one host, through paramiko: pinned host key, one configured key, deadlines everywhere.

Nothing is looked up: no agent, no ~/.ssh, no system known_hosts, no configuration file, no proxy.
Debian 12's paramiko 2.12 still offers CBC, MD5 and SHA-1: what is offered is what
model/ssh_algorithms.py allows, of that what the installed paramiko has.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import paramiko

from storage_agent.coordinator.reaching.causes import cause
from storage_agent.coordinator.reaching.host_keys import HostKeys, fingerprint
from storage_agent.coordinator.settings import HostSettings, Settings
from storage_agent.model.errors import AgentError, ConfigurationError, Refused
from storage_agent.model.ssh_algorithms import CIPHERS, HOST_KEYS, KEX, MACS

USER = "storage-agent"
_LOG = "storage_agent.coordinator.paramiko"
# What paramiko has to say quotes what the host has sent, also before its key was checked. It comes
# to us as an exception, and is shown once, as the host's; without a handler logging(3) would write
# it to stderr as it is.
for _name in (_LOG, "paramiko"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False
KEEPALIVE_S = 5
_CHUNK_BYTES = 1 << 16
# Of the kinds that get no list of their own in paramiko: those of our key's signature.
WITHOUT = {"pubkeys": ["ssh-dss", "ssh-rsa"]}


class SshChannel:
    """Implements rpc.Channel. end: what `close` closes: the transport, or this channel alone.
    anew: makes another connection to the same host."""

    def __init__(
        self,
        host: HostSettings,
        transport: paramiko.Transport,
        limit_s: float,
        end: Callable[[], None] | None = None,
        anew: Callable[[], SshChannel] | None = None,
    ) -> None:
        """Raises what paramiko raises."""
        self._anew = anew
        self._host = host
        self._transport = transport
        self._limit_s = limit_s
        self._channel = transport.open_session(timeout=limit_s)
        self._end = end or self._channel.close
        # Waiting for the answer to `exec` has no limit of its own in paramiko.
        alarm = threading.Timer(limit_s, self._channel.close)
        alarm.daemon = True
        alarm.start()
        try:
            self._channel.settimeout(limit_s)
            # The forced command runs whatever is asked for; this asks for nothing.
            self._channel.exec_command("")
        except BaseException:
            self._channel.close()
            raise
        finally:
            alarm.cancel()

    def send(self, line: bytes) -> None:
        self._channel.sendall(line)

    def receive(self) -> bytes:
        while True:
            try:
                received: bytes = self._channel.recv(_CHUNK_BYTES)
                return received
            except TimeoutError:
                # The timeout is for sending; reading waits for as long as the connection lives.
                if not self._transport.is_active():
                    raise ConnectionError("the SSH connection ended") from None

    def close(self) -> None:
        self._end()

    def beside(self) -> SshChannel:
        with _errors(self._host):
            try:
                return SshChannel(self._host, self._transport, self._limit_s)
            except paramiko.ChannelException:
                # sshd takes no more sessions on this connection (MaxSessions): it stays as it is.
                if self._anew is None:
                    raise
                return self._anew()


def connect(host: HostSettings, settings: Settings) -> SshChannel:
    """A session whose other end is the agent's gateway.

    Raises Missing (unreachable), Refused (host key unknown or another one), NotPermitted (our key
    is not accepted), ConfigurationError (our key cannot be used).
    """
    key_type, blob = HostKeys(Path(settings.known_hosts)).key_of(host.name)
    key = load_key(settings.key_file)
    limit_s = settings.deadlines.connect_s
    with _errors(host):
        transport = _transport(host, limit_s, key_type)
        try:
            transport.start_client(timeout=limit_s)
            _require_key(host, blob, transport.get_remote_server_key())
            transport.auth_publickey(USER, key)
            return SshChannel(
                host, transport, limit_s, transport.close, lambda: connect(host, settings)
            )
        except BaseException:
            transport.close()
            raise


def offered_key(host: HostSettings, timeout_s: float) -> tuple[str, bytes]:
    """The key that a host shows, to be compared with a fingerprint. Nothing is sent to it."""
    with _errors(host):
        transport = _transport(host, timeout_s, None)
        try:
            transport.start_client(timeout=timeout_s)
            shown = transport.get_remote_server_key()
        finally:
            transport.close()
    return shown.get_name(), shown.asbytes()


def load_key(path: str) -> paramiko.PKey:
    """Raises ConfigurationError."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as exc:
        raise ConfigurationError(
            f"{path}:1: {exc.strerror}",
            remedy=f"make one: ssh-keygen -t ed25519 -N '' -f {path}; then, on each host: "
            "storage-agent authorize --role grant KEYFILE",
        ) from exc
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(f"{path}:1: others may read it", remedy=f"chmod 600 {path}")
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            key: paramiko.PKey = kind.from_private_key_file(path)
            return key
        except (paramiko.SSHException, ValueError):
            continue
        except OSError as exc:
            raise _unreadable(path, exc) from exc
    raise ConfigurationError(
        f"{path}:1: not a private key of type ed25519, ecdsa or rsa without a passphrase",
        remedy=f"make one: ssh-keygen -t ed25519 -N '' -f {path}",
    )


def _unreadable(path: str, exc: OSError) -> ConfigurationError:
    remedy = "run it as root (sudo)" if isinstance(exc, PermissionError) else f"ls -l {path}"
    return ConfigurationError(f"{path}:1: {exc.strerror}", remedy=remedy)


def _transport(host: HostSettings, limit_s: float, key_type: str | None) -> paramiko.Transport:
    sock = socket.create_connection((host.address, host.port), timeout=limit_s)
    # paramiko's own keep-alive does not look for an answer: the kernel's does.
    for option, value in (
        (socket.TCP_KEEPIDLE, KEEPALIVE_S),
        (socket.TCP_KEEPINTVL, KEEPALIVE_S),
        (socket.TCP_KEEPCNT, 3),
        (socket.TCP_USER_TIMEOUT, 3 * KEEPALIVE_S * 1000),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    transport = paramiko.Transport(sock, disabled_algorithms=WITHOUT)
    transport.banner_timeout = limit_s
    transport.handshake_timeout = limit_s
    transport.auth_timeout = limit_s
    transport.set_log_channel(_LOG)
    _allow(transport.get_security_options(), key_type)
    return transport


def _allow(options: paramiko.SecurityOptions, key_type: str | None) -> None:
    """key_type: of the pinned key, the only one that is asked for then: a second key of the host
    changes nothing."""

    def had(allowed: tuple[str, ...], here: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in allowed if name in here)

    options.ciphers = had(CIPHERS, options.ciphers)
    options.digests = had(MACS, options.digests)
    options.kex = had(KEX, options.kex)
    wanted: tuple[str, ...] = HOST_KEYS if key_type is None else (key_type,)
    if key_type == "ssh-rsa":
        wanted = ("rsa-sha2-512", "rsa-sha2-256")
    options.key_types = had(wanted, options.key_types)


def _require_key(host: HostSettings, pinned: bytes, shown: paramiko.PKey) -> None:
    if shown.asbytes() != pinned:
        raise Refused(
            f"{host.name} shows another SSH host key than the pinned one",
            remedy=f"pinned {fingerprint(pinned)}, shown {fingerprint(shown.asbytes())}: if nobody "
            f"installed {host.name} anew, somebody is in between",
            code="HOST_KEY_CHANGED",
        )


@contextmanager
def _errors(host: HostSettings) -> Iterator[None]:
    try:
        yield
    except AgentError:
        raise
    except Exception as exc:
        raise cause(host, exc) from exc
