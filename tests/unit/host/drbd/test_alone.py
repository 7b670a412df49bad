"""What /proc/drbd shows of a host that goes on without its peer."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.host.drbd.alone import goes_on_alone


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (" 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/Outdated C r-----", True),
        (" 0: cs:StandAlone ro:Primary/Unknown ds:UpToDate/Outdated   r-----", True),
        (" 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s-----", False),
        (" 0: cs:StandAlone ro:Primary/Unknown ds:UpToDate/Outdated   s-----", False),
        (" 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----", False),
        (" 0: cs:NetworkFailure ro:Primary/Unknown ds:UpToDate/DUnknown C r-----", False),
        (" 0: cs:WFConnection ro:Secondary/Unknown ds:UpToDate/DUnknown C r-----", False),
        (" 1: cs:WFConnection ro:Primary/Unknown ds:UpToDate/Outdated C r-----", False),
        ("version: 9.2.16 (api:2/proto:118-122)", False),
    ],
)
def test_a_line(tmp_path: Path, line: str, expected: bool) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/drbd").write_text(f"version: 8.4.11 (api:1/proto:86-101)\n{line}\n")
    assert goes_on_alone(0, tmp_path) is expected


def test_without_a_driver(tmp_path: Path) -> None:
    assert not goes_on_alone(0, tmp_path)
