"""docs/coordinator.md shows what the command really prints, and the manual has every option."""

from __future__ import annotations

import argparse
import os

from storage_agent.coordinator_cli.arguments import build_parser
from tests.unit.cli.test_documentation import DOCS, EXAMPLE, rendered


def test_examples_are_real() -> None:
    path = DOCS / "coordinator.md"
    text = path.read_text()
    wanted = EXAMPLE.sub(rendered, text)
    if os.environ.get("GOLDEN_WRITE"):
        path.write_text(wanted)
    assert len(EXAMPLE.findall(text)) == 5
    assert wanted == path.read_text()


def test_every_command_and_option_is_in_the_manual() -> None:
    page = (DOCS / "man/storage-coordinator.8").read_text()
    (commands,) = (
        dict(action.choices)
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for name, parser in commands.items():
        assert f".It Ic {name}" in page, name
        for action in parser._actions:
            for option in action.option_strings:
                if option not in ("-h", "--help"):
                    assert f"Fl -{option.lstrip('-')}" in page, (name, option)
