"""What the tools' refusals are turned into, on recorded ones."""

from __future__ import annotations

import pytest

from storage_agent.host.drbd.failures import failure
from storage_agent.model.errors import AgentError, Busy, CommandFailed, Missing, Refused
from tests.unit.host.drbd_recorded import Recorded, recorded

# (slug, driver, situation) -> code
SEEN = [
    ("refused-drbdadm", "8.4.11", "second-primary-while-connected-beta", "DRBD_PEER_PRIMARY"),
    ("refused-drbdadm", "8.4.11", "primary-while-sync-target-peer-primary-beta",
     "DRBD_PEER_PRIMARY"),
    ("refused-drbdadm", "9.1.23", "primary-while-sync-target-peer-primary-beta",
     "DRBD_PEER_PRIMARY"),
    ("refused-drbdadm", "8.4.11", "primary-inconsistent-alone-alpha", "DRBD_NO_UPTODATE_DATA"),
    ("refused-drbdadm", "9.1.23", "primary-inconsistent-alone-alpha", "DRBD_NO_UPTODATE_DATA"),
    ("refused-drbdadm", "8.4.11", "secondary-while-mounted-alpha", "DRBD_HELD_OPEN"),
    ("refused-drbdsetup", "8.4.11", "secondary-while-held-open-alpha", "DRBD_HELD_OPEN"),
    ("refused-drbdsetup", "9.1.23", "secondary-while-held-open-alpha", "DRBD_HELD_OPEN"),
    ("refused-drbdadm", "8.4.11", "down-while-mounted-alpha", "DRBD_HELD_OPEN"),
    ("refused-drbdadm", "9.1.23", "down-while-held-open-read-only-alpha", "DRBD_HELD_OPEN"),
    ("refused-drbdadm", "9.1.23", "primary-no-quorum-beta", "DRBD_NO_QUORUM"),
    ("refused-drbdadm", "8.4.11", "detach-last-disk-of-diskless-primary-beta",
     "DRBD_PEER_REFUSED"),
    ("refused-drbdadm", "8.4.11", "primary-down-resource-beta", "DRBD_NOT_UP"),
    ("refused-drbdadm", "9.1.23", "primary-down-resource-beta", "DRBD_NOT_UP"),
    ("refused-drbdadm", "8.4.11", "status-down-resource-beta", "DRBD_NOT_UP"),
    ("refused-drbdadm", "8.4.11", "up-again-alpha", "DRBD_ALREADY_UP"),
    ("refused-drbdadm", "9.1.23", "up-again-alpha", "DRBD_ALREADY_UP"),
    ("refused-drbdadm", "8.4.11", "misc-primary-connected-connect-r0-alpha", "DRBD_ALREADY_UP"),
    ("refused-drbdadm", "8.4.11", "no-metadata-up-alpha", "DRBD_NO_METADATA"),
    ("refused-drbdadm", "8.4.11", "create-md-again-no-tty-alpha", "DRBD_METADATA_EXISTS"),
    ("refused-drbdadm", "9.1.23", "create-md-again-no-tty-alpha", "DRBD_METADATA_EXISTS"),
    ("refused-drbdadm", "8.4.11", "unknown-resource-role-alpha", "DRBD_NO_RESOURCE_FILE"),
    ("refused-drbdadm", "8.4.11", "hostname-does-not-match-config-alpha",
     "DRBD_NO_RESOURCE_FILE"),
    ("refused-drbdadm", "8.4.11", "config-syntax-error-status-beta", "DRBD_CONFIGURATION"),
    ("refused-drbdsetup", "8.4.11", "module-not-loadable-drbdsetup-primary-r0-alpha",
     "DRBD_MODULE"),
]  # fmt: skip


def refusal(seen: Recorded, stderr: str | None = None) -> CommandFailed:
    assert seen.exit_status is not None
    said = seen.stderr if stderr is None else stderr
    return CommandFailed(seen.argv, seen.exit_status, said, seen.stdout)


def named(failed: CommandFailed) -> AgentError:
    return failure(failed, doing="promote", resource="r0", minor=0)


@pytest.mark.parametrize(("slug", "version", "name", "code"), SEEN)
def test_recorded_refusal(slug: str, version: str, name: str, code: str) -> None:
    error = named(refusal(recorded(slug, version, name)))
    assert error.code == code
    assert error.message.startswith("cannot promote r0: ")
    assert error.remedy
    assert "{" not in error.remedy
    assert "\n" not in error.message + error.remedy


def test_the_opener_is_named() -> None:
    error = named(
        refusal(recorded("refused-drbdsetup", "9.1.23", "secondary-while-held-open-alpha"))
    )
    assert isinstance(error, Refused)
    assert error.message == (
        "cannot promote r0: its device is held open by python3 (pid 4897) (-12)"
    )
    assert error.remedy == "find the holder: fuser -vm /dev/drbd0; ls /sys/block/drbd0/holders"


def test_8_4_does_not_name_the_opener() -> None:
    error = named(refusal(recorded("refused-drbdadm", "8.4.11", "secondary-while-mounted-alpha")))
    assert error.message == "cannot promote r0: its device is held open (-12)"


def test_a_missing_thing_and_a_passing_one_have_their_own_kinds() -> None:
    down = recorded("refused-drbdadm", "8.4.11", "primary-down-resource-beta")
    assert isinstance(named(refusal(down)), Missing)
    transient = "0: State change failed: (-18) In a transient state, retry after next event\n"
    assert isinstance(named(refusal(down, transient)), Busy)
    fencing = "0: State change failed: (-7) Refusing to be Primary while peer is not outdated\n"
    assert named(refusal(down, fencing)).code == "DRBD_FENCING_REFUSED"
    alone = (
        "home: Failure: (162) Invalid configuration request\n"
        "additional info from kernel:\nunknown connection\n"
    )
    assert named(refusal(down, alone)).code == "DRBD_NOT_UP"


def test_what_nobody_knows_stays_as_it_was() -> None:
    down = recorded("refused-drbdadm", "8.4.11", "primary-down-resource-beta")
    for stderr in ("0: State change failed: (-77) Full moon\n", "", "something else\n"):
        failed = refusal(down, stderr)
        assert named(failed) is failed
