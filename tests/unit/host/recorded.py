"""Recorded outputs of host tools, and a runner that answers with them instead of starting any."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage_agent.host.system.runner import Completed, Runner
from storage_agent.model.errors import CommandFailed

Argv = tuple[str, ...]

DATA = Path(__file__).parents[2] / "data"
KERNEL = "linux-6.1.0-56-cloud-amd64"


@dataclass(frozen=True)
class Answer:
    exit_status: int = 0
    stdout: str = ""
    stderr: str = ""


def recorded(slug: str, version: str, name: str) -> Answer:
    path = DATA / slug / version / f"{name}.out"
    about = json.loads(path.with_suffix(".json").read_text())
    return Answer(about["exit_status"], path.read_text(), about["stderr"])


class AnsweringRunner(Runner, ABC):
    """Starts nothing. asked: every argv, in order; outside: those among the host's own mounts."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Argv] = []
        self.outside: list[Argv] = []

    @abstractmethod
    def answer(self, argv: Argv, stdin: bytes) -> Answer: ...

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        ok: frozenset[int] = frozenset({0}),
        stdin: bytes = b"",
        outside: bool = False,
    ) -> Completed:
        assert timeout_s > 0
        self.asked.append(tuple(argv))
        if outside:
            self.outside.append(tuple(argv))
        answer = self.answer(tuple(argv), stdin)
        if answer.exit_status not in ok:
            raise CommandFailed(tuple(argv), answer.exit_status, answer.stderr, answer.stdout)
        return Completed(
            argv=tuple(argv),
            exit_status=answer.exit_status,
            stdout=answer.stdout,
            stderr=answer.stderr,
            duration_s=0.0,
        )


class ScriptedRunner(AnsweringRunner):
    """answers: by the tool's name."""

    def __init__(self, **answers: Answer) -> None:
        super().__init__()
        self.answers = {name.replace("_", "."): answer for name, answer in answers.items()}

    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        return self.answers[argv[0]]
