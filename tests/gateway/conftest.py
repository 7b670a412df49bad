"""One storage host for all tests of this folder. It needs root: sshd, users and mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.gateway.host import StorageHost


@pytest.fixture(scope="session")
def host() -> Iterator[StorageHost]:
    if os.geteuid() != 0:
        pytest.fail("run as root: these tests have an sshd, users and mounts of their own")
    with StorageHost() as made:
        yield made
        faults = [line for line in made.daemon_log() if "exception" in line]
        assert faults == [], "the daemon had tracebacks"
