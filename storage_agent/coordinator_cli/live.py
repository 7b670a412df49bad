"""go-live: what is proved, line by line, and the seal."""

from __future__ import annotations

import argparse

from storage_agent.cli.context import Answer
from storage_agent.cli.text import clean
from storage_agent.coordinator.client_proof import prover
from storage_agent.coordinator.go_live import go_live
from storage_agent.coordinator_cli.context import Context


def live(options: argparse.Namespace, context: Context) -> Answer:
    volume = context.settings().volume(options.volume)
    coordinator = context.coordinator()

    def tell(text: str) -> None:
        if not options.json:
            context.out.line(clean(f"   {text}"))

    prove = prover(context.run_command, options.client)
    done = go_live(coordinator, volume, prove, tell)
    text = f"is sealed already, in epoch {done.epoch}" if done.is_already else (
        f"sealed in epoch {done.epoch}"
    )  # fmt: skip
    return Answer(
        data=done,
        lines=(f"{volume.key}: {text}",),
        findings=done.findings,
        changed=not done.is_already,
    )
