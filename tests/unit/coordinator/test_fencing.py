"""Off counts only when the fence agent's status says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.coordinator.commands import SHOWN_LIMIT, Ended, RunCommand
from storage_agent.coordinator.fencing import read_options, require_off
from storage_agent.coordinator.settings import FenceSettings, HostSettings
from storage_agent.model.errors import (
    CommandTimeout,
    ConfigurationError,
    Missing,
    OperationFailed,
)
from tests.unit.fakes import FakeClock


@pytest.fixture
def host(tmp_path: Path) -> HostSettings:
    options = tmp_path / "options"
    options.write_text("# the BMC\nip=192.0.2.9\npassword=s3cret word\n")
    options.chmod(0o600)
    fence = FenceSettings(agent="fence_test", options=str(options))
    return HostSettings(name="alpha", address="192.0.2.1", port=22, fence=fence)


class Agent:
    """statuses: what `status` exits with, in turn; the last one stays."""

    def __init__(self, off: int, *statuses: int, text: str = "") -> None:
        self.off = off
        self.statuses = list(statuses)
        self.text = text
        self.asked: list[str] = []

    def __call__(self, argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
        assert argv == ("fence_test",)
        assert b"password=s3cret word\n" in stdin
        self.asked.append(stdin.decode().splitlines()[-1])
        if self.asked[-1] == "action=off":
            return Ended(exit_status=self.off, text=self.text)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Ended(exit_status=status, text=self.text)


def failure(host: HostSettings, agent: RunCommand, clock: FakeClock | None = None) -> str:
    clock = clock or FakeClock()
    begun_s = clock.monotonic()
    with pytest.raises(OperationFailed, match="alpha is not proven to be off") as caught:
        require_off(host, agent, clock, 30)
    assert caught.value.code == "FENCING_FAILED"
    assert clock.monotonic() <= begun_s + 30
    return caught.value.message


def test_off_then_status_until_it_is_off(host: HostSettings) -> None:
    agent = Agent(0, 0, 0, 2)
    assert require_off(host, agent, FakeClock(), 30) == "fence_test reports off"
    assert agent.asked == ["action=off", *["action=status"] * 3]


def test_the_exit_status_of_off_is_not_believed(host: HostSettings) -> None:
    assert failure(host, Agent(2, 0)).endswith("off: exit 2; status: on")
    assert require_off(host, Agent(1, 2), FakeClock(), 30)


def test_an_agent_that_hangs_proves_nothing_and_is_given_up_in_time(host: HostSettings) -> None:
    clock = FakeClock()

    def hang(argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
        clock.sleep(timeout_s)
        raise CommandTimeout("no answer")

    assert "status: no answer" in failure(host, hang, clock)


def test_one_that_is_not_there_is_asked_no_second_time(host: HostSettings) -> None:
    asked = []

    def missing(argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
        asked.append(stdin)
        raise Missing("the command 'fence_test' is not installed")

    assert "is not installed" in failure(host, missing)
    assert len(asked) == 2


def test_what_it_writes_is_shown_bounded_escaped_and_without_the_password(
    host: HostSettings,
) -> None:
    text = "x" * 10_000 + "\n\x1b[2J cannot log in with\ns3cret word\n"
    said = failure(host, Agent(1, 1, text=text))
    assert r"\x1b[2J cannot log in with ***; status: exit 1: …xxx" in said
    assert len(said) < 3 * SHOWN_LIMIT


@pytest.mark.parametrize("line", ["action=on", "novalue", "a b=c", "x=\x01"])
def test_options_are_checked(tmp_path: Path, line: str) -> None:
    path = tmp_path / "options"
    path.write_text(f"ip=1\n{line}\n")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=":2:"):
        read_options(path)


def test_a_password_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "options"
    path.write_text("ip=1\n")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="others may read"):
        read_options(path)
