"""host/nfs/adapter.py on recorded files of /proc/fs/nfsd and on a tree that stands for a host."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from storage_agent.host.nfs.adapter import (
    NfsObserver,
    client_sockets,
    parse_client,
    parse_exports,
    parse_in_grace,
    parse_link_up,
    parse_start_ticks,
    parse_tcp,
    parse_threads,
    parse_traffic,
)
from storage_agent.model.errors import CommandStuck, OutcomeUnknown, ParseError
from storage_agent.model.nfs import ServerState
from tests.unit.host.recorded import KERNEL, recorded
from tests.unit.host.tree import Tree

TCP_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def files_of(situation: str) -> dict[str, str]:
    """`9/info` -> content, of a recording made with `==> NAME <==` between files."""
    text = recorded("proc-fs-nfsd-clients", KERNEL, f"{situation}-alpha").stdout
    pieces = [piece.partition(" <==\n") for piece in text.split("==> ") if piece]
    return {name: content for name, _, content in pieces}


def tcp_line(local: str, remote: str, state: str = "01", queues: str = "00000000:00000000") -> str:
    return f"   0: {local} {remote} {state} {queues} 00:00000000 00000000     0\n"


def test_a_client_with_locks() -> None:
    files = files_of("client-holding-posix-lock")
    client = parse_client(files["9/info"], files["9/states"])
    assert (client.address, client.name) == ("10.9.0.3:968", "Linux NFSv4.2 client")
    assert (client.status, client.minor_version) == ("confirmed", 2)
    assert (client.opens, client.locks, client.seconds_since_renewal) == (2, 2, 3)
    assert client.client_id == "0xa6ca049c6b00e9c2"


def test_a_client_that_only_opened() -> None:
    files = files_of("client-holding-lock")
    client = parse_client(files["3/info"], files["3/states"])
    assert (client.opens, client.locks) == (1, 0)


def test_a_courtesy_client_is_told_apart() -> None:
    files = files_of("client-courtesy")
    client = parse_client(files["3/info"], files["3/states"])
    assert (client.status, client.seconds_since_renewal) == ("courtesy", 116)


def test_an_unknown_key_of_a_client_changes_nothing() -> None:
    files = files_of("client-holding-posix-lock")
    plain = parse_client(files["9/info"])
    assert parse_client(files["9/info"] + "admin-revoked states: 0\n") == plain


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("status: confirmed", "status: zombie"),
        ("status: confirmed\n", ""),
        ("minor version: 2", "minor version: two"),
        ("seconds from last renew: 3", "seconds from last renew: -"),
        ("clientid: ", "clientid:"),
    ],
)
def test_a_wrong_value_of_a_client_raises(old: str, new: str) -> None:
    info = files_of("client-holding-posix-lock")["9/info"]
    assert old in info
    with pytest.raises(ParseError):
        parse_client(info.replace(old, new))


def test_a_key_twice_raises() -> None:
    info = files_of("client-holding-posix-lock")["9/info"]
    with pytest.raises(ParseError, match="status twice"):
        parse_client(info + "status: courtesy\n")


def test_threads_and_grace() -> None:
    settings = recorded(
        "proc-fs-nfsd-settings", KERNEL, "client-holding-posix-lock-v4-only-alpha"
    ).stdout
    fields = dict(line.partition(": ")[::2] for line in settings.splitlines())
    assert parse_threads(fields["threads"] + "\n") == 8
    assert not parse_in_grace(fields["v4_end_grace"] + "\n")
    assert parse_in_grace("N\n")


@pytest.mark.parametrize("text", ["", "-1", "eight", "٣"])
def test_no_number_of_threads_raises(text: str) -> None:
    with pytest.raises(ParseError):
        parse_threads(text)


def test_neither_yes_nor_no_raises() -> None:
    with pytest.raises(ParseError):
        parse_in_grace("M\n")


def test_exports_of_a_recorded_etab() -> None:
    etab = recorded("nfs-etab", KERNEL, "client-holding-posix-lock-alpha").stdout
    assert parse_exports(etab) == ("/srv/data",)


def test_the_canary_is_no_export_and_paths_are_unescaped() -> None:
    etab = "/srv/a\\040b\t10.9.0.0/24(rw)\n/srv/a\\040b\t*(ro)\n/srv/c\t169.254.253.2(rw)\n"
    assert parse_exports(etab) == ("/srv/a b",)


def test_a_broken_etab_raises() -> None:
    with pytest.raises(ParseError):
        parse_exports("/srv/data *(rw)\n")


def test_tcp_sockets() -> None:
    text = TCP_HEAD + tcp_line("0A00090A:0801", "0300090A:03C8", queues="0000002C:00000007")
    (found,) = parse_tcp(text)
    assert (found.local_address, found.local_port) == ("10.9.0.10", 2049)
    assert found.remote() == "10.9.0.3:968"
    assert (found.transmit_queue_bytes, found.receive_queue_bytes) == (44, 7)


@pytest.mark.parametrize("state", ["00", "0D", "xx"])
def test_an_unknown_tcp_state_raises(state: str) -> None:
    with pytest.raises(ParseError):
        parse_tcp(TCP_HEAD + tcp_line("0A00090A:0801", "0300090A:03C8", state))


def test_only_established_connections_of_real_clients_count() -> None:
    text = (
        TCP_HEAD
        + tcp_line("0A00090A:0801", "00000000:0000", "0A")
        + tcp_line("0A00090A:0801", "02FDFEA9:03C8")
        + tcp_line("0A00090A:0016", "0300090A:03C9")
        + tcp_line("0A00090A:0801", "0300090A:03CA", "06")
        + tcp_line("0A00090A:0801", "0300090A:03CB")
    )
    assert [s.remote() for s in client_sockets(parse_tcp(text))] == ["10.9.0.3:971"]


def test_traffic_of_one_link() -> None:
    text = (
        "Inter-|   Receive  |  Transmit\n face |bytes packets\n"
        "    lo:       1       2    0    0    0     0          0         0 3 4 0 0 0 0 0 0\n"
        "  nfs0: 1234 5 0 0 0 0 0 0 99 7 0 0 0 0 0 0\n"
    )
    traffic = parse_traffic(text)
    assert traffic is not None
    assert (traffic.received_bytes, traffic.sent_bytes) == (1234, 99)
    assert parse_traffic(text, "nfs1") is None


def test_link_flags() -> None:
    assert parse_link_up("0x1003\n")
    assert not parse_link_up("0x1002\n")
    with pytest.raises(ParseError):
        parse_link_up("up\n")


def test_start_ticks_of_a_process_with_brackets_in_its_name() -> None:
    fields = " ".join(["S"] + ["0"] * 18 + ["4711"] + ["0"] * 30)
    assert parse_start_ticks(f"17 (a) (b) {fields}\n") == 4711
    with pytest.raises(ParseError):
        parse_start_ticks("17 (a) S 1\n")


# -- looking at a host ----------------------------------------------------------------------------

PID, TICKS = 812, 4711


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A server in standby."""
    made = Tree(tmp_path)
    made.write("proc/1/mountinfo", "22 1 254:0 / / rw - ext4 /dev/vda rw\n")
    made.write("run/storage-agent/nfs/data.pid", f"{PID} {TICKS}\n")
    fields = " ".join(["S"] + ["0"] * 18 + [str(TICKS)] + ["0"] * 30)
    made.write(f"proc/{PID}/stat", f"{PID} (python3) {fields}\n")
    inside = f"proc/{PID}/root"
    made.write(f"{inside}/proc/fs/nfsd/threads", "0\n")
    made.write(f"{inside}/proc/fs/nfsd/v4_end_grace", "Y\n")
    made.folder(f"{inside}/proc/fs/nfsd/clients")
    made.write(f"{inside}/sys/class/net/nfs0/flags", "0x1002\n")
    made.write(f"{inside}/var/lib/nfs/etab", "/srv/data\t10.9.0.0/24(rw)\n")
    made.write(f"proc/{PID}/net/tcp", TCP_HEAD)
    made.write(f"proc/{PID}/net/dev", "head\nhead\n  nfs0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n")
    return made


def observe(tree: Tree) -> ServerState:
    return NfsObserver(tree.root).observe("data", "10.9.0.10/24").state


def test_standby(tree: Tree) -> None:
    view = NfsObserver(tree.root).observe("data", "10.9.0.10/24")
    assert (view.state, view.threads, view.link_up) == (ServerState.STANDBY, 0, False)
    assert (view.in_grace, view.exports, view.clients) == (None, (), ())
    assert (view.bytes_read, view.bytes_written) == (20, 10)


def test_started_and_serving(tree: Tree) -> None:
    tree.write(f"proc/{PID}/root/proc/fs/nfsd/threads", "8\n")
    assert observe(tree) is ServerState.STARTED
    tree.write(f"proc/{PID}/root/sys/class/net/nfs0/flags", "0x1003\n")
    tree.write(f"proc/{PID}/root/proc/fs/nfsd/v4_end_grace", "N\n")
    files = files_of("client-holding-posix-lock")
    for name, content in files.items():
        tree.write(f"proc/{PID}/root/proc/fs/nfsd/clients/{name}", content)
    tree.write(f"proc/{PID}/net/tcp", TCP_HEAD + tcp_line("0A00090A:0801", "0300090A:03C8"))
    view = NfsObserver(tree.root).observe("data", "10.9.0.10/24")
    assert (view.state, view.threads, view.in_grace) == (ServerState.SERVING, 8, True)
    assert (view.exports, view.connections) == (("/srv/data",), ("10.9.0.3:968",))
    assert [client.locks for client in view.clients] == [2]


def test_halted(tree: Tree) -> None:
    """Somebody in a hurry has put the link into the door's group, and down."""
    group = f"proc/{PID}/root/sys/class/net/nfs0/netdev_group"
    tree.write(group, "99\n")
    assert observe(tree) is ServerState.STANDBY
    tree.write(f"proc/{PID}/root/proc/fs/nfsd/threads", "8\n")
    assert observe(tree) is ServerState.HALTED
    tree.write(f"proc/{PID}/root/sys/class/net/nfs0/flags", "0x1003\n")
    assert observe(tree) is ServerState.HALTED
    tree.write(group, "0\n")
    assert observe(tree) is ServerState.SERVING


def test_absent(tree: Tree) -> None:
    (tree.root / "run/storage-agent/nfs/data.pid").unlink()
    assert observe(tree) is ServerState.ABSENT


def test_another_process_with_the_supervisors_pid_is_not_it(tree: Tree) -> None:
    tree.write("run/storage-agent/nfs/data.pid", f"{PID} {TICKS - 1}\n")
    assert observe(tree) is ServerState.ABSENT


def test_a_namespace_without_a_supervisor_is_unknown_not_absent(tree: Tree) -> None:
    (tree.root / "run/storage-agent/nfs/data.pid").unlink()
    line = "90 22 0:4 net:[4026532] /run/netns/storage-agent-data rw - nsfs nsfs rw\n"
    tree.write("proc/1/mountinfo", line)
    with pytest.raises(OutcomeUnknown) as caught:
        observe(tree)
    assert caught.value.code == "NFS_SERVER_LOST"


def test_a_supervisor_that_ends_while_it_is_read_is_unknown(tree: Tree) -> None:
    (tree.root / f"proc/{PID}/root/proc/fs/nfsd/threads").unlink()
    with pytest.raises(OutcomeUnknown):
        observe(tree)


def test_a_kernel_that_does_not_answer_is_not_waited_for(tree: Tree) -> None:
    threads = tree.root / f"proc/{PID}/root/proc/fs/nfsd/threads"
    threads.unlink()
    os.mkfifo(threads)
    with pytest.raises(CommandStuck, match="the state of the NFS server of data") as caught:
        NfsObserver(tree.root).observe("data", "10.9.0.10/24", timeout_s=0.1)
    assert caught.value.code == "CALL_STUCK"
    threads.write_text("0\n")  # lets the reader go


def test_a_missing_link_is_down(tree: Tree) -> None:
    (tree.root / f"proc/{PID}/root/sys/class/net/nfs0/flags").unlink()
    tree.write(f"proc/{PID}/net/dev", "head\nhead\n")
    tree.write(f"proc/{PID}/root/proc/fs/nfsd/threads", "8\n")
    view = NfsObserver(tree.root).observe("data", "10.9.0.10/24")
    assert view == dataclasses.replace(
        view, state=ServerState.STARTED, link_up=False, bytes_read=None, bytes_written=None
    )
