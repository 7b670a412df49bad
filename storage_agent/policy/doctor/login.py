"""Would sshd let a coordinator in, and do the two have algorithms in common? Judged by what sshd
itself says of its configuration, whichever file or hardening guide it is from. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

from storage_agent.model.configuration import AgentConfig, Arbitration
from storage_agent.model.doctor import DoctorFacts
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.ssh_algorithms import BY_OPTION
from storage_agent.model.sshd import KEYS, SHELL, USER, Account, SshdView
from storage_agent.policy.common import blocker, warning
from storage_agent.policy.doctor.check import Check, not_checked

TITLE = "coordinator's login"
RELOAD = "sshd -t && systemctl reload ssh"
_OWN_FILE = "/etc/ssh/sshd_config.d/storage-agent-login.conf"
Make = Callable[..., Finding]


def login_checks(facts: DoctorFacts, config: AgentConfig | None) -> Iterator[Check]:
    """Nothing where nobody is to log in. What a volume needs a coordinator for is a blocker."""
    view = facts.sshd
    if view is None:
        return
    if isinstance(view, Unobserved):
        yield not_checked(facts, TITLE, view)
        return
    volumes = config.volumes.values() if config else ()
    is_needed = any(v.arbitration is Arbitration.COORDINATOR for v in volumes)
    make = blocker if is_needed else warning
    found = [*_login(view, make), *_algorithms(view, make), *_penalties(view, is_needed=is_needed)]
    for finding in found:
        yield Check(title=TITLE, seen=finding.measured, finding=finding)
    if not found:
        yield Check(title=TITLE, seen=f"sshd lets {USER} in by its key")


def _login(view: SshdView, make: Make) -> Iterator[Finding]:
    for measured, limit, remedy in (*_account(view), *_key(view), *_lists(view)):
        yield make(
            "SSHD_LOGIN",
            f"sshd does not let a coordinator in as {USER}, whatever key it has",
            measured=measured,
            limit=limit,
            remedy=remedy,
        )


Wrong = tuple[str, str, str]


def _account(view: SshdView) -> Iterator[Wrong]:
    account = view.account
    if account is None:
        yield f"no user {USER}", "a user", "systemd-sysusers storage-agent.conf"
        return
    if account.shell != SHELL:
        yield f"its shell is {account.shell}", SHELL, f"usermod -s {SHELL} {USER}"
    if account.is_expired:
        yield "the account is expired", "no date of expiry", f"chage -E -1 {USER}"
    if account.is_locked and view.one("usepam") == "no":
        # `*` is no password either, and to sshd no lock (openssh platform.c).
        yield "UsePAM no, and the account is locked", "not locked", f"usermod -p '*' {USER}"


def _key(view: SshdView) -> Iterator[Wrong]:
    if KEYS not in view.one("authorizedkeysfile").split():
        yield (
            f"AuthorizedKeysFile {view.one('authorizedkeysfile')}",
            f"AuthorizedKeysFile {KEYS}, by the package's file in /etc/ssh/sshd_config.d",
            "sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config && " + RELOAD,
        )
        return
    # Set by the same file, which somebody else's may come before.
    for option, wanted in (
        ("PubkeyAuthentication", ("yes",)),
        ("AuthenticationMethods", ("publickey", "any")),
        ("ForceCommand", ("none", "")),
    ):
        seen = view.one(option.lower())
        if seen not in wanted:
            yield (
                f"{option} {seen}",
                f"{option} {wanted[0]} for {USER}",
                f"see which file says so: grep -rin {option} /etc/ssh/sshd_config "
                f"/etc/ssh/sshd_config.d; then: {RELOAD}",
            )


def _lists(view: SshdView) -> Iterator[Wrong]:
    """openssh auth.c allowed_user(). A pattern with a host's part may be for coordinators."""
    account = view.account or Account(shell="", groups=(), is_locked=False, is_expired=False)
    for option, names in (("AllowUsers", (USER,)), ("AllowGroups", account.groups)):
        listed = _words(view, option)
        if listed and not any(_matches(p.partition("@")[0], n) for p in listed for n in names):
            yield (
                f"{option} {' '.join(listed)}",
                f"{USER} among them",
                f"echo '{option} {USER}' >> {_OWN_FILE} && {RELOAD}",
            )
    for option, names in (("DenyUsers", (USER,)), ("DenyGroups", account.groups)):
        listed = _words(view, option)
        wrong = [p for p in listed if any(_matches(p, name) for name in names)]
        if wrong:
            yield (
                f"{option} {' '.join(wrong)}",
                f"{USER} not among them",
                f"see where: grep -rin {option} /etc/ssh/sshd_config /etc/ssh/sshd_config.d; "
                f"then: {RELOAD}",
            )


def _words(view: SshdView, option: str) -> tuple[str, ...]:
    """sshd -T prints one a line."""
    lines = view.settings.get(option.lower(), ())
    return tuple(word for line in lines for word in line.split())


def _matches(pattern: str, name: str) -> bool:
    """ssh_config(5) PATTERNS: `*` and `?`."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), name) is not None


def _algorithms(view: SshdView, make: Make) -> Iterator[Finding]:
    for option, (taken, everywhere) in BY_OPTION.items():
        offered = view.one(option.lower()).split(",")
        if offered == [""] or any(name in everywhere for name in offered):
            continue
        some = [name for name in offered if name in taken]
        level = warning if some else make
        yield level(
            "SSHD_ALGORITHMS",
            "a coordinator needs paramiko 3.5 or newer to talk to this sshd"
            if some
            else "a coordinator and this sshd have no algorithm of one kind in common",
            measured=f"{option} {','.join(offered)}"[:300],
            limit=f"one of: {', '.join(everywhere)}",
            remedy=f"echo '{option} {','.join((*offered, everywhere[0]))}' > "
            f"/etc/ssh/sshd_config.d/0-storage-agent-algorithms.conf && {RELOAD}",
        )


def _penalties(view: SshdView, *, is_needed: bool) -> Iterator[Finding]:
    """OpenSSH since 9.8: a few failed logins, and that address is not spoken to for a while."""
    if not is_needed or view.one("persourcepenalties") in ("", "no"):
        return
    exempt = [a for line in _words(view, "PerSourcePenaltyExemptList") for a in line.split(",")]
    open_ = [a for a in view.addresses if not _is_exempt(a, exempt)]
    if view.addresses and not open_:
        return
    named = ",".join((*(a for a in exempt if a != "none"), *open_)) or "ADDRESS"
    yield warning(
        "SSHD_PENALTIES",
        "after a few logins that fail (a key that is not authorized yet) sshd does not speak to "
        "the coordinator for a while, in which nobody answers an incident",
        measured=f"PerSourcePenalties, exempt: {','.join(exempt) or 'none'}",
        limit="the coordinator's address exempt",
        remedy=f"echo 'PerSourcePenaltyExemptList {named}' > "
        f"/etc/ssh/sshd_config.d/0-storage-agent-penalties.conf && {RELOAD}",
    )


def _is_exempt(address: str, exempt: list[str]) -> bool:
    wanted = _network(address)
    networks = [n for n in map(_network, exempt) if n and wanted and n.version == wanted.version]
    # Of one version, which mypy cannot see.
    return any(wanted.subnet_of(n) for n in networks if wanted)  # type: ignore[arg-type]


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
