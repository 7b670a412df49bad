"""A storage host for one test run: the installed gateway under a real sshd on loopback, with a
daemon around a host in memory, in a mount namespace of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROLES = ("observe", "operate", "grant")
USER = "storage-agent"
DEADLINE_S = 20.0


def frame(method: str, request_id: Any = 1, **parameters: Any) -> bytes:
    document = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": parameters}
    return json.dumps(document).encode() + b"\n"


def code_of(answer: Any) -> str:
    """Of the error, or `ok`."""
    return str(answer["error"]["data"]["code"]) if "error" in answer else "ok"


def wait_for(is_so: Callable[[], Any], what: str) -> Any:
    until_s = time.monotonic() + DEADLINE_S
    while not (found := is_so()):
        assert time.monotonic() < until_s, f"did not happen in {DEADLINE_S:g} s: {what}"
        time.sleep(0.02)
    return found


class Session:
    """One ssh session, many requests. Its answers are read in a thread."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.lines: list[Any] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def send(self, content: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def ask(self, method: str, request_id: Any = 1, **parameters: Any) -> Any:
        """The answer; notifications stay in `lines`."""
        seen = len(self.lines)
        self.send(frame(method, request_id, **parameters))
        return wait_for(
            lambda: next((x for x in self.lines[seen:] if x.get("id") == request_id), None), method
        )

    def end(self) -> int:
        """Closes our side and waits for the other."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return status

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)


class StorageHost:
    """Started with `with`; every process it starts is ended, by its id. sshd_options: more of
    them, `Name=value`.  daemon: the module to run as the daemon."""

    def __init__(self, *sshd_options: str, daemon: str = "tests.gateway.daemon") -> None:
        self._sshd_options = sshd_options
        self._daemon_module = daemon
        self.folder = Path(tempfile.mkdtemp(prefix="storage-agent-test-"))
        self.port = _free_port()
        self.fingerprints: dict[str, str] = {}
        self._ended = contextlib.ExitStack()
        self._syslog: list[str] = []

    def __enter__(self) -> StorageHost:
        self._ended.callback(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self._install()
            self._collect_syslog()
            self.start_daemon()
            self._start_sshd()
            for role in ROLES:
                self._authorize(role)
        except BaseException as exc:
            for log in self.folder.glob("*.log"):
                exc.add_note(f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}")
            self._ended.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.close()

    # -- what is in the host ----------------------------------------------------------------------

    def inside(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command in the host's namespace."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL, **options}
        return subprocess.run(
            (*self._enter, *argv), capture_output=True, text=True, timeout=60, check=False, **given
        )

    @contextlib.contextmanager
    def started(self, *argv: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process in the host's namespace, ended in the end."""
        process = subprocess.Popen(
            (*self._enter, *argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=60)

    def file(self, path: str) -> Path:
        """The same file, seen from outside of the namespace."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """storage-agent, as root on the host."""
        python = ("/usr/bin/python3", "-I", "-m", "storage_agent.cli.main")
        return self.inside(*python, *arguments)

    def gateway_argv(self, *arguments: str) -> list[str]:
        """The gateway without sshd, as the user that sshd would start it as."""
        user = ("setpriv", "--reuid", USER, "--regid", USER, "--clear-groups")
        return [*self._enter, *user, "/usr/lib/storage-agent/gateway", *arguments]

    def local(self, *requests: bytes) -> list[Any]:
        """Answers that local root gets over the daemon's socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_S)
            connection.connect(os.fspath(self.file("/run/storage-agent/agent.sock")))
            connection.sendall(b"".join(requests))
            connection.shutdown(socket.SHUT_WR)
            return [json.loads(line) for line in connection.makefile("rb")]

    def daemon_log(self) -> list[dict[str, Any]]:
        lines = (self.folder / "daemon.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def syslog(self) -> list[str]:
        return list(self._syslog)

    def sshd_log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    def connections(self) -> int:
        """Open ones of the gateway, by the daemon's descriptors."""
        sockets = 0
        for link in Path(f"/proc/{self.daemon.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed while we look
                sockets += os.readlink(link).startswith("socket:")
        return sockets - 1

    def gateways(self) -> list[int]:
        """Processes of the user, in this host's namespace: others may run on the machine."""
        uid = int(self.inside("id", "-u", USER).stdout)
        mine = os.readlink(f"/proc/{self._holder.pid}/ns/mnt")
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (
                    path.stat().st_uid == uid
                    and os.readlink(path / "ns/mnt") == mine
                    and b"gateway" in (path / "cmdline").read_bytes()
                ):
                    found.append(int(path.name))
        return found

    def add_shell_user(self, name: str) -> None:
        """With an ordinary shell; the key that may also `operate` logs it in."""
        home = f"/run/{name}"
        made = self.inside("useradd", "-r", "-m", "-d", home, "-s", "/bin/sh", name)
        assert made.returncode == 0, made.stderr
        key = self.key("operate").with_suffix(".pub").read_text()
        keys = 'mkdir -p "$1/.ssh" && printf %s "$2" >"$1/.ssh/authorized_keys"'
        written = self.inside("sh", "-c", keys, "sh", home, key)
        assert written.returncode == 0, written.stderr

    # -- the coordinator's side -------------------------------------------------------------------

    def ssh(self, role: str, *options: str, command: str | None = None) -> list[str]:
        """argv of ssh with the key of that role."""
        return [
            "ssh",
            *("-F", os.fspath(self.folder / "ssh_config"), "-i", os.fspath(self.key(role))),
            *options,
            "storage-host",
            *([] if command is None else ["--", command]),
        ]

    def key(self, role: str) -> Path:
        return self.folder / f"key-{role}"

    def key_id(self, role: str) -> str:
        return self.fingerprints[role]

    def next_epoch(self) -> dict[str, Any]:
        """What a coordinator's request carries that is to be taken now."""
        (status,) = self.local(frame("status"))
        known = status["result"]
        epoch, coordinator = known["epochs"]["data"] + 1, known["coordinators"]["data"]
        return {"epoch": epoch, "coordinator": coordinator}

    def session(self, role: str = "operate", *options: str) -> Session:
        return Session(self.ssh(role, "-T", *options))

    def exchange(
        self, content: bytes, role: str = "operate", *options: str, **more: Any
    ) -> tuple[list[Any], int]:
        """Sends all at once and closes: the answers and ssh's exit status."""
        ended = subprocess.run(
            self.ssh(role, "-T", *options, **more),
            input=content,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return [json.loads(line) for line in ended.stdout.splitlines()], ended.returncode

    # -- making it --------------------------------------------------------------------------------

    def _start(self, argv: Sequence[str], log: str, **options: Any) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stderr=file, start_new_session=True, **options
            )
        self._ended.callback(_end, process)
        return process

    def _install(self) -> None:
        work = self.folder / "host"
        work.mkdir()
        install = os.fspath(ROOT / "tests/gateway/install.sh")
        argv = ("unshare", "--mount", "--propagation", "private", install, str(ROOT), str(work))
        # The installed Python is Debian's, whatever this machine has first.
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        self._holder = self._start(argv, "install.log", stdout=subprocess.PIPE, env=path)
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline()
        assert said == b"installed\n", (self.folder / "install.log").read_text()
        self._enter = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt")

    def _collect_syslog(self) -> None:
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = self.file("/dev/log")
        log.bind(os.fspath(path))
        path.chmod(0o666)

        def collect() -> None:
            while content := log.recv(1 << 16):
                self._syslog.append(content.decode(errors="backslashreplace"))

        threading.Thread(target=collect, daemon=True).start()

    def start_daemon(self) -> None:
        self.daemon = self._start(
            (*self._enter, sys.executable, "-m", self._daemon_module),
            "daemon.log",
            # Not cwd: entering the namespace leaves it.
            env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
        )
        wait_for(self._is_serving, "the daemon serves")

    def _is_serving(self) -> bool:
        with contextlib.suppress(OSError):
            return code_of(self.local(frame("ping"))[0]) == "ok"
        return False

    def stop_daemon(self) -> None:
        _end(self.daemon)

    def _start_sshd(self) -> None:
        host_key = self.folder / "host_key"
        keygen(host_key)
        self._sshd_argv_options = (
            f"ListenAddress=127.0.0.1:{self.port}",
            "PidFile=none",
            f"HostKey={host_key}",
            *self._sshd_options,
        )
        public = host_key.with_suffix(".pub").read_text().split()
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
        (self.folder / "ssh_config").write_text(
            "Host storage-host\n    HostName 127.0.0.1\n"
            f"    Port {self.port}\n    User {USER}\n    UserKnownHostsFile {known}\n"
            "    StrictHostKeyChecking yes\n    BatchMode yes\n    IdentitiesOnly yes\n"
            "    IdentityAgent none\n    LogLevel ERROR\n"
        )
        self._run_sshd()

    def _run_sshd(self) -> None:
        argv = (*self._enter, "/usr/sbin/sshd", "-D", "-e")
        options = (part for option in self._sshd_argv_options for part in ("-o", option))
        self.sshd = self._start((*argv, *options), "sshd.log")
        wait_for(lambda: "Server listening" in self.sshd_log(), "sshd listens")

    def harden(self, path: str, lines: str) -> None:
        """A file of sshd's, which is started again with it."""
        written = self.inside("sh", "-c", 'printf %s "$1" > "$2"', "sh", lines, path)
        assert written.returncode == 0, written.stderr
        self.restart_sshd()

    def restart_sshd(self) -> None:
        _end(self.sshd)
        (self.folder / "sshd.log").write_text("")
        self._run_sshd()

    def _authorize(self, role: str) -> None:
        keygen(self.key(role))
        public = os.fspath(self.key(role).with_suffix(".pub"))
        ended = self.command("authorize", "--json", "--role", role, "--from", "127.0.0.1", public)
        assert ended.returncode == 0, ended.stderr
        self.fingerprints[role] = json.loads(ended.stdout)["data"]["key_id"]


def keygen(path: Path) -> None:
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", os.fspath(path))
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
