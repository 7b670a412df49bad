"""`drbdsetup events2 --now --statistics`, in every situation that was recorded."""

from __future__ import annotations

import pytest

from storage_agent.host.drbd import parse_events2_now
from storage_agent.model.errors import ParseError
from storage_agent.model.replica import Role
from tests.unit.host.drbd_recorded import Recorded, all_recorded, in_words, recorded

VERSIONS = ("8.4.11", "9.1.23")
SLUG = "drbdsetup-events2-now"
EVERY = [(v, r) for v in VERSIONS for r in all_recorded(SLUG, v) if r.exit_status == 0]

SEEN = {
    "8.4.11": {
        "no-config-alpha": "not configured",
        "unconfigured-alpha": "not configured",
        "waiting-first-connect-alpha": "Secondary Inconsistent 131032"
        " | Connecting Unknown DUnknown Off 131032",
        "inconsistent-both-beta": "Secondary Inconsistent 131032"
        " | Connected Secondary Inconsistent Established 131032",
        "syncing-alpha": "Primary UpToDate 131032"
        " | Connected Secondary Inconsistent SyncSource 98376",
        "sync-paused-by-both-beta": "Secondary Inconsistent 131032"
        " | Connected Primary UpToDate PausedSyncT 77160 paused",
        "after-invalidate-on-primary-beta": "Secondary UpToDate 131032"
        " | Connected Primary Inconsistent SyncSource 105432 congested",
        "uptodate-primary-secondary-alpha": "Primary UpToDate 131032"
        " | Connected Secondary UpToDate Established 0",
        "two-resources-two-volumes-alpha": "Primary UpToDate 131032"
        " | Connected Secondary UpToDate Established 0",
        "verify-found-out-of-sync-alpha": "Primary UpToDate 131032"
        " | Connected Secondary UpToDate Established 64",
        "peer-disk-failed-alpha": "Primary UpToDate 131032"
        " | Connected Secondary Diskless Established 528",
        "primary-diskless-alpha": "Primary Diskless 131032"
        " | Connected Secondary UpToDate Established 0",
        "link-cut-alpha": "Primary UpToDate 131032 | Connecting Unknown DUnknown Off 528",
        "outdated-while-link-cut-beta": "Secondary Outdated 131032"
        " | Connecting Unknown DUnknown Off 0",
        "frozen-by-fencing-alpha": "Primary UpToDate 131032 fencing"
        " | Connecting Unknown DUnknown Off 0",
        "suspended-by-user-alpha": "Primary UpToDate 131032 user"
        " | Connected Secondary UpToDate Established 0",
        "suspended-no-data-alpha": "Primary Diskless 131032 no-data"
        " | Connecting Unknown DUnknown Off 0",
        "split-brain-both-primary-alpha": "Primary UpToDate 131032"
        " | StandAlone Unknown DUnknown Off 528",
        "secondary-after-peer-fenced-it-beta": "Primary UpToDate 131032"
        " | Connecting Unknown Outdated Off 0",
    },
    "9.1.23": {
        "no-config-alpha": "not configured",
        "after-failed-down-alpha": "Secondary UpToDate 131032 | no peer",
        "syncing-2-alpha": "Primary UpToDate 131032"
        " | Connected Secondary Inconsistent SyncSource 108504",
        "verify-running-beta": "Secondary UpToDate 131032 | Connected Primary UpToDate VerifyT 0",
        "quorum-lost-suspended-alpha": "Primary UpToDate 131032 quorum"
        " | Connecting Unknown DUnknown Off 0",
        "split-brain-both-primary-alpha": "Primary UpToDate 131032"
        " | StandAlone Unknown DUnknown Off 528",
        "uptodate-primary-secondary-alpha": "Primary UpToDate 131032"
        " | Connected Secondary UpToDate Established 0",
        "primary-diskless-alpha": "Primary Diskless 131032"
        " | Connected Secondary UpToDate Established 0",
    },
}
ONLY_THESE_ARE_IN_SYNC = {
    "Primary UpToDate 131032 | Connected Secondary UpToDate Established 0",
    "Primary UpToDate 131032 user | Connected Secondary UpToDate Established 0",
    "Secondary UpToDate 131032 | Connected Primary UpToDate Established 0",
    "Secondary UpToDate 131032 | Connected Secondary UpToDate Established 0",
}


@pytest.mark.parametrize(
    ("version", "name", "words"),
    [(v, name, words) for v, table in SEEN.items() for name, words in table.items()],
)
def test_recorded_situation(version: str, name: str, words: str) -> None:
    text = recorded(SLUG, version, name).stdout
    assert in_words(parse_events2_now(text, "r0", driver_version=version)) == words


@pytest.mark.parametrize(("version", "seen"), EVERY, ids=lambda x: getattr(x, "name", x))
def test_everything_recorded_parses_and_only_the_good_is_in_sync(
    version: str, seen: Recorded
) -> None:
    replica = parse_events2_now(seen.stdout, "r0", driver_version=version)
    expected = in_words(replica) in ONLY_THESE_ARE_IN_SYNC
    assert (replica is not None and replica.in_sync()) == expected


def test_identity() -> None:
    text = recorded(SLUG, "8.4.11", "uptodate-primary-secondary-alpha").stdout
    replica = parse_events2_now(text, "r0", driver_version="8.4.11")
    assert replica is not None
    assert (replica.resource, replica.minor) == ("r0", 0)
    assert (replica.driver_version, replica.role) == ("8.4.11", Role.PRIMARY)
    assert replica.size_bytes == 131032 * 1024


def good(version: str = "8.4.11") -> str:
    return recorded(SLUG, version, "uptodate-primary-secondary-alpha").stdout


def test_another_resource_is_not_ours() -> None:
    assert parse_events2_now(good(), "r00", driver_version="8.4.11") is None


def test_several_volumes_are_more_than_the_model_can_say() -> None:
    text = recorded(SLUG, "8.4.11", "two-resources-two-volumes-alpha").stdout
    with pytest.raises(ParseError, match="volumes other than 0"):
        parse_events2_now(text, "home-vol.2", driver_version="8.4.11")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["resource", "connection", "device", "peer-device"])
def test_unknown_keys_and_kinds_change_nothing(version: str, kind: str) -> None:
    text = good(version)
    grown = text.replace(f"exists {kind} ", f"exists {kind} shiny:new-2 ")
    grown = grown.replace("exists -", "exists rack name:r0 unit:7\nexists -")
    assert grown != text
    assert parse_events2_now(grown, "r0", driver_version=version) == parse_events2_now(
        text, "r0", driver_version=version
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("role:Primary", "role:primary"),
        ("role:Primary", "role:Unknown"),
        ("role:Primary", "rolle:Primary"),
        ("suspended:no", "suspended:maybe"),
        ("connection:Connected", "connection:WFConnection"),
        ("role:Secondary", "role:Tertiary"),
        (" disk:UpToDate", " disk:Uptodate"),
        (" disk:UpToDate", ""),
        ("size:131032", "size:128M"),
        ("size:131032", "size:-1"),
        ("minor:0", "minor:zero"),
        ("minor:0", "minor:0 minor:0"),
        ("replication:Established", "replication:Estranged"),
        ("peer-disk:UpToDate", "peer-disk:"),
        ("resync-suspended:no", "resync-suspended:perhaps"),
        ("out-of-sync:0", "out-of-sync:none"),
        ("volume:0", "volume:1"),
        ("exists -\n", ""),
        ("exists device", "change device"),
        ("exists resource", "exists resource name:r1 role:Primary\nexists"),
        ("name:r0", "r0"),
    ],
)
def test_wrong_values_raise(version: str, right: str, wrong: str) -> None:
    text = good(version)
    assert right in text
    with pytest.raises(ParseError):
        parse_events2_now(text.replace(right, wrong), "r0", driver_version=version)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_object_twice_raises(version: str) -> None:
    for line in good(version).splitlines()[:4]:
        with pytest.raises(ParseError, match="twice"):
            parse_events2_now(line + "\n" + good(version), "r0", driver_version=version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_order_of_a_snapshot_does_not_matter(version: str) -> None:
    *lines, end = good(version).splitlines(keepends=True)
    backwards = "".join([*reversed(lines), end])
    assert parse_events2_now(backwards, "r0", driver_version=version) == parse_events2_now(
        good(version), "r0", driver_version=version
    )
    without_resource = "".join([*lines[1:], end])
    with pytest.raises(ParseError, match="resource itself is missing"):
        parse_events2_now(without_resource, "r0", driver_version=version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_peer_raises(version: str) -> None:
    connection = next(x for x in good(version).splitlines() if "exists connection" in x)
    second = connection.replace("peer-node-id:", "peer-node-id:3")
    with pytest.raises(ParseError, match="more than one peer"):
        parse_events2_now(
            good(version).replace(connection, f"{connection}\n{second}"),
            "r0",
            driver_version=version,
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resource_without_a_device_is_still_being_brought_up(version: str) -> None:
    text = "".join(line for line in good(version).splitlines(keepends=True) if "device" not in line)
    assert parse_events2_now(text, "r0", driver_version=version) is None


def test_without_a_connection_8_4_stands_alone_and_9_has_no_peer() -> None:
    for version, words in (
        ("8.4.11", "StandAlone Unknown DUnknown Off ?"),
        ("9.1.23", "no peer"),
    ):
        lines = [
            line for line in good(version).splitlines(keepends=True) if "conn-name" not in line
        ]
        replica = parse_events2_now("".join(lines), "r0", driver_version=version)
        assert in_words(replica) == f"Primary UpToDate 131032 | {words}"


def test_io_that_is_made_to_fail_is_not_flowing() -> None:
    text = good("9.1.23").replace("force-io-failures:no", "force-io-failures:yes")
    replica = parse_events2_now(text, "r0", driver_version="9.1.23")
    assert replica is not None
    assert replica.suspended == ("force-io-failures",)
    text = good("9.1.23").replace("quorum:yes", "quorum:no")
    replica = parse_events2_now(text, "r0", driver_version="9.1.23")
    assert replica is not None
    assert replica.suspended == ("quorum",)
