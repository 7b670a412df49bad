"""`drbdsetup status --json` of the driver 9."""

from __future__ import annotations

import re

import pytest

from storage_agent.host.drbd import parse_events2_now, parse_status_json
from storage_agent.model.errors import ParseError
from tests.unit.host.drbd_recorded import all_recorded, in_words, recorded

SLUG = "drbdsetup-status-json"
V = "9.1.23"
# Recorded a moment apart while something moved.
MOVING = {
    "split-brain-recovering-alpha",
    "sync-target-primary-beta",
    "syncing-2-alpha",
    "syncing-beta",
}


def words(text: str, resource: str = "r0") -> str:
    return in_words(parse_status_json(text, resource, driver_version=V))


def test_says_the_same_as_events2_in_every_recorded_situation() -> None:
    events = {r.name: r for r in all_recorded("drbdsetup-events2-now", V) if r.exit_status == 0}
    both = [r for r in all_recorded(SLUG, V) if r.exit_status == 0 and r.name in events]
    assert len(both) > 50
    for seen in both:
        if seen.name not in MOVING:
            text = events[seen.name].stdout
            assert parse_status_json(seen.stdout, "r0", driver_version=V) == parse_events2_now(
                text, "r0", driver_version=V
            )


def test_recorded_situations() -> None:
    assert words(recorded(SLUG, V, "syncing-2-alpha").stdout) == (
        "Primary UpToDate 131032 | Connected Secondary Inconsistent SyncSource 108760"
    )
    assert words(recorded(SLUG, V, "suspended-no-data-alpha").stdout).startswith(
        "Primary Diskless 131032 no-data |"
    )
    assert words(recorded(SLUG, V, "unconfigured-alpha").stdout) == "not configured"
    assert words(good(), "nope") == "not configured"


def good() -> str:
    return recorded(SLUG, V, "disconnected-by-admin-alpha").stdout


def test_unknown_keys_change_nothing() -> None:
    grown = good().replace('"name":', '"shiny": [1, {"a": nan}], "name":')
    assert grown != good()
    assert words(grown) == words(good())


def test_numbers_that_json_does_not_know() -> None:
    text = recorded(SLUG, V, "syncing-2-alpha").stdout
    odd = text.replace('"db/dt [MiB/s]": 1.97', '"db/dt [MiB/s]": -nan').replace("1.92", "inf")
    assert odd != text
    assert words(odd) == words(text)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"role": "Primary"', '"role": "Primary", "role": "Secondary"'),
        ('"volume": 0', '"volume": 1'),
        ('"minor": 0', '"minor": -1'),
        ('"devices": [', '"devices": {'),
        ('"connections": [', '"links": ['),
        ("[\n", ""),
        ("]\n", "] trailing"),
    ],
)
def test_what_does_not_say_which_object_it_means_raises(right: str, wrong: str) -> None:
    assert right in good()
    with pytest.raises(ParseError):
        words(good().replace(right, wrong))


@pytest.mark.parametrize(
    ("right", "wrong", "same"),
    [
        ('"role": "Primary"', '"role": "primary"', "role:primary"),
        ('"role": "Primary"', '"roll": "Primary"', "rolle:Primary"),
        ('"suspended": false', '"suspended": true', "suspended:unknown"),
        ('"suspended": false', '"suspended": "no"', "suspended:unknown"),
        ('"suspended-user": false', '"suspended-user": 1', "suspended:user"),
        ('"suspended-user": false', '"suspended-moon": true', "suspended:moon"),
        ('"disk-state": "UpToDate"', '"disk-state": "Shiny"', " disk:Shiny"),
        ('"disk-state": "UpToDate"', '"disk-state": null', " disk:None"),
        (
            '"connection-state": "StandAlone"',
            '"connection-state": "WFConnection"',
            "connection:WFConnection",
        ),
        ('"replication-state": "Off"', '"replication-state": "On"', "replication:On"),
        ('"out-of-sync": ', '"out-of-sync": -', "out-of-sync:-"),
    ],
)
def test_an_unknown_word_is_read_as_that_of_the_events(right: str, wrong: str, same: str) -> None:
    """Whose test says of each what it changes."""
    text = recorded(SLUG, V, "split-brain-both-primary-alpha").stdout
    assert right in text
    key = same.partition(":")[0].strip().replace("rolle", "role")
    before = rf"(?<=[ ]){key}:[^ \n]*"
    lines = recorded("drbdsetup-events2-now", V, "split-brain-both-primary-alpha").stdout
    events = re.sub(before, same.strip(), lines, count=1)
    assert events != lines
    found = parse_status_json(text.replace(right, wrong, 1), "r0", driver_version=V)
    assert found == parse_events2_now(events, "r0", driver_version=V)


@pytest.mark.parametrize("text", ["", "null", "3", "[3]", "[[]]", '{"name": "r0"}', "[{}]"])
def test_other_json_raises(text: str) -> None:
    with pytest.raises(ParseError):
        words(text)
