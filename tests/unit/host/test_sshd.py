"""`sshd -T` and shadow(5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.host import sshd
from storage_agent.host.sshd import parse_shadow, parse_sshd, sshd_argv
from storage_agent.model.errors import ParseError
from tests.unit.host.recorded import Answer, AnsweringRunner, Argv, recorded

LOGIN = recorded("sshd", "9.2p1", "with-drop-in-alpha")


class Sshd(AnsweringRunner):
    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        return LOGIN


def test_what_debian_12_says_of_our_user() -> None:
    found = parse_sshd(LOGIN.stdout)
    assert found["authorizedkeysfile"] == ("/etc/storage-agent/authorized_keys",)
    assert found["authenticationmethods"] == ("publickey",)
    assert "hmac-sha2-256" in found["macs"][0].split(",")
    assert "persourcepenalties" not in found
    # The lab's hosts have no PAM and one kind of key.
    assert (found["usepam"], found["hostkey"]) == (("no",), ("/etc/ssh/ssh_host_ed25519_key",))


def test_a_configuration_that_reads_no_drop_in() -> None:
    """As hardening guides leave it, and as the lab's guests are made."""
    found = parse_sshd(recorded("sshd", "9.2p1", "without-include-alpha").stdout)
    assert found["authorizedkeysfile"] == (".ssh/authorized_keys .ssh/authorized_keys2",)
    assert found["authenticationmethods"] == ("any",)


def test_what_a_newer_sshd_says_beside_changes_nothing() -> None:
    text = f"{LOGIN.stdout}\nshinyoption yes\nPerSourcePenalties crash:90 authfail:5\nbare\n"
    found = parse_sshd(text)
    assert found["persourcepenalties"] == ("crash:90 authfail:5",)
    assert {name: found[name] for name in parse_sshd(LOGIN.stdout)} == parse_sshd(LOGIN.stdout)


@pytest.mark.parametrize("text", ["", "\n", "/etc/ssh/sshd_config: No such file"])
def test_no_answer_raises(text: str) -> None:
    with pytest.raises(ParseError):
        parse_sshd(text)


SHADOW = """root:*:19000:0:99999:7:::
storage-agent:{password}:20400:::::{expires}:
short:!*:1
"""


@pytest.mark.parametrize(
    ("password", "expires", "wanted"),
    [
        ("!*", "", (True, False)),
        ("*", "", (False, False)),
        ("!", "1", (True, True)),
        ("*", "20500", (False, False)),
        ("*", "20499", (False, True)),
        ("*", "soon", (False, False)),
    ],
)
def test_a_locked_and_an_expired_account(
    password: str, expires: str, wanted: tuple[bool, bool]
) -> None:
    text = SHADOW.format(password=password, expires=expires)
    assert parse_shadow(text, "storage-agent", 20500) == wanted
    assert parse_shadow(text, "nobody", 20500) is None
    assert parse_shadow(text, "short", 20500) is None


def test_it_is_asked_from_where_a_coordinator_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/shadow").write_text("root:!:1:::::7:\n")
    monkeypatch.setattr(sshd, "USER", "root")
    monkeypatch.setattr(sshd, "tool_path", lambda name: f"/usr/sbin/{name}")
    runner = Sshd()
    view = sshd.read_sshd(runner, tmp_path, ("10.0.0.0/8", "10.7.0.9"))
    assert view is not None
    assert runner.asked == [sshd_argv("10.7.0.9")]
    assert view.addresses == ("10.0.0.0/8", "10.7.0.9")
    assert view.account is not None
    assert (view.account.is_locked, view.account.is_expired) == (True, True)
    assert "root" in view.account.groups
    monkeypatch.setattr(sshd, "USER", "nobody-of-that-name")
    assert sshd.read_sshd(runner, tmp_path, ()) == view.__class__(
        settings=view.settings, account=None
    )
