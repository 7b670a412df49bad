from __future__ import annotations

import io

import pytest

from storage_agent.cli.sync import SyncWatch, sync_line
from storage_agent.cli.terminal import Screen, Tone
from storage_agent.cli.text import (
    bar_text,
    clean,
    duration_text,
    eta_text,
    part_text,
    percent_text,
    size_text,
)
from storage_agent.policy.sync import Sync
from tests.unit.cli import snapshots
from tests.unit.cli.snapshots import GIB
from tests.unit.cli.worlds import Terminal


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (GIB, "1.0 GiB")],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_two_sizes_share_the_unit_of_the_second() -> None:
    assert part_text(41.2 * GIB, 71.9 * GIB) == "41.2/71.9 GiB"
    assert part_text(5, 1000) == "5/1000 bytes"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(573, 1000, "57.3 %"), (999_999, 1_000_000, "99.9 %"), (1, 1, "100.0 %"), (0, 0, "100.0 %")],
)
def test_percent_is_cut_so_that_100_means_all(part: int, whole: int, text: str) -> None:
    assert percent_text(part, whole) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(28, "28s"), (148, "2m28s"), (3840, "1h04m"), (266_400, "3d02h")]
)
def test_eta(seconds: float, text: str) -> None:
    assert eta_text(seconds) == text


def test_short_durations_have_tenths() -> None:
    assert duration_text(0.31) == "0.3 s"
    assert duration_text(148) == "2m28s"


def test_the_bar_is_full_only_at_the_end() -> None:
    assert bar_text(0.5, 14) == "[#######-------]"
    assert bar_text(0.9999, 4) == "[###-]"
    assert bar_text(1.0, 4) == "[####]"


def test_control_characters_are_removed() -> None:
    assert clean("a\x1b[31m\nb") == "a [31m b"


# -- rate -----------------------------------------------------------------------------------------


def test_the_line_of_a_sync() -> None:
    sync = Sync(what="resync to beta", done_bytes=41 * GIB, total_bytes=72 * GIB)
    assert sync_line("data", sync, 212 * (1 << 20)) == (
        "data  resync to beta  [#########-------]  56.9 %  41.0/72.0 GiB  212.0 MiB/s  ETA 2m30s"
    )
    assert sync_line("data", sync, None).endswith("rate unknown  ETA unknown")


def test_a_sync_that_ends_is_forgotten() -> None:
    watch = SyncWatch()
    assert len(watch.lines(snapshots.syncing(left_bytes=GIB, at_s=1.0), "beta", {})) == 1
    assert watch.lines(snapshots.serving(), "beta", {}) == ()
    # The next one begins without the old samples.
    again = snapshots.syncing(left_bytes=2 * GIB, at_s=2.0)
    assert "rate unknown" in watch.lines(again, "beta", {})[0]


def test_one_look_has_the_rate_that_the_daemon_has_measured() -> None:
    known = {"resync to beta": 100.0 * (1 << 20)}
    (line,) = SyncWatch().lines(snapshots.syncing(left_bytes=GIB, at_s=1.0), "beta", known)
    assert line.endswith("100.0 MiB/s  ETA 10s")


# -- terminal -------------------------------------------------------------------------------------


class Utf8(Terminal):
    encoding = "UTF-8"


class Ascii(Terminal):
    encoding = "ANSI_X3.4-1968"


def test_colour_needs_a_terminal_that_can_and_no_no_color() -> None:
    terminal = Utf8(tty=True)
    assert Screen.of(terminal, {"TERM": "xterm"}).colour
    assert not Screen.of(terminal, {"TERM": "xterm", "NO_COLOR": "1"}).colour
    assert not Screen.of(terminal, {"TERM": "dumb"}).colour
    assert not Screen.of(Utf8(), {"TERM": "xterm"}).colour


def test_without_colour_nothing_is_painted() -> None:
    assert Screen(stream=io.StringIO()).paint("x", Tone.BAD) == "x"
    assert shown_in_colour("x", "") == "\x1b[1;31mx\x1b[0m\n"


def test_nobody_elses_colour_is_shown() -> None:
    """A host that paints its own words could paint a failure green."""
    assert shown_in_colour("x", " \x1b[32mfine\x1b[0m") == "\x1b[1;31mx\x1b[0m  [32mfine [0m\n"


def shown_in_colour(ours: str, theirs: str) -> str:
    stream = io.StringIO()
    screen = Screen(stream=stream, colour=True)
    screen.line(screen.paint(ours, Tone.BAD) + theirs)
    return stream.getvalue()


def test_a_stream_without_utf8_gets_ascii() -> None:
    stream = Ascii()
    screen = Screen.of(stream, {})
    assert not screen.unicode
    screen.line("größe")
    assert stream.getvalue() == "gr??e\n"


def test_a_transient_line_is_only_for_terminals() -> None:
    plain = io.StringIO()
    Screen(stream=plain).transient("running")
    assert plain.getvalue() == ""
    terminal = io.StringIO()
    screen = Screen(stream=terminal, is_terminal=True, width=10)
    screen.transient("a long running line")
    screen.line("done")
    assert terminal.getvalue() == "\r\x1b[Ka long ru\r\x1b[Kdone\n"
