"""The command line of `storage-coordinator`: one parser, each command with its handler."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from storage_agent import __version__
from storage_agent.cli.arguments import EPILOG, Parser, add_command
from storage_agent.model.errors import UsageError

_add = partial(add_command, package="storage_agent.coordinator_cli")


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError. `--help` and `--version` print and exit 0 (SystemExit)."""
    options = build_parser().parse_args(arguments)
    if getattr(options, "handler", None) is None:
        raise UsageError("a command is wanted", remedy="storage-coordinator --help")
    return options


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="storage-coordinator",
        description="Look at pairs of storage hosts, and move their volumes safely.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"storage-coordinator {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    _add_looking(commands)
    _add_moving(commands)
    _add_going_live(commands)
    _add_keeping(commands)
    return parser


def _add_looking(commands: Any) -> None:
    status = _add(commands, "status", "all volumes, both hosts' views joined", "look", "status")
    status.add_argument("volume", nargs="*", metavar="VOLUME")
    preflight = _add(
        commands, "preflight", "would a switchover, would a failover succeed", "look", "preflight"
    )
    preflight.add_argument("volume", nargs="*", metavar="VOLUME")
    ping = _add(commands, "ping", "are the hosts reached, and who answers", "look", "ping")
    ping.add_argument("host", nargs="*", metavar="HOST")
    explain = _add(commands, "explain", "what a code means and what to do", "reference", "explain")
    explain.add_argument("code", metavar="CODE")


def _add_moving(commands: Any) -> None:
    switchover = _add(commands, "switchover", "move a volume, planned", "move", "switchover")
    failover = _add(commands, "failover", "take a volume over from a dead host", "move", "failover")
    failover.add_argument("--confirm", metavar="HOST", help="name the dead host instead of typing")
    for command in (switchover, failover):
        command.add_argument("volume", metavar="VOLUME")
        command.add_argument("--to", required=True, metavar="HOST", dest="target")
        command.add_argument("--dry-run", action="store_true", help="show what would be done")


def _add_going_live(commands: Any) -> None:
    go_live = _add(commands, "go-live", "prove a pair ready for users, and seal it", "live", "live")
    go_live.add_argument("volume", metavar="VOLUME")
    go_live.add_argument(
        "--client", metavar="HOST", help="where the export is used, by ssh as root; else here"
    )


def _add_keeping(commands: Any) -> None:
    adopt = _add(commands, "adopt", "take charge of volumes", "keep", "adopt")
    adopt.add_argument("volume", nargs="*", metavar="VOLUME")
    adopt.add_argument("--all", action="store_true", dest="is_all", help="of all configured ones")
    acknowledge = _add(
        commands, "acknowledge", "allow another automatic failover", "keep", "acknowledge"
    )
    trust = _add(
        commands, "trust-record", "declare that the record is no old backup", "keep", "trust_record"
    )
    reset = _add(
        commands, "reset-epoch", "take back an epoch that nobody can have used", "keep",
        "reset_epoch",
    )  # fmt: skip
    for command in (trust, reset):
        command.add_argument(
            "--confirm", metavar="VOLUME", help="instead of typing the volume's name"
        )
    for command in (acknowledge, trust, reset):
        command.add_argument("volume", metavar="VOLUME")
    enroll = _add(commands, "enroll", "pin a host's SSH key", "keep", "enroll")
    enroll.add_argument("host", metavar="HOST")
    how = enroll.add_mutually_exclusive_group(required=True)
    how.add_argument("--fingerprint", metavar="SHA256:…", help="as read on the host itself")
    how.add_argument("--known-hosts-line", metavar="LINE", help="or its public key file's line")
    enroll.add_argument("--replace", action="store_true", help="a key that is pinned already")
    config = _add(commands, "config", "check the configuration", "keep", "config")
    config.add_argument("what", choices=("check",))
    _add(commands, "watch", "the service: answers frozen primaries", "service", "watch")
