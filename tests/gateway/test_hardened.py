"""Hosts whose sshd was hardened after the usual guides: who gets in, and what is said else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from storage_agent.coordinator.reaching import ssh
from storage_agent.coordinator.settings import HostSettings
from storage_agent.host.sshd import parse_sshd, sshd_argv
from storage_agent.model.errors import AgentError, NotPermitted
from storage_agent.model.ssh_algorithms import CIPHERS
from storage_agent.model.sshd import SHELL, Account, SshdView
from storage_agent.policy.doctor.login import login_checks
from tests.gateway.host import StorageHost
from tests.unit.cli.answers import facts
from tests.unit.coordinator.pair import make_settings

HAS_GCM = bool(set(paramiko.Transport._preferred_ciphers) & set(CIPHERS[:2]))
HARDENED = "/etc/ssh/sshd_config.d/00-hardened.conf"
# ssh-audit's for Debian 12 and dev-sec's ssh-baseline.
GUIDES = {
    "ssh-audit": (
        "Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes256-ctr,aes192-ctr,"
        "aes128-gcm@openssh.com,aes128-ctr\n"
        "MACs hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
        "umac-128-etm@openssh.com\n"
        "KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256,"
        "curve25519-sha256@libssh.org,diffie-hellman-group18-sha512,"
        "diffie-hellman-group16-sha512\n"
        "HostKeyAlgorithms ssh-ed25519,rsa-sha2-512\n"
        "PubkeyAcceptedAlgorithms ssh-ed25519,rsa-sha2-512\n"
    ),
    "dev-sec": (
        "MACs hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,"
        "umac-128-etm@openssh.com,hmac-sha2-512,hmac-sha2-256\n"
        "MaxStartups 10:30:60\nMaxAuthTries 2\nAllowTcpForwarding no\nUseDNS no\n"
    ),
    "no PAM": "UsePAM no\n",
}
SHUT = {
    "AllowUsers": ("AllowUsers root\n", "AllowUsers storage-agent"),
    "AllowGroups": ("AllowGroups root\n", "AllowGroups storage-agent"),
    "DenyUsers": ("DenyUsers storage-*\n", "grep -rin DenyUsers"),
}


@contextmanager
def hardened(lines: str) -> Iterator[StorageHost]:
    with StorageHost() as host:
        host.harden(HARDENED, lines)
        yield host


def reach(host: StorageHost, folder: Path) -> None:
    kind, material = (host.folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"alpha {kind} {material}\n")
    settings = dataclasses.replace(
        make_settings(folder),
        key_file=str(host.key("observe")),
        known_hosts=str(folder / "known_hosts"),
    )
    ssh.connect(HostSettings(name="alpha", address="127.0.0.1", port=host.port), settings).close()


def doctor(host: StorageHost) -> list[str]:
    """The remedies, of what this host's own sshd -T says."""
    ended = host.inside("/usr/sbin/" + sshd_argv("127.0.0.1")[0], *sshd_argv("127.0.0.1")[1:])
    assert ended.returncode == 0, ended.stderr
    account = Account(shell=SHELL, groups=("storage-agent",), is_locked=False, is_expired=False)
    view = SshdView(settings=parse_sshd(ended.stdout), account=account)
    checks = login_checks(facts(sshd=view), None)
    return [check.finding.remedy for check in checks if check.finding]


@pytest.mark.parametrize("guide", GUIDES)
def test_a_coordinator_still_gets_in(guide: str, tmp_path: Path) -> None:
    with hardened(GUIDES[guide]) as host:
        reach(host, tmp_path)
        assert doctor(host) == []


@pytest.mark.parametrize("what", SHUT)
def test_a_list_without_our_user_is_named_and_mended(what: str, tmp_path: Path) -> None:
    lines, remedy = SHUT[what]
    with hardened(lines) as host:
        with pytest.raises(NotPermitted, match="or not the user") as caught:
            reach(host, tmp_path)
        assert "storage-agent doctor" in caught.value.remedy
        (found,) = doctor(host)
        assert remedy in found
        if found.startswith("echo "):
            # As it is typed, but that no systemd runs here.
            typed = found.replace("systemctl reload ssh", "true")
            done = host.inside("sh", "-c", typed.replace("sshd -t", "/usr/sbin/sshd -t"))
            assert done.returncode == 0, done.stderr
            host.restart_sshd()
            reach(host, tmp_path)
            assert doctor(host) == []


@pytest.mark.skipif(HAS_GCM, reason="this paramiko has GCM")
def test_gcm_alone_is_named(tmp_path: Path) -> None:
    with hardened("Ciphers aes256-gcm@openssh.com,aes128-gcm@openssh.com\n") as host:
        with pytest.raises(AgentError) as caught:
            reach(host, tmp_path)
        assert caught.value.code == "HOST_SSH_ALGORITHMS"
        (found,) = doctor(host)
        # Named so that it is read before the guide's own.
        host.inside("sh", "-c", found.replace("sshd -t && systemctl reload ssh", "true"))
        host.restart_sshd()
        reach(host, tmp_path)
