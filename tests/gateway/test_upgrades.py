"""What an upgrade, a downgrade or an edited file may leave behind. Row 45 of the hostile inputs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import zlib
from collections.abc import Iterator

import pytest

from tests.gateway.host import StorageHost, code_of, frame, wait_for

PING = frame("ping")
DROP_IN = "/etc/ssh/sshd_config.d/storage-agent.conf"
EPOCH = "/run/storage-agent/state/epoch-data"
# A conffile that dpkg has kept, with everything in it that the package's own turns off.
PERMISSIVE = """\
Match User storage-agent
    AuthorizedKeysFile /etc/storage-agent/authorized_keys
    AllowAgentForwarding yes
    AllowStreamLocalForwarding yes
    AllowTcpForwarding yes
    GatewayPorts yes
    PermitOpen any
    PermitTTY yes
    PermitTunnel yes
    PermitUserRC yes
    X11Forwarding yes
Match all
"""


def put(host: StorageHost, path: str, content: str) -> None:
    written = host.inside("sh", "-c", 'printf %s "$1" >"$2"', "sh", content, path)
    assert written.returncode == 0, written.stderr


@contextlib.contextmanager
def drop_in(host: StorageHost, content: str) -> Iterator[None]:
    """sshd with this one, then with the package's own again."""
    own = host.inside("cat", DROP_IN).stdout
    try:
        put(host, DROP_IN, content)
        reload(host)
        yield
    finally:
        put(host, DROP_IN, own)
        reload(host)


def reload(host: StorageHost) -> None:
    started = host.sshd_log().count("Server listening")
    host.sshd.send_signal(1)
    wait_for(lambda: host.sshd_log().count("Server listening") > started, "sshd listens again")


def ssh(host: StorageHost, *options: str, command: str | None = None) -> tuple[bytes, str, int]:
    ended = subprocess.run(
        host.ssh("observe", *options, command=command),
        input=PING,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return ended.stdout, ended.stderr.decode(errors="replace"), ended.returncode


def test_a_drop_in_that_allows_everything_opens_nothing(host: StorageHost) -> None:
    """Each key's line restricts it by itself."""
    pong = ssh(host, "-T")
    with drop_in(host, PERMISSIVE):
        assert host.inside("/usr/sbin/sshd", "-t").returncode == 0
        assert ssh(host, "-T", command="id") == pong
        answer, errors, _ = ssh(host, "-tt")
        assert answer in (b"", pong[0])
        assert "PTY allocation request failed" in errors
        forward = ("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0")
        for options in (("-W", f"127.0.0.1:{host.port}"), forward):
            _, errors, status = ssh(host, *options)
            assert status == 255
            assert "forwarding failed" in errors
        _, errors, _ = ssh(host, "-T", "-w", "any")
        assert "unnel" in errors


@pytest.mark.parametrize("command", ["/bin/sh", "/usr/bin/id"])
def test_a_drop_in_with_another_command_gives_no_shell(host: StorageHost, command: str) -> None:
    """It goes before the key's own; but it is the user's shell that runs it, and that is the
    gateway, which then knows of no role."""
    with drop_in(host, PERMISSIVE.replace("Match all", f"    ForceCommand {command}\nMatch all")):
        answer, _, status = ssh(host, "-T")
    assert b"uid=" not in answer
    assert b'"code":"NOT_PERMITTED"' in answer
    assert b"result" not in answer
    assert status == 4


def test_state_of_a_newer_version_is_refused_and_kept(host: StorageHost) -> None:
    """A downgrade: what this version does not know could forbid what it would do."""
    given = host.next_epoch()
    own = host.inside("cat", EPOCH).stdout
    value = {**json.loads(own.splitlines()[0]), "retired": True}
    body = json.dumps(value)
    newer = f"{body}\n{zlib.crc32(body.encode()):08x}\n"
    try:
        host.stop_daemon()
        put(host, EPOCH, newer)
        host.start_daemon()
        session = host.session("operate")
        asked = {"volume": "data", "operation_id": f"newer-{given['epoch']}"}
        record = session.ask("promote", **asked, **given)["result"]
        assert [finding["code"] for finding in record["findings"]] == ["EPOCH_DAMAGED"]
        assert "of a newer version" in record["findings"][0]["summary"]
        assert code_of(session.ask("status")) == "ok"
        assert session.end() == 0
        assert host.inside("cat", EPOCH).stdout == newer
    finally:
        put(host, EPOCH, own)
    assert host.next_epoch() == given
