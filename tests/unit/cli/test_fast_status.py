"""`status --json` is answered without argument parser, dataclasses and enums."""

from __future__ import annotations

import subprocess
import sys

import pytest

from storage_agent.cli.main import _plain_status, envelope, only_volume
from storage_agent.model.wire import to_wire
from tests.unit.cli import answers, snapshots


@pytest.mark.parametrize(
    ("arguments", "volume"),
    [
        (["status", "--json"], ""),
        (["status", "data", "--json"], "data"),
        (["status", "--json", "data"], "data"),
        (["status"], None),
        (["status", "--json", "--watch"], None),
        (["status", "--json", "a", "b"], None),
        (["doctor", "--json"], None),
        (["--json", "status"], None),
        ([], None),
    ],
)
def test_only_the_plain_form_goes_the_short_way(arguments: list[str], volume: str | None) -> None:
    assert _plain_status(arguments) == volume


def test_one_volume_is_cut_out() -> None:
    running = to_wire(answers.record())
    other = {"request": {"volume": "other"}}
    result = answers.status_result(snapshots.serving(), operations=[running, other])
    cut = only_volume(result, "data")
    assert list(cut["snapshot"]["volumes"]) == ["data"]
    assert cut["operations"] == [running]
    with pytest.raises(KeyError):
        only_volume(result, "dta")


def test_the_envelope_always_has_the_same_keys() -> None:
    wanted = {"schema_version", "ok", "changed", "data", "findings", "error"}
    assert set(envelope(1)) == wanted
    assert set(envelope(None, error={"code": "X"})) == wanted
    assert envelope(None, error={"code": "X"})["ok"] is False


@pytest.mark.processes
def test_the_short_way_imports_next_to_nothing() -> None:
    program = (
        "import sys; from storage_agent.cli import main, client; "
        "print(*(m for m in ('argparse', 'dataclasses', 'enum', 'subprocess', 'tempfile',"
        " 'storage_agent.model.finding') if m in sys.modules))"
    )
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20)
    # json and socket themselves need enum.
    assert done.stdout.split() in ([], ["enum"])
