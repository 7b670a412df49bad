"""What of a request stands in the journal."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from storage_agent.service.api.access import Role
from storage_agent.service.api.audit import BURST, CALLERS_LIMIT, Audit
from storage_agent.service.api.rpc import Request
from tests.unit.fakes import FakeClock
from tests.unit.service.parts import FakeSession

PROMOTE = {"volume": "data", "operation_id": "op-1"}


class Journal:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.audit = Audit(self.clock)
        self.session = FakeSession(Role.OPERATE)
        self.session.origin = "ssh key SHA256:abc"

    def lines(self, *answers: tuple[str, dict[str, Any], str]) -> list[dict[str, Any]]:
        with structlog.testing.capture_logs() as found:
            for method, parameters, code in answers:
                request = Request(request_id=1, method=method, parameters=parameters)
                self.audit(self.session, request, code)
        return [dict(line) for line in found]


@pytest.fixture
def journal() -> Journal:
    return Journal()


def test_a_line_says_who_what_on_what_and_the_answer(journal: Journal) -> None:
    (line,) = journal.lines(("promote", PROMOTE, "BUSY"))
    assert line == {
        "event": "ssh key SHA256:abc: promote: BUSY",
        "log_level": "info",
        "origin": "ssh key SHA256:abc",
        "role": "operate",
        "method": "promote",
        "answer": "BUSY",
        "left_out": None,
        **PROMOTE,
    }


def test_a_frame_that_is_no_request_has_its_line(journal: Journal) -> None:
    with structlog.testing.capture_logs() as found:
        journal.audit(journal.session, None, "bad-json")
    assert found[0]["event"] == "ssh key SHA256:abc: no request: bad-json"


def test_a_callers_text_is_short_ascii_on_one_line(journal: Journal) -> None:
    text = "x\n\x1b[31mé‮" + "y" * 1000
    given = {"volume": text, "operation_id": 7}
    (line,) = journal.lines((text, given, "unknown-method"))
    for shown in (line["event"], line["method"], line["volume"]):
        assert shown.isascii()
        assert shown.isprintable()
        assert len(shown) < 700
    assert "operation_id" not in line


def test_what_is_out_of_bounds_has_a_line_without_its_text(journal: Journal) -> None:
    given = {"volume": "x" * 60_000, "operation_id": "op-1"}
    (line,) = journal.lines(("promote", given, "out-of-bounds"))
    assert line["event"] == "ssh key SHA256:abc: promote: out-of-bounds"
    assert {"volume", "operation_id"} & set(line) == set()


def test_a_flood_is_cut_and_counted_and_hides_no_change(journal: Journal) -> None:
    flood: list[tuple[str, dict[str, Any], str]]
    flood = [("status", {}, "ok")] * 500 + [("promote", PROMOTE, "BUSY")] * 500
    lines = journal.lines(*flood, ("promote", PROMOTE, "ok"))
    assert len(lines) == 2 * BURST + 1
    assert (lines[-1]["method"], lines[-1]["answer"]) == ("promote", "ok")
    journal.clock.now_s += 5
    (after,) = journal.lines(("status", {}, "ok"))
    assert after["left_out"] == 500 - BURST


def test_methods_that_do_not_exist_share_one_allowance(journal: Journal) -> None:
    lines = journal.lines(*((f"x{n}", {}, "unknown-method") for n in range(500)))
    assert len(lines) == BURST


def test_what_is_remembered_is_bounded(journal: Journal) -> None:
    for number in range(2 * CALLERS_LIMIT):
        journal.session.origin = f"uid 0 pid {number}"
        journal.lines(("promote", PROMOTE, "ok"))
    assert len(journal.audit._allowances) <= CALLERS_LIMIT


def test_what_local_root_reads_is_not_logged_and_what_it_changes_is(journal: Journal) -> None:
    journal.session.role = Role.LOCAL
    lines = journal.lines(
        ("status", {}, "ok"),
        ("operation.show", {}, "UNKNOWN_OPERATION"),
        ("epoch.restore", {"volume": "data", "number": 7}, "ok"),
    )
    assert [line["method"] for line in lines] == ["operation.show", "epoch.restore"]
