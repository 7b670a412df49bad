"""The Drbd adapter on recorded outputs and a folder for /."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.host.drbd import Drbd
from storage_agent.host.drbd import adapter as adapter_module
from storage_agent.host.drbd.commands import option_changes
from storage_agent.host.drbd.definitions import try_argv
from storage_agent.model.errors import AgentError, CommandFailed, Missing, OperationFailed, Refused
from storage_agent.model.replica import DiskState
from tests.unit.host.drbd_recorded import Recorded, in_words, recorded
from tests.unit.host.recorded import Answer, AnsweringRunner, Argv

NOW: Argv = ("drbdsetup", "events2", "--now", "--statistics", "r0")
JSON: Argv = ("drbdsetup", "status", "--json", "r0")
GI: Argv = ("drbdadm", "get-gi", "r0")


class Script(AnsweringRunner):
    """Answers as recorded; any other command ends the test."""

    def __init__(self, answers: dict[Argv, Recorded]) -> None:
        super().__init__()
        self.answers = answers

    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        seen = self.answers[argv]
        assert seen.exit_status is not None
        return Answer(seen.exit_status, seen.stdout, seen.stderr)


SILENT = Recorded("silent", (), 0, "", "")


def host(root: Path, version: str | None, answers: dict[Argv, Recorded]) -> tuple[Drbd, Script]:
    if version is not None:
        (root / "sys/module/drbd").mkdir(parents=True)
        (root / "sys/module/drbd/version").write_text(f"{version}\n")
    (root / "etc/drbd.d").mkdir(parents=True)
    (root / "etc/drbd.conf").write_text('include "drbd.d/*.res";\n')
    script = Script(answers)
    return Drbd(script, root), script


def test_driver_version(tmp_path: Path) -> None:
    drbd, _ = host(tmp_path, None, {})
    assert drbd.driver_version() is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/drbd").write_text("version: 8.4.11 (api:1/proto:86-101)\n")
    assert drbd.driver_version() == "8.4.11"


def test_without_the_module_nothing_is_configured_and_nothing_is_started(tmp_path: Path) -> None:
    drbd, script = host(tmp_path, None, {})
    assert drbd.observe("r0", 0, timeout_s=5) is None
    assert script.asked == []
    # `drbdsetup secondary` would exit 0 here.
    for change in (drbd.primary, drbd.secondary):
        with pytest.raises(Missing, match="not loaded"):
            change("r0", 0, timeout_s=5)


def test_observe_8_4_is_one_process(tmp_path: Path) -> None:
    seen = recorded("drbdsetup-events2-now", "8.4.11", "uptodate-primary-secondary-beta")
    drbd, script = host(tmp_path, "8.4.11", {NOW: seen})
    assert in_words(drbd.observe("r0", 0, timeout_s=5)) == (
        "Secondary UpToDate 131032 | Connected Primary UpToDate Established 0"
    )
    assert script.asked == [NOW]


def test_observe_9_is_one_process(tmp_path: Path) -> None:
    seen = recorded("drbdsetup-status-json", "9.1.23", "uptodate-secondary-secondary-beta")
    drbd, script = host(tmp_path, "9.1.23", {JSON: seen})
    assert in_words(drbd.observe("r0", 0, timeout_s=5)) == (
        "Secondary UpToDate 131032 | Connected Secondary UpToDate Established 0"
    )
    assert script.asked == [JSON]


def test_observe_9_of_a_resource_that_the_kernel_does_not_have(tmp_path: Path) -> None:
    none = Recorded("", JSON, 10, "[\n]\n\n", "r0: No such resource\n")
    drbd, _ = host(tmp_path, "9.1.23", {JSON: none})
    assert drbd.observe("r0", 0, timeout_s=5) is None


def test_observe_with_generation_asks_the_kernel(tmp_path: Path) -> None:
    now = recorded("drbdsetup-events2-now", "8.4.11", "uptodate-primary-secondary-beta")
    gi = recorded("drbdadm-get-gi", "8.4.11", "uptodate-primary-secondary-beta")
    by_minor: Argv = ("drbdsetup", "get-gi", "0")
    drbd, script = host(tmp_path, "8.4.11", {NOW: now, by_minor: gi})
    # The kernel's minor counts, not the configured one.
    replica = drbd.observe("r0", 7, timeout_s=5, with_generation=True)
    assert replica is not None
    assert replica.generation is not None
    assert replica.generation.current == "FA06B937697BFC5E"
    assert script.asked == [NOW, by_minor]


def test_a_diskless_replica_has_no_generation(tmp_path: Path) -> None:
    now = recorded("drbdsetup-events2-now", "8.4.11", "secondary-diskless-beta")
    drbd, script = host(tmp_path, "8.4.11", {NOW: now})
    replica = drbd.observe("r0", 0, timeout_s=5, with_generation=True)
    assert replica is not None
    assert (replica.disk, replica.generation) == (DiskState.DISKLESS, None)
    assert script.asked == [NOW]


def test_metadata(tmp_path: Path) -> None:
    there = recorded("drbdadm-get-gi", "8.4.11", "uptodate-primary-secondary-alpha")
    absent = recorded("drbdadm-get-gi", "8.4.11", "unconfigured-alpha")
    assert (absent.exit_status, absent.stdout, absent.stderr) == (1, "", "")
    drbd, script = host(tmp_path, "8.4.11", {GI: there})
    assert drbd.has_metadata("r0", timeout_s=5)
    script.answers = {GI: absent}
    assert not drbd.has_metadata("r0", timeout_s=5)
    script.answers = {GI: recorded("drbdadm-get-gi", "8.4.11", "no-config-alpha")}
    with pytest.raises(AgentError) as raised:
        drbd.has_metadata("r0", timeout_s=5)
    assert raised.value.code == "DRBD_NO_RESOURCE_FILE"


def test_roles_take_a_minor_on_8_4_and_a_name_on_9(tmp_path: Path) -> None:
    for version, name in (("8.4.11", "3"), ("9.1.23", "r0")):
        both: dict[Argv, Recorded] = {
            ("drbdsetup", verb, name): SILENT for verb in ("primary", "secondary")
        }
        drbd, script = host(tmp_path / version, version, both)
        drbd.primary("r0", 3, timeout_s=5)
        drbd.secondary("r0", 3, timeout_s=5)
        assert script.asked == list(both)


def test_a_refusal_is_named(tmp_path: Path) -> None:
    held = recorded("refused-drbdsetup", "8.4.11", "secondary-while-held-open-alpha")
    drbd, _ = host(tmp_path, "8.4.11", {("drbdsetup", "secondary", "0"): held})
    with pytest.raises(AgentError) as raised:
        drbd.secondary("r0", 0, timeout_s=5)
    assert raised.value.code == "DRBD_HELD_OPEN"
    assert raised.value.message == "cannot demote r0: its device is held open (-12)"
    assert isinstance(raised.value.__cause__, CommandFailed)


# drbd-utils 9.22, on a host whose network was not up yet.
NO_ADDRESS = Recorded(
    "no-address",
    ("drbdadm", "adjust", "r0"),
    10,
    "",
    "drbd.d/r0.res:46: in resource r0, on beta:\n\tIP 10.8.0.2 not found on this host.\n",
)


class Late(AnsweringRunner):
    """The address comes after so many tries."""

    def __init__(self, tries: int) -> None:
        super().__init__()
        self.tries = tries

    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        self.tries -= 1
        seen = NO_ADDRESS if self.tries > 0 else SILENT
        return Answer(seen.exit_status or 0, seen.stdout, seen.stderr)


def test_the_network_may_come_up_after_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_module, "ADDRESS_POLL_S", 0.001)
    runner = Late(3)
    Drbd(runner, tmp_path).up("r0", timeout_s=60)
    assert runner.asked == [("drbdadm", "adjust", "r0")] * 3
    monkeypatch.setattr(adapter_module, "ADDRESS_WAIT_S", 0.01)
    with pytest.raises(Missing, match="does not have the address") as raised:
        Drbd(Late(100_000), tmp_path).up("r0", timeout_s=60)
    assert raised.value.code == "DRBD_NO_ADDRESS"
    assert "storage-agent assemble r0" in raised.value.remedy


class Lost(AnsweringRunner):
    """Its disk has lost the metadata; connect: what that is answered with."""

    def __init__(self, adjust: Answer, connect: Answer) -> None:
        super().__init__()
        self.answers = {"adjust": adjust, "connect": connect}

    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        return self.answers[argv[1]]


def test_up_without_a_disk_connects_all_the_same(tmp_path: Path) -> None:
    told = recorded("refused-drbdadm", "8.4.11", "no-metadata-up-alpha")
    no_metadata = Answer(told.exit_status or 0, told.stdout, told.stderr)
    taken = Answer(10, "", "data: Failure: (102) Local address(port) already in use.\n")
    for connect in (Answer(), taken):
        runner = Lost(no_metadata, connect)
        Drbd(runner, tmp_path).up_diskless("r0", timeout_s=60)
        assert runner.asked == [("drbdadm", "adjust", "r0"), ("drbdadm", "connect", "r0")]
    with pytest.raises(Missing):
        Drbd(Lost(Answer(10, "", "Failure: (104) x"), Answer()), tmp_path).up_diskless(
            "r0", timeout_s=60
        )


def test_only_first_primary_is_forced(tmp_path: Path) -> None:
    every: dict[Argv, Recorded] = {
        ("drbdadm", "adjust", "r0"): SILENT,
        ("drbdsetup", "down", "r0"): SILENT,
        ("drbdadm", "connect", "r0"): SILENT,
        ("drbdadm", "disconnect", "r0"): SILENT,
        ("drbdadm", "create-md", "r0"): SILENT,
        ("drbdadm", "primary", "--force", "r0"): SILENT,
    }
    drbd, script = host(tmp_path, "8.4.11", every)
    drbd.up("r0", timeout_s=5)
    drbd.down("r0", timeout_s=5)
    drbd.connect("r0", timeout_s=5)
    drbd.disconnect("r0", timeout_s=5)
    drbd.create_metadata("r0", timeout_s=5)
    drbd.first_primary("r0", timeout_s=5)
    assert script.asked == list(every)


def test_the_module_is_loaded_once(tmp_path: Path) -> None:
    by_systemd = ("systemctl", "start", "modprobe@drbd.service")
    drbd, script = host(tmp_path, None, {by_systemd: SILENT})
    with pytest.raises(Missing, match="cannot be loaded") as caught:
        drbd.load_module(timeout_s=5)
    assert (caught.value.code, script.asked) == ("DRBD_MODULE", [by_systemd])
    drbd, script = host(tmp_path / "loaded", "8.4.11", {})
    drbd.load_module(timeout_s=5)
    assert script.asked == []


def trial(root: Path) -> Argv:
    return try_argv(str(root / "etc/drbd.d/.storage-agent-home.res.conf-trial"))


def test_a_resource_file_that_contradicts_another_is_not_left(tmp_path: Path) -> None:
    said = recorded("drbdadm-config-file", "8.4.11", "minor-taken-alpha")
    drbd, _ = host(tmp_path, "8.4.11", {trial(tmp_path): said})
    with pytest.raises(Refused, match="conflicting use of device-minor") as caught:
        drbd.write_resource_file("home", "resource home { }\n")
    assert caught.value.code == "DRBD_CONFIGURATION"
    assert list((tmp_path / "etc/drbd.d").iterdir()) == []
    silent = Recorded("silent", (), 20, "", "")
    drbd, _ = host(tmp_path / "silent", "8.4.11", {trial(tmp_path / "silent"): silent})
    with pytest.raises(Refused, match="exit status 20"):
        drbd.write_resource_file("home", "resource home { }\n")


def test_the_resource_file_is_replaced_whole(tmp_path: Path) -> None:
    drbd, _ = host(tmp_path, "8.4.11", {trial(tmp_path): SILENT})
    assert drbd.resource_file_text("home") is None
    for text in ("resource home { }\n", "resource home { one two }\n"):
        drbd.write_resource_file("home", text)
        assert drbd.resource_file_text("home") == text
    folder = tmp_path / "etc/drbd.d"
    assert [path.name for path in folder.iterdir()] == ["storage-agent-home.res"]
    assert (folder / "storage-agent-home.res").stat().st_mode & 0o777 == 0o644


def test_a_resource_file_that_cannot_be_written(tmp_path: Path) -> None:
    drbd = Drbd(Script({}), tmp_path)
    with pytest.raises(OperationFailed, match=r"storage-agent-home\.res"):
        drbd.write_resource_file("home", "resource home { }\n")


DISK = "drbdsetup-84 disk-options 0 --set-defaults --fencing=resource-and-stonith"
NET = "drbdsetup-84 net-options ipv4:10.8.0.1:7789 ipv4:10.8.0.2:7789 --set-defaults --ping-int=3"


@pytest.mark.parametrize(
    ("has_connection", "dry", "verbs"),
    [
        (True, f"{DISK}\n{NET}\n", ["disk-options", "net-options"]),
        (False, f"{DISK}\n{NET}\n", ["disk-options"]),
        (True, "", []),
        # What would interrupt is left alone.
        (
            True,
            f"drbdsetup-84 disconnect ipv4:1 ipv4:2\ndrbdsetup-84 detach 0\n{DISK}\n"
            "drbdmeta 0 v08 /dev/md/data internal apply-al\ndrbdsetup-84 attach 0 /dev/md/data\n"
            "drbdsetup-84 connect data ipv4:1 ipv4:2\n",
            ["disk-options"],
        ),
    ],
)
def test_of_what_adjust_would_do_only_options_are_changed(
    tmp_path: Path, has_connection: bool, dry: str, verbs: list[str]
) -> None:
    lines = [("drbdsetup", *line.split()[1:]) for line in (DISK, NET)]
    shown = Recorded("dry", (), 0, dry, "")
    asked: Argv = ("drbdadm", "-d", "adjust", "r0")
    drbd, script = host(tmp_path, "8.4.11", {asked: shown, **dict.fromkeys(lines, SILENT)})
    drbd.take_options("r0", has_connection=has_connection, timeout_s=5)
    assert [argv[1] for argv in script.asked[1:]] == verbs


def test_what_adjust_would_do_as_recorded() -> None:
    for version in ("8.4.11", "9.1.23"):
        dry = recorded("drbdadm-adjust-dry", version, "syncing-2-alpha").stdout
        for argv in option_changes(dry):
            assert argv[1] in ("disk-options", "peer-device-options")
    dry = recorded("drbdadm-adjust-dry", "9.1.23", "fencing-configured-alpha").stdout
    assert not {"attach", "connect", "new-peer"} & {argv[1] for argv in option_changes(dry)}
