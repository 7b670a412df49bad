"""Driver versions and generation identifiers."""

from __future__ import annotations

import pytest

from storage_agent.host.drbd import is_version_9, parse_driver_version, parse_generation
from storage_agent.model.errors import ParseError
from tests.unit.host.drbd_recorded import recorded


@pytest.mark.parametrize(
    ("text", "version", "nine"),
    [
        ("8.4.11\n", "8.4.11", False),
        ("9.1.23\n", "9.1.23", True),
        ("version: 9.2.15 (api:2/proto:86-122) (compat 8.4)\nGIT-hash: 1", "9.2.15", True),
        ("9.3.0-rc.1\n", "9.3.0-rc.1", True),
        (
            recorded("proc-drbd", "8.4.11", "uptodate-primary-secondary-alpha").stdout,
            "8.4.11",
            False,
        ),
    ],
)
def test_driver_version(text: str, version: str, nine: bool) -> None:
    assert parse_driver_version(text) == version
    assert is_version_9(version) is nine


@pytest.mark.parametrize("text", ["", "version: unknown", "none\n8.4.11", "8.4"])
def test_no_version(text: str) -> None:
    with pytest.raises(ParseError):
        parse_driver_version(text)


@pytest.mark.parametrize("version", ["8.3.16", "10.0.0", "7.4.1"])
def test_other_generations_are_not_guessed(version: str) -> None:
    with pytest.raises(ParseError, match=r"neither DRBD 8\.4 nor 9"):
        is_version_9(version)


@pytest.mark.parametrize("slug", ["drbdadm-get-gi"])
def test_generation_8_4(slug: str) -> None:
    found = parse_generation(recorded(slug, "8.4.11", "uptodate-primary-secondary-beta").stdout)
    assert found.current == "FA06B937697BFC5E"
    assert found.bitmap == "0000000000000000"
    assert found.history == ("95C9E579A686790A", "95C8E579A686790B")


@pytest.mark.parametrize("slug", ["drbdadm-get-gi"])
def test_generation_9(slug: str) -> None:
    found = parse_generation(recorded(slug, "9.1.23", "uptodate-primary-secondary-beta").stdout)
    assert found.current == "6614ADB5A045F340"
    assert found.history == ("ED0E92C3CE870A90", "0000000000000000")


def test_two_copies_in_sync_are_of_one_generation() -> None:
    """Only the lowest bit differs: it says who is primary."""
    alpha, beta = (
        parse_generation(
            recorded("drbdadm-get-gi", "8.4.11", f"uptodate-primary-secondary-{host}").stdout
        )
        for host in ("alpha", "beta")
    )
    assert int(alpha.current, 16) == int(beta.current, 16) | 1


GOOD = "FA06B937697BFC5E:0000000000000000:95C9E579A686790A:95C8E579A686790B:1:1:0:1:0:0:0\n"


@pytest.mark.parametrize(
    "text",
    ["", GOOD + GOOD, GOOD[1:], GOOD.lower(), GOOD.replace(":0\n", ":2\n"), "0:0:0:0\n"],
)
def test_wrong_generation_raises(text: str) -> None:
    with pytest.raises(ParseError):
        parse_generation(text)


def test_more_flags_change_nothing() -> None:
    assert parse_generation(GOOD.rstrip() + ":1:0:1\n") == parse_generation(GOOD)
