"""What every unit test leaves behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage_agent.host.system import outside
from tests.unit.coordinator.pair import OPEN


@pytest.fixture(autouse=True)
def nobody_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's own mounts are the host's for it."""
    monkeypatch.setattr(outside, "HOST", "self")


@pytest.fixture(autouse=True)
def pipes_end() -> Iterator[None]:
    """A test's coordinator is dropped, not closed: its readers would keep all that it made."""
    yield
    for pipe in list(OPEN):
        pipe.close()
