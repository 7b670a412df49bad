"""The file that sshd reads: its lines, and how it is changed."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import stat
from pathlib import Path

import pytest

from storage_agent.host.keys.authorized_keys import (
    KeyFile,
    check_address,
    format_line,
    parse_lines,
    read_public_key,
)
from storage_agent.host.keys.public_key import parse_public_key
from storage_agent.model.errors import AgentError, Busy, ConfigurationError, OperationFailed
from storage_agent.model.key import AuthorizedKey, KeyRole
from tests.unit import keys

GOOD = (
    'restrict,command="/usr/lib/storage-agent/gateway --role operate --key-id '
    f'{keys.ED25519_ID}",from="10.0.0.0/24,2001:db8::1" {keys.ED25519}\n'
)


def entry(line: str = keys.ED25519, **changes: object) -> AuthorizedKey:
    key = parse_public_key(line.encode(), "x")
    made = AuthorizedKey(key=key, role=KeyRole.OPERATE, addresses=("10.0.0.0/24", "2001:db8::1"))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "etc" / "authorized_keys")


def test_a_line_is_restricted_and_names_command_role_and_origin() -> None:
    assert format_line(entry()) == GOOD
    assert ",from=" not in format_line(entry(addresses=()))
    assert format_line(entry(keys.NISTP256)).endswith("GJE=\n")


@pytest.mark.parametrize("role", list(KeyRole))
@pytest.mark.parametrize("line", [keys.ED25519, keys.NISTP521, keys.RSA_3072])
@pytest.mark.parametrize("addresses", [(), ("10.0.0.1",), ("10.0.0.0/8", "::1")])
def test_what_is_written_is_read_again(
    role: KeyRole, line: str, addresses: tuple[str, ...]
) -> None:
    made = entry(line, role=role, addresses=addresses)
    assert parse_lines(f"# head\n\n{format_line(made)}", "f") == (made,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("restrict,", ""),
        ("restrict,", "restrict,pty,"),
        ("restrict,", " restrict,"),
        ("/usr/lib/storage-agent/gateway", "/bin/sh"),
        ("--role operate", "--role local"),
        ("--role operate", "--role operate --role grant"),
        (keys.ED25519_ID, keys.NISTP256_ID),
        (',from="10.0.0.0/24,2001:db8::1"', ',from="10.0.0.0/24",environment="A=B"'),
        ("ssh-ed25519 ", "ssh-rsa "),
        (GOOD, keys.ED25519),
    ],
)
def test_a_line_of_another_form_is_named(old: str, new: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigurationError) as caught:
        parse_lines(f"# head\n{GOOD.replace(old, new)}", "keys")
    assert caught.value.message.startswith("keys:2: ")


def test_keys_are_added_and_removed(file: KeyFile) -> None:
    assert file.entries() == ()
    first, second = entry(), entry(keys.NISTP256, role=KeyRole.OBSERVE)
    file.add(first)
    file.add(second)
    assert file.entries() == (first, second)
    assert file.role_of(keys.ED25519_ID) is KeyRole.OPERATE
    assert file.role_of(keys.NISTP256_ID) is KeyRole.OBSERVE
    assert file.remove(keys.ED25519_FINGERPRINT) == first
    assert file.entries() == (second,)
    assert file.role_of(keys.ED25519_ID) is None
    assert file.remove(keys.NISTP256_ID) == second
    assert file.entries() == ()


def test_sshd_can_read_it_and_only_its_owner_can_write(file: KeyFile) -> None:
    before = os.umask(0o077)
    try:
        file.add(entry())
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o644
    assert [path.name for path in file.path.parent.iterdir()] == ["authorized_keys"]


def test_a_key_is_authorized_once(file: KeyFile) -> None:
    file.add(entry())
    before = file.path.read_bytes()
    with pytest.raises(AgentError) as caught:
        file.add(entry(role=KeyRole.GRANT, addresses=()))
    assert (caught.value.code, caught.value.exit_status) == ("KEY_KNOWN", 3)
    assert file.path.read_bytes() == before


def test_an_unknown_key_is_not_revoked(file: KeyFile) -> None:
    file.add(entry())
    with pytest.raises(AgentError) as caught:
        file.remove("SHA256:")
    assert caught.value.code == "UNKNOWN_KEY"
    assert len(file.entries()) == 1


def test_a_file_with_a_line_of_somebody_else_is_not_touched(file: KeyFile) -> None:
    file.add(entry())
    content = file.path.read_text() + keys.NISTP256 + "\n"
    file.path.write_text(content)
    for change in (lambda: file.add(entry(keys.RSA_3072)), lambda: file.remove(keys.ED25519_ID)):
        with pytest.raises(ConfigurationError, match="not a line that storage-agent wrote"):
            change()
    # Whose role sshd would let in is not known either.
    with pytest.raises(ConfigurationError):
        file.role_of(keys.ED25519_ID)
    assert file.path.read_text() == content


def test_two_changes_at_once_do_not_lose_one(file: KeyFile) -> None:
    file.add(entry())
    folder = os.open(file.path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        with pytest.raises(Busy):
            file.add(entry(keys.NISTP256))
    finally:
        os.close(folder)
    file.add(entry(keys.NISTP256))
    assert len(file.entries()) == 2


def test_a_link_left_in_the_way_is_not_followed(file: KeyFile, tmp_path: Path) -> None:
    file.path.parent.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("kept")
    file.path.with_name(".authorized_keys.new").symlink_to(victim)
    file.add(entry())
    assert victim.read_text() == "kept"
    assert not file.path.is_symlink()


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed) as caught:
        KeyFile(tmp_path).entries()
    assert caught.value.code == "KEY_FILE"


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/24", "2001:db8::/32", "::1"])
def test_addresses_and_networks(text: str) -> None:
    assert check_address(text) == text


@pytest.mark.parametrize(
    "text", ["", "*", "10.0.0.1/24", "host", "10.0.0.*", '10.0.0.1",pty,x="', "!10.0.0.1", "1"]
)
def test_other_patterns_are_not_taken(text: str) -> None:
    with pytest.raises(AgentError, match="--from"):
        check_address(text)


def test_the_key_is_read_from_an_ordinary_file(tmp_path: Path) -> None:
    path = tmp_path / "new.pub"
    path.write_text(keys.ED25519)
    assert read_public_key(str(path)).key_id == keys.ED25519_ID
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for other in ("/dev/zero", str(tmp_path), str(fifo), str(tmp_path / "absent")):
        with pytest.raises(AgentError) as caught:
            read_public_key(other)
        assert caught.value.code == "BAD_KEY"
