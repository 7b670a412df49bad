"""DRBD's options as recorded, and the handlers that drbdadm would run, on a folder for /."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage_agent.host.drbd import Drbd, render_resource
from storage_agent.host.drbd.dump import parse_replica_settings
from storage_agent.host.drbd.guards import DUMP_LIFE_S, GuardReader, parse_show
from storage_agent.model.configuration import Arbitration
from storage_agent.model.errors import AgentError, ParseError
from storage_agent.model.guards import FENCE_PEER, FENCING, HANDLER, SAFETY, TIMEOUTS, Guards
from tests.unit.fakes import agent_config, volume_config
from tests.unit.host.drbd_recorded import recorded
from tests.unit.host.recorded import Answer, AnsweringRunner, Argv

SHOWN = "drbdsetup-show-defaults"
DUMP = """<resource name="data" conf-file-line="/etc/drbd.d/storage-agent-data.res:2">
    <section name="handlers">
        <option name="fence-peer" value="{handler}"/>
        <option name="split-brain" value="/usr/lib/storage-agent/split-brain"/>
    </section>
</resource>"""


def shown(version: str, name: str, slug: str = SHOWN) -> Guards:
    guards = parse_show(recorded(slug, version, name).stdout, "r0")
    assert guards is not None
    return guards


@pytest.mark.parametrize("version", ["8.4.11", "9.1.23"])
def test_what_the_kernel_has(version: str) -> None:
    fencing = shown(version, "fencing-configured-alpha")
    assert fencing.fencing() == "resource-and-stonith"
    assert (fencing.minor, fencing.disk) == (0, "/dev/mapper/lower0")
    assert (fencing.local, fencing.remote) == ("10.9.0.1:7789", "10.9.0.2:7789")
    plain = shown(version, "uptodate-primary-secondary-beta")
    assert plain.fencing() == "dont-care"
    assert plain.local == "10.9.0.2:7789"
    wanted = {
        "net.protocol": "C",
        "net.allow-two-primaries": "no",
        "net.after-sb-0pri": "disconnect",
        "net.rr-conflict": "disconnect",
        "net.ping-int": "4",
        "net.ping-timeout": "20",
        "net.ko-count": "7",
        "disk.on-io-error": "detach",
    }
    assert plain.different(wanted) == ()
    assert plain.different({"net.ping-int": "3"}) == (("net.ping-int", "4", "3"),)
    assert plain.options.get("options.auto-promote") == ("yes" if version[0] == "9" else None)


def test_a_volume_of_ours_as_it_serves() -> None:
    text = recorded("drbdsetup-show-show-defaults", "8.4.11", "serving-alpha").stdout
    guards = parse_show(text, "data")
    assert guards is not None
    assert guards.different({**SAFETY, **TIMEOUTS, "disk.fencing": FENCING[Arbitration.NONE]}) == ()
    assert (guards.local, guards.remote) == ("10.8.0.1:7789", "10.8.0.2:7789")
    dump = recorded("drbdadm-dump-xml", "8.4.11", "serving-alpha").stdout
    assert parse_replica_settings(dump)["data"]["handlers.fence-peer"] == FENCE_PEER


def test_what_the_kernel_does_not_have_is_not_made_up() -> None:
    assert parse_show(recorded(SHOWN, "8.4.11", "no-config-alpha").stdout, "r0") is None
    assert parse_show(recorded(SHOWN, "8.4.11", "fencing-configured-alpha").stdout, "r1") is None
    alone = shown("8.4.11", "disconnected-by-admin-alpha", "drbdsetup-show")
    assert (alone.local, alone.remote) == ("", "")
    assert not any(name.startswith("net.") for name in alone.options)
    diskless = shown("8.4.11", "primary-diskless-alpha", "drbdsetup-show")
    assert (diskless.fencing(), diskless.disk) == ("", "")
    # 9 keeps the connection.
    assert shown("9.1.23", "disconnected-by-admin-alpha", "drbdsetup-show").local


@pytest.mark.parametrize("line", ["garbage", "net {\n ping-int 3", "volume 0 {\n device none;"])
def test_what_is_not_understood_is_not_passed_over(line: str) -> None:
    with pytest.raises(ParseError):
        parse_show(f"resource data {{\n{line}\n", "data")


class Kernel(AnsweringRunner):
    """drbdsetup and drbdadm. handler: in drbdadm's files; None: they cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.handler: str | None = FENCE_PEER
        self.shown = recorded(SHOWN, "8.4.11", "fencing-configured-alpha").stdout
        self.status, self.stderr = 0, ""

    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        if argv[:2] == ("drbdadm", "dump-xml"):
            if self.handler is None:
                return Answer(10, "", "drbd.d/other.res:3: Parse error\n")
            return Answer(0, DUMP.format(handler=self.handler), "")
        assert argv == ("drbdsetup", "show", "--show-defaults", "data")
        text = self.shown.replace("resource r0", "resource data")
        return Answer(self.status, text, self.stderr)


class Bench:
    """A host below a folder, with what our package installs."""

    def __init__(self, root: Path) -> None:
        self.root, self.kernel = root, Kernel()
        self.volume = volume_config()
        self.config = agent_config(self.volume)
        for path, text in (
            ("sys/module/drbd/version", "8.4.11\n"),
            ("sys/module/drbd/parameters/usermode_helper", "/sbin/drbdadm\n"),
            ("etc/drbd.conf", 'include "drbd.d/*.res";\n'),
            (FENCE_PEER.lstrip("/"), "#!/bin/sh\n"),
        ):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        self.program = root / FENCE_PEER.lstrip("/")
        self.program.chmod(0o755)
        self.file = root / "etc/drbd.d/storage-agent-data.res"
        self.file.parent.mkdir()
        self.file.write_text(render_resource(self.config, self.volume, driver_version_9=False))
        self.reader = GuardReader(Drbd(self.kernel, root))

    def read(self) -> Guards | None:
        return self.reader.read(self.config, self.volume, timeout_s=5)

    def seen(self) -> Guards:
        guards = self.read()
        assert guards is not None
        return guards

    def dumps(self) -> int:
        return sum(1 for argv in self.kernel.asked if argv[0] == "drbdadm")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_all_of_it(bench: Bench) -> None:
    guards = bench.seen()
    assert guards.fence_peer == HANDLER[Arbitration.NONE]
    assert guards.split_brain == "/usr/lib/storage-agent/split-brain"
    assert (guards.helper, guards.problem) == ("/sbin/drbdadm", "")
    assert guards.is_file_current
    # The recorded pair has other addresses than the configured one.
    assert not guards.is_link_current
    bench.kernel.shown = bench.kernel.shown.replace("10.9.0.", "10.8.0.")
    assert bench.seen().is_link_current


def test_no_driver_or_no_resource_is_none(bench: Bench) -> None:
    bench.kernel.status, bench.kernel.shown = 10, ""
    assert bench.read() is None
    bench.kernel.status = 20
    bench.kernel.stderr = "received netlink error reply: No such device\n"
    assert bench.read() is None
    bench.kernel.stderr = "received netlink error reply: Permission denied\n"
    with pytest.raises(AgentError):
        bench.read()
    bench.kernel.status = 0
    bench.kernel.shown = recorded(SHOWN, "8.4.11", "no-config-alpha").stdout
    assert bench.read() is None
    (bench.root / "sys/module/drbd/version").unlink()
    assert bench.read() is None


def test_the_files_are_asked_again_when_they_have_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.seen()
    assert (bench.seen().fence_peer, bench.dumps()) == (FENCE_PEER, 1)
    bench.kernel.handler = f"{FENCE_PEER} coordinator"
    bench.file.write_text("# changed\n")
    assert (bench.seen().fence_peer, bench.dumps()) == (f"{FENCE_PEER} coordinator", 2)
    assert not bench.seen().is_file_current
    bench.kernel.handler = FENCE_PEER
    later = DUMP_LIFE_S + 1
    monkeypatch.setattr("storage_agent.host.drbd.guards.DUMP_LIFE_S", -later)
    assert (bench.seen().fence_peer, bench.dumps()) == (FENCE_PEER, 3)


def test_files_that_drbdadm_cannot_read_leave_nobody_to_ask(bench: Bench) -> None:
    bench.kernel.handler = None
    guards = bench.seen()
    assert (guards.fence_peer, guards.problem) == ("", "drbdadm: drbd.d/other.res:3: Parse error")


def test_a_handler_that_would_not_run_is_none(bench: Bench) -> None:
    bench.program.chmod(0o644)
    assert bench.seen().problem == f"{FENCE_PEER} is not an executable file"
    bench.program.unlink()
    assert bench.seen().problem == f"{FENCE_PEER}: {os.strerror(2)}"
    bench.kernel.handler = ""
    bench.file.write_text("# changed\n")
    assert bench.seen().problem == "no fence-peer handler in its files"


def test_whom_the_kernel_calls(bench: Bench) -> None:
    (bench.root / "sys/module/drbd/parameters/usermode_helper").write_text("/bin/true\n")
    assert bench.seen().helper == "/bin/true"
    (bench.root / "sys/module/drbd/parameters/usermode_helper").unlink()
    assert bench.seen().helper == ""


def test_a_dump_that_is_none_is_no_handler(bench: Bench) -> None:
    bench.kernel.handler = '"/><'
    assert "not XML" in bench.seen().problem
