"""What sshd runs for a coordinator's key: hands the session over to the daemon, and waits.

Unprivileged, and trusted with one thing: it tells the daemon, before any byte of the caller, which
role and key sshd has found. The session's two pipes go with that, so that no byte passes through
here: it reads nothing that the caller can set, no stdin, no arguments, no environment. The daemon
frames, checks and answers. It is also the user's login shell, so that no line of authorized_keys,
however wrong, ends in a real one.

Imports C modules alone: `socket`, `json` or `signal` would each cost half a start of Python.
"""

from __future__ import annotations

import _socket
import os
import sys
import syslog
import time

SOCKET_PATH = "/run/storage-agent/agent.sock"
# The daemon may just be starting: systemd holds its socket meanwhile.
HELLO_DEADLINE_S = 10.0
BACKLOG_POLL_S = 0.05
BUFFER_BYTES = 64 << 10
SHOWN_CHARS = 200
_ROLES = ("observe", "operate", "grant")
_KEY_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/:")
_WELCOME = b'{"jsonrpc":"2.0","id":"hello","result":'
_TURNED_AWAY = b'{"jsonrpc":"2.0","id":"hello","error":'
# stdin and stdout, for unix(7)'s SCM_RIGHTS: an array of int.
_PIPES = b"".join(descriptor.to_bytes(4, sys.byteorder) for descriptor in (0, 1))


class _Failure(Exception):
    """line: the error object for the caller. exit_status: as in docs/commands.md."""

    def __init__(self, line: bytes, exit_status: int) -> None:
        super().__init__(line)
        self.line = line
        self.exit_status = exit_status


def _failure(code: str, exit_status: int, message: str, remedy: str) -> _Failure:
    """All of it is text of ours without a character that JSON would escape."""
    line = (
        f'{{"jsonrpc":"2.0","id":null,"error":{{"code":{-32000 - exit_status},'
        f'"message":"{message}","data":{{"code":"{code}","remedy":"{remedy}",'
        f'"exit_status":{exit_status},"findings":[]}}}}}}\n'
    )
    return _Failure(line.encode(), exit_status)


def main(arguments: list[str], socket_path: str = SOCKET_PATH) -> int:
    """arguments: argv. Exit status: 0 the caller ended the session, 1 the daemon did, 2 there was
    no request, 4 not a key of ours, 6 the daemon is silent, 7 it is down."""
    _open_missing_descriptors()
    try:
        role, key_id = parse_arguments(arguments)
        _log_command(key_id)
        connection, said = _connect(role, key_id, socket_path)
        return _end_of(connection, said)
    except _Failure as exc:
        _write_all(exc.line)
        return exc.exit_status
    except KeyboardInterrupt:
        return 1
    except Exception as exc:
        syslog.syslog(syslog.LOG_ERR, f"broke off: {type(exc).__name__}: {ascii(str(exc))[:200]}")
        _write_all(_failure("INTERNAL", 1, "the gateway broke off", "report it").line)
        return 1


def parse_arguments(arguments: list[str]) -> tuple[str, str]:
    """Role and key id, of `gateway --role R --key-id ID` or, as a login shell, of
    `gateway -c "/path/of/gateway --role R --key-id ID"`. Raises _Failure for all else."""
    words = arguments
    if len(words) == 3 and words[1] == "-c":
        words = words[2].split(" ")
    match words:
        case [program, "--role", role, "--key-id", key_id]:
            is_ours = program == arguments[0] and role in _ROLES
            if is_ours and 0 < len(key_id) <= 64 and _KEY_ID_CHARACTERS.issuperset(key_id):
                return role, key_id
    syslog.syslog(syslog.LOG_WARNING, f"refused to run {ascii(arguments[1:])[:SHOWN_CHARS]}")
    raise _failure(
        "NOT_PERMITTED",
        4,
        "this key is not bound to a role of the agent",
        "on the storage host, as root: storage-agent authorize --role ROLE KEYFILE",
    )


def _log_command(key_id: str) -> None:
    # Set by sshd from what the caller typed; nothing here acts on it.
    if command := os.environ.get("SSH_ORIGINAL_COMMAND", ""):
        shown = ascii(command[:SHOWN_CHARS])
        syslog.syslog(syslog.LOG_NOTICE, f"ssh key {key_id}: command ignored: {shown}")


def _connect(role: str, key_id: str, path: str) -> tuple[_socket.socket, bytes]:
    """A connection that has its role, and whose other end has our stdin and stdout; and what the
    daemon has said after that."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(HELLO_DEADLINE_S)
    try:
        _wait_to_connect(connection, path)
    except OSError as exc:
        raise _failure(
            "DAEMON_DOWN",
            7,
            f"storage-agentd does not run on this host: {os.strerror(exc.errno or 0)}",
            "systemctl start storage-agent.socket; journalctl -u storage-agentd -n 50",
        ) from None
    hello = (
        '{"jsonrpc":"2.0","id":"hello","method":"hello",'
        f'"params":{{"role":"{role}","key_id":"{key_id}"}}}}\n'
    )
    try:  # noqa: SIM105  (contextlib would cost a fifth of the start)
        connection.sendmsg((hello.encode(),), ((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _PIPES),))
    except OSError:
        # Turned away before it was read: the reason is still to be read.
        pass
    line, said = _first_line(connection)
    if not line.startswith(_WELCOME):
        answer = line.replace(_TURNED_AWAY, b'{"jsonrpc":"2.0","id":null,"error":', 1)
        raise _Failure(answer + b"\n", 1)
    return connection, said


def _wait_to_connect(connection: _socket.socket, path: str) -> None:
    """Also while more wait to be taken than the listener's backlog holds, where connect(2) says
    EAGAIN at once. Raises OSError, _Failure."""
    until_s = time.monotonic() + HELLO_DEADLINE_S
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise _silent("does not take connections") from None
            time.sleep(BACKLOG_POLL_S)


def _first_line(connection: _socket.socket) -> tuple[bytes, bytes]:
    received = b""
    until_s = time.monotonic() + HELLO_DEADLINE_S
    while b"\n" not in received:
        connection.settimeout(max(0.001, until_s - time.monotonic()))
        try:
            chunk = connection.recv(BUFFER_BYTES)
        except TimeoutError:
            raise _silent("does not answer") from None
        except OSError:
            chunk = b""
        if not chunk or len(received) > BUFFER_BYTES:
            raise _silent("closed the connection")
        received += chunk
    line, _, said = received.partition(b"\n")
    return line, said


def _silent(what: str) -> _Failure:
    return _failure(
        "DAEMON_SILENT",
        6,
        f"storage-agentd {what}",
        "systemctl status storage-agentd; then try again",
    )


def _end_of(connection: _socket.socket, said: bytes) -> int:
    """Waits until the daemon has ended the session, which it says in one byte, or is gone."""
    connection.settimeout(None)
    try:
        status = said or connection.recv(1)
    except OSError:
        status = b""
    return status[0] if status else 1


def _write_all(line: bytes) -> None:
    """Short enough for any pipe. Whoever does not read it does not want it."""
    try:  # noqa: SIM105
        os.write(1, line)
    except OSError:
        pass


def _open_missing_descriptors() -> None:
    """What is opened next must not become stdin or stdout (git's shell.c does the same)."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open("/dev/null", os.O_RDWR)


def run() -> None:
    """Entry of /usr/lib/storage-agent/gateway. Ends without Python's tidying up: nothing is left
    to flush, and it would cost as much as all the above."""
    os._exit(main(sys.argv))
