"""The service logs from threads of its own; a passing test shows none of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.unit.service.bench import Bench, Caller


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(logger_factory=structlog.testing.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def caller(bench: Bench) -> Iterator[Caller]:
    made = Caller(bench)
    yield made
    made.close()
