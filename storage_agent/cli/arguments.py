"""The command line: one parser, each command with its handler."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from storage_agent import __version__
from storage_agent.cli.context import Answer, Context
from storage_agent.model.errors import UsageError
from storage_agent.model.key import KeyRole

Handler = Callable[[argparse.Namespace, Context], Answer]

EPILOG = (
    "exit status: 0 done, 1 failed, 2 usage, 3 refused (nothing was changed), 4 not permitted, "
    "5 busy, 6 outcome unknown, 7 a tool, device or the daemon is missing, 8 configuration"
)


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours (one line, exit status 2), and that guesses no option from
    its first letters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, remedy=f"{self.prog} --help")


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError. `--help` and `--version` print and exit 0 (SystemExit)."""
    options = build_parser().parse_args(arguments)
    if getattr(options, "handler", None) is None:
        raise UsageError("a command is wanted", remedy="storage-agent --help")
    return options


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="storage-agent",
        description="Look at this storage host's volumes, and move them safely.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"storage-agent {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    _add_looking(commands)
    _add_changing(commands)
    _add_explaining(commands)
    return parser


def add_command(
    commands: Any,
    name: str,
    summary: str,
    module: str,
    handler: str,
    *,
    package: str = "storage_agent.cli",
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=EPILOG
    )
    command.add_argument("--json", action="store_true", help="one JSON object on stdout")
    command.set_defaults(handler=_lazy(f"{package}.{module}", handler))
    return command


def _lazy(module: str, name: str) -> Handler:
    """The handler is imported when it is called: no command pays for another's imports."""

    def call(options: argparse.Namespace, context: Context) -> Answer:
        from importlib import import_module

        handler: Handler = getattr(import_module(module), name)
        return handler(options, context)

    return call


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return value


def _whole_seconds(text: str) -> int:
    """The wire carries whole numbers only."""
    if not text.isdecimal() or not 0 <= int(text) <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds up to 600")
    return int(text)


def _add_looking(commands: Any) -> None:
    status = add_command(commands, "status", "what every volume is doing", "look", "status")
    status.add_argument("volume", nargs="?", metavar="VOLUME")
    status.add_argument(
        "--watch", nargs="?", const=2.0, type=_seconds, metavar="SECONDS", help="look again (2)"
    )
    terminate = add_command(
        commands,
        "safe-to-terminate",
        "may this host be switched off or destroyed now (exit status 0: yes, 3: no)",
        "terminate",
        "safe_to_terminate",
    )
    terminate.add_argument(
        "--serving", action="store_true", help="only whether anybody is served from this host"
    )
    add_command(
        commands, "doctor", "is this host fit to keep volumes, and what to fix", "checkup", "doctor"
    )
    events = add_command(commands, "events", "what changed lately", "look", "events")
    events.add_argument("--follow", action="store_true", help="go on with what happens")
    events.add_argument("--limit", type=int, default=50, metavar="N", help="the last N (50)")
    operation = add_command(
        commands, "operation", "one operation, or the last ones", "look", "operation"
    )
    operation.add_argument("operation_id", nargs="?", metavar="ID")


def _add_changing(commands: Any) -> None:
    for command in (*_add_serving(commands), *_add_peer(commands)):
        command.add_argument("volume", metavar="VOLUME")
        command.add_argument("--dry-run", action="store_true", help="show the plan and stop")
        command.add_argument("--operation-id", metavar="ID", help="the same ID is done only once")
    plan = add_command(
        commands, "plan", "what an operation would do, as commands", "operate", "plan"
    )
    plan.add_argument(
        "operation", choices=("promote", "demote", "assemble", "create", "standalone", "rejoin")
    )
    plan.add_argument("volume", metavar="VOLUME")
    _add_role(plan, required=False)
    plan.add_argument("--peer-is-off", metavar="HOST")


def _add_serving(commands: Any) -> tuple[argparse.ArgumentParser, ...]:
    """What this host does with its own copy."""
    promote = add_command(
        commands, "promote", "serve the volume from this host", "operate", "promote"
    )
    promote.add_argument("--peer-is-off", metavar="HOST", help="declare that HOST is powered off")
    promote.add_argument(
        "--marker-lost",
        metavar="HOST/VOLUME",
        help="serve this copy whatever its currency marker says: no host has a newer one",
    )
    promote.add_argument("--confirm", metavar="HOST", help="instead of typing the host's name")
    promote.add_argument("--epoch", type=int, metavar="N", help="given by a coordinator")
    promote.add_argument("--coordinator", metavar="ID", help="that has given the epoch")
    promote.add_argument(
        "--wait",
        type=_whole_seconds,
        metavar="SECONDS",
        help="for the other host to let go: ask here first, then demote there",
    )
    demote = add_command(commands, "demote", "stop serving the volume here", "operate", "demote")
    demote.add_argument(
        "--yes-stop-serving", metavar="HOST/VOLUME", help="though nobody can take it over"
    )
    assemble = add_command(
        commands, "assemble", "bring array and replica up", "operate", "assemble"
    )
    assemble.add_argument(
        "--wait",
        type=_whole_seconds,
        metavar="SECONDS",
        help="for disks that are not attached yet (60)",
    )
    assemble.add_argument(
        "--degraded", action="store_true", help="start the array without its absent members"
    )
    assemble.add_argument(
        "--confirm", metavar="DIGEST", help="of the plan of --degraded, instead of typing"
    )
    create = add_command(commands, "create", "make a volume of new disks", "operate", "create")
    role = _add_role(create)
    role.add_argument("--abandon", dest="role", action="store_const", const="abandon",
                      help="take back what an unfinished create has made here")  # fmt: skip
    create.add_argument("--confirm", metavar="DIGEST", help="of the plan, instead of typing")
    return promote, demote, assemble, create


def _add_peer(commands: Any) -> tuple[argparse.ArgumentParser, ...]:
    """What lets the other host's copy go, or joins it again."""
    standalone = add_command(
        commands, "standalone", "drop the peer and serve alone, without a fallback", "peer",
        "standalone",
    )  # fmt: skip
    standalone.add_argument("--confirm", metavar="DIGEST", help="of the plan, instead of typing")
    rejoin = add_command(
        commands, "rejoin", "connect to the peer again and resync", "peer", "rejoin"
    )
    rejoin.add_argument(
        "--wait",
        nargs="?",
        const=3600.0,
        type=_seconds,
        metavar="SECONDS",
        help="until both copies are the same (3600)",
    )
    split_brain = add_command(
        commands, "split-brain", "show what this copy has, and end a split brain", "peer",
        "split_brain",
    )  # fmt: skip
    choice = split_brain.add_mutually_exclusive_group()
    choice.add_argument("--keep", dest="choice", action="store_const", const="keep",
                        help="connect, and wait for the other host to discard")  # fmt: skip
    choice.add_argument("--discard", dest="choice", action="store_const", const="discard",
                        help="give up what only this host's copy has")  # fmt: skip
    split_brain.add_argument("--confirm", metavar="DIGEST", help="of the plan, instead of typing")
    return standalone, rejoin, split_brain


def _add_role(command: argparse.ArgumentParser, *, required: bool = True) -> Any:
    role = command.add_mutually_exclusive_group(required=required)
    role.add_argument("--first", dest="role", action="store_const", const="first",
                      help="this host's blank copy becomes the good one")  # fmt: skip
    role.add_argument("--join", dest="role", action="store_const", const="join",
                      help="this host receives the first copy")  # fmt: skip
    return role


def _add_explaining(commands: Any) -> None:
    epoch = add_command(
        commands, "epoch", "give a lost epoch file back its number", "reference", "epoch"
    )
    epoch.add_argument("what", choices=("restore",))
    epoch.add_argument("volume", metavar="VOLUME")
    epoch.add_argument("number", type=int, metavar="NUMBER")
    config = add_command(
        commands, "config", "check or show the configuration", "reference", "config"
    )
    config.add_argument("what", choices=("check", "show"))
    config.add_argument("--origin", action="store_true", help="which file and line set each value")
    authorize = add_command(
        commands, "authorize", "let a coordinator's SSH key in", "authorize", "authorize"
    )
    authorize.add_argument(
        "key_file", metavar="KEYFILE|list|revoke", help="the .pub file of the key"
    )
    authorize.add_argument("key_id", nargs="?", metavar="KEY-ID", help="for revoke: see list")
    authorize.add_argument("--role", choices=[str(role) for role in KeyRole])
    authorize.add_argument(
        "--from",
        dest="addresses",
        action="append",
        default=[],
        metavar="ADDR",
        help="the only address or network it may come from; may be given again",
    )
    pair_secret = add_command(
        commands,
        "pair-secret",
        "let the two hosts' agents compare a volume's configuration",
        "pair_secret",
        "pair_secret",
    )
    pair_secret.add_argument("volume", metavar="VOLUME")
    explain = add_command(
        commands, "explain", "what a code means and what to do", "reference", "explain"
    )
    explain.add_argument("code", metavar="CODE")
