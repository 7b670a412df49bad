"""The pinned host keys: our own known_hosts file, and how a key gets into it.

No trust on first use: a key is pinned because a person brought its fingerprint or its line from
the host itself, never because a host showed it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from pathlib import Path

from storage_agent.model.errors import ConfigurationError, Refused, UsageError

# By what an attacker could do with them: no DSA, and RSA only as a key, never with SHA-1.
KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_KEY = re.compile(r"[A-Za-z0-9+/]{16,8192}={0,2}")


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -lf` prints it: `SHA256:` and base64 without padding."""
    digest = hashlib.sha256(blob).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def require_fingerprint(text: str) -> str:
    """Raises UsageError."""
    if not _FINGERPRINT.fullmatch(text):
        raise UsageError(
            f"{text[:80]!a} is not a fingerprint",
            remedy="on the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    return text


def parse_line(line: str) -> tuple[str, bytes]:
    """Key type and key of a line of a known_hosts file or of a host's `.pub` file.

    Raises UsageError. The names in the line do not count: the key is pinned for the host that is
    enrolled.
    """
    words = line.split()
    for number, word in enumerate(words[:2]):
        if word in KEY_TYPES and len(words) > number + 1:
            return word, _blob(word, words[number + 1])
    raise UsageError(
        "that is no line of a known_hosts file",
        remedy="take it from the host: cat /etc/ssh/ssh_host_ed25519_key.pub",
    )


def _blob(key_type: str, text: str) -> bytes:
    try:
        blob = base64.b64decode(text, validate=True) if _KEY.fullmatch(text) else b""
    except binascii.Error:
        blob = b""
    name = key_type.encode()
    if not blob.startswith(len(name).to_bytes(4, "big") + name):
        raise UsageError(
            f"that is no {key_type} key",
            remedy="take the whole line from the host: cat /etc/ssh/ssh_host_ed25519_key.pub",
        )
    return blob


class HostKeys:
    """The file: `NAME KEY-TYPE BASE64` a line, the host's name as the configuration has it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, tuple[str, bytes]]:
        """Key type and key by host. Raises ConfigurationError."""
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                text = file.read(1 << 20).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise ConfigurationError(f"{self.path}:1: {exc.strerror}") from exc
        if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
            raise ConfigurationError(
                f"{self.path}:1: others may write it: whoever can, decides which host is believed",
                remedy=f"chown root {self.path}; chmod go-w {self.path}; then check its content",
            )
        keys: dict[str, tuple[str, bytes]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            words = line.split()
            try:
                if len(words) < 3 or words[0] in keys:
                    raise UsageError("NAME KEY-TYPE KEY is wanted, each name once")
                keys[words[0]] = parse_line(line)
            except UsageError as exc:
                raise ConfigurationError(
                    f"{self.path}:{number}: {exc.message}",
                    remedy="take the line out and enroll the host again",
                ) from exc
        return keys

    def key_of(self, host: str) -> tuple[str, bytes]:
        """Raises Refused where none is pinned."""
        found = self.read().get(host)
        if found is None:
            raise Refused(
                f"no SSH host key of {host} is pinned",
                remedy=f"storage-coordinator enroll {host} --fingerprint SHA256:… "
                f"(on {host}: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)",
                code="HOST_KEY_UNKNOWN",
            )
        return found

    def with_key(self, host: str, key_type: str, blob: bytes, *, replace: bool) -> bytes | None:
        """The file's content with this key in it; None where it is there already. Raises Refused
        for another key without `replace`."""
        keys = self.read()
        if keys.get(host) == (key_type, blob):
            return None
        if host in keys and not replace:
            raise Refused(
                f"another key of {host} is pinned: {fingerprint(keys[host][1])}",
                remedy=f"if {host} was installed anew, with the fingerprint as read on the host "
                f"itself: storage-coordinator enroll {host} --replace --fingerprint SHA256:…",
                code="HOST_KEY_CHANGED",
            )
        keys[host] = (key_type, blob)
        lines = (f"{n} {t} {base64.b64encode(b).decode()}\n" for n, (t, b) in sorted(keys.items()))
        return "".join(lines).encode()
