"""A volume's own NFS server, as the kernel shows it from outside its namespaces.

Reads /proc/PID/root/proc/fs/nfsd and /proc/PID/net of the supervisor process; what that process
believes plays no part. Starts no process, enters no namespace. Host tools: none.

A server that is being stopped on a disk that answers nothing holds nfsd's mutex for as long
(fs/nfsd/nfsctl.c; seen in the lab), and whoever reads its files waits: never the caller's thread.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from storage_agent.host.filesystem.mounts import read_mount_lines, unescape
from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.model.errors import OutcomeUnknown, ParseError
from storage_agent.model.nfs import NfsClient, NfsView, ServerState

PORT = 2049
TIMEOUT_S = 8.0
LINK = "nfs0"
# Interface group (any number but 0) in which the firewall rule drops requests. Who is in a hurry
# shuts the clients out by it (libexec/fence-peer); seen outside a planned shutting, it means that.
CLOSED_GROUP = 99
RUN_FOLDER = "run/storage-agent/nfs"
# 169.254.253.0/30: the server's own canary (nfs_server/canary.py), never a real client.
CANARY_NETWORK = "169.254.253."
CLIENTS_LIMIT = 4096
FILE_LIMIT_BYTES = 256 << 10
CLIENT_STATUSES = frozenset({"confirmed", "unconfirmed", "courtesy", "expirable"})
# include/net/tcp_states.h
TCP_ESTABLISHED = 1
_TCP_STATES = range(1, 13)
_STATE_LINE = re.compile(r"^- 0x[0-9a-f]+: \{ type: (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSocket:
    """One line of /proc/net/tcp (proc(5)). Queues in bytes; state: include/net/tcp_states.h."""

    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    state: int
    transmit_queue_bytes: int
    receive_queue_bytes: int

    def remote(self) -> str:
        return f"{self.remote_address}:{self.remote_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTraffic:
    """Bytes through one link since it exists, from /proc/net/dev."""

    received_bytes: int
    sent_bytes: int


def parse_client(info: str, states: str = "") -> NfsClient:
    """/proc/fs/nfsd/clients/N/{info,states} (kernel fs/nfsd/nfs4state.c). Raises ParseError."""
    fields: dict[str, str] = {}
    for line in info.splitlines():
        key, colon, value = line.partition(": ")
        if not colon:
            raise ParseError("nfsd clients/info", "not `key: value`", line)
        if key in fields:
            raise ParseError("nfsd clients/info", f"{key} twice", line)
        fields[key] = value.strip()
    try:
        status = fields["status"]
        client_id = fields["clientid"]
        address = fields["address"].strip('"')
        renewed = fields.get("seconds from last renew")
        minor_version = int(fields["minor version"])
        seconds = None if renewed is None else int(renewed)
    except KeyError as exc:
        raise ParseError("nfsd clients/info", f"{exc.args[0]} is missing") from None
    except ValueError as exc:
        raise ParseError("nfsd clients/info", str(exc)) from None
    if status not in CLIENT_STATUSES:
        raise ParseError("nfsd clients/info", "unknown status", status)
    kinds = _STATE_LINE.findall(states)
    return NfsClient(
        client_id=client_id,
        address=address,
        name=fields.get("name", "").strip('"'),
        status=status,
        minor_version=minor_version,
        seconds_since_renewal=seconds,
        opens=kinds.count("open"),
        locks=kinds.count("lock"),
    )


def parse_threads(text: str) -> int:
    """/proc/fs/nfsd/threads. Raises ParseError."""
    if not text.strip().isascii() or not text.strip().isdigit():
        raise ParseError("/proc/fs/nfsd/threads", "not a number", text)
    return int(text)


def parse_in_grace(text: str) -> bool:
    """/proc/fs/nfsd/v4_end_grace: Y once the grace period has ended. Raises ParseError."""
    answers = {"N": True, "Y": False}
    if (word := text.strip()) not in answers:
        raise ParseError("/proc/fs/nfsd/v4_end_grace", "neither Y nor N", text)
    return answers[word]


def parse_exports(text: str) -> tuple[str, ...]:
    """Paths that an etab offers to anyone but the canary, sorted. Raises ParseError."""
    paths = set()
    for line in text.splitlines():
        path, tab, client = line.partition("\t")
        if not tab or not client.endswith(")"):
            raise ParseError("etab", "not `path<TAB>client(options)`", line)
        if not client.startswith(CANARY_NETWORK):
            paths.add(unescape(path))
    return tuple(sorted(paths))


def parse_tcp(text: str) -> tuple[TcpSocket, ...]:
    """/proc/net/tcp, IPv4. Raises ParseError."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            local, remote, state, queues = fields[1], fields[2], int(fields[3], 16), fields[4]
            local_address, local_port = _endpoint(local)
            remote_address, remote_port = _endpoint(remote)
            transmit, receive = (int(part, 16) for part in queues.split(":"))
        except (IndexError, ValueError, struct.error):
            raise ParseError("/proc/net/tcp", "not a socket", line) from None
        if state not in _TCP_STATES:
            raise ParseError("/proc/net/tcp", "unknown state", line)
        found.append(
            TcpSocket(
                local_address=local_address,
                local_port=local_port,
                remote_address=remote_address,
                remote_port=remote_port,
                state=state,
                transmit_queue_bytes=transmit,
                receive_queue_bytes=receive,
            )
        )
    return tuple(found)


def _endpoint(text: str) -> tuple[str, int]:
    # The address is a 32-bit number in the host's byte order, printed as hexadecimal.
    address, port = text.split(":")
    return socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)


def client_sockets(sockets: tuple[TcpSocket, ...]) -> tuple[TcpSocket, ...]:
    """Established connections of clients (not the canary's) to the NFS port."""
    return tuple(
        s
        for s in sockets
        if s.state == TCP_ESTABLISHED
        and s.local_port == PORT
        and not s.remote_address.startswith(CANARY_NETWORK)
    )


def parse_traffic(text: str, link: str = LINK) -> LinkTraffic | None:
    """One link's line of /proc/net/dev (proc(5)); None where there is no such link."""
    for line in text.splitlines():
        name, colon, counters = line.partition(":")
        if colon and name.strip() == link:
            fields = counters.split()
            try:
                return LinkTraffic(received_bytes=int(fields[0]), sent_bytes=int(fields[8]))
            except (IndexError, ValueError):
                raise ParseError("/proc/net/dev", "not a link", line) from None
    return None


def parse_link_up(flags: str) -> bool:
    """/sys/class/net/LINK/flags: IFF_UP is the lowest bit. Raises ParseError."""
    try:
        return bool(int(flags, 16) & 1)
    except ValueError:
        raise ParseError("/sys/class/net/LINK/flags", "not a number", flags) from None


def parse_start_ticks(stat: str) -> int:
    """Field 22 of /proc/PID/stat: when the process started. Raises ParseError."""
    # The command name may hold spaces and brackets: count from its last bracket.
    try:
        return int(stat.rpartition(")")[2].split()[19])
    except (IndexError, ValueError):
        raise ParseError("/proc/PID/stat", "no start time", stat) from None


class NfsObserver:
    """Looks at the NFS servers of this host's volumes. root: for tests on a tree of files."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._calls = BoundedCalls()

    def observe(self, volume: str, address: str, *, timeout_s: float = TIMEOUT_S) -> NfsView:
        """What the volume's server shows now.

        Raises OutcomeUnknown (code NFS_SERVER_LOST) where a server may run that nobody
        supervises, ParseError where the kernel shows something new, CommandStuck (code
        `CALL_STUCK`).
        """
        key = f"the state of the NFS server of {volume}"
        look = partial(self._look, volume, address)
        return self._calls.run(key, look, timeout_s=timeout_s)

    def _look(self, volume: str, address: str) -> NfsView:
        pid = self.supervisor_pid(volume)
        if pid is None:
            self._require_no_leftover(volume)
            return NfsView(state=ServerState.ABSENT, address=address)
        try:
            return self._observe(self._root / "proc" / str(pid), address)
        except (FileNotFoundError, ProcessLookupError) as exc:
            raise _lost(volume, f"{exc.filename or exc} vanished while it was read") from exc
        except OSError as exc:
            raise _lost(volume, f"{exc.filename or ''}: {exc.strerror}") from exc

    def supervisor_pid(self, volume: str) -> int | None:
        """Of the process that holds the volume's namespaces; None where none runs."""
        try:
            pid, start_ticks = map(int, self._pid_file(volume).read_text().split())
            stat = (self._root / "proc" / str(pid) / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        except ValueError:
            raise ParseError(str(self._pid_file(volume)), "not `PID START`") from None
        return pid if parse_start_ticks(stat) == start_ticks else None

    def _pid_file(self, volume: str) -> Path:
        return self._root / RUN_FOLDER / f"{volume}.pid"

    def _require_no_leftover(self, volume: str) -> None:
        name = f"/run/netns/{namespace_name(volume)}"
        if any(line.mount.mount_point == name for line in read_mount_lines("1", self._root)):
            raise _lost(volume, f"its supervisor is gone, its network namespace {name} is not")

    def _observe(self, process: Path, address: str) -> NfsView:
        inside = process / "root"
        nfsd = inside / "proc/fs/nfsd"
        threads = parse_threads(_read(nfsd / "threads"))
        link = inside / "sys/class/net" / LINK / "flags"
        link_up = link.exists() and parse_link_up(_read(link))
        traffic = parse_traffic(_read(process / "net/dev"))
        sockets = client_sockets(parse_tcp(_read(process / "net/tcp")))
        running = threads > 0
        group = inside / "sys/class/net" / LINK / "netdev_group"
        halted = group.exists() and _read(group).strip() == str(CLOSED_GROUP)
        return NfsView(
            state=server_state(running=running, link_up=link_up, halted=halted),
            address=address,
            threads=threads,
            link_up=link_up,
            has_link=link.exists(),
            in_grace=parse_in_grace(_read(nfsd / "v4_end_grace")) if running else None,
            exports=parse_exports(_read(inside / "var/lib/nfs/etab")) if running else (),
            clients=_read_clients(nfsd / "clients") if running else (),
            connections=tuple(sorted(s.remote() for s in sockets)),
            bytes_read=traffic.sent_bytes if traffic else None,
            bytes_written=traffic.received_bytes if traffic else None,
        )


def namespace_name(volume: str) -> str:
    """Of the network namespace, for `ip netns exec`."""
    return f"storage-agent-{volume}"


def server_state(*, running: bool, link_up: bool, halted: bool) -> ServerState:
    """halted: the link is in CLOSED_GROUP."""
    if not running:
        return ServerState.STANDBY
    if halted:
        return ServerState.HALTED
    return ServerState.SERVING if link_up else ServerState.STARTED


def _read_clients(folder: Path) -> tuple[NfsClient, ...]:
    """Bounded: of more clients than the limit the oldest are shown, states beyond the file limit
    are not counted."""
    clients = []
    numbers = sorted((p.name for p in folder.iterdir() if p.name.isdigit()), key=int)
    for number in numbers[:CLIENTS_LIMIT]:
        try:
            clients.append(
                parse_client(_read(folder / number / "info"), _read(folder / number / "states"))
            )
        except FileNotFoundError:
            continue  # it has just left
    return tuple(clients)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(FILE_LIMIT_BYTES).decode("utf-8", errors="replace")


def _lost(volume: str, problem: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"NFS server of {volume}: {problem}",
        remedy=f"systemctl status storage-agent-nfs@{volume}; systemctl start it again",
        code="NFS_SERVER_LOST",
    )
