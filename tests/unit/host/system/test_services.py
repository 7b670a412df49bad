"""systemd units: one look at all of them, start and stop."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.host.system.services import Services, parse_systemctl_show
from storage_agent.model.errors import OperationFailed, ParseError
from storage_agent.model.snapshot import ServiceView
from tests.unit.host.recorded import Answer, ScriptedRunner, recorded

WHOLE = recorded("systemctl-show-nfs-server", "252.39", "drbd-mounted-and-exported-alpha").stdout
STOPPED = recorded("systemctl-show-nfs-server", "252.39", "server-stopped-alpha").stdout
NOT_FOUND = (
    "Id=x.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\n"
)
NFS = ServiceView(unit="nfs-server.service", active="active", sub="exited", enabled="disabled")


def test_one_unit_with_all_its_properties() -> None:
    assert parse_systemctl_show(WHOLE) == (NFS,)


def test_several_units_in_order() -> None:
    stopped = "Id=nfs-server.service\n" + STOPPED
    found = parse_systemctl_show(f"{stopped}\n{NOT_FOUND}\n{WHOLE}")
    assert [(v.unit, v.active, v.sub, v.enabled) for v in found] == [
        ("nfs-server.service", "inactive", "dead", "disabled"),
        ("x.service", "inactive", "dead", "not-found"),
        ("nfs-server.service", "active", "exited", "disabled"),
    ]


def test_no_units() -> None:
    assert parse_systemctl_show("") == ()


def test_unknown_key_changes_nothing() -> None:
    assert parse_systemctl_show("XXX=bla\n" + WHOLE + "XXX=bla\nnot a property\n") == (NFS,)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("nothing\n", id="nothing"),
        pytest.param(WHOLE + "ActiveState=inactive\n", id="twice"),
    ],
)
def test_wrong_value(text: str) -> None:
    with pytest.raises(ParseError):
        parse_systemctl_show(text)


@pytest.mark.parametrize(
    ("right", "wrong", "changed"),
    [
        ("ActiveState=active", "ActiveState=bla", {"active": "bla"}),
        ("ActiveState=active\n", "", {"active": "unknown"}),
        ("LoadState=loaded", "LoadState=bla", {"enabled": "bla"}),
        ("Id=nfs-server.service\n", "", {"unit": "unknown"}),
    ],
)
def test_an_unknown_state_is_passed_on(right: str, wrong: str, changed: dict[str, str]) -> None:
    assert right in WHOLE
    (found,) = parse_systemctl_show(WHOLE.replace(right, wrong))
    assert found == dataclasses.replace(NFS, **changed)


def test_view_asks_once_and_answers_under_the_names_it_was_given() -> None:
    runner = ScriptedRunner(systemctl=Answer(0, WHOLE + "\n" + NOT_FOUND))
    found = Services(runner).view(("nfs-kernel-server.service", "x.service"))
    assert [v.unit for v in found] == ["nfs-kernel-server.service", "x.service"]
    assert found[0].active == "active"
    (argv,) = runner.asked
    assert argv[-3:] == ("--", "nfs-kernel-server.service", "x.service")


def test_view_of_nothing_starts_no_process() -> None:
    runner = ScriptedRunner()
    assert Services(runner).view(()) == ()
    assert runner.asked == []


def test_view_with_an_answer_missing() -> None:
    with pytest.raises(ParseError):
        Services(ScriptedRunner(systemctl=Answer(0, WHOLE))).view(("a.service", "b.service"))


def test_start_and_stop() -> None:
    runner = ScriptedRunner(systemctl=Answer())
    Services(runner).start("a.service", timeout_s=5)
    Services(runner).stop("a.service", timeout_s=5)
    assert runner.asked == [
        ("systemctl", "--no-ask-password", "start", "--", "a.service"),
        ("systemctl", "--no-ask-password", "stop", "--", "a.service"),
    ]


def test_start_that_fails_says_where_to_look() -> None:
    said = "Job for a.service failed because the control process exited with error code.\n"
    with pytest.raises(OperationFailed, match=r"a\.service did not start") as caught:
        Services(ScriptedRunner(systemctl=Answer(1, "", said))).start("a.service", timeout_s=5)
    assert caught.value.code == "SERVICE_FAILED"
    assert "journalctl -u a.service" in caught.value.remedy
