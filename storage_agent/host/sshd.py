"""How sshd would treat a coordinator's login on this host. Only looks.

Host tool: sshd -T (one call). Source: sshd(8), sshd_config(5); openssh auth.c allowed_user(),
servconf.c dump_config().
"""

from __future__ import annotations

import grp
import os
import pwd
import time
from pathlib import Path

from storage_agent.host.system.runner import Runner, tool_path
from storage_agent.model.errors import Missing, ParseError
from storage_agent.model.sshd import USER, Account, SshdView

TIMEOUT_S = 5.0
_DAY_S = 86400


def sshd_argv(address: str) -> tuple[str, ...]:
    """Its whole configuration, as it is for our user from that address."""
    about = f"user={USER},host={address},addr={address},laddr={address},lport=22"
    return ("sshd", "-T", "-C", about)


def parse_sshd(text: str) -> dict[str, tuple[str, ...]]:
    """Option in lower case -> its values, one a line. Options that are not known here are kept.
    Raises ParseError where there is none at all."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if name:
            found[name.lower()] = (*found.get(name.lower(), ()), value.strip())
    if "pubkeyauthentication" not in found:
        raise ParseError("sshd -T", "no pubkeyauthentication in its answer", text[:200])
    return found


def parse_shadow(text: str, user: str, today: int) -> tuple[bool, bool] | None:
    """Is the account locked, is it expired (shadow(5))? today: in days since 1970. None: it is not
    there."""
    for line in text.splitlines():
        fields = line.split(":")
        if fields[0] == user and len(fields) >= 8:
            expires = fields[7]
            is_expired = expires.isdigit() and int(expires) < today
            return fields[1].startswith("!"), is_expired
    return None


def read_sshd(runner: Runner, root: Path, addresses: tuple[str, ...]) -> SshdView | None:
    """None: there is no sshd. addresses: where coordinators come from, as far as that is known.
    Raises AgentError, OSError."""
    try:
        tool_path("sshd")
    except Missing:
        return None
    first = next((address for address in addresses if "/" not in address), "127.0.0.1")
    done = runner.run(sshd_argv(first), timeout_s=TIMEOUT_S)
    return SshdView(settings=parse_sshd(done.stdout), account=_account(root), addresses=addresses)


def _account(root: Path) -> Account | None:
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return None
    text = (root / "etc/shadow").read_text(errors="replace")
    shadow = parse_shadow(text, USER, int(time.time()) // _DAY_S)
    groups = []
    for number in os.getgrouplist(USER, entry.pw_gid):
        try:
            groups.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return Account(
        shell=entry.pw_shell,
        groups=tuple(groups),
        is_locked=shadow is not None and shadow[0],
        is_expired=shadow is not None and shadow[1],
    )
