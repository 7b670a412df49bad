"""Hosts that do not answer as they should, on loopback, behind the coordinator's own SSH: refused,
a black hole, nonsense; and one whose agent says nothing over a session that stands."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.reaching import ssh
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.reaching.rpc import Channel
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator.settings import (
    Deadlines,
    HostSettings,
    Settings,
    VolumeSettings,
)
from storage_agent.coordinator_cli.wiring import run_command
from tests.unit.coordinator.pair import VOLUME, Pair, make_settings, new_id
from tests.unit.service.parts import ThreadClock

CONNECT_S = 1
ANSWER_S = 3
KINDS = ("refused", "nonsense", "black-hole", "silent")
# Beside what each is given: this machine is busy.
MARGIN_S = 1.5


class SilentChannel:
    """Implements rpc.Channel: takes everything, answers nothing."""

    def __init__(self) -> None:
        self._ended: queue.Queue[bytes] = queue.Queue()

    def send(self, line: bytes) -> None: ...

    def receive(self) -> bytes:
        return self._ended.get()

    def close(self) -> None:
        self._ended.put(b"")

    def beside(self) -> Channel:
        return SilentChannel()


@contextlib.contextmanager
def ports() -> Iterator[dict[str, int]]:
    """Of the kinds that are reached through a socket."""
    with contextlib.ExitStack() as ended:
        hole = ended.enter_context(socket.create_server(("127.0.0.1", 0)))
        babbler = ended.enter_context(socket.create_server(("127.0.0.1", 0)))
        with socket.create_server(("127.0.0.1", 0)) as closed:
            refused = closed.getsockname()[1]
        thread = threading.Thread(target=_babble, args=(babbler,), daemon=True)
        thread.start()
        yield {
            "refused": refused,
            "black-hole": hole.getsockname()[1],
            "nonsense": babbler.getsockname()[1],
        }
        babbler.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _babble(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(range(256)) * 16)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def fleet_with(pair: Pair, folder: Path, found: dict[str, int]) -> Coordinator:
    """alpha and beta answer; of each bad kind there is a pair, too."""
    key_file, known = folder / "key", folder / "known_hosts"
    paramiko.ECDSAKey.generate(bits=256).write_private_key_file(str(key_file))
    pinned = paramiko.ECDSAKey.generate(bits=256)
    bad = [f"{kind}-{side}" for kind in KINDS for side in "ab"]
    known.write_text("".join(f"{name} {pinned.get_name()} {pinned.get_base64()}\n" for name in bad))
    hosts = {
        name: HostSettings(name=name, address="127.0.0.1", port=found.get(name[:-2], 1))
        for name in ("alpha", "beta", *bad)
    }
    volumes = {VOLUME.key: VOLUME} | {
        f"{kind}/data": VolumeSettings(
            key=f"{kind}/data",
            name="data",
            hosts=(f"{kind}-a", f"{kind}-b"),
            automatic=False,
            cooldown_s=60,
        )
        for kind in KINDS
    }
    settings: Settings = dataclasses.replace(
        make_settings(folder),
        key_file=str(key_file),
        known_hosts=str(known),
        parallel=len(hosts),
        deadlines=Deadlines(
            connect_s=CONNECT_S, answer_s=ANSWER_S, operation_s=30, handover_s=2, unreachable_s=2
        ),
        hosts=hosts,
        # The healthy one is asked last.
        volumes=dict(reversed(volumes.items())),
    )

    def connect(host: HostSettings) -> Channel:
        if host.name in ("alpha", "beta"):
            return pair.connect(host)
        return SilentChannel() if host.name.startswith("silent") else ssh.connect(host, settings)

    clock, tell = ThreadClock(), _nobody
    return Coordinator(
        settings,
        Fleet(settings, connect, clock),
        Store(folder, folder / "run"),
        clock,
        new_id,
        Hooks(folder / "none", run_command, 1, tell),
    )


_nobody: Callable[[str], None] = lambda _text: None  # noqa: E731
