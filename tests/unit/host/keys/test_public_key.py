"""Which public keys are taken."""

from __future__ import annotations

import base64

import pytest

from storage_agent.host.keys.public_key import parse_public_key
from storage_agent.model.errors import AgentError
from tests.unit import keys

WEAK = base64.b64encode(b"\0\0\0\7ssh-dss" + b"\0\0\0\1x" * 2).decode()


def parse(text: str) -> str:
    key = parse_public_key(text.encode(), "new.pub")
    return f"{key.kind} {key.bits}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (keys.ED25519, "ssh-ed25519 256"),
        (keys.NISTP256, "ecdsa-sha2-nistp256 256"),
        (keys.NISTP384, "ecdsa-sha2-nistp384 384"),
        (keys.NISTP521, "ecdsa-sha2-nistp521 521"),
        (keys.RSA_3072, "ssh-rsa 3072"),
    ],
)
def test_what_ssh_keygen_makes_is_taken(line: str, expected: str) -> None:
    for text in (line, f"{line}\n", f"{line}\r\n", f"\n# a note\n{line}\n\n"):
        assert parse(text) == expected


def test_id_and_fingerprint_are_those_of_ssh_keygen() -> None:
    key = parse_public_key(keys.ED25519.encode(), "new.pub")
    assert key.fingerprint == keys.ED25519_FINGERPRINT
    assert key.key_id == keys.ED25519_ID
    assert key.comment == "coordinator@control"
    assert parse_public_key(keys.NISTP256.encode(), "x").key_id == keys.NISTP256_ID


def damaged(line: str, change: int) -> str:
    """The same line with `change` bytes more, or less, of key."""
    kind, material, *_ = line.split(" ")
    blob = base64.b64decode(material)
    blob = blob + b"x" * change if change > 0 else blob[:change]
    return f"{kind} {base64.b64encode(blob).decode()} comment"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "BAD_KEY", "0 keys"),
        ("\n# only a note\n", "BAD_KEY", "0 keys"),
        (f"{keys.ED25519}\n{keys.NISTP256}\n", "BAD_KEY", "2 keys"),
        (f'command="/bin/sh" {keys.ED25519}', "BAD_KEY", "no kind of key"),
        (f"restrict {keys.ED25519}", "BAD_KEY", "no kind of key"),
        (f" {keys.ED25519}", "BAD_KEY", "no kind of key"),
        (f"ssh-dss {WEAK} old", "BAD_KEY", "no kind of key"),
        (keys.ED25519.replace("ssh-", "sk-ssh-", 1), "BAD_KEY", "no kind of key"),
        (keys.ED25519.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "), "BAD_KEY", ""),
        (keys.RSA_2048, "WEAK_KEY", "2048 bits"),
        (keys.ED25519.replace("ssh-ed25519", "ssh-rsa"), "BAD_KEY", "damaged"),
        (keys.NISTP256.replace("256 ", "384 ", 1), "BAD_KEY", "damaged"),
        (damaged(keys.ED25519, 1), "BAD_KEY", "damaged"),
        (damaged(keys.ED25519, -1), "BAD_KEY", "damaged"),
        (damaged(keys.ED25519, 9000), "BAD_KEY", "damaged"),
        (damaged(keys.NISTP521, -1), "BAD_KEY", "damaged"),
        (damaged(keys.RSA_3072, -300), "BAD_KEY", "damaged"),
        ("ssh-ed25519 !!! x", "BAD_KEY", "not base64"),
        ("ssh-ed25519 ", "BAD_KEY", "damaged"),
        ("ssh-ed25519", "BAD_KEY", "damaged"),
        (f"{keys.ED25519}\x1b[31m", "BAD_KEY", "printable"),
        (f"{keys.ED25519}{'x' * 100}", "BAD_KEY", "printable"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n", "PRIVATE_KEY", "PRIVATE KEY"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n", "PRIVATE_KEY", "PRIVATE KEY"),
        (f"{keys.ED25519}\n-----BEGIN PRIVATE KEY-----\n", "PRIVATE_KEY", "PRIVATE KEY"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "PRIVATE_KEY", "PRIVATE KEY"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nabc\n", "BAD_KEY", "another format"),
        ("-----BEGIN PUBLIC KEY-----\nabc\n", "BAD_KEY", "another format"),
        ("x" * 20_000, "BAD_KEY", "more than"),
    ],
)
def test_everything_else_is_refused_with_its_reason(text: str, code: str, words: str) -> None:
    with pytest.raises(AgentError) as caught:
        parse(text)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.remedy


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(AgentError, match="not text"):
        parse_public_key(b"\xff\xfe", "new.pub")


@pytest.mark.parametrize("line", [keys.ED25519, keys.NISTP256, keys.NISTP384, keys.NISTP521])
def test_a_key_that_openssh_would_not_take_is_none(line: str) -> None:
    """A point off the curve, and bits that are left over in base64."""
    kind, material, *_ = line.split(" ")
    blob = bytearray(base64.b64decode(material))
    if kind != "ssh-ed25519":
        blob[-1] ^= 1
        with pytest.raises(AgentError, match="damaged"):
            parse_public_key(f"{kind} {base64.b64encode(blob).decode()}".encode(), "x")
    padding = material.count("=")
    if padding:
        body = material.rstrip("=")
        loose = body[:-1] + chr(ord(body[-1]) + 1) + "=" * padding
        assert base64.b64decode(loose) == base64.b64decode(material)
        with pytest.raises(AgentError, match="not base64"):
            parse_public_key(f"{kind} {loose}".encode(), "x")


@pytest.mark.parametrize(
    ("exponent", "modulus"),
    [
        (b"\1\0\1", b"\xff" * 384),  # negative
        (b"\1\0\1", b"\0\0" + b"\xff" * 384),  # written longer than it is
        (b"\1", b"\0" + b"\xff" * 384),
        (b"\1\0\1", b"\0" + b"\xff" * 2049),
        (b"", b"\0" + b"\xff" * 384),
        (b"\1\0\1", b""),
    ],
)
def test_an_rsa_key_with_numbers_that_are_none(exponent: bytes, modulus: bytes) -> None:
    parts = (b"ssh-rsa", exponent, modulus)
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    with pytest.raises(AgentError):
        parse_public_key(b"ssh-rsa " + base64.b64encode(blob), "x")
