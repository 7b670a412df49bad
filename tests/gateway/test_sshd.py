"""What sshd lets the user do, asked of a real one. Rows 1 to 5 of the hostile inputs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.host import ROOT, Session, StorageHost, code_of, frame, wait_for

PING = frame("ping")
DROP_IN = ROOT / "debian/sshd_config.d/storage-agent.conf"


def run(argv: list[str], content: bytes = PING, **more: str) -> tuple[bytes, str, int]:
    ended = subprocess.run(
        argv,
        input=content,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, **more},
    )
    return ended.stdout, ended.stderr.decode(errors="replace"), ended.returncode


@pytest.fixture(scope="module")
def pong(host: StorageHost) -> bytes:
    """What ping gets, byte by byte, with nothing else asked for."""
    answer, errors, status = run(host.ssh("observe", "-T"))
    assert (errors, status) == ("", 0)
    assert b'"protocol":1' in answer
    return answer


def settings(host: StorageHost, user: str) -> dict[str, str]:
    test = f"user={user},host=control,addr=127.0.0.1,laddr=127.0.0.1,lport=22"
    ended = host.inside("/usr/sbin/sshd", "-T", "-C", test)
    assert ended.returncode == 0, ended.stderr
    return dict(line.split(" ", 1) for line in ended.stdout.splitlines() if " " in line)


# -- the drop-in ----------------------------------------------------------------------------------


def test_sshd_takes_the_drop_in(host: StorageHost) -> None:
    ended = host.inside("/usr/sbin/sshd", "-t")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_setting_of_it_holds_for_the_user(host: StorageHost) -> None:
    found = settings(host, "storage-agent")
    lines = [line.split(None, 1) for line in DROP_IN.read_text().splitlines()]
    wanted = {words[0].lower(): words[1] for words in lines if len(words) == 2}
    wanted = {name: value for name, value in wanted.items() if name not in ("#", "match")}
    # What this sshd was built without, it does not show.
    wanted.pop("kerberosauthentication")
    for name in ("permitlisten", "permitopen", "authorizedkeyscommand"):
        assert found.pop(name, "none") == wanted.pop(name)
    assert {name: found[name] for name in wanted} == wanted
    assert found["forcecommand"] == "none"


def test_nobody_else_is_touched(host: StorageHost) -> None:
    with_it = settings(host, "root")
    installed = "/etc/ssh/sshd_config.d/storage-agent.conf"
    assert host.inside("mv", installed, "/run/aside").returncode == 0
    try:
        assert settings(host, "root") == with_it
        assert settings(host, "storage-agent") == with_it
    finally:
        assert host.inside("mv", "/run/aside", installed).returncode == 0


def test_what_follows_in_sshd_config_is_for_everybody(host: StorageHost) -> None:
    """Debian includes drop-ins at its head: a block left open would swallow the rest."""
    found = settings(host, "root")
    assert (found["usepam"], found["subsystem"]) == ("yes", "sftp /usr/lib/openssh/sftp-server")


# -- commands -------------------------------------------------------------------------------------

COMMANDS = {
    "remove": "rm -rf / ; $(id)",
    "newline": "a\nid\n/bin/sh",
    "help": "--help",
    "option": "-oProxyCommand=x",
    "shell": "-c 'drbdadm primary all'",
    "another role": "/usr/lib/storage-agent/gateway --role grant --key-id x",
    "sh": "/bin/sh -i",
    "scp": "scp -t /tmp",
    "escapes": "\x1b]0;x\x07\x1b[2J",
    "not UTF-8": os.fsdecode(b"\xff\xfe"),
    "100 KB": "x" * 100_000,
}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_is_logged_and_changes_nothing(host: StorageHost, pong: bytes, name: str) -> None:
    before = len(host.syslog())
    assert run(host.ssh("observe", "-T", command=COMMANDS[name])) == (pong, "", 0)

    def logged() -> list[str]:
        return [line for line in host.syslog()[before:] if "command ignored" in line]

    line = wait_for(logged, "a line in the log")[0]
    assert host.key_id("observe") in line
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 1000
    assert sum("command ignored" in line for line in host.syslog()[before:]) == 1


def test_a_command_that_no_process_can_be_given_reaches_none(host: StorageHost) -> None:
    """Over 128 KiB: an environment cannot carry it, so not even the gateway starts."""
    answer, _, status = run(host.ssh("observe", "-T", "-s", command="x" * 131_000))
    assert b"result" not in answer
    assert status != 0
    with (host.folder / "batch").open("wb") as file:
        file.write(b"x" * 200_000)
    text = "x" * 130_900
    answer, _, status = run(host.ssh("observe", "-T", command=text))
    assert (b"result" in answer) == (status == 0)


def test_the_role_is_the_keys_whatever_the_command(host: StorageHost) -> None:
    command = f"/usr/lib/storage-agent/gateway --role grant --key-id {host.key_id('grant')}"
    answer, _, _ = run(host.ssh("observe", "-T", command=command), frame("promote"))
    assert b"NOT_PERMITTED" in answer


# -- terminals, subsystems, forwarding ------------------------------------------------------------


def test_there_is_no_terminal(host: StorageHost, pong: bytes) -> None:
    answer, errors, _ = run(host.ssh("observe", "-tt"))
    # ssh gives up when it is refused; its request may have been answered before.
    assert answer in (b"", pong)
    assert "PTY allocation request failed" in errors


def test_sftp_and_scp_get_nothing(host: StorageHost, tmp_path: Path) -> None:
    common = host.ssh("observe")[1:5]
    for program in (
        ["sftp", *common, "-b", "/dev/null", "storage-host"],
        ["scp", *common, "storage-host:/etc/passwd", str(tmp_path)],
        ["scp", "-O", *common, "storage-host:/etc/passwd", str(tmp_path)],
    ):
        answer, _, status = run(program, b"")
        assert status != 0
        assert b"root:" not in answer
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_forwarded(host: StorageHost, tmp_path: Path) -> None:
    local = f"127.0.0.1:{host.port}"
    for options, words in (
        (("-W", local), "stdio forwarding failed"),
        (("-N", "-o", "ExitOnForwardFailure=yes", "-R", f"0:{local}"), "forwarding failed"),
        (("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0"), "forwarding failed"),
        (
            ("-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{tmp_path}/s:{local}"),
            "forwarding failed",
        ),
    ):
        _, errors, status = run(host.ssh("observe", *options), b"")
        assert status == 255, options
        assert words in errors


@pytest.mark.parametrize("kind", ["-L", "-D", "unix"])
def test_a_forwarded_port_leads_nowhere(host: StorageHost, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "port"
    target = {"-L": f":127.0.0.1:{host.port}", "-D": "", "unix": ":/run/storage-agent/agent.sock"}
    option = "-D" if kind == "-D" else "-L"
    if kind == "-D":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ("-D", str(port))
    else:
        options = (option, f"{path}{target[kind]}")
    session = host.session("observe", *options)
    assert code_of(session.ask("ping")) == "ok"
    family = socket.AF_INET if kind == "-D" else socket.AF_UNIX
    with socket.socket(family) as caller:
        caller.settimeout(10)
        caller.connect(("127.0.0.1", port) if kind == "-D" else str(path))
        if kind == "-D":
            caller.sendall(b"\5\1\0")
            assert caller.recv(2) == b"\5\0"
            target_port = host.port.to_bytes(2, "big")
            caller.sendall(b"\5\1\0\1\x7f\0\0\1" + target_port)
        received = b""
        # Refused, it may be closed before anything was sent.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            if kind != "-D":
                caller.sendall(PING)
            while chunk := caller.recv(4096):
                received += chunk
        assert b"SSH-2.0" not in received
        assert b"jsonrpc" not in received
    session.end()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of a real ssh-agent."""
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: Path(path).exists(), "the agent listens")
        yield path
    finally:
        process.kill()
        process.wait(10)


def test_the_agent_and_the_display_are_not_forwarded(host: StorageHost, agent: str) -> None:
    options = ("-A", "-X", "-o", "ForwardX11Trusted=yes", "-o", f"IdentityAgent={agent}")
    # Another user of the same sshd gets it: it is offered.
    user = "storage-shell"
    host.add_shell_user(user)
    answer, _, status = run(
        host.ssh("operate", "-T", "-l", user, *options, command="printenv SSH_AUTH_SOCK")
    )
    assert (answer.startswith(b"/"), status) == (True, 0)
    others = set(host.gateways())
    session = Session(host.ssh("operate", "-T", *options))
    assert code_of(session.ask("ping")) == "ok"
    (gateway,) = set(host.gateways()) - others
    environment = Path(f"/proc/{gateway}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0] for entry in environment}
    assert b"SSH_CONNECTION" in names
    assert not names & {b"SSH_AUTH_SOCK", b"DISPLAY", b"SSH_TTY", b"SSH_TUNNEL"}
    assert session.end() == 0


def test_no_tunnel_is_made(host: StorageHost) -> None:
    _, errors, _ = run(host.ssh("observe", "-T", "-w", "any"))
    assert "unnel" in errors


# -- environment ----------------------------------------------------------------------------------

HOSTILE_ENVIRONMENT = {
    "LC_ALL": "xx",
    "LANG": "../../x",
    "LC_JUNK": "x" * 100_000,
    "LC_PYTHONPATH": "/tmp",
    "PYTHONPATH": "/tmp",
    "PYTHONSTARTUP": "/etc/passwd",
    "PYTHONINSPECT": "1",
    "LD_PRELOAD": "/tmp/x.so",
    "BASH_ENV": "/etc/passwd",
    "ENV": "/etc/passwd",
    "SSH_ORIGINAL_COMMAND": "x",
}


def test_the_environment_changes_nothing(host: StorageHost, pong: bytes) -> None:
    options = [
        part
        for name, value in HOSTILE_ENVIRONMENT.items()
        for part in ("-o", f"SetEnv={name}={value}")
    ]
    for chosen in (options, *(options[n : n + 2] for n in range(0, len(options), 2))):
        assert run(host.ssh("observe", "-T", *chosen)) == (pong, "", 0)


# -- without the forced command -------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [None, "id", "/bin/sh", "/usr/lib/storage-agent/gateway --role local --key-id x"]
)
def test_a_line_without_a_command_gives_no_shell(host: StorageHost, command: str | None) -> None:
    """Somebody edits the file by hand: the login shell is the gateway, and the daemon knows of no
    role while the file has a line that is not the agent's own."""
    path = "/etc/storage-agent/authorized_keys"
    whole = host.inside("cat", path).stdout
    public = host.key("observe").with_suffix(".pub").read_text()
    try:
        host.inside("sh", "-c", 'printf %s "$1" > "$2"', "sh", public, path)
        answer, _, status = run(host.ssh("observe", "-T", command=command))
        assert b"uid=" not in answer
        assert b"result" not in answer
        assert b'"code":"NOT_PERMITTED"' in answer
        assert status == 4
    finally:
        host.inside("sh", "-c", 'printf %s "$1" > "$2"', "sh", whole, path)
    command = f"/usr/lib/storage-agent/gateway --role grant --key-id {host.key_id('grant')}"
    try:
        host.inside("sh", "-c", 'printf %s "$1" > "$2"', "sh", whole + public, path)
        # The line costs itself. What it would have let in is not known to the daemon.
        answer, _, status = run(host.ssh("grant", "-T"))
        assert (b'"protocol":1' in answer, status) == (True, 0)
        written = f'command="{command}" {public}'
        host.inside("sh", "-c", 'printf %s "$1" > "$2"', "sh", written + whole, path)
        for role in ("observe", "grant"):
            answer, _, status = run(host.ssh(role, "-T"))
            assert b'"code":"KEY_REVOKED"' in answer
            assert status == 1
    finally:
        host.inside("sh", "-c", 'printf %s "$1" > "$2"', "sh", whole, path)


def test_without_a_key_nobody_comes_in(host: StorageHost) -> None:
    for options in (
        ("-o", "PubkeyAuthentication=no"),
        ("-o", "PreferredAuthentications=password,keyboard-interactive,gssapi-with-mic,hostbased"),
    ):
        answer, errors, status = run(host.ssh("observe", "-T", *options))
        assert (answer, status) == (b"", 255)
        assert "Permission denied (publickey)" in errors
