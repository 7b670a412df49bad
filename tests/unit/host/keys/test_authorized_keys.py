"""The file that sshd reads: its lines, and how it is changed."""

from __future__ import annotations

import dataclasses
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_agent.host.keys import authorized_keys
from storage_agent.host.keys.authorized_keys import KeyFile, KeyRights, read_public_key
from storage_agent.host.keys.lines import (
    REMOVE_DAMAGED,
    check_address,
    check_addresses,
    format_line,
    new_line,
    parse_lines,
)
from storage_agent.host.keys.public_key import parse_public_key
from storage_agent.host.system.lock import held
from storage_agent.model.errors import AgentError, Busy, OperationFailed
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
    return KeyFile(tmp_path / "etc" / "authorized_keys", tmp_path / "run" / "lock")


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
    found = parse_lines(f"# head\n\n{format_line(made)}".encode())
    assert (found.entries(), found.damaged()) == ((made,), ())
    assert new_line(made) + b"\n" == format_line(made).encode()


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
        ("10.0.0.0/24,", "fe80::1%eth0,"),
        ("10.0.0.0/24,", "10.0.0.1/24,"),
        ("10.0.0.0/24,", "::FFFF:a00:1,"),
        ("10.0.0.0/24,", ","),
        (" coordinator", "  coordinator"),
        (" coordinator", " \u202ecoordinator"),
        (" coordinator", " \x1b[2J"),
    ],
)
def test_a_line_of_another_form_is_named_and_costs_itself(old: str, new: str) -> None:
    assert GOOD.count(old) == 1
    other = entry(keys.RSA_3072, role=KeyRole.GRANT, addresses=())
    found = parse_lines(f"# head\n{GOOD.replace(old, new)}\n{format_line(other)}".encode())
    assert found.entries() == (other,)
    (finding,) = found.findings("keys")
    assert finding.code == "FOREIGN_KEY_LINE"
    assert finding.summary.startswith("keys:2: ")
    assert f"authorize revoke {REMOVE_DAMAGED}" in finding.remedy
    assert found.role_of(keys.ED25519_ID) is None
    assert found.role_of(other.key.key_id) is KeyRole.GRANT


def test_keys_are_added_and_removed(file: KeyFile) -> None:
    assert file.read().entries() == ()
    first, second = entry(), entry(keys.NISTP256, role=KeyRole.OBSERVE)
    file.add(first)
    file.add(second)
    assert file.read().entries() == (first, second)
    assert file.read().role_of(keys.ED25519_ID) is KeyRole.OPERATE
    assert file.read().role_of(keys.NISTP256_ID) is KeyRole.OBSERVE
    assert file.remove(keys.ED25519_FINGERPRINT) == first
    assert file.read().entries() == (second,)
    assert file.read().role_of(keys.ED25519_ID) is None
    assert file.remove(keys.NISTP256_ID) == second
    assert file.read().entries() == ()


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
    assert len(file.read().entries()) == 1


BARE = keys.NISTP256.rstrip()


@pytest.mark.parametrize("damage", [BARE.encode(), b"\xff\xfe", b"\x1b]0;x\x07", b"x" * 5000])
@pytest.mark.parametrize("ends", [True, False])
def test_a_line_of_somebody_else_stays_and_costs_no_other_key(
    file: KeyFile, damage: bytes, ends: bool
) -> None:
    file.add(entry())
    content = file.path.read_bytes() + b"# kept\n" + damage + b"\n" * ends
    file.path.write_bytes(content)
    file.add(entry(keys.RSA_3072))
    rsa = parse_public_key(keys.RSA_3072.encode(), "x").key_id
    assert [e.key.key_id for e in file.read().entries()] == [keys.ED25519_ID, rsa]
    assert file.path.read_bytes().startswith(content)
    (finding,) = KeyRights(file).findings()
    assert f"{file.path}:4:" in finding.summary
    assert finding.measured.isascii()
    assert finding.measured.isprintable()
    assert len(finding.measured) < 300
    file.remove(keys.ED25519_ID)
    assert [e.key.key_id for e in file.read().entries()] == [rsa]
    (removed,) = file.remove_damaged()
    assert removed.raw == damage
    assert KeyRights(file).findings() == ()
    assert b"# kept\n" in file.path.read_bytes()
    with pytest.raises(AgentError) as caught:
        file.remove_damaged()
    assert caught.value.code == "UNKNOWN_KEY"


def test_a_key_that_a_damaged_line_names_is_not_let_in() -> None:
    """sshd may hand that line's command out for another key: whose session it is, is unknown."""
    other = format_line(entry(keys.NISTP256))
    forged = GOOD.replace(keys.ED25519, BARE)
    found = parse_lines((GOOD + forged + other).encode())
    assert len(found.entries()) == 2
    assert found.role_of(keys.ED25519_ID) is None
    assert found.role_of(keys.NISTP256_ID) is KeyRole.OPERATE


def test_a_key_with_two_roles_has_none(file: KeyFile) -> None:
    two = GOOD + format_line(entry(role=KeyRole.GRANT))
    assert parse_lines(two.encode()).role_of(keys.ED25519_ID) is None
    assert parse_lines((GOOD + GOOD).encode()).role_of(keys.ED25519_ID) is KeyRole.OPERATE
    file.path.parent.mkdir()
    file.path.write_text(two)
    file.remove(keys.ED25519_ID)
    assert file.read().entries() == ()


@pytest.mark.parametrize("comment", ["a\nb", "\u202e", "\x1b[2J", "x\u2028y"])
def test_what_would_not_be_read_again_is_not_written(file: KeyFile, comment: str) -> None:
    made = entry()
    made = dataclasses.replace(made, key=dataclasses.replace(made.key, comment=comment))
    with pytest.raises(AgentError) as caught:
        file.add(made)
    assert caught.value.code == "BAD_KEY"
    assert caught.value.message.isascii()
    assert not file.path.exists()


def test_two_changes_at_once_do_not_lose_one(
    file: KeyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorized_keys, "LOCK_WAIT_S", 0.1)
    file.add(entry())
    with (
        held(tmp_path / "run" / "lock", "it"),
        pytest.raises(Busy, match=f"process {os.getpid()} "),
    ):
        file.add(entry(keys.NISTP256))
    file.add(entry(keys.NISTP256))
    assert len(file.read().entries()) == 2


def test_a_link_left_in_the_way_is_not_followed(file: KeyFile, tmp_path: Path) -> None:
    file.path.parent.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("kept")
    file.path.with_name(".authorized_keys.new").symlink_to(victim)
    file.add(entry())
    assert victim.read_text() == "kept"
    assert not file.path.is_symlink()


def too_large(path: Path) -> None:
    path.write_bytes(b"#" * (2 << 20))


def writable_by_others(path: Path) -> None:
    path.write_text(GOOD)
    path.chmod(0o664)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, too_large, writable_by_others])
def test_a_file_that_cannot_be_read_or_trusted_gives_nobody_rights(
    file: KeyFile, make: Callable[[Path], object]
) -> None:
    file.path.parent.mkdir()
    make(file.path)
    rights = KeyRights(file)
    for ask in (file.read, lambda: rights.role_of(keys.ED25519_ID), lambda: file.add(entry())):
        with pytest.raises(OperationFailed) as caught:
            ask()
        assert caught.value.code == "KEY_FILE"
    (finding,) = rights.findings()
    assert finding.code == "KEY_FILE"


# -- rights, for every request --------------------------------------------------------------------


def test_rights_follow_the_file_and_an_unchanged_one_is_not_read_again(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights = KeyRights(file)
    assert rights.role_of(keys.ED25519_ID) is None
    file.add(entry())
    assert rights.role_of(keys.ED25519_ID) is KeyRole.OPERATE
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    reads = []
    read = file.read
    monkeypatch.setattr(file, "read", lambda: reads.append(1) or read())  # type: ignore[func-returns-value]
    for _ in range(50):
        assert rights.role_of(keys.ED25519_ID) is KeyRole.OPERATE
    assert len(reads) == 1
    file.remove(keys.ED25519_ID)
    assert rights.role_of(keys.ED25519_ID) is None
    file.add(entry(role=KeyRole.GRANT))
    assert rights.role_of(keys.ED25519_ID) is KeyRole.GRANT
    file.path.write_text(file.path.read_text().replace("--role grant", "--role gront"))
    assert rights.role_of(keys.ED25519_ID) is None
    file.path.chmod(0o666)
    with pytest.raises(OperationFailed):
        rights.role_of(keys.ED25519_ID)
    with pytest.raises(OperationFailed):
        rights.role_of(keys.ED25519_ID)
    file.path.unlink()
    assert rights.role_of(keys.ED25519_ID) is None


def test_a_file_that_was_changed_a_moment_ago_is_read_each_time(file: KeyFile) -> None:
    """Two changes within one tick of the kernel's clock, of the same length, look the same."""
    file.add(entry())
    rights = KeyRights(file)
    assert rights.role_of(keys.ED25519_ID) is KeyRole.OPERATE
    text = file.path.read_text()
    times = os.stat(file.path)
    with file.path.open("r+") as same:
        same.write(text.replace("operate", "observe"))
    os.utime(file.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert rights.role_of(keys.ED25519_ID) is KeyRole.OBSERVE


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/24", "2001:db8::/32", "::1"])
def test_addresses_and_networks(text: str) -> None:
    assert check_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "*", "10.0.0.1/24", "host", "10.0.0.*", '10.0.0.1",pty,x="', "!10.0.0.1", "1",
        "fe80::1%eth0", "fe80::1%", "fe80::%eth0/64", "::1%\n", "::ffff:10.0.0.1",
        "::ffff:10.0.0.0/120", "10.0.0.1,10.0.0.2", "10.0.0.1\n", " ::1", "\x1b[2J", "\u202e::1",
        "10.0.0.0/33", "1" * 5000,
    ],
)  # fmt: skip
def test_other_patterns_are_not_taken(text: str) -> None:
    with pytest.raises(AgentError, match="--from") as caught:
        check_address(text)
    assert caught.value.message.isascii()
    assert len(caught.value.message) < 250


def test_a_key_has_a_bounded_number_of_addresses() -> None:
    some = [f"10.0.{n}.1" for n in range(32)]
    assert check_addresses([*some, some[0]]) == tuple(some)
    with pytest.raises(AgentError, match="at most 32"):
        check_addresses([*some, "::1"])


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
