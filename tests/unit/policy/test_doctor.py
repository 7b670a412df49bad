"""doctor's judgement, one fact changed at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from storage_agent.model.configuration import AgentConfig, Arbitration
from storage_agent.model.doctor import DoctorFacts, FstabLine, HostExport, StateFolder, UnitFact
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.policy.common import blocker
from storage_agent.policy.doctor.check import Check, Outcome
from storage_agent.policy.doctor.checks import next_command, run_checks
from tests.unit.cli.answers import facts, good_settings
from tests.unit.fakes import ARRAY_UUID, FILESYSTEM_UUID, agent_config, volume_config


def codes(found: DoctorFacts, config: AgentConfig | None = None) -> dict[str, Outcome]:
    checks = run_checks(found, config or agent_config(), None, None)
    return {c.finding.code: c.outcome for c in checks if c.finding}


def test_a_good_host_has_nothing_to_fix() -> None:
    checks = run_checks(facts(), agent_config(), None, None)
    assert [c.finding for c in checks if c.finding] == []
    assert next_command(checks) == "storage-agent status"
    titles = {c.title for c in checks}
    assert {"programs", "configuration", "daemon", "clock", "drbd.service"} <= titles


def unit(name: str, **changes: Any) -> UnitFact:
    base = UnitFact(name=name, load="loaded", active="active", enabled="enabled")
    return replace(base, **changes)


LOGIND = unit("systemd-logind.service", enabled="static")


def units(*found: UnitFact, logind: UnitFact = LOGIND) -> dict[str, UnitFact]:
    return {each.name: each for each in (*found, logind)}


def folder(**changes: Any) -> StateFolder:
    good = facts().state_folder
    assert isinstance(good, StateFolder)
    return replace(good, **changes)


def fstab(source: str, mount_point: str = "/mnt", options: str = "defaults") -> Any:
    line = FstabLine(
        line=3, source=source, mount_point=mount_point, options=tuple(options.split(","))
    )
    return (line,)


EXPORT = HostExport(file="/etc/exports", line=2, path="/srv/data/pub")
AUTOMOUNT = "x-systemd.automount"
CROSSING = frozenset({"rw", "crossmnt"})
FAIL, WARN = Outcome.FAIL, Outcome.WARN


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tools": facts().tools - {"mdadm"}}, {"PACKAGES_MISSING": FAIL}),
        # xfs only where a volume has it.
        ({"tools": facts().tools - {"mkfs.xfs"}}, {}),
        ({"modules": facts().modules - {"macvlan"}}, {"MODULE_MISSING": FAIL}),
        ({"modules": facts().modules - {"raid456", "xfs"}}, {}),
        ({"drbd_version": "8.3.16"}, {"DRBD_VERSION": WARN}),
        ({"drbd_version": None}, {"DRBD_VERSION": WARN}),
        ({"drbd_version": "9.1.23"}, {"REPLICA_UNSAFE": FAIL}),  # auto-promote is on by default
        ({"host": "alpha.example.org"}, {"HOST_NAME": FAIL}),
        ({"host": "node1"}, {"HOST_NAME": FAIL}),
        ({"units": units(unit("drbd.service"))}, {"DRBD_SERVICE": WARN}),
        ({"units": units(unit("drbd.service", enabled="disabled"))}, {}),
        ({"units": units(unit("drbd.service", load="not-found"))}, {}),
        ({"units": units(unit("pacemaker.service"))}, {"CLUSTER_MANAGER": WARN}),
        (
            {"units": units(unit("drbd-reactor.service", active="inactive", enabled="disabled"))},
            {},
        ),
        ({"units": Unobserved(reason="no bus")}, {"NOT_CHECKED": WARN}),
        ({"units": {}}, {"INHIBITOR_UNAVAILABLE": WARN}),
        (
            {"units": units(logind=replace(LOGIND, active="inactive"))},
            {"INHIBITOR_UNAVAILABLE": WARN},
        ),
        ({"fstab": fstab("/dev/drbd7")}, {"FSTAB_VOLUME": FAIL}),
        ({"fstab": fstab("/dev/md/data")}, {"FSTAB_VOLUME": FAIL}),
        ({"fstab": fstab(f"UUID={FILESYSTEM_UUID}")}, {"FSTAB_VOLUME": FAIL}),
        ({"fstab": fstab("/dev/sdz1", "/srv/data/")}, {"FSTAB_VOLUME": FAIL}),
        ({"fstab": fstab("/dev/drbd7", options="noauto,ro")}, {}),
        ({"fstab": fstab("/dev/md/other")}, {}),
        (
            {"fstab": fstab("/dev/drbd7", options="noauto,x-systemd.automount")},
            {"FSTAB_VOLUME": FAIL},
        ),
        ({"units": units(unit("srv-data.automount", enabled="generated"))}, {"AUTOMOUNT": FAIL}),
        ({"units": units(unit("srv-data.automount", active="inactive", enabled="generated"))}, {}),
        (
            {"units": units(unit("drbd-promote@data.service", enabled="static"))},
            {"DRBD_UNIT": FAIL},
        ),
        (
            {"units": units(unit("drbd@data.service", enabled="static"))},
            {"DRBD_UNIT": WARN},
        ),
        ({"units": units(unit("drbd-graceful-shutdown.service"))}, {"DRBD_UNIT": WARN}),
        ({"units": units(unit("drbd@other.target"))}, {}),
        ({"exports": (EXPORT,)}, {"HOST_EXPORT": WARN}),
        (
            {"exports": (EXPORT,), "units": units(unit("nfs-server.service"))},
            {"HOST_EXPORT": FAIL},
        ),
        ({"exports": (replace(EXPORT, path="/srv/database"),)}, {}),
        ({"exports": (replace(EXPORT, path="/srv"),)}, {}),
        ({"exports": (replace(EXPORT, path="/srv", options=CROSSING),)}, {"HOST_EXPORT": WARN}),
        ({"exports": (replace(EXPORT, path="/", options=CROSSING),)}, {"HOST_EXPORT": WARN}),
        ({"exports": (replace(EXPORT, path="/home", options=CROSSING),)}, {}),
        ({"mdadm_lines": ()}, {"MD_AUTO_ASSEMBLY": FAIL}),
        ({"mdadm_lines": (f"ARRAY /dev/md/data UUID={ARRAY_UUID}",)}, {"MD_AUTO_ASSEMBLY": FAIL}),
        (
            {"mdadm_lines": ("AUTO -all", f"ARRAY /dev/md/data UUID={ARRAY_UUID}")},
            {"MD_AUTO_ASSEMBLY": FAIL},
        ),
        ({"mdadm_lines": ("AUTO -all",)}, {}),
        ({"is_clock_synchronised": False}, {"CLOCK": WARN}),
        ({"state_folder": None}, {"DOCTOR_STATE_FOLDER": FAIL}),
        ({"state_folder": folder(source="/dev/drbd0")}, {"DOCTOR_STATE_FOLDER": FAIL}),
        ({"state_folder": folder(read_only=True)}, {"DOCTOR_STATE_FOLDER": FAIL}),
        ({"state_folder": folder(mode=0o777)}, {"DOCTOR_STATE_FOLDER": FAIL}),
        ({"state_folder": folder(free_bytes=1 << 20)}, {"DOCTOR_STATE_FOLDER": FAIL}),
        ({"exports": Unobserved(reason="x")}, {"NOT_CHECKED": WARN}),
        ({"mdadm_lines": Unobserved(reason="x")}, {"NOT_CHECKED": WARN}),
        ({"is_clock_synchronised": Unobserved(reason="x")}, {"NOT_CHECKED": WARN}),
        ({"state_folder": Unobserved(reason="x")}, {"NOT_CHECKED": WARN}),
        ({"replica_settings": {"data": Unobserved(reason="x")}}, {"NOT_CHECKED": WARN}),
        ({"metadata": {"data": False}}, {"METADATA_LOST": FAIL}),
        ({"metadata": {"data": True}}, {}),
        # Of no volume of this host.
        ({"metadata": {"other": False}}, {}),
    ],
)
def test_one_fact_at_a_time(changes: dict[str, Any], expected: dict[str, Outcome]) -> None:
    assert codes(facts(**changes)) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"net__protocol": "A"}, {"REPLICA_UNSAFE": FAIL}),
        ({"disk__fencing": "dont-care"}, {"REPLICA_UNSAFE": FAIL}),
        ({"net__after_sb_0pri": "discard-zero-changes"}, {"REPLICA_UNSAFE": FAIL}),
        ({"net__allow_two_primaries": "yes"}, {"REPLICA_UNSAFE": FAIL}),
        ({"net__ping_int": "10"}, {"REPLICA_TIMEOUT": WARN}),
        ({"startup__wfc_timeout": "0"}, {"REPLICA_TIMEOUT": WARN}),
        ({"startup__wfc_timeout": "soon"}, {"REPLICA_TIMEOUT": WARN}),
        ({"net__ping_int": "often"}, {"REPLICA_TIMEOUT": WARN}),
        ({"net__ping_timeout": "3s"}, {"REPLICA_TIMEOUT": WARN}),
        ({}, {}),
    ],
)
def test_drbd_options(settings: dict[str, str], expected: dict[str, Outcome]) -> None:
    found = facts(replica_settings={"data": good_settings(**settings)})
    assert codes(found) == expected


def test_fencing_is_that_of_the_volumes_arbitration() -> None:
    volume = replace(volume_config(), arbitration=Arbitration.COORDINATOR)
    assert codes(facts(), agent_config(volume)) == {"REPLICA_UNSAFE": FAIL}


def test_a_volume_that_is_not_created_yet_has_no_options_to_judge() -> None:
    volume = volume_config()
    fresh = replace(volume, array=replace(volume.array, uuid={}))
    found = facts(replica_settings={"data": Unobserved(reason="no resource data")})
    assert codes(found, agent_config(fresh)) == {}


def problem(code: str, remedy: str) -> Finding:
    return blocker(code, "it is so", measured="this", limit="that", remedy=remedy)


def test_a_host_without_configuration_is_told_to_write_one() -> None:
    found = facts(has_configuration=False, replica_settings={}, state_folder=None)
    down = problem("DAEMON_DOWN", "systemctl start …")
    checks = run_checks(found, None, problem("CONFIGURATION", "write it"), down)
    assert {c.finding.code for c in checks if c.finding} == {
        "NOT_CONFIGURED",
        "DOCTOR_STATE_FOLDER",
    }
    assert all(c.outcome is not Outcome.FAIL for c in checks)
    assert next_command(checks).startswith("editor /etc/storage-agent/agent.toml")


def test_a_wrong_configuration_is_what_comes_next() -> None:
    wrong = problem("CONFIGURATION", "correct agent.toml:3")
    checks = run_checks(facts(), None, wrong, None)
    assert next_command(checks) == "correct agent.toml:3"


def test_a_daemon_that_does_not_answer_a_configured_host_is_what_comes_next() -> None:
    down = problem("DAEMON_DOWN", "systemctl start x")
    checks = run_checks(facts(), agent_config(), None, down)
    assert [(c.title, c.finding) for c in checks if c.finding] == [("daemon", down)]
    assert next_command(checks) == "systemctl start x"


def test_a_warning_is_nothing_to_type_first() -> None:
    checks = run_checks(facts(is_clock_synchronised=False), agent_config(), None, None)
    assert [c.finding.remedy for c in checks if c.finding] == ["timedatectl set-ntp true"]
    assert next_command(checks) == "storage-agent status"


def test_packages_come_before_everything_else() -> None:
    found = facts(tools=frozenset(), modules=frozenset())
    checks = run_checks(found, None, None, None)
    assert next_command(checks).startswith("apt install drbd-utils e2fsprogs")
    assert "xfsprogs" not in next_command(checks)


def test_only_who_is_not_root_is_told_to_be_root() -> None:
    def remedy(is_root: bool) -> str:
        found = facts(is_root=is_root, fstab=Unobserved(reason="x"))
        checks: tuple[Check, ...] = run_checks(found, agent_config(), None, None)
        return next(c.finding.remedy for c in checks if c.finding)

    assert remedy(is_root=False) == "run it as root: sudo storage-agent doctor"
    assert "sudo" not in remedy(is_root=True)


@pytest.mark.parametrize(
    ("clients", "said"),
    [
        ((), "nobody is connected now: remove line"),
        (("10.9.0.100",), "do not yet: 10.9.0.100 use this host's NFS server now"),
        (tuple(f"10.9.0.{n}" for n in range(7)), "10.9.0.4 and others use"),
        (Unobserved(reason="x"), "see first who uses it, because this would cut them off"),
    ],
)
def test_an_export_that_is_in_use_is_not_ended_without_a_word(clients: Any, said: str) -> None:
    seen = facts(exports=(EXPORT,), export_clients=clients)
    (finding,) = (
        check.finding
        for check in run_checks(seen, agent_config(), None, None)
        if check.finding and check.finding.code == "HOST_EXPORT"
    )
    assert said in finding.remedy
    assert finding.remedy.endswith("then: exportfs -ra")


def test_what_is_wrong_with_the_keys_is_told_as_it_was_found() -> None:
    damaged = problem("KEY_LINE_DAMAGED", "storage-agent authorize revoke damaged-lines")
    checks = run_checks(facts(keys=(damaged,)), agent_config(), None, None)
    assert [(c.title, c.seen) for c in checks if c.finding == damaged] == [("keys", "this")]


def test_an_automount_is_ended_by_a_command() -> None:
    line = fstab("/dev/drbd0", "/srv/data", f"noauto,{AUTOMOUNT}")
    found = run_checks(facts(fstab=line), agent_config(), None, None)
    (remedy,) = [c.finding.remedy for c in found if c.finding]
    assert remedy.endswith("systemctl daemon-reload; systemctl stop srv-data.automount")


def test_what_drbd_is_not_to_know_by_another_name_is_no_matter_without_it() -> None:
    volume = replace(volume_config(), replica=None)
    config = replace(agent_config(), volumes={"data": volume})
    assert "HOST_NAME" not in codes(facts(host="alpha.example.org"), config)
