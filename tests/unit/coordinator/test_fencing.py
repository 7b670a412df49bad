"""Off counts only where `off` has worked and `status` then says so, in words and exit status.

The agents here are real little scripts, run as the real ones are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage_agent.coordinator.commands import SHOWN_LIMIT, Ended, RunCommand
from storage_agent.coordinator.fencing import require_off
from storage_agent.coordinator.settings import FenceSettings, HostSettings
from storage_agent.coordinator_cli.wiring import run_command
from storage_agent.model.errors import CommandTimeout, ConfigurationError, Missing, OperationFailed
from tests.unit.fakes import FakeClock

AGENT = "fence_ipmilan"
# As fence-agents' library does it: fencing.py, fence_action().
SOUND = """#!/bin/sh
while read -r line; do case $line in action=*) action=${line#action=} ;; esac; done
case $action in
    off) echo 'Success: Powered OFF' ;;
    status) STATUS ;;
esac
"""
OFF = "echo 'Status: OFF'; exit 2"


@pytest.fixture
def host(tmp_path: Path) -> HostSettings:
    options = tmp_path / "options"
    options.write_text("# the BMC\nip=192.0.2.9\npassword=s3cret word\n")
    options.chmod(0o600)
    fence = FenceSettings(agent=AGENT, options=str(options))
    return HostSettings(name="alpha", address="192.0.2.1", port=22, fence=fence)


class Agent:
    """off: what it exits with, in turn.  statuses: what `status` does, in turn; the last one of
    each stays."""

    def __init__(self, off: list[int], *statuses: Ended, text: str = "") -> None:
        self.off = off
        self.statuses = list(statuses)
        self.text = text
        self.asked: list[str] = []

    def __call__(self, argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
        assert argv == (AGENT,)
        assert b"password=s3cret word\n" in stdin
        self.asked.append(stdin.decode().splitlines()[-1])
        if self.asked[-1] == "action=off":
            status = self.off.pop(0) if len(self.off) > 1 else self.off[0]
            return Ended(exit_status=status, text=self.text)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


IS_ON = Ended(exit_status=0, out="Status: ON\n")
IS_OFF = Ended(exit_status=2, out="Status: OFF\n")


class Hasty(FakeClock):
    """Of which a real script is asked but twice."""

    def sleep(self, seconds: float) -> None:
        super().sleep(10 * seconds)


def failure(
    host: HostSettings, agent: RunCommand, clock: FakeClock | None = None, timeout_s: float = 30
) -> str:
    clock = clock or FakeClock()
    begun_s = clock.monotonic()
    with pytest.raises(OperationFailed, match="alpha is not proven to be off") as caught:
        require_off(host, agent, clock, timeout_s)
    assert caught.value.code == "FENCING_FAILED"
    assert clock.monotonic() <= begun_s + timeout_s or isinstance(clock, Hasty)
    return caught.value.message


def script(folder: Path, text: str) -> RunCommand:
    """Run by the real runner, in place of the agent."""
    path = folder / "agent"
    path.write_text(text)
    path.chmod(0o700)

    def run(argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
        assert argv == (AGENT,)
        return run_command((str(path),), stdin, min(timeout_s, 5.0))

    return run


def test_off_then_status_until_it_is_off(host: HostSettings) -> None:
    agent = Agent([0], IS_ON, IS_ON, IS_OFF)
    assert require_off(host, agent, FakeClock(), 30) == "fence_ipmilan reports off"
    assert agent.asked == ["action=off", *["action=status"] * 3]


@pytest.mark.processes
def test_a_sound_agent_proves_it(host: HostSettings, tmp_path: Path) -> None:
    agent = script(tmp_path, SOUND.replace("STATUS", OFF))
    assert require_off(host, agent, FakeClock(), 30) == "fence_ipmilan reports off"


def test_status_alone_is_no_proof_until_off_has_worked(host: HostSettings) -> None:
    agent = Agent([1, 0], IS_OFF)
    assert require_off(host, agent, FakeClock(), 30)
    assert agent.asked == ["action=off", "action=status"] * 2
    assert "off: exit 1: it wrote nothing; status: exit 2: Status: OFF" in failure(
        host, Agent([1], IS_OFF)
    )


BROKEN = {
    "a shell's syntax error": ("if then", "yntax error"),
    "a shell's syntax error after the word": ("echo 'Status: ON'; eval 'if then'", "Status: ON"),
    "a missing command": ("exec 2>&1; no-such-command", "exit 127"),
    "set -e and grep's 2": ("set -e; grep off /no/such/file; exit 0", "exit 2: grep: /no/such"),
    "grep finds nothing": ("set -e; echo | grep off; exit 2", "exit 1: it wrote nothing"),
    "exit 2 and silence": ("exit 2", "exit 2: it wrote nothing"),
    "exit 2 and an empty word": ("echo Status:; exit 2", "exit 2: Status:"),
    "exit 2 and the word elsewhere": ("echo 'the plug is OFF'; exit 2", "the plug is OFF"),
    "exit 2 and the word on stderr": ("echo 'Status: OFF' >&2; exit 2", "exit 2: Status: OFF"),
    "exit 2 and another word": ("echo 'Status: POWERING-OFF'; exit 2", "Status: POWERING-OFF"),
    "exit 2 and ON": ("echo 'Status: ON'; exit 2", "exit 2: Status: ON"),
    "both words": ("echo 'Status: ON'; echo 'Status: OFF'; exit 2", "Status: ON Status: OFF"),
    "OFF and exit 0": ("echo 'Status: OFF'", "exit 0: Status: OFF"),
    "OFF and exit 1": ("echo 'Status: OFF'; exit 1", "exit 1: Status: OFF"),
    "OFF, then a signal": ("echo 'Status: OFF'; kill -KILL $$", "exit -9: Status: OFF"),
    "OFF, then it hangs": ("echo 'Status: OFF'; sleep 30", "no answer within"),
    "unknown": ("echo 'Status: UNKNOWN'; exit 2", "Status: UNKNOWN"),
    "a terminal's escapes": (r"printf 'Status: OFF\033[2J\n'; exit 2", r"OFF\x1b[2J"),
    "another tongue": ("echo 'Status: AUS'; exit 2", "Status: AUS"),
    "in the middle of a line": ("echo 'debug: Status: OFF'; exit 2", "debug: Status: OFF"),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_status_that_breaks_or_is_not_understood_proves_nothing(
    name: str, host: HostSettings, tmp_path: Path
) -> None:
    status, seen = BROKEN[name]
    message = failure(
        host, script(tmp_path, SOUND.replace("STATUS", status)), clock=Hasty(), timeout_s=15
    )
    said = message.partition("; status: ")[2]
    assert seen in said
    assert said.startswith(("not understood: exit ", "/")), said


@pytest.mark.processes
def test_an_agent_whose_every_call_ends_with_2_proves_nothing(
    host: HostSettings, tmp_path: Path
) -> None:
    """0179f3a took each of these for a host that is off."""
    for text in (
        "#!/bin/sh\nif then\n",
        "#!/bin/sh\nset -e\ngrep -q up /no/such/file\n",
        # As argparse ends.
        "#!/bin/sh\necho 'usage: agent [-h]' >&2; exit 2\n",
    ):
        said = failure(host, script(tmp_path, text), clock=Hasty(), timeout_s=15)
        assert "off: exit 2" in said
        assert "status: not understood: exit 2" in said


@pytest.mark.processes
def test_a_failed_off_is_no_off_whatever_its_status_says(
    host: HostSettings, tmp_path: Path
) -> None:
    text = SOUND.replace("off) echo 'Success: Powered OFF' ;;", "off) exit 5 ;;")
    said = failure(host, script(tmp_path, text.replace("STATUS", OFF)), clock=Hasty(), timeout_s=15)
    assert said.endswith("off: exit 5: it wrote nothing; status: exit 2: Status: OFF")


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
        raise Missing("the command 'fence_ipmilan' is not installed")

    assert "is not installed" in failure(host, missing)
    assert len(asked) == 1


def test_what_it_writes_is_shown_bounded_escaped_and_without_the_password(
    host: HostSettings,
) -> None:
    text = "x" * 10_000 + "\n\x1b[2J cannot log in with\ns3cret word\n"
    said = failure(host, Agent([1], Ended(exit_status=1, text=text, out=text), text=text))
    assert r"\x1b[2J cannot log in with ***; status: not understood: exit 1: …" in said
    assert "s3cret" not in said
    assert len(said) < 3 * SHOWN_LIMIT


def test_a_host_without_an_agent_is_told(host: HostSettings) -> None:
    bare = HostSettings(name="alpha", address="192.0.2.1", port=22)
    with pytest.raises(ConfigurationError, match="no fence agent is configured for alpha"):
        require_off(bare, Agent([0], IS_OFF), FakeClock(), 30)
    assert os.path.exists(host.fence.options if host.fence else "")
