"""scripts/fuzz --volumes N --seed S: hostile volumes, and all code that touches one run on them.

As root in a mount namespace and a root folder of its own, so that nothing of it stays, and nothing
that a door without its guards would follow leads out of it. Each tree is a filesystem of
its own (tmpfs, which has the immutable flag since Linux 6.6) with users' data beside the agent's
folder, and links that lead to these and out of the volume. Four things are a failure: an open or
change of anything but the agent's folder, as the kernel tells it (fanotify), or as the data shows
afterwards (content, owner, mode, and the time of the last change of any kind); an exception that
is no refusal; a call that does not return.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from storage_agent.host.system import syscalls
from storage_agent.host.volume.door import enter
from storage_agent.host.volume.keeping import hold, keep, release
from storage_agent.host.volume.marker import read_marker, write_into
from storage_agent.host.volume.own import tracking_folder
from storage_agent.host.volume.presence import what_is_wrong
from storage_agent.model.errors import AgentError
from storage_agent.model.operation import Marker
from storage_agent.nfs_server.connections import ConnectionRecorder, read_record
from storage_agent.nfs_server.reclaims import describe_waiting
from storage_agent.nfs_server.tracking import clean
from tests.unit.host.volume.fanotify import Watch
from tests.unit.host.volume.hostile import OUTSIDE, OWN, USERS, Hostile

CALL_S = 20
ADDRESS = "10.9.0.10"
MARKER = Marker(epoch=8, counter=1, operation_id="op", host="alpha", boot_id="b", wall_s=1.0)
MOVED_TO = f"/volume/{USERS}/folder/x/"
Facts = dict[str, tuple[int, ...]]


class Hangs(BaseException):
    """No OSError and no AgentError: nothing that is tested catches it."""


@dataclass(slots=True)
class Summary:
    trees: int = 0
    calls: int = 0
    opened: int = 0
    made: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def text(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.made.most_common())
        refused = ", ".join(f"{count} {kind}" for kind, count in self.refused.most_common())
        shown = "".join(f"\n  {line}" for line in self.wrong[:20])
        return (
            f"{self.trees} trees ({kinds})\n{self.calls} calls, refused: {refused or 'none'}\n"
            f"{self.opened} opens seen, wrong: {len(self.wrong)}{shown}"
        )


def fuzz(trees: int, seed: int) -> Summary:
    """In a child with namespaces of its own. Raises OSError where that is not permitted."""
    top = tempfile.mkdtemp(prefix="hostile-")
    try:
        return _in_child(trees, seed, top)
    finally:
        os.rmdir(top)


def _in_child(trees: int, seed: int, top: str) -> Summary:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                try:
                    summary = _fuzz(trees, seed, top)
                except Exception:
                    pipe.write(traceback.format_exc())
                    raise
                pipe.write(repr((summary.trees, summary.calls, summary.opened, dict(summary.made),
                                 dict(summary.refused), summary.wrong[:100])))  # fmt: skip
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status or not text:
        raise OSError(f"the fuzzer's process ended with {status}: {text}")
    found = ast.literal_eval(text)
    trees, calls, opened, made, refused, wrong = found
    return Summary(trees, calls, opened, Counter(made), Counter(refused), wrong)


def _fuzz(trees: int, seed: int, top: str) -> Summary:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    signal.signal(signal.SIGALRM, _hangs)
    # What is set aside is also logged, thousands of times.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.umask(0o022)
    syscalls.mount("none", top, "tmpfs", 0, "size=16m")
    for name in ("volume", OUTSIDE, "proc"):
        os.mkdir(f"{top}/{name}")
    # Not even a bug can leave it: the door needs /proc/self/fd, and nothing else.
    syscalls.mount("/proc", f"{top}/proc", flags=syscalls.MS_BIND | syscalls.MS_REC)
    os.chroot(top)
    os.chdir("/")
    summary = Summary()
    for number in range(trees):
        _tree(Random(f"{seed} {number}"), summary, f"tree {number}")
        summary.trees += 1
    return summary


def _tree(random: Random, summary: Summary, name: str) -> None:
    root, outside = "/volume", f"/{OUTSIDE}"
    for place in (root, outside):
        syscalls.mount("none", place, "tmpfs", 0, "size=64m,nr_inodes=5k,mode=0777")
    try:
        hostile = Hostile(random, root, outside, summary.made)
        hostile.plant()
        for link in ("linked", "linked2"):
            Path(root, USERS, link).write_text("a user's own")
        hostile.build()
        before = facts(root, outside) | _top()
        watch = Watch()
        for place in (root, outside, "/"):
            watch.add(place)
        for what, call in _calls(hostile):
            summary.calls += 1
            _call(f"{name}, {what}", call, summary)
        strangers = Counter(path for path in _opened(watch, summary) if not _is_ours(path, root))
        summary.wrong += [f"{name}: {path!r} was opened {n}×" for path, n in strangers.items()]
        watch.close()
        after = facts(root, outside) | _top()
        changed = [path for path in before | after if before.get(path) != after.get(path)]
        summary.wrong += [f"{name}: {path!r} was changed" for path in changed]
    finally:
        for place in (outside, root):
            try:
                syscalls.unmount(place)
            except OSError as exc:
                # Something of it is still open; it goes with the namespace.
                summary.wrong.append(f"{name}: {place}: {exc.strerror}")


def _opened(watch: Watch, summary: Summary) -> Iterator[str]:
    for path in watch.opened():
        summary.opened += 1
        yield path


def _is_ours(path: str, root: str) -> bool:
    """The root itself, the agent's folder, or where a user has moved it, and what lies in it."""
    if path == root:
        return True
    below = path.removeprefix(f"{root}/") if path.startswith(f"{root}/") else ""
    moved = ("users/folder/x", ".was")
    return below.startswith(OWN) or below in ("", USERS, "users/folder") or below.startswith(moved)


def _call(name: str, call: Callable[[], object], summary: Summary) -> None:
    signal.alarm(CALL_S)
    try:
        call()
    except (OSError, AgentError) as exc:
        summary.refused[type(exc).__name__] += 1
    except Hangs:
        summary.wrong.append(f"{name}: does not return")
    except Exception as exc:
        summary.wrong.append(f"{name}: {type(exc).__name__}: {exc}")
    finally:
        signal.alarm(0)


def _hangs(*_: object) -> None:
    raise Hangs


def _calls(hostile: Hostile) -> Iterator[tuple[str, Callable[[], object]]]:
    """As daemon and server make them, one after the other on the same tree."""
    at, random = hostile.root, hostile.random
    looks: list[tuple[str, Callable[[], object]]] = [
        ("reading the marker", lambda: read_marker(Path(at))),
        ("looking", lambda: what_is_wrong(at)),
        ("reading the connections", lambda: read_record(at, ADDRESS)),
        ("asking who reclaims", lambda: describe_waiting(at)),
    ]
    random.shuffle(looks)
    yield from looks
    yield "writing the marker", lambda: _write(at, afresh=random.random() < 0.5)
    yield "serving", lambda: _serve(hostile)
    yield from looks
    yield "writing the marker again", lambda: _write(at, afresh=False)


def _write(at: str, *, afresh: bool) -> None:
    with enter(at) as root:
        write_into(root, MARKER, afresh=afresh)


def _serve(hostile: Hostile) -> None:
    at = hostile.root
    held, _ = hold(at)
    try:
        with tracking_folder(at) as folder:
            clean(folder)
        for number in range(3):
            recorder = ConnectionRecorder(at, ADDRESS)
            recorder._write((f"10.9.0.3:{number + 1}",))
            with contextlib.suppress(OSError):
                _lift(held.own.descriptor)
            hostile.disturb()
            keep(at, held)
        # Nobody disturbs it any more: now all of it must be as it should be.
        keep(at, held)
        if keep(at, held):
            raise AssertionError("it is never as it should be")
        release(held)
    finally:
        held.close()


def _lift(descriptor: int) -> None:
    """As root on the host: a client cannot."""
    syscalls.set_immutable(descriptor, on=False)


def _top() -> Facts:
    """The folder that is this process's root."""
    seen = os.lstat("/")
    return {"/": (seen.st_mode, seen.st_ctime_ns, len(os.listdir("/")))}


def facts(*folders: str) -> Facts:
    """Of all data of users: what changes with any change, and nothing that a look changes."""
    found: Facts = {}
    for folder in folders:
        base = f"{folder}/{USERS}" if os.path.isdir(f"{folder}/{USERS}") else folder
        for path, names, files in os.walk(base):
            for name in (*names, *files):
                if name.startswith("linked") or f"{path}/{name}/".startswith(MOVED_TO):
                    continue  # Its names come and go with the tree.
                seen = os.lstat(f"{path}/{name}")
                more: tuple[int, ...] = (seen.st_size, seen.st_ctime_ns)
                if path == f"{folder}/{USERS}" and name == "folder":
                    more = ()  # Users move the agent's folder in there.
                found[f"{path}/{name}"] = (seen.st_mode, seen.st_uid, seen.st_gid, *more)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz")
    parser.add_argument("--volumes", type=int, required=True, metavar="N", help="trees")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begin_s = time.monotonic()
    summary = fuzz(options.volumes, options.seed)
    print(f"{summary.text()}\nseed {options.seed}, {time.monotonic() - begin_s:.0f} s")
    return 1 if summary.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
