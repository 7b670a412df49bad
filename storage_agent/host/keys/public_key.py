"""OpenSSH public keys, as `ssh-keygen` writes them to a .pub file. Pure.

Formats: sshd(8) AUTHORIZED_KEYS FILE FORMAT, RFC 4253 section 6.6, RFC 5656, RFC 8709.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from storage_agent.model.errors import Refused, UsageError
from storage_agent.model.key import PublicKey

FILE_LIMIT_BYTES = 16 << 10
COMMENT_LIMIT_CHARS = 100
RSA_MINIMUM_BITS = 3072
# More OpenSSH does not read (SSHBUF_MAX_BIGNUM).
RSA_MAXIMUM_BITS = 16384
_ED25519_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Curve:
    """y^2 = x^3 - 3x + b modulo the prime (SP 800-186, section 3.2.1)."""

    bits: int
    prime: int
    b: int

    def has(self, point: bytes) -> bool:
        """Uncompressed: one byte, then both coordinates. What is off the curve is no key to sshd
        (sshkey_ec_validate_public)."""
        size = (self.bits + 7) // 8
        if len(point) != 1 + 2 * size or point[0] != 4:
            return False
        x, y = (int.from_bytes(part, "big") for part in (point[1 : 1 + size], point[1 + size :]))
        # OpenSSH also wants both longer than half of the order, so that no toy key passes.
        is_small = min(x, y).bit_length() <= self.bits // 2
        on_curve = (y * y - (x * x * x - 3 * x + self.b)) % self.prime == 0
        return on_curve and not is_small and max(x, y) < self.prime


_CURVES = {
    "nistp256": _Curve(
        256,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "nistp384": _Curve(
        384,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        int(
            "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE814112"
            "0314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF",
            16,
        ),
    ),
    "nistp521": _Curve(
        521,
        2**521 - 1,
        int(
            "51953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109"
            "E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00",
            16,
        ),
    ),
}
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
        blob = b""
    # Python passes over bits that are left at the end, OpenSSH does not.
    if not blob or base64.b64encode(blob).decode() != material:
        raise _bad(name, "is damaged: its key is not base64")
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
        case ["ssh-rsa" as given, bytes(exponent), bytes(modulus)] if given == kind:
            bits = _positive(modulus, name).bit_length()
            if bits > RSA_MAXIMUM_BITS or _positive(exponent, name) < 3:
                raise _bad(name, "is no RSA key that sshd takes")
            if bits < RSA_MINIMUM_BITS:
                raise Refused(
                    f"{name} is an RSA key of {bits} bits, at least {RSA_MINIMUM_BITS} are wanted",
                    remedy="on the coordinator: ssh-keygen -t ed25519",
                    code="WEAK_KEY",
                )
            return bits
        case [str(given), bytes(curve), bytes(point)] if given == kind:
            named = curve.decode("ascii", "replace")
            if kind == f"ecdsa-sha2-{named}" and named in _CURVES and _CURVES[named].has(point):
                return _CURVES[named].bits
    raise _bad(name, f"is damaged: what it holds is no {kind} key")


def _positive(mpint: bytes, name: str) -> int:
    """RFC 4251 section 5: the highest bit is the sign. sshd takes no other numbers."""
    if not mpint or mpint[0] & 0x80 or (mpint[0] == 0 and len(mpint) > 1 and not mpint[1] & 0x80):
        raise _bad(name, "is damaged: it has a number that is none")
    return int.from_bytes(mpint, "big")


def _bad(name: str, what: str, *, remedy: str = "") -> UsageError:
    return UsageError(
        f"{name} {what}",
        remedy=remedy or "give the .pub file that ssh-keygen wrote beside the private key",
        code="BAD_KEY",
    )
