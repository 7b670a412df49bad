"""The service logs from threads of its own; a passing test shows none of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(logger_factory=structlog.testing.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()
