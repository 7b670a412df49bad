"""scripts/lab: the lab by hand. Each word is a thin wrapper over `Lab`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import layers
from .collect import collect
from .errors import LabError, LabUsage
from .lab import Lab
from .state import StateFile, cache_folder
from .topology import HOST_NUMBERS, LINKS, require_host

SSH_TIMEOUT_S = 60.0

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status is the process's."""
    arguments = _parser().parse_args(argv)
    act: Callable[[Arguments], int | None] = arguments.act
    try:
        return act(arguments) or 0
    except LabError as error:
        print(f"scripts/lab: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/lab",
        description="Two storage hosts and an NFS client as QEMU guests. See docs/lab.md.",
        epilog="Exit status: 0 done, 1 failed, 2 usage, 7 a tool is missing.",
    )
    parser.add_argument("--name", default="default", help="which lab (default: %(default)s)")
    words = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_life(words)
    _add_faults(words)
    return parser


def _add_life(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    build = words.add_parser("build", help="build what labs start from; prints the snapshot")
    build.set_defaults(act=_build)
    up = words.add_parser("up", help="build what is missing, then start the guests")
    up.set_defaults(act=_up)
    for made in (build, up):
        made.add_argument("--deb", type=Path, action="append", default=[], help="install this")
    words.add_parser("down", help="end the guests, forget disks and snapshots").set_defaults(
        act=lambda a: _attach(a).stop()
    )
    words.add_parser("status", help="what runs, is cut, frozen or unplugged").set_defaults(
        act=_status
    )
    ssh = words.add_parser("ssh", help="a shell or a command on a host")
    ssh.add_argument("host", choices=HOST_NUMBERS)
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    ssh.set_defaults(act=_ssh)
    copy = words.add_parser("copy", help="copy a file or folder into a host")
    copy.add_argument("source", type=Path)
    copy.add_argument("destination", metavar="HOST:PATH")
    copy.set_defaults(act=_copy)
    gather = words.add_parser("collect", help="logs and kernel state of all hosts into a folder")
    gather.add_argument("folder", type=Path)
    gather.set_defaults(act=lambda a: print(collect(_attach(a), a.folder)))
    record = words.add_parser("snapshot", help="record the whole set")
    record.set_defaults(act=_snapshot)
    restore = words.add_parser("restore", help="go back to a record")
    restore.set_defaults(act=_restore)
    for made in (record, restore):
        made.add_argument("snapshot", metavar="SNAPSHOT")
    words.add_parser("prune", help="remove what is cached and not needed").set_defaults(act=_prune)


def _add_faults(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for word, text in (("cut", "pull a host's cable"), ("mend", "plug it in again")):
        cable = words.add_parser(word, help=text)
        cable.add_argument("host", choices=HOST_NUMBERS)
        cable.add_argument("--link", choices=LINKS, default="replication")
        cable.set_defaults(act=_cable, up=word == "mend")
    unplug = words.add_parser("unplug", help="pull a disk out of a running host")
    unplug.set_defaults(act=lambda a: _attach(a).unplug(a.host, a.disk))
    plug = words.add_parser("plug", help="put a disk into a running host")
    plug.set_defaults(act=lambda a: _attach(a).plug(a.host, a.disk, from_host=a.source))
    for slot in (unplug, plug):
        slot.add_argument("host", choices=HOST_NUMBERS)
        slot.add_argument("disk", help="by serial number, as alpha-0")
    plug.add_argument("--from", dest="source", choices=HOST_NUMBERS, help="pull it out there first")
    power = words.add_parser("power", help="the plug, the reset button, and time itself")
    power.add_argument("host", choices=HOST_NUMBERS)
    power.add_argument("action", choices=("off", "on", "reset", "freeze", "thaw"))
    power.set_defaults(act=_power)


# -- what they do ---------------------------------------------------------------------------------


def _attach(arguments: Arguments) -> Lab:
    return Lab.attach(arguments.name)


def _progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _built(arguments: Arguments) -> Path:
    for package in arguments.deb:
        if not package.is_file():
            raise LabUsage(f"{package}: no such package file")
    return layers.build([package.absolute() for package in arguments.deb], progress=_progress)


def _build(arguments: Arguments) -> None:
    print(_built(arguments))


def _up(arguments: Arguments) -> None:
    snapshot = _built(arguments)
    began_s = time.monotonic()
    lab = Lab.start(arguments.name, snapshot=snapshot, keep=True)
    print(f"lab {lab.name} is up after {time.monotonic() - began_s:.1f} s: {', '.join(lab.hosts)}")


def _status(arguments: Arguments) -> None:
    instances = cache_folder() / "instances"
    names = sorted(path.parent.name for path in instances.glob("*/state.json"))
    if arguments.name not in names:
        StateFile(arguments.name).read()
    state = _attach(arguments).state()
    print(f"lab {arguments.name} from {Path(state.snapshot).name}; all labs: {', '.join(names)}")
    for host in HOST_NUMBERS:
        running = state.process(f"qemu-{host}")
        condition = f"on, pid {running.pid}, ssh port {state.ports[host]}" if running else "off"
        frozen = ", frozen" if host in state.frozen else ""
        cut = "".join(f", {link} cut" for name, link in state.cut if name == host)
        disks = " ".join(sorted(n for n, disk in state.disks.items() if disk.host == host))
        print(f"{host:7} {condition}{frozen}{cut}; disks: {disks or 'none'}")
    loose = " ".join(sorted(name for name, disk in state.disks.items() if disk.host is None))
    print(f"unplugged: {loose or 'none'}; snapshots: {', '.join(state.snapshots) or 'none'}")


def _ssh(arguments: Arguments) -> int:
    host = _attach(arguments).hosts[arguments.host]
    host.connect(timeout_s=SSH_TIMEOUT_S)
    argv = [*host.ssh_argv(), *arguments.command]
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def _copy(arguments: Arguments) -> None:
    name, colon, path = arguments.destination.partition(":")
    if not colon or not path:
        raise LabUsage(f"{arguments.destination}: write it as HOST:PATH")
    if not arguments.source.exists():
        raise LabUsage(f"{arguments.source}: no such file or folder")
    _attach(arguments).hosts[require_host(name)].copy_in(arguments.source, path)


def _snapshot(arguments: Arguments) -> None:
    print(_attach(arguments).snapshot(arguments.snapshot))


def _restore(arguments: Arguments) -> None:
    seconds = _attach(arguments).restore(arguments.snapshot)
    print(f"restored {arguments.snapshot}, ssh on all hosts after {seconds:.1f} s")


def _prune(arguments: Arguments) -> None:
    print("\n".join(layers.prune(unused_s=0)) or "nothing to remove")


def _cable(arguments: Arguments) -> None:
    lab = _attach(arguments)
    (lab.mend if arguments.up else lab.cut)(arguments.host, link=arguments.link)


def _power(arguments: Arguments) -> None:
    lab = _attach(arguments)
    acts: dict[str, Callable[[str], object]] = {
        "off": lab.power_off,
        "on": lab.power_on,
        "reset": lab.reset,
        "freeze": lab.freeze,
        "thaw": lab.thaw,
    }
    acts[arguments.action](arguments.host)
