"""The coordinator's own client against a real sshd, pointed at the wrong host. Row 25 of the
hostile inputs."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import State
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.incidents import answer_incidents
from storage_agent.coordinator.reaching import ssh
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator.settings import HostSettings, Settings
from storage_agent.coordinator_cli.wiring import run_command
from storage_agent.host.system.clock import SystemClock
from storage_agent.model.errors import AgentError, Refused
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import OperationKind
from tests.gateway.host import StorageHost
from tests.unit.coordinator.pair import VOLUME, make_settings


def coordinator_of(host: StorageHost, folder: Path, *, name: str) -> Coordinator:
    """name: what the configuration calls the host that really is alpha, cloned keys and all."""
    kind, material = (host.folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"{name} {kind} {material}\n")
    settings: Settings = dataclasses.replace(
        make_settings(folder),
        key_file=str(host.key("grant")),
        known_hosts=str(folder / "known_hosts"),
        hosts={
            "alpha": HostSettings(name="alpha", address="192.0.2.1", port=9),
            "beta": HostSettings(name="beta", address="192.0.2.1", port=9),
            name: HostSettings(name=name, address="127.0.0.1", port=host.port),
        },
    )
    clock = SystemClock()
    fleet = Fleet(settings, lambda one: ssh.connect(one, settings), clock)
    hooks = Hooks(folder / "none", run_command, 1, pytest.fail)
    return Coordinator(settings, fleet, Store(folder, folder / "run"), clock, lambda: "id1", hooks)


@pytest.fixture
def misled(host: StorageHost, tmp_path: Path) -> Iterator[Coordinator]:
    made = coordinator_of(host, tmp_path, name="beta")
    yield made
    made.fleet.close()


def test_the_right_host_is_asked(host: StorageHost, tmp_path: Path) -> None:
    coordinator = coordinator_of(host, tmp_path, name="alpha")
    assert coordinator.fleet.status("alpha").host == "alpha"
    assert coordinator.fleet.ask("alpha", "ping")["host"] == "alpha"
    coordinator.fleet.close()


def test_nothing_waits_for_an_operation_that_runs(host: StorageHost, tmp_path: Path) -> None:
    """The daemon takes a session's next request when it has answered the one before."""
    fleet = coordinator_of(host, tmp_path, name="alpha").fleet
    fleet.ask("alpha", "ping")
    given = host.next_epoch()
    asked = {"volume": "data", "operation_id": f"op-late-{given['epoch']}", **given}
    told: list[OperationRecord] = []
    answered: list[list[OperationState]] = []

    def promote() -> None:
        told.append(fleet.operate("alpha", OperationKind.PROMOTE, asked, told.append))

    running = threading.Thread(target=promote)
    running.start()
    while running.is_alive():
        assert fleet.ask("alpha", "incident.list")["incidents"] == []
        answered.append([record.state for record in told[-1:]])
    running.join()
    assert told[-1].state is OperationState.SUCCEEDED
    # Half a second of it is one slow step.
    assert answered.count([OperationState.RUNNING]) > 3
    assert fleet.is_connected("alpha")
    back = {"volume": "data", "operation_id": f"{asked['operation_id']}-back"}
    assert fleet.operate("alpha", OperationKind.DEMOTE, back).state is OperationState.SUCCEEDED
    fleet.close()


def test_another_host_is_asked_for_nothing_but_its_name(
    host: StorageHost, misled: Coordinator
) -> None:
    """alpha answers where beta should: it gets no request that was meant for beta."""
    begun = len(host.daemon_log())
    epoch = {"volume": "data", "epoch": 7, "operation_id": "misled-1", "coordinator": "misled-1"}
    record = State(epoch=7, coordinator="misled-1")
    for ask in (
        lambda: misled.fleet.status("beta"),
        lambda: misled.fleet.ask("beta", "epoch.claim", epoch),
        lambda: misled.fleet.ask("beta", "grant.promote", epoch),
        lambda: answer_incidents(misled, "beta"),
        lambda: misled.claim(VOLUME, "beta", record, "misled-2"),
    ):
        with pytest.raises(Refused) as caught:
            ask()
        assert caught.value.code == "WRONG_HOST"
        assert "is 'alpha', not beta" in caught.value.message
        assert not misled.fleet.is_connected("beta")
    asked = {line["method"] for line in host.daemon_log()[begun:] if "method" in line}
    assert asked <= {"hello", "ping"}


def test_a_session_that_sshd_refuses_costs_nothing(tmp_path: Path) -> None:
    """sshd allows the kept session alone: the request goes over a connection of its own."""
    with StorageHost("MaxSessions=1") as strict:
        fleet = coordinator_of(strict, tmp_path, name="alpha").fleet
        kept = fleet.connection("alpha")
        for _ in range(2):
            assert fleet.ask_beside("alpha", "ping", {})["host"] == "alpha"
        assert fleet.connection("alpha") is kept
        assert fleet.ask("alpha", "ping")["host"] == "alpha"
        fleet.close()


def test_the_library_writes_nothing_of_what_a_host_sends(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before any key was checked: its banner, and what it sends in the place of a key exchange."""
    hostile = b"\x1b]0;owned\x07\x1b[2J"
    for sent in (hostile * 20, b"SSH-2.0-" + hostile + b"\r\n" + hostile * 20, hostile + b"\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            shown = HostSettings(name="alpha", address="127.0.0.1", port=listener.getsockname()[1])

            def answer(listener: socket.socket = listener, sent: bytes = sent) -> None:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(sent)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):
                        pass

            thread = threading.Thread(target=answer)
            thread.start()
            with pytest.raises(AgentError) as caught:
                ssh.offered_key(shown, 2)
            thread.join(10)
            assert len(caught.value.message) < 300
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")
