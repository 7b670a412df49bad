"""The clients of docs/clients.md, as they stand there, against the installed gateway."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.gateway.host import ROOT, StorageHost, code_of, frame, wait_for

CLIENT = re.compile(r"<!-- client: (\S+) -->\n```\w+\n(.*?)```\n<!-- end -->", re.DOTALL)


@pytest.fixture
def folder(host: StorageHost, tmp_path: Path) -> Path:
    """The clients, and an ssh that knows alpha and beta: both are the one host there is."""
    found = dict(CLIENT.findall((ROOT / "docs/clients.md").read_text()))
    assert set(found) == {"move.sh", "client.py"}
    for name, text in found.items():
        (tmp_path / name).write_text(text)
    config = (host.folder / "ssh_config").read_text().replace("storage-host", "alpha beta")
    (tmp_path / "ssh_config").write_text(config)
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    key = host.key("grant")
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{tmp_path}/ssh_config" -i "{key}" "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}


def move(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(folder / "move.sh"), *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_shell_client_is_clean_shell(folder: Path) -> None:
    ended = subprocess.run(
        ["shellcheck", str(folder / "move.sh")], capture_output=True, text=True, check=False
    )
    assert ended.stdout == ""


def test_a_volume_is_moved_in_shell(host: StorageHost, folder: Path) -> None:
    epoch = host.local(frame("status"))[0]["result"]["epochs"]["data"]
    ended = move(folder, f"move-{epoch}", "data", "alpha", "beta")
    assert ended.stderr == ""
    assert ended.returncode == 0
    assert "demote succeeded" in ended.stdout
    assert "promote succeeded: serving on alpha" in ended.stdout
    (status,) = host.local(frame("status"))
    assert status["result"]["epochs"]["data"] == epoch + 2
    assert status["result"]["coordinators"]["data"] == f"move-{epoch}"
    host.local(frame("demote", volume="data", operation_id=f"move-{epoch}-end"))


def test_a_refusal_is_told_in_shell(host: StorageHost, folder: Path) -> None:
    ended = move(folder, "move-x", "home", "alpha", "beta")
    assert ended.returncode == 1
    assert ended.stderr == "alpha knows no epoch of home\n"
    ended = move(folder, "move-y", "data", "alpha", "beta.invalid")
    assert ended.returncode == 6
    assert "beta.invalid did not answer: the outcome is not known" in ended.stderr
    (answer,) = host.local(frame("operation.show", operation_id="move-y-demote"))
    assert code_of(answer) == "UNKNOWN_OPERATION", "nothing was begun"


def test_a_promotion_that_is_refused_is_taken_back_in_shell(
    host: StorageHost, folder: Path
) -> None:
    """The id that it would use is taken by another operation."""
    epoch = host.local(frame("status"))[0]["result"]["epochs"]["data"]
    move_id = f"back-{epoch}"
    host.local(frame("assemble", volume="data", operation_id=f"{move_id}-promote"))
    ended = move(folder, move_id, "data", "alpha", "beta")
    assert ended.returncode == 1
    assert "demote succeeded" in ended.stdout
    assert ended.stdout.endswith("promote succeeded: serving on alpha\n")
    host.local(frame("demote", volume="data", operation_id=f"{move_id}-end"))


def test_changes_are_watched_in_python(host: StorageHost, folder: Path) -> None:
    log = folder / "log"
    with log.open("w") as file:
        watcher = subprocess.Popen(
            ["python3", str(folder / "client.py"), "alpha"],
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=file,
        )
    try:
        wait_for(lambda: "data: " in log.read_text(), "the state")
        given = host.next_epoch()
        for method, more in (("promote", given), ("demote", {})):
            asked = {"volume": "data", "operation_id": f"watched-{method}-{given['epoch']}"}
            host.local(frame(method, **asked, **more))
            wait_for(lambda: "→ Primary" in log.read_text(), "what changed")
        wait_for(lambda: "demote succeeded" in log.read_text(), "what was done")
        assert "data: promote succeeded: serving on alpha" in log.read_text()
        assert "replica role Secondary → Primary" in log.read_text()
    finally:
        watcher.kill()
        watcher.wait(10)
