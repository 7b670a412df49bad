"""Each cause of there being no session, named with what to look at."""

from __future__ import annotations

import errno
import socket

import paramiko
import pytest
from paramiko.ssh_exception import IncompatiblePeer

from storage_agent.coordinator.reaching.causes import cause
from storage_agent.coordinator.settings import HostSettings


def silent() -> Exception:
    """As paramiko puts its own exception over a timeout, whose text is empty."""
    raised: Exception = paramiko.SSHException("Error reading SSH protocol banner")
    raised.__context__ = TimeoutError()
    return raised


GONE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("raised", "says", "look"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens", "systemctl status"),
        (TimeoutError("timed out"), "no answer in time", "ping -c 3 127.0.0.1"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host", "ip route get"),
        (GONE, "no address is known", "getent hosts"),
        (paramiko.SSHException("Error reading SSH protocol banner"), "Penalties", "journalctl"),
        (
            paramiko.SSHException("Error reading SSH protocol banner[Errno 104] Connection reset"),
            "Penalties",
            "journalctl",
        ),
        (silent(), "sshd says nothing", "uptime"),
        (paramiko.ChannelException(1, "Administratively prohibited"), "MaxSessions", "journalctl"),
        (paramiko.AuthenticationException("Authentication failed."), "or not the user", "doctor"),
        (paramiko.BadAuthenticationType("x", ["password"]), "wants password", "doctor"),
        (IncompatiblePeer("Incompatible ssh server (no acceptable macs)"), "no MAC", "^MACs"),
        (IncompatiblePeer("Incompatible ssh server (no acceptable ciphers)"), "cipher", "^Ciphers"),
        (
            IncompatiblePeer("Incompatible ssh peer (no acceptable kex algorithm)"),
            "no key exchange",
            "^KexAlgorithms",
        ),
        (
            IncompatiblePeer("Incompatible ssh peer (can't match requested host key type)"),
            "type of host key",
            "^HostKeyAlgorithms",
        ),
        (IncompatiblePeer("Incompatible version (1.5 instead of 2.0)"), "1.5", "ping alpha"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), "utf-8", "ping alpha"),
    ],
)
def test_each_cause_is_named_with_what_to_look_at(raised: Exception, says: str, look: str) -> None:
    found = cause(HostSettings(name="alpha", address="127.0.0.1", port=22), raised)
    assert says in found.message
    assert look in found.remedy
    assert "alpha" in found.message
