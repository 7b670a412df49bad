"""`drbdsetup events2 --now --statistics`, in every situation that was recorded."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.host.drbd import parse_events2_now
from storage_agent.model.errors import ParseError
from storage_agent.model.replica import ConnectionState, DiskState, ReplicationState, Role
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


def test_a_second_volume_is_named_and_the_first_is_read() -> None:
    text = recorded(SLUG, "8.4.11", "two-resources-two-volumes-alpha").stdout
    replica = parse_events2_now(text, "home-vol.2", driver_version="8.4.11")
    assert replica is not None
    assert (replica.role, replica.others, replica.unread) == (Role.SECONDARY, ("volume 1",), ())
    assert replica.why_undecidable() == "more than two hosts and one volume: volume 1"


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
        ("minor:0", "minor:zero"),
        ("minor:0", "minor:0 minor:0"),
        ("volume:0", "volume:1"),
        ("exists -\n", ""),
        ("exists device", "change device"),
        ("exists resource", "exists resource name:r1 role:Primary\nexists"),
        ("name:r0", "r0"),
    ],
)
def test_what_does_not_say_which_object_it_means_raises(
    version: str, right: str, wrong: str
) -> None:
    text = good(version)
    assert right in text
    with pytest.raises(ParseError):
        parse_events2_now(text.replace(right, wrong), "r0", driver_version=version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("right", "wrong", "changed", "unread"),
    [
        ("role:Primary", "role:primary", {"role": Role.UNKNOWN}, "role 'primary'"),
        ("role:Primary", "role:Unknown", {"role": Role.UNKNOWN}, "role 'Unknown'"),
        ("role:Primary", "rolle:Primary", {"role": Role.UNKNOWN}, "role missing"),
        (" suspended:no", " suspended:maybe", {"suspended": ("maybe",)}, ""),
        (" suspended:no", " suspended:", {"suspended": ("unknown",)}, ""),
        (" disk:UpToDate", " disk:Uptodate", {"disk": DiskState.DUNKNOWN}, "disk 'Uptodate'"),
        (" disk:UpToDate", "", {"disk": DiskState.DUNKNOWN}, "disk missing"),
        ("size:131032", "size:128M", {"size_bytes": None}, ""),
        ("size:131032", "size:-1", {"size_bytes": None}, ""),
        ("size:131032", f"size:{'9' * 30}", {"size_bytes": None}, ""),
    ],
)
def test_an_unknown_word_is_unknown_in_its_place(
    version: str, right: str, wrong: str, changed: dict[str, Any], unread: str
) -> None:
    text = good(version)
    assert right in text
    whole = parse_events2_now(text, "r0", driver_version=version)
    found = parse_events2_now(text.replace(right, wrong), "r0", driver_version=version)
    assert whole is not None
    assert found == dataclasses.replace(whole, **changed, unread=(unread,) if unread else ())
    assert found.in_sync() is ("disk" not in changed)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("right", "wrong", "changed", "unread"),
    [
        (
            "connection:Connected",
            "connection:WFConnection",
            {"connection": ConnectionState.UNKNOWN},
            "connection 'WFConnection'",
        ),
        (
            "connection:Connected",
            "connection:Unknown",
            {"connection": ConnectionState.UNKNOWN},
            "connection 'Unknown'",
        ),
        ("role:Secondary", "role:Tertiary", {"role": Role.UNKNOWN}, "peer role 'Tertiary'"),
        (
            "replication:Established",
            "replication:Estranged",
            {"replication": ReplicationState.UNKNOWN},
            "replication 'Estranged'",
        ),
        ("peer-disk:UpToDate", "peer-disk:", {"disk": DiskState.DUNKNOWN}, "peer-disk ''"),
        ("resync-suspended:no", "resync-suspended:perhaps", {"resync_suspended": True}, ""),
        ("out-of-sync:0", "out-of-sync:none", {"out_of_sync_bytes": None}, ""),
    ],
)
def test_so_is_one_about_the_peer(
    version: str, right: str, wrong: str, changed: dict[str, Any], unread: str
) -> None:
    text = good(version)
    assert right in text
    whole = parse_events2_now(text, "r0", driver_version=version)
    found = parse_events2_now(text.replace(right, wrong), "r0", driver_version=version)
    assert whole is not None
    assert whole.peer is not None
    peer = dataclasses.replace(whole.peer, **changed)
    unread_words = (unread,) if unread else ()
    assert found == dataclasses.replace(whole, peer=peer, unread=unread_words)
    is_about_data = changed.keys() - {"role", "resync_suspended"}
    assert found.in_sync() is not bool(is_about_data)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_word_without_a_value_changes_nothing(version: str) -> None:
    text = good(version)
    grown = text.replace("exists resource ", "exists resource shiny ")
    assert parse_events2_now(grown, "r0", driver_version=version) == parse_events2_now(
        text, "r0", driver_version=version
    )


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


THIRD = (
    "exists connection name:r0 peer-node-id:3 conn-name:gamma connection:Connected role:Primary\n"
    "exists peer-device name:r0 peer-node-id:3 conn-name:gamma volume:0 replication:Established"
    " peer-disk:UpToDate resync-suspended:no out-of-sync:0\n"
)


def with_third(text: str) -> str:
    return text.replace("exists connection", f"{THIRD}exists connection", 1)


def test_a_third_host_is_named_and_the_pair_is_read() -> None:
    text = with_third(good("9.1.23"))
    whole = parse_events2_now(good("9.1.23"), "r0", driver_version="9.1.23")
    found = parse_events2_now(text, "r0", driver_version="9.1.23", peer="beta")
    assert whole is not None
    assert found == dataclasses.replace(whole, others=("peer gamma",))
    assert found.why_undecidable() == "more than two hosts and one volume: peer gamma"
    # Where neither is the one that is configured, none is shown as it.
    found = parse_events2_now(text, "r0", driver_version="9.1.23", peer="delta")
    assert found == dataclasses.replace(whole, peer=None, others=("peer beta", "peer gamma"))


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
