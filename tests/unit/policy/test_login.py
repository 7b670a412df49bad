"""Does sshd let a coordinator in? By `sshd -T`, hardened after the usual guides."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from storage_agent.model.configuration import AgentConfig, Arbitration
from storage_agent.model.observed import Unobserved
from storage_agent.model.ssh_algorithms import CIPHERS, KEX, MACS
from storage_agent.model.sshd import KEYS, SHELL, Account, SshdView
from storage_agent.policy.doctor.check import Outcome
from storage_agent.policy.doctor.login import login_checks
from tests.unit.cli.answers import facts
from tests.unit.fakes import agent_config, volume_config

ACCOUNT = Account(shell=SHELL, groups=("storage-agent",), is_locked=False, is_expired=False)
# OpenSSH 9.2 as Debian 12 has it, with our drop-in; shortened.
SETTINGS: dict[str, tuple[str, ...]] = {
    "usepam": ("yes",),
    "pubkeyauthentication": ("yes",),
    "authenticationmethods": ("publickey",),
    "authorizedkeysfile": (KEYS,),
    "forcecommand": ("none",),
    "ciphers": ("chacha20-poly1305@openssh.com,aes128-ctr,aes256-gcm@openssh.com",),
    "macs": ("umac-64-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-256",),
    "kexalgorithms": ("sntrup761x25519-sha512@openssh.com,curve25519-sha256@libssh.org",),
    "hostkeyalgorithms": ("ssh-ed25519,rsa-sha2-512",),
    "pubkeyacceptedalgorithms": ("ssh-ed25519,rsa-sha2-512",),
}
ADDRESS = ("10.7.0.9",)


def arbitrated() -> AgentConfig:
    volume = replace(volume_config(), arbitration=Arbitration.COORDINATOR)
    return replace(agent_config(), volumes={"data": volume})


def seen(
    settings: dict[str, str] | None = None,
    config: AgentConfig | None = None,
    account: Account | None = ACCOUNT,
) -> list[tuple[str, Outcome, str]]:
    lines: dict[str, tuple[str, ...]] = {name: (value,) for name, value in (settings or {}).items()}
    view = SshdView(settings=SETTINGS | lines, account=account, addresses=ADDRESS)
    checks = login_checks(facts(sshd=view), config or arbitrated())
    return [(c.finding.code, c.outcome, c.finding.remedy) for c in checks if c.finding]


def test_debian_as_it_comes() -> None:
    assert seen() == []
    view = SshdView(settings=SETTINGS, account=ACCOUNT)
    (check,) = login_checks(facts(sshd=view), arbitrated())
    assert (check.finding, check.seen) == (None, "sshd lets storage-agent in by its key")


def test_where_nobody_is_to_log_in_nothing_is_said() -> None:
    assert list(login_checks(facts(), arbitrated())) == []
    (check,) = login_checks(facts(sshd=Unobserved(reason="no hostkeys")), None)
    assert check.finding is not None
    assert check.finding.code == "NOT_CHECKED"


@pytest.mark.parametrize(
    ("account", "settings", "remedy"),
    [
        ({}, {"allowusers": "admin"}, "AllowUsers storage-agent"),
        ({}, {"allowusers": "admin storag?-agent"}, ""),
        ({}, {"allowusers": "storage-agent@10.7.0.9"}, ""),
        ({}, {"allowgroups": "ssh-users"}, "AllowGroups storage-agent"),
        ({}, {"allowgroups": "*-agent"}, ""),
        ({}, {"denyusers": "s*"}, "grep -rin DenyUsers"),
        ({}, {"denyusers": "storage-agent@10.0.0.1 root"}, ""),
        ({}, {"denygroups": "storage-agent"}, "grep -rin DenyGroups"),
        ({"is_locked": True}, {"usepam": "no"}, "usermod -p '*' storage-agent"),
        ({"is_locked": True}, {}, ""),
        ({"is_expired": True}, {}, "chage -E -1 storage-agent"),
        ({"shell": "/usr/sbin/nologin"}, {}, f"usermod -s {SHELL} storage-agent"),
        ({}, {"authorizedkeysfile": ".ssh/authorized_keys"}, "Include /etc/ssh/sshd_config.d"),
        ({}, {"pubkeyauthentication": "no"}, "grep -rin PubkeyAuthentication"),
        ({}, {"authenticationmethods": "publickey,password"}, "grep -rin AuthenticationMethods"),
        ({}, {"forcecommand": "internal-sftp"}, "grep -rin ForceCommand"),
    ],
)
def test_who_is_let_in(account: dict[str, Any], settings: dict[str, str], remedy: str) -> None:
    found = seen(settings, account=dataclasses.replace(ACCOUNT, **account))
    assert [code for code, _, _ in found] == (["SSHD_LOGIN"] if remedy else [])
    assert all(remedy in typed for _, _, typed in found)


def test_an_account_that_is_not_there() -> None:
    assert [remedy for _, _, remedy in seen({"allowgroups": "admins"}, account=None)] == [
        "systemd-sysusers storage-agent.conf",
        "echo 'AllowGroups storage-agent' >> /etc/ssh/sshd_config.d/storage-agent-login.conf && "
        "sshd -t && systemctl reload ssh",
    ]


def test_without_a_coordinator_it_only_warns() -> None:
    ((_, outcome, _),) = seen({"allowusers": "admin"}, agent_config())
    assert outcome is Outcome.WARN
    ((_, outcome, _),) = seen({"allowusers": "admin"})
    assert outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"macs": "hmac-sha2-512-etm@openssh.com,umac-128-etm@openssh.com"}, None),
        ({"macs": "umac-128-etm@openssh.com"}, Outcome.FAIL),
        ({"ciphers": "aes256-gcm@openssh.com,aes128-gcm@openssh.com"}, Outcome.WARN),
        ({"ciphers": "chacha20-poly1305@openssh.com"}, Outcome.FAIL),
        ({"kexalgorithms": "curve25519-sha256"}, Outcome.WARN),
        ({"kexalgorithms": "mlkem768x25519-sha256"}, Outcome.FAIL),
        ({"pubkeyacceptedalgorithms": "sk-ssh-ed25519@openssh.com"}, Outcome.FAIL),
        ({"hostkeyalgorithms": ""}, None),
    ],
)
def test_algorithms(settings: dict[str, str], outcome: Outcome | None) -> None:
    found = seen(settings)
    assert [(code, how) for code, how, _ in found] == (
        [("SSHD_ALGORITHMS", outcome)] if outcome else []
    )
    for _, _, remedy in found:
        # What is typed keeps what was there, and adds one that every coordinator has.
        ((_, value),) = settings.items()
        assert f"{value}," in remedy
        assert any(name in remedy for name in (*CIPHERS, *MACS, *KEX, "ssh-ed25519"))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, None),
        ({"persourcepenalties": "no"}, None),
        ({"persourcepenalties": "crash:90"}, "10.7.0.9"),
        (
            {"persourcepenalties": "crash:90", "persourcepenaltyexemptlist": "fd00::/8,10.1.0.1"},
            "fd00::/8,10.1.0.1,10.7.0.9",
        ),
        ({"persourcepenalties": "crash:90", "persourcepenaltyexemptlist": "10.7.0.0/16"}, None),
    ],
)
def test_penalties(settings: dict[str, str], named: str | None) -> None:
    found = seen(settings)
    assert [code for code, _, _ in found] == (["SSHD_PENALTIES"] if named else [])
    if named:
        assert f"PerSourcePenaltyExemptList {named}'" in found[0][2]


def test_penalties_where_no_address_is_known() -> None:
    for addresses, named in (((), "ADDRESS"), (("*.example.org",), "*.example.org")):
        view = SshdView(
            settings=SETTINGS | {"persourcepenalties": ("crash:90",)},
            account=ACCOUNT,
            addresses=addresses,
        )
        (check,) = login_checks(facts(sshd=view), arbitrated())
        assert check.finding is not None
        assert f"ExemptList {named}'" in check.finding.remedy
    assert seen({"persourcepenalties": "crash:90"}, agent_config()) == []
