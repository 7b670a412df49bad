"""authorize: keys in, out and listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage_agent.host.keys.authorized_keys import KeyFile
from tests.unit import keys
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two keys to give."""
    monkeypatch.chdir(tmp_path)
    Path("control.pub").write_text(keys.ED25519 + "\n")
    Path("monitor.pub").write_text(keys.NISTP256 + "\n")
    return tmp_path


def world(folder: Path, *, root: bool = True) -> World:
    made = World(root=root)
    made.local.keys = KeyFile(folder / "authorized_keys", folder / "lock")
    return made


def authorized(folder: Path) -> None:
    """control.pub as operate from one network, monitor.pub as observe."""
    arguments = ("--role", "operate", "--from", "10.0.0.0/24", "control.pub")
    assert world(folder).run("authorize", *arguments) == 0
    assert world(folder).run("authorize", "--role", "observe", "monitor.pub") == 0


def test_a_key_is_let_in(folder: Path) -> None:
    one = world(folder)
    assert one.run("authorize", "--role", "operate", "--from", "10.0.0.7", "control.pub") == 0
    assert_golden("authorize", one.out)
    line = (folder / "authorized_keys").read_text().splitlines()[-1]
    assert line == (
        'restrict,command="/usr/lib/storage-agent/gateway --role operate '
        f'--key-id {keys.ED25519_ID}",from="10.0.0.7" {keys.ED25519}'
    )
    assert one.asked == []


def test_keys_are_listed(folder: Path) -> None:
    one = world(folder)
    assert one.run("authorize", "list") == 0
    assert one.out == "no key is authorized\n"
    authorized(folder)
    one = world(folder)
    assert one.run("authorize", "list") == 0
    assert_golden("authorize-list", one.out)
    one = world(folder)
    assert one.run("authorize", "list", "--json") == 0
    (first, _) = json.loads(one.out)["data"]["keys"]
    assert first == {
        "key_id": keys.ED25519_ID,
        "role": "operate",
        "fingerprint": keys.ED25519_FINGERPRINT,
        "kind": "ssh-ed25519",
        "bits": 256,
        "from": ["10.0.0.0/24"],
        "comment": "coordinator@control",
    }


def test_a_revoked_key_loses_its_sessions(folder: Path) -> None:
    authorized(folder)
    one = world(folder)
    one.answers["sessions.end"] = {"sessions": 2}
    assert one.run("authorize", "revoke", keys.ED25519_ID) == 0
    assert_golden("authorize-revoke", one.out)
    assert one.asked == [("sessions.end", {"key_id": keys.ED25519_ID})]
    assert keys.ED25519 not in (folder / "authorized_keys").read_text()


def test_a_key_is_revoked_without_the_daemon(folder: Path) -> None:
    authorized(folder)
    one = world(folder)
    one.down = FileNotFoundError(2, "No such file or directory")
    assert one.run("authorize", "revoke", keys.NISTP256_ID) == 0
    assert "no session of that key is open" in one.out
    assert len(one.local.keys.read().entries()) == 1


def test_if_its_sessions_may_go_on_that_is_said(folder: Path) -> None:
    authorized(folder)
    one = world(folder)
    one.down = TimeoutError()
    assert one.run("authorize", "revoke", keys.NISTP256_ID) == 0
    assert "may still be open" in one.err


def test_a_private_key_is_refused_aloud(folder: Path) -> None:
    Path("control").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    one = world(folder)
    assert one.run("authorize", "--role", "observe", "control") == 3
    assert "control IS A PRIVATE KEY" in one.err
    assert not (folder / "authorized_keys").exists()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("control.pub",), 2),
        (("--role", "local", "control.pub"), 2),
        (("--role", "admin", "control.pub"), 2),
        (("--role", "observe"), 2),
        (("--role", "observe", "absent.pub"), 2),
        (("--role", "observe", "--from", "everywhere", "control.pub"), 2),
        (("--role", "observe", "control.pub", "SHA256:x"), 2),
        (("list", "--role", "observe"), 2),
        (("list", "SHA256:x"), 2),
        (("revoke",), 2),
        (("revoke", "SHA256:x"), 2),
        (("revoke", "--from", "::1", "SHA256:x"), 2),
    ],
)
def test_other_command_lines_change_nothing(
    folder: Path, arguments: tuple[str, ...], status: int
) -> None:
    assert world(folder).run("authorize", *arguments) == status
    assert not (folder / "authorized_keys").exists() or arguments[0] == "revoke"


def test_keys_are_roots(folder: Path) -> None:
    one = world(folder, root=False)
    assert one.run("authorize", "--role", "observe", "control.pub") == 4
    assert not (folder / "authorized_keys").exists()


def test_a_damaged_line_is_told_and_removed(folder: Path) -> None:
    authorized(folder)
    path = folder / "authorized_keys"
    path.write_text(path.read_text() + "ssh-rsa \x1b[2Jx\n")
    one = world(folder)
    assert one.run("authorize", "list") == 0
    assert one.out.count("\n") == 2
    assert f"{path}:4: not a line that storage-agent wrote" in one.err
    assert "\x1b" not in one.err
    one = world(folder)
    assert one.run("authorize", "list", "--json") == 0
    (finding,) = json.loads(one.out)["findings"]
    assert finding["code"] == "FOREIGN_KEY_LINE"
    one = world(folder)
    assert one.run("authorize", "revoke", "damaged-lines") == 0
    assert one.out == "removed: line 4: ssh-rsa \\x1b[2Jx\n"
    assert one.asked == []
    assert len(one.local.keys.read().entries()) == 2
    one = world(folder)
    assert one.run("authorize", "revoke", "damaged-lines") == 2
    assert "no line of" in one.err


def test_an_address_with_a_zone_is_not_written(folder: Path) -> None:
    authorized(folder)
    before = (folder / "authorized_keys").read_bytes()
    one = world(folder)
    arguments = ("--role", "grant", "--from", "fe80::1%eth0", "control.pub")
    assert one.run("authorize", *arguments) == 2
    assert "zone" in one.err
    assert (folder / "authorized_keys").read_bytes() == before
