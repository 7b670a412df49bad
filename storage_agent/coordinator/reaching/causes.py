"""Why there is no SSH session to a host, as far as its end or the network says: each cause with
what to look at. What sshd does not tell (does it refuse the key or the user) doctor knows there.
"""

from __future__ import annotations

import re
import socket

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from storage_agent.coordinator.reaching.rpc import Unreachable, unreachable
from storage_agent.coordinator.settings import HostSettings
from storage_agent.model.bounds import cut
from storage_agent.model.errors import AgentError, NotPermitted
from storage_agent.model.ssh_algorithms import BY_OPTION

_KINDS = {
    "ciphers": ("cipher", "Ciphers"),
    "macs": ("MAC", "MACs"),
    "kex algorithm": ("key exchange", "KexAlgorithms"),
    "host key": ("type of host key", "HostKeyAlgorithms"),
}
_NONE_OF = re.compile(r"no acceptable ([a-z ]+)|can't match requested (host key) type")
_NO_BANNER = "Error reading SSH protocol banner"
# What start_client() leaves where its time is over.
_NO_END = "No existing session"
REFUSALS = "journalctl -u ssh -n 20 -g 'penalty|MaxStartups|storage-agent'"


def cause(host: HostSettings, exc: Exception) -> AgentError:
    """The typed error for whatever paramiko or the network has raised."""
    name = host.name
    if isinstance(exc, IncompatiblePeer):
        return _nothing_in_common(name, str(exc))
    if isinstance(exc, paramiko.BadAuthenticationType):
        wanted = cut(", ".join(exc.allowed_types), 100)
        return NotPermitted(
            f"{name} lets nobody log in by a key: it wants {wanted}",
            remedy=f"on {name}, where storage-agent's file in /etc/ssh/sshd_config.d is to be in "
            "force: storage-agent doctor",
        )
    if isinstance(exc, paramiko.AuthenticationException):
        return NotPermitted(
            f"{name} does not accept our key, or not the user that it is for",
            remedy=f"on {name}: storage-agent authorize list; storage-agent doctor (it knows of "
            "AllowUsers, AllowGroups and locked accounts); a key that is missing there: "
            "storage-agent authorize --role grant KEYFILE",
        )
    if isinstance(exc, paramiko.ChannelException):
        return _without(name, "sshd opens no session (MaxSessions)", f"on {name}: {REFUSALS}")
    if isinstance(exc, paramiko.SSHException) and str(exc).startswith((_NO_BANNER, _NO_END)):
        # paramiko puts no text for either end, but the exception that it met below its own.
        has_ended = str(exc).startswith(_NO_BANNER) and not isinstance(
            exc.__context__, TimeoutError
        )
        return _no_banner(name, has_ended=has_ended)
    if isinstance(exc, OSError):
        return _network(host, exc)
    # paramiko raises here whatever its own thread has met in what the host has sent.
    return unreachable(name, str(exc) or type(exc).__name__)


def _without(name: str, why: str, look: str) -> Unreachable:
    return Unreachable(
        f"{name} cannot be reached: {cut(why, 200)}",
        remedy=f"{look}; then: storage-coordinator ping {name}",
    )


def _nothing_in_common(name: str, said: str) -> AgentError:
    found = _NONE_OF.search(said)
    kind, option = _KINDS.get((found[1] or found[2]).strip() if found else "", ("", ""))
    if not option:
        return unreachable(name, said)
    taken, _ = BY_OPTION[option]
    return Unreachable(
        f"{name}: sshd and this machine have no {kind} in common",
        remedy=f"on {name}, which has: sshd -T | grep -i ^{option}; one of these is wanted in "
        f"sshd_config(5)'s {option}: {', '.join(taken)}; what fits: storage-agent doctor",
        code="HOST_SSH_ALGORITHMS",
    )


def _no_banner(name: str, *, has_ended: bool) -> Unreachable:
    if not has_ended:
        return _without(
            name,
            "the connection is there, and sshd says nothing",
            f"at its console, is it overloaded or stuck: systemctl status ssh; uptime; on {name}: "
            f"{REFUSALS}",
        )
    return _without(
        name,
        "sshd ended the connection before it said anything: too many at once (MaxStartups), or "
        "this machine is to wait after failed logins (PerSourcePenalties)",
        f"on {name}: {REFUSALS}; to spare this machine penalties there: storage-agent doctor",
    )


def _network(host: HostSettings, exc: OSError) -> Unreachable:
    name, address = host.name, host.address
    if isinstance(exc, socket.gaierror):
        return _without(
            name, f"no address is known for {address}", f"getent hosts {address}; cat /etc/hosts"
        )
    if isinstance(exc, ConnectionRefusedError):
        return _without(
            name,
            f"it is up, and nothing listens at port {host.port}",
            f"at its console: systemctl status ssh; ss -tln sport = :{host.port}",
        )
    if isinstance(exc, TimeoutError):
        return _without(
            name,
            "no answer in time: it is off, or the network or a firewall is in between",
            f"ping -c 3 {address}; and look at its power and console",
        )
    why = exc.strerror or str(exc) or type(exc).__name__
    return _without(name, why, f"ip route get {address}; ping -c 3 {address}")
