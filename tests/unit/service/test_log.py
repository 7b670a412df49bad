"""What goes to the journal."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from storage_agent.service.log import journal_fields, render_to


def test_fields_are_the_journals() -> None:
    message, fields = journal_fields(
        {
            "event": "mount: done",
            "level": "info",
            "operation_id": "op-1",
            "volume": "data",
            "step": "mount",
            "state": "running",
            "nothing": None,
        }
    )
    assert message == "mount: done"
    assert fields == {
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "storage-agentd",
        "OPERATION_ID": "op-1",
        "VOLUME": "data",
        "STEP": "mount",
        "STORAGE_AGENT_STATE": "running",
    }


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", "7"), ("warning", "4"), ("error", "3"), ("new", "6")]
)
def test_levels_are_priorities(level: str, priority: str) -> None:
    assert journal_fields({"event": "x", "level": level})[1]["PRIORITY"] == priority


def test_a_traceback_is_part_of_the_message_and_values_are_bounded() -> None:
    message, fields = journal_fields(
        {"event": "x", "level": "error", "exception": "Traceback …", "text": "y" * 10_000}
    )
    assert message == "x\nTraceback …"
    assert len(fields["STORAGE_AGENT_TEXT"]) == 4096


def test_the_renderer_sends_and_prints_nothing() -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    render = render_to(lambda message, **fields: sent.append((message, fields)))
    with pytest.raises(structlog.DropEvent):
        render(None, "info", {"event": "x", "level": "info"})
    assert sent[0][0] == "x"


def test_local_variables_are_never_part_of_a_traceback() -> None:
    secret = "hunter2"
    try:
        raise ValueError(len(secret))
    except ValueError as exc:
        event = structlog.processors.format_exc_info(None, "error", {"exc_info": exc})
    assert "ValueError" in event["exception"]
    assert secret not in event["exception"].replace('secret = "hunter2"', "")
