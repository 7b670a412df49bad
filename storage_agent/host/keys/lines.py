"""The lines of the coordinators' keys. Pure.

What is written is read first: a line is only what `format_line` makes, and nothing is made that
would not be read again. A line of any other form costs that line, and the keys that it names.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.host.keys.public_key import parse_key_line
from storage_agent.model.errors import AgentError, UsageError
from storage_agent.model.finding import Finding, warning
from storage_agent.model.key import AuthorizedKey, KeyRole

GATEWAY = "/usr/lib/storage-agent/gateway"
# Of one key. sshd takes them as one list in quotes.
ADDRESSES_LIMIT = 32
SHOWN_CHARS = 60
REMOVE_DAMAGED = "damaged-lines"
_LINE = re.compile(
    rf'restrict,command="{re.escape(GATEWAY)} --role (\w+) --key-id ([\w+/:]+)"'
    r'(?:,from="([0-9a-f.:/,]+)")? (.+)'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """number: from 1.  raw: without its newline.  entry: None for a comment, a blank line, and
    where it is damaged."""

    number: int
    raw: bytes
    entry: AuthorizedKey | None = None
    is_damaged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLines:
    """A whole file, in its order."""

    lines: tuple[KeyLine, ...] = ()

    def entries(self) -> tuple[AuthorizedKey, ...]:
        return tuple(line.entry for line in self.lines if line.entry is not None)

    def damaged(self) -> tuple[KeyLine, ...]:
        return tuple(line for line in self.lines if line.is_damaged)

    def role_of(self, key_id: str) -> KeyRole | None:
        """None for a key that is not there, has two roles, or is named in a damaged line as well:
        which of them sshd goes by is not known."""
        roles = {entry.role for entry in self.entries() if entry.key.key_id == key_id}
        is_named = any(key_id.encode() in line.raw for line in self.damaged())
        return roles.pop() if len(roles) == 1 and not is_named else None

    def without(self, key_id: str) -> KeyLines:
        """key_id: or a whole fingerprint."""
        return self._kept(lambda line: not _is_of(line, key_id))

    def without_damaged(self) -> KeyLines:
        return self._kept(lambda line: not line.is_damaged)

    def _kept(self, wanted: Callable[[KeyLine], bool]) -> KeyLines:
        return dataclasses.replace(self, lines=tuple(line for line in self.lines if wanted(line)))

    def findings(self, name: str) -> tuple[Finding, ...]:
        """name: of the file."""
        return tuple(
            warning(
                "FOREIGN_KEY_LINE",
                f"{name}:{line.number}: not a line that storage-agent wrote: it lets nobody in",
                measured=f"line {line.number}: {_shown(line.raw)}",
                limit="lines that storage-agent authorize has written",
                remedy=f"storage-agent authorize revoke {REMOVE_DAMAGED}; then give its key with: "
                "storage-agent authorize --role ROLE KEYFILE",
            )
            for line in self.damaged()
        )


def parse_lines(content: bytes) -> KeyLines:
    """As sshd splits them: at newlines, whatever is in between."""
    raw_lines = content.split(b"\n")
    if not raw_lines[-1]:
        raw_lines.pop()
    return KeyLines(lines=tuple(_line(number, raw) for number, raw in enumerate(raw_lines, 1)))


def format_line(entry: AuthorizedKey) -> str:
    """One line of the file. `restrict` switches off all that sshd offers, also in times to come."""
    key = entry.key
    origin = f',from="{",".join(entry.addresses)}"' if entry.addresses else ""
    command = f"{GATEWAY} --role {entry.role} --key-id {key.key_id}"
    line = f'restrict,command="{command}"{origin} {key.kind} {key.material} {key.comment}'
    return line.rstrip() + "\n"


def new_line(entry: AuthorizedKey) -> bytes:
    """The line to be added. Raises UsageError where it would not be read again."""
    made = format_line(entry)
    if _entry(made[:-1]) != entry:
        raise UsageError(
            f"this key would not be read again: {_shown(made.encode())}",
            remedy="give the .pub file that ssh-keygen wrote beside the private key",
            code="BAD_KEY",
        )
    return made[:-1].encode()


def check_address(text: str) -> str:
    """An address or a network as sshd matches them. Raises UsageError."""
    remedy = "an address, or a network like 10.0.0.0/24"
    shown = f"--from {text[:SHOWN_CHARS]!a}"
    if "%" in text:
        # match(3) of OpenSSH knows none, and a line with one would be a line of another form.
        raise UsageError(f"{shown}: an address with a zone cannot be matched", remedy=remedy)
    try:
        found = ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text)
    except ValueError as exc:
        raise UsageError(f"{shown}: {ascii(str(exc))[1:101]}", remedy=remedy) from None
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None or (
        isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped
    ):
        raise UsageError(
            f"{shown}: sshd sees such a caller by its IPv4 address, and would never match this",
            remedy=f"--from {mapped or 'the IPv4 network'}",
        )
    return str(found)


def check_addresses(texts: list[str]) -> tuple[str, ...]:
    """Each once. Raises UsageError."""
    found = tuple(dict.fromkeys(check_address(text) for text in texts))
    if len(found) > ADDRESSES_LIMIT:
        raise UsageError(
            f"{len(found)} addresses for one key, at most {ADDRESSES_LIMIT} are taken",
            remedy="a network instead, like --from 10.0.0.0/24",
        )
    return found


def _line(number: int, raw: bytes) -> KeyLine:
    stripped = raw.strip(b" \t\r")
    if not stripped or stripped.startswith(b"#"):
        return KeyLine(number=number, raw=raw)
    try:
        entry = _entry(raw.decode("utf-8"))
    except UnicodeDecodeError:
        entry = None
    return KeyLine(number=number, raw=raw, entry=entry, is_damaged=entry is None)


def _entry(line: str) -> AuthorizedKey | None:
    """None for any line that is not, letter by letter, what `format_line` makes."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    role, key_id, origin, key = match.groups()
    try:
        entry = AuthorizedKey(
            key=parse_key_line(key, "it"),
            role=KeyRole(role),
            addresses=check_addresses(origin.split(",")) if origin else (),
        )
    except (AgentError, ValueError):
        return None
    return entry if format_line(entry)[:-1] == line and entry.key.key_id == key_id else None


def _is_of(line: KeyLine, key_id: str) -> bool:
    return line.entry is not None and key_id in (line.entry.key.key_id, line.entry.key.fingerprint)


def _shown(raw: bytes) -> str:
    """Of a line of any bytes, in ASCII."""
    return ascii(raw[:SHOWN_CHARS].decode("utf-8", "replace"))
