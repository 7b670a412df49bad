"""Who may do what, from the key to the method. Rows 23, 24, 26, 41 and 44 of the hostile inputs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.service.api.methods import METHODS
from tests.gateway.host import ROLES, Session, StorageHost, code_of, frame, wait_for

READS = {"ping", "status", "subscribe", "events", "plan", "config.show"}
READS |= {"operation.show", "operation.list", "incident.list", "seal.show"}
CHANGES = {"promote", "demote", "assemble", "standalone", "rejoin"}
LOCAL = {
    "hello",
    "abandon",
    "assemble-degraded",
    "create",
    "epoch.restore",
    "leave",
    "remake",
    "split-brain",
    "sessions.end",
}
GRANTS = {"epoch.claim", "incident.answer", "grant.promote", "proof.take", "seal.set"}
MAY = {"observe": READS, "operate": READS | CHANGES, "grant": READS | CHANGES | GRANTS}


@pytest.fixture(scope="module")
def sessions(host: StorageHost) -> Iterator[dict[str, Session]]:
    made = {role: host.session(role) for role in ROLES}
    yield made
    for session in made.values():
        session.end()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", [*METHODS, "force", "resume-io", "invalidate", "run"])
def test_every_method_in_every_role(
    host: StorageHost, sessions: dict[str, Session], method: str, role: str
) -> None:
    """With parameters that are wrong: who may not ask does not even learn that."""
    answer = sessions[role].ask(method, nonsense=1, volume="nowhere")
    if method not in METHODS:
        expected = {"unknown-method"}
    elif method in MAY[role] or method == "hello":
        expected = {"unknown-key"}
    else:
        expected = {"NOT_PERMITTED"}
    assert {code_of(answer)} == expected


def test_the_table_of_methods_is_known_here() -> None:
    assert set(METHODS) == READS | CHANGES | GRANTS | LOCAL


def test_a_refusal_tells_nothing_of_what_is_there(sessions: dict[str, Session]) -> None:
    answers = [
        sessions["observe"].ask(
            "promote", volume=volume, operation_id="op-44", epoch=6, coordinator="c"
        )
        for volume in ("data", "nowhere", "-f")
    ]
    assert answers[0] == answers[1] == answers[2]
    assert code_of(answers[0]) == "NOT_PERMITTED"


def test_a_session_cannot_take_another_role(
    host: StorageHost, sessions: dict[str, Session]
) -> None:
    for role in ("grant", "local", "operate"):
        answer = sessions["observe"].ask("hello", role=role, key_id=host.key_id("operate"))
        assert code_of(answer) in ("USAGE", "bad-type")
    assert code_of(sessions["observe"].ask("promote")) == "NOT_PERMITTED"


def test_an_old_a_repeated_and_a_faraway_epoch(host: StorageHost) -> None:
    """The captured request of a promote is worth nothing after a demote."""
    session = host.session("operate")
    given = host.next_epoch()
    before = given["epoch"] - 1
    captured = {"volume": "data", "operation_id": f"op-24-{before}", **given}
    done = session.ask("promote", **captured)["result"]
    assert (done["state"], done["epoch"]) == ("succeeded", before + 1)
    back = session.ask("demote", volume="data", operation_id=f"op-25-{before}")["result"]
    assert back["state"] == "succeeded"
    # The same again is the old answer, not a new promotion.
    assert session.ask("promote", **captured)["result"] == done

    def is_secondary() -> bool:
        snapshot = session.ask("status")["result"]["snapshot"]["volumes"]["data"]
        return bool(snapshot["replica"]["role"] == "Secondary")

    wait_for(is_secondary, "the observer has looked again")
    for number, epoch in enumerate((before, before + 1)):
        asked = {**captured, "operation_id": f"op-26-{before}-{number}", "epoch": epoch}
        refused = session.ask("promote", **asked)["result"]
        assert refused["state"] == "refused"
        assert "STALE_EPOCH" in {finding["code"] for finding in refused["findings"]}
    for ahead, code in ((3, "EPOCH_NOT_NEXT"), (100, "EPOCH_NOT_NEXT"), (1 << 62, "out-of-bounds")):
        asked = {**captured, "operation_id": f"op-27-{before}", "epoch": before + ahead}
        assert code_of(session.ask("promote", **asked)) == code
    known = session.ask("operation.show", operation_id=f"op-27-{before}")
    assert code_of(known) == "UNKNOWN_OPERATION"
    assert session.ask("status")["result"]["epochs"]["data"] == before + 1
    session.end()


def test_a_coordinator_that_has_not_adopted_is_told_so(host: StorageHost) -> None:
    session = host.session("grant")
    given = host.next_epoch()
    other = {**given, "coordinator": "op-other", "volume": "data", "operation_id": "op-other-1"}
    record = session.ask("promote", **other)["result"]
    assert [finding["code"] for finding in record["findings"]] == ["OTHER_COORDINATOR"]
    asked = {**other, "incident": "n", "boot_id": "b", "verdict": "deny"}
    del asked["operation_id"]
    assert code_of(session.ask("incident.answer", **asked)) == "INCIDENT_UNKNOWN"
    assert code_of(session.ask("epoch.claim", **other)) == "OTHER_COORDINATOR"
    founding = {**other, "operation_id": "op-other"}
    refused = session.ask("epoch.claim", **founding, succeeds="op-nobody")
    assert code_of(refused) == "OTHER_COORDINATOR"
    assert host.next_epoch() == given
    claimed = session.ask("epoch.claim", **founding, succeeds=given["coordinator"])["result"]
    assert (claimed["epoch"], claimed["replica"]["role"]) == (given["epoch"], "Secondary")
    assert host.next_epoch() == {"epoch": given["epoch"] + 1, "coordinator": "op-other"}
    session.end()


def test_a_revoked_key_is_out_at_once_also_on_a_connection_that_is_open(
    host: StorageHost, tmp_path: Path
) -> None:
    key = host.key("visitor")
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.fspath(key))
    subprocess.run(argv, check=True, timeout=60)
    public = os.fspath(key.with_suffix(".pub"))
    ended = host.command("authorize", "--role", "observe", "--json", public)
    key_id = json.loads(ended.stdout)["data"]["key_id"]
    control = tmp_path / "control"
    options = ("-o", f"ControlPath={control}")
    first = host.session("visitor", "-o", "ControlMaster=yes", *options)
    assert code_of(first.ask("ping")) == "ok"
    ended = host.command("authorize", "revoke", key_id)
    assert "open sessions ended: 1" in ended.stdout
    # Its sshd still runs the forced command for it: the daemon does not take it.
    answers, _ = host.exchange(frame("ping"), "visitor", *options)
    assert [code_of(answer) for answer in answers] in (["KEY_REVOKED"], [])
    first.wait()
    answers, status = host.exchange(frame("ping"), "visitor")
    assert (answers, status) == ([], 255)


def test_a_key_comes_only_from_its_addresses(host: StorageHost) -> None:
    public = os.fspath(host.key("observe").with_suffix(".pub"))
    assert host.command("authorize", "revoke", host.key_id("observe")).returncode == 0
    argv = ("authorize", "--role", "observe", "--from", "192.0.2.0/24", public)
    assert host.command(*argv).returncode == 0
    try:
        assert host.exchange(frame("ping"), "observe") == ([], 255)
    finally:
        host.command("authorize", "revoke", host.key_id("observe"))
        host.command("authorize", "--role", "observe", "--from", "127.0.0.1", public)


OTHERS = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")


def test_other_users_of_the_host_reach_nothing(host: StorageHost) -> None:
    connect = (
        "import socket; socket.socket(socket.AF_UNIX).connect('/run/storage-agent/agent.sock')"
    )
    for command, words in (
        (("/usr/bin/python3", "-c", connect), "Permission denied"),
        (("touch", "/run/storage-agent/agent.sock.new"), "Permission denied"),
        (("touch", "/etc/storage-agent/authorized_keys"), "Permission denied"),
        (("/usr/bin/python3", "-I", "-m", "storage_agent.cli.main", "status"), "denied"),
        (("/usr/lib/storage-agent/gateway", "--role", "grant", "--key-id", "x"), "DAEMON_DOWN"),
    ):
        ended = host.inside(*OTHERS, *command)
        assert ended.returncode != 0
        assert words in ended.stderr + ended.stdout


def test_the_gateways_user_can_change_nothing_of_the_agent(host: StorageHost) -> None:
    user = ("setpriv", "--reuid", "storage-agent", "--regid", "storage-agent", "--clear-groups")
    for path in (
        "/run/storage-agent/x",
        "/etc/storage-agent/authorized_keys",
        "/etc/storage-agent/x",
        "/usr/lib/storage-agent/x",
        "/x",
    ):
        assert host.inside(*user, "touch", path).returncode != 0


def test_a_role_that_its_key_does_not_have_is_not_believed(host: StorageHost) -> None:
    """What a process of that user could claim: no more than what is in the file of keys."""
    for role, key_id in (("grant", host.key_id("observe")), ("observe", "SHA256:nobody")):
        argv = host.gateway_argv("--role", role, "--key-id", key_id)
        ended = subprocess.run(
            argv, input=frame("ping"), capture_output=True, timeout=60, check=False
        )
        (answer,) = (json.loads(line) for line in ended.stdout.splitlines())
        assert (code_of(answer), answer["id"], ended.returncode) == ("KEY_REVOKED", None, 1)
