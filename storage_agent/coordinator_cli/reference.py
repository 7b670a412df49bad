"""The command that asks no host: explain."""

from __future__ import annotations

import argparse

from storage_agent.cli.context import Answer
from storage_agent.cli.reference import explained
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.render import PROGRAM


def explain(options: argparse.Namespace, context: Context) -> Answer:
    """As on a host: the codes of both are in one catalogue."""
    return explained(options.code, context.out, PROGRAM)
