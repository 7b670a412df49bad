"""What these tests protect on a volume can be removed again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.host.volume.flags import lift_all


@pytest.fixture(autouse=True)
def _lifted(tmp_path: Path) -> Iterator[None]:
    yield
    lift_all(tmp_path)
