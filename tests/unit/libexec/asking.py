"""The fence-peer handler in a small world of its own, and what a kernel shows it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.libexec.conftest import LIBEXEC

BOOT = "4e4c0a0e-4a5c-4b8f-9f7e-0a4a6f3f9d10"
NONCE = "0b6d7f0e-52a0-4a3c-8f0e-7a3f3b1d2c11"
OTHER = "11111111-52a0-4a3c-8f0e-7a3f3b1d2c11"
HEAD = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: F73C670A7EC572DB9CF3E5B \n"
FROZEN = " 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s-----\n    ns:1 nr:0\n"


FROZEN_EARLY = " 0: cs:NetworkFailure ro:Primary/Unknown ds:UpToDate/DUnknown C s-----\n"
SECONDARY = (
    " 0: cs:WFConnection ro:Secondary/Unknown ds:UpToDate/DUnknown C r-----\n    ns:0 nr:1\n"
)
THAWED = " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:1 nr:0\n"
NINE = "version: 9.1.23 (api:2/proto:118-121)\nTransports (api:21): tcp (9.1.23)\n"


@dataclass
class Asking:
    """The handler in a small world of its own, on its way."""

    root: Path
    wait_s: str = "30"
    env: dict[str, str] = field(
        default_factory=lambda: {"DRBD_RESOURCE": "home", "DRBD_PEER": "b", "DRBD_MINOR": "0"}
    )
    process: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> Path:
        return self.root / "run/storage-agent"

    @property
    def incident(self) -> Path:
        return self.run / "incidents/home"

    def kernel_shows(self, text: str, head: str = HEAD) -> None:
        beside = self.root / "proc/drbd.new"
        beside.write_text(head + text)
        beside.rename(self.root / "proc/drbd")

    def begin(self) -> None:
        env = {"PATH": f"{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin", **self.env}
        argv = [str(LIBEXEC / "fence-peer"), "coordinator", str(self.root), self.wait_s]
        self.process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL)

    def begin_and_open(self) -> list[str]:
        """The words of the incident."""
        self.begin()
        self.until(self.incident.exists)
        return self.incident.read_text().split()

    def until(self, is_so: Callable[[], object]) -> None:
        until_s = time.monotonic() + 10
        while not is_so():
            assert time.monotonic() < until_s, "did not happen in time"
            time.sleep(0.01)

    def answer(self, text: str) -> None:
        folder = self.run / "answers"
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / ".new"
        beside.write_text(text)
        beside.rename(folder / "home")

    def ended(self) -> int:
        assert self.process is not None
        return self.process.wait(10)

    def logged(self) -> str:
        return (self.root / "log").read_text()
