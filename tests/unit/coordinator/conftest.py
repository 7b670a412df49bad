"""What most of these tests begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from tests.unit.coordinator.pair import VOLUME, Pair, make_coordinator


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.fixture
def coordinator(pair: Pair) -> Coordinator:
    found = make_coordinator(pair)
    found.adopt(VOLUME)
    return found
