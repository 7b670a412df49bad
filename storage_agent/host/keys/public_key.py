"""OpenSSH public keys, as `ssh-keygen` writes them to a .pub file. Pure.

Formats: sshd(8) AUTHORIZED_KEYS FILE FORMAT, RFC 4253 section 6.6, RFC 5656, RFC 8709.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from storage_agent.model.errors import Refused, UsageError
from storage_agent.model.key import PublicKey

FILE_LIMIT_BYTES = 16 << 10
COMMENT_LIMIT_CHARS = 100
RSA_MINIMUM_BITS = 3072
_ED25519_BYTES = 32
# Uncompressed points: one byte, then both coordinates.
_CURVES = {"nistp256": (256, 65), "nistp384": (384, 97), "nistp521": (521, 133)}
_KINDS = ("ssh-ed25519", *(f"ecdsa-sha2-{curve}" for curve in _CURVES), "ssh-rsa")
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|PuTTY-User-Key-File-")
_OTHER_PUBLIC = re.compile(r"---- BEGIN SSH2 PUBLIC KEY|-----BEGIN [A-Z0-9 ]*PUBLIC KEY-----")


def parse_public_key(content: bytes, name: str) -> PublicKey:
    """The one key of a file. name: of the file, for messages. Raises UsageError, Refused."""
    if len(content) > FILE_LIMIT_BYTES:
        raise _bad(name, f"has more than {FILE_LIMIT_BYTES} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad(name, "is not text") from None
    if _PRIVATE.search(text):
        raise Refused(
            f"{name} IS A PRIVATE KEY. It must never leave the coordinator's machine; if it was "
            "copied here over a network or a shared folder, it is not secret any more",
            remedy=f"delete it here, make a new pair on the coordinator, and give its .pub file: "
            f"rm {name}; ssh-keygen -t ed25519",
            code="PRIVATE_KEY",
        )
    if _OTHER_PUBLIC.search(text):
        raise _bad(name, "is a public key in another format", remedy=f"ssh-keygen -i -f {name}")
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise _bad(name, f"holds {len(lines)} keys, one is wanted")
    return parse_key_line(lines[0].rstrip("\r"), name)


def parse_key_line(line: str, name: str) -> PublicKey:
    """`KIND BASE64 [COMMENT]`, nothing before it. Raises UsageError."""
    kind, _, rest = line.partition(" ")
    if kind not in _KINDS:
        known = f"one line KIND BASE64 COMMENT without options; kinds: {', '.join(_KINDS)}"
        raise _bad(name, f"begins with {kind[:40]!a}, which is no kind of key", remedy=known)
    material, _, comment = rest.partition(" ")
    comment = comment.strip()
    if not comment.isprintable() or len(comment) > COMMENT_LIMIT_CHARS:
        raise _bad(name, f"has a comment that is not up to {COMMENT_LIMIT_CHARS} printable letters")
    try:
        blob = base64.b64decode(material, validate=True)
    except (ValueError, binascii.Error):
        raise _bad(name, "is damaged: its key is not base64") from None
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return PublicKey(
        kind=kind,
        bits=_bits(kind, _fields(blob, name), name),
        material=material,
        fingerprint=f"SHA256:{digest}",
        comment=comment,
    )


def _fields(blob: bytes, name: str) -> list[bytes]:
    """Each is a length of four bytes and as many bytes."""
    found: list[bytes] = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length or len(found) == 3:
            raise _bad(name, "is damaged: its key is cut or has more than belongs to it")
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found


def _bits(kind: str, fields: list[bytes], name: str) -> int:
    """The key's strength, once it is what it says. Raises UsageError, Refused."""
    match [fields[0].decode("ascii", "replace") if fields else "", *fields[1:]]:
        case ["ssh-ed25519" as given, bytes(point)] if given == kind:
            if len(point) == _ED25519_BYTES:
                return 256
        case ["ssh-rsa" as given, bytes(), bytes(modulus)] if given == kind:
            bits = int.from_bytes(modulus, "big").bit_length()
            if bits < RSA_MINIMUM_BITS:
                raise Refused(
                    f"{name} is an RSA key of {bits} bits, at least {RSA_MINIMUM_BITS} are wanted",
                    remedy="on the coordinator: ssh-keygen -t ed25519",
                    code="WEAK_KEY",
                )
            return bits
        case [str(given), bytes(curve), bytes(point)] if given == kind:
            bits, size = _CURVES.get(curve.decode("ascii", "replace"), (0, 0))
            if kind == f"ecdsa-sha2-nistp{bits}" and len(point) == size and point[0] == 4:
                return bits
    raise _bad(name, f"is damaged: what it holds is no {kind} key")


def _bad(name: str, what: str, *, remedy: str = "") -> UsageError:
    return UsageError(
        f"{name} {what}",
        remedy=remedy or "give the .pub file that ssh-keygen wrote beside the private key",
        code="BAD_KEY",
    )
