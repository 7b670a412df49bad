"""An empty /etc/storage-agent for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.configuration.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)
