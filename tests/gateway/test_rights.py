"""The file of keys while sessions are open, and what is written to it. Rows 46 to 49 of the hostile
inputs."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.host.keys.public_key import parse_public_key
from storage_agent.model.errors import AgentError
from tests.gateway.host import ROLES, Session, StorageHost, code_of, frame, keygen, wait_for
from tests.unit import keys

PATH = "/etc/storage-agent/authorized_keys"
PING = frame("ping")


@pytest.fixture
def whole(host: StorageHost) -> Iterator[str]:
    """What the file says; it says so again afterwards, and every key comes in."""
    before = host.inside("cat", PATH).stdout
    yield before
    host.inside(
        "sh", "-c", 'rm -rf "$2"; printf %s "$1" > "$2"; chmod 644 "$2"', "sh", before, PATH
    )
    for role in ROLES:
        answers, status = host.exchange(PING, role)
        assert ([code_of(answer) for answer in answers], status) == (["ok"], 0)


def write(host: StorageHost, text: str) -> None:
    """In place, as an editor of root's would."""
    assert host.inside("sh", "-c", 'printf %s "$1" > "$2"', "sh", text, PATH).returncode == 0


def opened(host: StorageHost) -> dict[str, Session]:
    made = {role: host.session(role) for role in ROLES}
    for session in made.values():
        assert code_of(session.ask("ping")) == "ok"
    return made


def without(host: StorageHost, text: str, role: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if host.key_id(role) not in line)


DAMAGE = ("removed", "demoted", "cut", "not UTF-8", "named by another line")


def damaged(host: StorageHost, text: str, role: str, how: str) -> str:
    line = next(one for one in text.splitlines(keepends=True) if host.key_id(role) in one)
    other = {"grant": "operate", "operate": "observe", "observe": "grant"}[role]
    return {
        "removed": without(host, text, role),
        "demoted": text.replace(line, line.replace(f"--role {role}", f"--role {other}")),
        "cut": text.replace(line, line[:-40] + "\n"),
        "not UTF-8": text.replace(line, "\x1b]0;x\x07" + line),
        "named by another line": text + f'command="x --key-id {host.key_id(role)}" ssh-rsa AAAA\n',
    }[how]


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("role", ROLES)
def test_an_open_session_loses_its_rights_at_the_next_request(
    host: StorageHost, whole: str, role: str, how: str
) -> None:
    """And only that key's: each other one goes on in its session."""
    sessions = opened(host)
    write(host, damaged(host, whole, role, how))
    asked = frame(
        "promote", volume="data", operation_id=f"op-lost-{role}", epoch=99, coordinator="c"
    )
    sessions[role].send(asked)
    assert sessions[role].wait() == 1
    assert [code_of(answer) for answer in sessions[role].lines[1:]] in (["KEY_REVOKED"], [])
    (answer,) = host.local(frame("operation.show", operation_id=f"op-lost-{role}"))
    assert code_of(answer) == "UNKNOWN_OPERATION"
    for other in set(ROLES) - {role}:
        assert code_of(sessions[other].ask("ping", 2)) == "ok"
        assert sessions[other].end() == 0


def unreadable(host: StorageHost, how: str) -> None:
    command = {
        "writable": f"chmod 666 {PATH}",
        "somebody's": f"chown nobody {PATH}",
        "a folder": f"rm {PATH}; mkdir {PATH}",
        "a FIFO": f"rm {PATH}; mkfifo {PATH}",
        "huge": f"truncate -s 1G {PATH}",
        "gone": f"rm {PATH}",
        "empty": f": >{PATH}",
        "zeros": f"head -c 4000 /dev/zero >{PATH}",
    }[how]
    assert host.inside("sh", "-c", command).returncode == 0


@pytest.mark.parametrize(
    "how", ["writable", "somebody's", "a folder", "a FIFO", "huge", "gone", "empty", "zeros"]
)
def test_a_file_that_cannot_be_gone_by_gives_nobody_rights(
    host: StorageHost, whole: str, how: str
) -> None:
    assert whole
    sessions = opened(host)
    try:
        unreadable(host, how)
        for session in sessions.values():
            with contextlib.suppress(BrokenPipeError):
                session.send(frame("ping", 2))
            assert session.wait() == 1
            codes = [code_of(answer) for answer in session.lines[1:]]
            assert codes in (["KEY_REVOKED"], ["KEY_FILE"], [])
        # Root is no key.
        assert code_of(host.local(PING)[0]) == "ok"
        (status,) = host.local(frame("status"))
        problems = [one["code"] for one in status["result"]["problems"]]
        expected = {"gone": [], "empty": [], "zeros": ["FOREIGN_KEY_LINE"]}
        assert problems == expected.get(how, ["KEY_FILE"])
    finally:
        host.inside("sh", "-c", f"rm -rf {PATH}; touch {PATH}; chmod 644 {PATH}")


def test_a_subscription_ends_soon_after_its_key(host: StorageHost, whole: str) -> None:
    sessions = opened(host)
    for session in sessions.values():
        assert code_of(session.ask("subscribe", "s")) == "ok"
    write(host, without(host, whole, "observe"))
    begun_s = time.monotonic()
    assert sessions["observe"].wait() == 1
    assert time.monotonic() - begun_s < 5
    for role in ("operate", "grant"):
        assert code_of(sessions[role].ask("ping", 2)) == "ok"
        sessions[role].end()


def test_an_unchanged_file_is_not_read_for_each_request(host: StorageHost) -> None:
    """By what the daemon's process has read, in bytes."""
    session = host.session("grant")
    time.sleep(2.5)  # Until the file has not been changed lately.

    def read_bytes() -> int:
        text = Path(f"/proc/{host.daemon.pid}/io").read_text()
        return int(text.partition("rchar: ")[2].split()[0])

    session.ask("ping")
    before = read_bytes()
    for number in range(200):
        session.ask("ping", number)
    size = len(host.inside("cat", PATH).stdout)
    assert read_bytes() - before < 200 * (size // 2)
    session.end()


# -- locks ----------------------------------------------------------------------------------------

HOLD = """
import fcntl, os, sys, time
held = 0
for folder in ("/etc/storage-agent", "/run/storage-agent", "/usr/lib/storage-agent", "/run"):
    for path in [folder, *(os.path.join(folder, name) for name in os.listdir(folder))]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held += 1
        except OSError:
            pass
print(held, flush=True)
time.sleep(120)
"""


@pytest.mark.parametrize("user", ["nobody", "storage-agent"])
def test_another_users_locks_keep_nobody(host: StorageHost, user: str) -> None:
    """Every lock that they can get, of everything that they can open."""
    group = host.inside("id", "-gn", user).stdout.strip()
    argv = ("setpriv", "--reuid", user, "--regid", group, "--clear-groups")
    keygen(host.folder / f"key-lock-{user}")
    public = os.fspath(host.folder / f"key-lock-{user}.pub")
    with host.started(*argv, "/usr/bin/python3", "-c", HOLD) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) > 10
        begun_s = time.monotonic()
        ended = host.command("authorize", "--role", "observe", public)
        assert ended.returncode == 0, ended.stderr
        key_id = ended.stdout.split()[0]
        ended = host.command("authorize", "revoke", key_id)
        assert ended.returncode == 0, ended.stderr
        assert time.monotonic() - begun_s < 10
        # Nor the daemon's own, at its next start.
        host.stop_daemon()
        host.start_daemon()


def test_who_holds_the_lock_is_named(host: StorageHost) -> None:
    code = (
        "import fcntl, os, time\n"
        "d = os.open('/run/storage-agent/authorize.lock', os.O_RDWR)\n"
        "fcntl.flock(d, fcntl.LOCK_EX); print(flush=True); time.sleep(60)"
    )
    assert (
        host.inside("stat", "-c", "%a %U", "/run/storage-agent/authorize.lock").stdout
        == "600 root\n"
    )
    with host.started("/usr/bin/python3", "-c", code) as other:
        assert other.stdout is not None
        other.stdout.readline()
        begun_s = time.monotonic()
        ended = host.command("authorize", "revoke", host.key_id("observe"))
        assert ended.returncode == 5
        assert f"process {other.pid} (" in ended.stderr
        assert 4 < time.monotonic() - begun_s < 15


# -- what is written ------------------------------------------------------------------------------

HOSTILE_FROM = [
    "fe80::1%eth0", "fe80::1%", "::ffff:10.0.0.1", "10.0.0.1/24", "*", "!10.0.0.1", "10.0.0.1,*",
    '10.0.0.1",pty,command="/bin/sh', "10.0.0.1\n", "\x1b[2J", "\u202e::1", "1" * 5000, "",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE_FROM)
def test_an_address_that_sshd_would_not_match_is_not_written(
    host: StorageHost, whole: str, text: str
) -> None:
    keygen_once(host, "hostile")
    public = os.fspath(host.key("hostile").with_suffix(".pub"))
    ended = host.command("authorize", "--role", "grant", "--from", text, public)
    assert ended.returncode == 2
    assert ended.stderr.isascii()
    assert "\x1b" not in ended.stderr
    assert host.inside("cat", PATH).stdout == whole


def keygen_once(host: StorageHost, name: str) -> None:
    if not host.key(name).exists():
        keygen(host.key(name))


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.0/8", "::1", "fe80::/10", "0.0.0.0/0"])
def test_what_is_written_is_read_by_openssh(host: StorageHost, whole: str, text: str) -> None:
    keygen_once(host, "plain")
    public = os.fspath(host.key("plain").with_suffix(".pub"))
    ended = host.command("authorize", "--role", "observe", "--from", text, public)
    assert ended.returncode == 0, ended.stderr
    listed = host.inside("ssh-keygen", "-l", "-f", PATH)
    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, len(ROLES) + 1)
    answers, _ = host.exchange(PING, "plain")
    assert [code_of(answer) for answer in answers] == ["ok"] * (text not in ("::1", "fe80::/10"))


def test_no_key_is_taken_that_openssh_does_not_take(tmp_path: Path) -> None:
    """300 public keys with something changed: whichever is taken, ssh-keygen takes too."""
    chance, taken, path = random.Random(1), 0, tmp_path / "one.pub"
    given = [keys.ED25519, keys.NISTP256, keys.NISTP384, keys.NISTP521, keys.RSA_3072]
    for _ in range(300):
        kind, material, *comment = chance.choice(given).split(" ", 2)
        blob = bytearray(base64.b64decode(material))
        how = chance.randrange(5)
        if how == 0:
            blob[chance.randrange(len(blob))] ^= 1 << chance.randrange(8)
        elif how == 1:
            del blob[chance.randrange(len(blob)) :]
        elif how == 2:
            blob += chance.randbytes(chance.randrange(1, 9))
        elif how == 3:
            blob[chance.randrange(len(blob))] = chance.choice([0, 128, 255])
        changed = list(base64.b64encode(blob).decode())
        if how == 4:
            changed[chance.randrange(len(changed))] = chance.choice("ABCZ/+=az09")
        line = " ".join((kind, "".join(changed), *comment))
        with contextlib.suppress(AgentError):
            parse_public_key(line.encode(), "it")
            taken += 1
            path.write_text(line + "\n")
            subprocess.run(["ssh-keygen", "-l", "-f", path], check=True, capture_output=True)
    assert 20 < taken < 250


def test_a_damaged_line_is_told_and_removed(host: StorageHost, whole: str) -> None:
    write(host, whole + "ssh-rsa \x1b[2Jx\n")
    (status,) = host.local(frame("status"))
    (problem,) = status["result"]["problems"]
    assert problem["code"] == "FOREIGN_KEY_LINE"
    number = len(whole.splitlines()) + 1
    assert f"{PATH}:{number}:" in problem["message"]
    assert "authorize revoke damaged-lines" in problem["remedy"]
    ended = host.command("authorize", "revoke", "damaged-lines")
    assert (ended.returncode, ended.stdout) == (0, f"removed: line {number}: ssh-rsa \\x1b[2Jx\n")
    wait_for(lambda: host.inside("cat", PATH).stdout == whole, "it is as before")
