"""The examples of docs/commands.md are what the command really prints."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from storage_agent.cli.arguments import build_parser
from tests.unit.cli.golden import FOLDER

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = re.compile(r"<!-- golden: (\S+) -->\n(.*?)<!-- end -->\n", re.DOTALL)


def rendered(match: re.Match[str]) -> str:
    text = (FOLDER / f"{match[1]}.txt").read_text()
    return f"<!-- golden: {match[1]} -->\n```\n{text}```\n<!-- end -->\n"


def test_examples_are_real() -> None:
    path = DOCS / "commands.md"
    text = path.read_text()
    wanted = EXAMPLE.sub(rendered, text)
    if os.environ.get("GOLDEN_WRITE"):
        path.write_text(wanted)
    assert len(EXAMPLE.findall(text)) >= 9
    assert wanted == path.read_text()


def commands() -> dict[str, argparse.ArgumentParser]:
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("no commands")


def test_every_command_and_option_is_in_the_manual() -> None:
    page = (DOCS / "man/storage-agent.8").read_text()
    short = (DOCS / "commands.md").read_text()
    for name, parser in commands().items():
        assert f"Ic {name}" in page, name
        assert f"`{name}" in short, name
        for action in parser._actions:
            for option in action.option_strings:
                if option not in ("-h", "--help"):
                    assert f"Fl -{option.lstrip('-')}" in page, (name, option)
                    assert option in short, (name, option)
