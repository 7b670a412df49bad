"""Rules for the whole run.

Unit and simulation tests start no process and open no socket unless they are marked so, and leave
no child behind. Every test has a time limit by its folder. With `--whole` (CI) the run also fails
if a test was skipped or a required part ran none.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
from _pytest.terminal import TerminalReporter

TESTS = Path(__file__).parent
GUARDED = frozenset({"unit", "simulation"})
REQUIRED = frozenset({"style", "unit", "simulation", "gateway", "packaging", "lab"})
# Per test, including the fixtures it is the first to need; generous, for a machine that is busy.
TIME_LIMITS_S = {
    "unit": 60,
    "simulation": 300,
    "gateway": 120,
    "packaging": 300,
    "style": 300,
    "lab": 1800,
}


def part_of(path: Path) -> str:
    """`unit`, `lab` …; `style` for the tests directly in tests/."""
    folders = path.relative_to(TESTS).parts[:-1]
    return folders[0] if folders else "style"


# -- no process, no socket ------------------------------------------------------------------------

STARTS_PROCESS = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    }
)
DESCRIPTORS_LEFT = 8
THREADS_END_S = 10.0
USES_ADDRESS = frozenset({"socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto"})


class Guard:
    """What the running test may not do. An audit hook stays for good, so it asks this each time."""

    processes = False
    sockets = False

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if self.processes and event in STARTS_PROCESS:
            pytest.fail(f"starts a process ({event} {args[:2]}); mark it @pytest.mark.processes")
        # socket.socketpair() stays allowed: it reaches nobody.
        if self.sockets and (
            event in USES_ADDRESS
            or (event == "socket.__new__" and args[1] not in (-1, socket.AF_UNIX))
        ):
            pytest.fail(f"uses a socket ({event}); mark it @pytest.mark.sockets")


guard = Guard()
sys.addaudithook(guard.audit)


@pytest.hookimpl(hookwrapper=True)  # type: ignore[untyped-decorator]  # pytest 7.2
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    guarded = part_of(item.path) in GUARDED
    guard.processes = guarded and item.get_closest_marker("processes") is None
    guard.sockets = guarded and item.get_closest_marker("sockets") is None
    try:
        yield
    finally:
        guard.processes = guard.sockets = False


@pytest.fixture(autouse=True)
def no_child_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only tests that may start processes can leave one."""
    if part_of(request.path) not in GUARDED or guard.processes:
        yield
        return
    process = psutil.Process()
    before = set(process.children(recursive=True))
    yield
    left = [child for child in process.children(recursive=True) if child not in before]
    for child in left:
        child.kill()
    assert not left, f"left processes behind: {left}"


@pytest.fixture(autouse=True, scope="module")
def no_descriptor_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is dropped closes what it held, once its threads have ended. The interpreter keeps a
    few of its own."""
    limit = _descriptors() + DESCRIPTORS_LEFT
    yield
    if part_of(request.path) not in GUARDED:
        return
    deadline_s = time.monotonic() + THREADS_END_S
    while (left := _descriptors()) > limit and time.monotonic() < deadline_s:
        gc.collect()
        time.sleep(0.02)
    assert left <= limit, f"{left} descriptors are open: {left - limit + DESCRIPTORS_LEFT} more"


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- what runs, and how long it may ----------------------------------------------------------------

# One in so many of the long scenarios runs beside the rest: what fits into 75 minutes on two cores.
LONG_SHARES = 12


def is_in_share(name: str, commit: str) -> bool:
    """Whether this commit (its id, hexadecimal) runs the long scenario of this name."""
    own = int(sha256(name.encode()).hexdigest(), 16)
    return (own + int(commit, 16)) % LONG_SHARES == 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.markexpr and not names_a_test(config):
        left_out = [item for item in items if is_left_out(item, config.getoption("--long-share"))]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIME_LIMITS_S[part_of(item.path)]))


def is_left_out(item: pytest.Item, commit: str | None) -> bool:
    if item.get_closest_marker("long") is None:
        return False
    return commit is None or not is_in_share(item.nodeid, commit)


def names_a_test(config: pytest.Config) -> bool:
    """tests/lab/test_power.py::test_both asks for it, long or not."""
    return any("::" in path for path in config.args)


# -- the whole run, or nothing --------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--whole",
        action="store_true",
        help="fail if a test is skipped, or if a part that is asked for runs no test; the parts: "
        + ", ".join(sorted(REQUIRED)),
    )
    parser.addoption(
        "--long-share",
        metavar="COMMIT",
        help=f"beside the rest, also one in {LONG_SHARES} of the long scenarios: those that this "
        "commit's id chooses",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--whole"):
        config.pluginmanager.register(WholeRun(asked_for(config)), "whole-run")


def asked_for(config: pytest.Config) -> frozenset[str]:
    """The required parts that lie under the run's paths and are not ignored."""
    ignored = {Path(path).resolve() for path in config.getoption("ignore") or ()}
    paths = [Path(path.partition("::")[0]).resolve() for path in config.args]

    def is_asked(part: str) -> bool:
        folder = TESTS if part == "style" else TESTS / part
        return folder not in ignored and any(folder.is_relative_to(path) for path in paths)

    return frozenset(filter(is_asked, REQUIRED))


class WholeRun:
    """Counts what ran, per part, and turns a run with gaps into a failed one."""

    def __init__(self, required: frozenset[str]) -> None:
        self.required = required
        self.passed: Counter[str] = Counter()
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self.skipped.append(report.nodeid)
        if report.when == "call" and report.passed:
            self.passed[part_of(TESTS.parent / report.nodeid.partition("::")[0])] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped.append(report.nodeid)

    def gaps(self) -> list[str]:
        none_ran = [f"no test of tests/{part} passed" for part in self.required - set(self.passed)]
        return sorted(none_ran) + [f"skipped: {name}" for name in self.skipped]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.gaps() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        for gap in self.gaps():
            terminalreporter.write_line(f"--whole: {gap}", red=True)
        terminalreporter.write_line(
            "passed: " + ", ".join(f"{part} {n}" for part, n in sorted(self.passed.items()))
        )
