"""What is known of one pair is told while others are still silent: --json, one line a volume."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.coordinator.bad_hosts import (
    ANSWER_S,
    CONNECT_S,
    KINDS,
    MARGIN_S,
    fleet_with,
    ports,
)
from tests.unit.coordinator_cli.test_commands import Desk

pytestmark = pytest.mark.sockets


class Timed(io.StringIO):
    """Remembers when each flush came, and what was there by then."""

    def __init__(self) -> None:
        super().__init__()
        self.begun_s = time.monotonic()
        self.told: list[tuple[float, str]] = []

    def flush(self) -> None:
        said = self.getvalue()[sum(len(text) for _, text in self.told) :]
        self.told.append((time.monotonic() - self.begun_s, said))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    assert made.run("adopt", "data") == 0
    with ports() as found:
        many = fleet_with(made.pair, tmp_path, found)
        made.coordinator, made.settings = many, many.settings
        made.make_out = Timed
        yield made
        many.fleet.close()


@pytest.mark.parametrize(("command", "status"), [("status", 1), ("preflight", 3)])
def test_each_pair_is_told_as_soon_as_it_is_known(desk: Desk, command: str, status: int) -> None:
    assert desk.run(command, "--json") == status
    assert isinstance(desk.out, Timed)
    told = [(at_s, json.loads(text)["volume"]) for at_s, text in desk.out.told if text]
    when_s = {volume.partition("/")[0]: at_s for at_s, volume in told}
    assert when_s.keys() == {"office", *KINDS}
    # In the order of arrival, not in that of the configuration, where the silent one is first.
    assert [volume for _, volume in told][-1] == "silent/data"
    assert when_s["office"] < MARGIN_S
    assert when_s["refused"] < MARGIN_S
    assert CONNECT_S <= when_s["black-hole"] < CONNECT_S + MARGIN_S
    assert ANSWER_S <= when_s["silent"] < ANSWER_S + MARGIN_S
