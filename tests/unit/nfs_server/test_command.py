"""`storage-agent-nfs`: what a person typed."""

from __future__ import annotations

import sys

import pytest

from storage_agent.nfs_server.__main__ import main


@pytest.mark.parametrize(
    "arguments", [(), ("data",), ("data", "promote"), ("data", "start", "now")]
)
def test_what_is_no_request_starts_no_server(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["storage-agent-nfs", *arguments])
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert main() == 2
    shown = capsys.readouterr().err
    assert "wanted: VOLUME start|link-up|link-down|stop|prove|status" in shown
    assert "systemctl start storage-agent-nfs@VOLUME" in shown
