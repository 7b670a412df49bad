"""The options of a fence agent: root's alone, and naming this host's machine, no other's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.fence_options import option_problems, read_options
from storage_agent.coordinator.fencing import fence_findings
from storage_agent.coordinator.settings import FenceSettings, Settings
from storage_agent.model.errors import ConfigurationError
from tests.unit.coordinator.pair import Pair, make_coordinator, make_settings


def file(folder: Path, text: str, name: str = "options") -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("novalue", "name=value is wanted"),
        ("a b=c", "name=value is wanted"),
        ("x=\x01", "name=value is wanted"),
        ("action=on", "what is to be done"),
        ("option=reboot", "what is to be done"),
        ("missing_as_off=1", "not found would count as off"),
        ("missing-as-off=0", "not found would count as off"),
        ("network-fencing=1", "the host writes on"),
        ("network_fencing=1", "the host writes on"),
    ],
)
def test_a_line_that_is_wrong_or_takes_the_proof_away_is_named(
    line: str, said: str, tmp_path: Path
) -> None:
    path = Path(file(tmp_path, f"# one\nip=192.0.2.9\n\n{line}\n"))
    with pytest.raises(ConfigurationError, match=f":4: .*{said}"):
        read_options("fence_ipmilan", path)


@pytest.mark.parametrize(
    ("agent", "text", "names_one"),
    [
        ("fence_ipmilan", "ip=192.0.2.9\n", True),
        ("fence_ipmilan", "ipaddr=192.0.2.9\n", True),
        ("fence_ipmilan", "port_as_ip=1\nport=192.0.2.9\n", True),
        ("fence_ipmilan", "username=root\n", False),
        ("fence_apc", "ip=192.0.2.9\nplug=4\n", True),
        ("fence_apc", "ip=192.0.2.9\nport=4\n", True),
        ("fence_apc", "ip=192.0.2.9\n", False),
        ("fence_apc", "ip=192.0.2.9\nplug=\n", False),
        ("fence_xvm", "domain=alpha\n", True),
        ("fence_virsh", "", False),
    ],
)
def test_which_machine_has_to_be_said(
    agent: str, text: str, names_one: bool, tmp_path: Path
) -> None:
    path = Path(file(tmp_path, text))
    if names_one:
        assert read_options(agent, path).decode() == text
        return
    with pytest.raises(ConfigurationError, match="which machine is to be turned off"):
        read_options(agent, path)


def test_a_file_that_others_read_or_that_is_none_is_not_used(tmp_path: Path) -> None:
    path = Path(file(tmp_path, "ip=1\n"))
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="others may read"):
        read_options("fence_ipmilan", path)
    with pytest.raises(ConfigurationError, match="No such file"):
        read_options("fence_ipmilan", tmp_path / "none")
    path = Path(file(tmp_path, "ip=1\n" * 20_000))
    with pytest.raises(ConfigurationError, match="longer than"):
        read_options("fence_ipmilan", path)


def fenced(settings: Settings, agent: str, **options: str) -> Settings:
    """options: of each host, by its name; the file's path."""
    hosts = {
        name: dataclasses.replace(host, fence=FenceSettings(agent=agent, options=options[name]))
        if name in options
        else host
        for name, host in settings.hosts.items()
    }
    return dataclasses.replace(settings, hosts=hosts)


def test_two_hosts_are_not_one_machine(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    alpha = file(tmp_path, "ip=192.0.2.9\nplug=1\n", "alpha")
    beta = file(tmp_path, "plug=2\nip=192.0.2.9\n", "beta")
    assert option_problems(fenced(settings, "fence_apc", alpha=alpha, beta=beta)) == ()
    same = file(tmp_path, 'port="1"\nipaddr=192.0.2.9\n', "beta")
    (problem,) = option_problems(fenced(settings, "fence_apc", alpha=alpha, beta=same))
    assert problem.startswith(f"{same}:1: error: it names the machine that alpha's options name")


def test_the_others_name_is_not_ours(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    alpha = file(tmp_path, "ip=192.0.2.9\nplug=beta\n", "alpha")
    (problem,) = option_problems(fenced(settings, "fence_virsh", alpha=alpha))
    assert "it names 'beta', which is another host: beta" in problem
    right = file(tmp_path, "ip=192.0.2.9\nplug=alpha\n", "alpha")
    assert option_problems(fenced(settings, "fence_virsh", alpha=right)) == ()
    bad = file(tmp_path, "plug\n", "alpha")
    (problem,) = option_problems(fenced(settings, "fence_virsh", alpha=bad))
    assert problem == f"{bad}:1: error: name=value is wanted"


@pytest.mark.parametrize(
    ("ended", "seen"),
    [
        (Ended(exit_status=0, out="Status: ON\n"), ""),
        (Ended(exit_status=2, out="Status: OFF\n"), "exit 2: Status: OFF"),
        (Ended(exit_status=2), "not understood: exit 2: it wrote nothing"),
    ],
)
def test_the_agent_of_a_host_that_answers_says_on(ended: Ended, seen: str, tmp_path: Path) -> None:
    pair = Pair(folder=tmp_path)
    coordinator = make_coordinator(pair)
    settings = fenced(coordinator.settings, "fence_ipmilan", alpha=file(tmp_path, "ip=1\n"))
    view = coordinator.look(settings.volume("data"))
    found = fence_findings(settings, view, lambda _argv, _stdin, _timeout_s: ended)
    assert [finding.measured for finding in found] == ([seen] if seen else [])
    pair.kill("alpha")
    view = coordinator.look(settings.volume("data"))
    assert fence_findings(settings, view, lambda _argv, _stdin, _timeout_s: ended) == []


def test_options_that_cannot_be_read_are_a_finding(tmp_path: Path) -> None:
    pair = Pair(folder=tmp_path)
    coordinator = make_coordinator(pair)
    settings = fenced(coordinator.settings, "fence_ipmilan", alpha=str(tmp_path / "none"))
    view = coordinator.look(settings.volume("data"))
    (finding,) = fence_findings(settings, view, lambda *_: Ended(exit_status=0))
    assert (finding.code, "No such file" in finding.measured) == ("FENCE_UNPROVEN", True)
