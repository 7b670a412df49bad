"""Fixtures of the lab scenarios.

    lab_image     the snapshot with the project's package installed (built, or from the cache)
    lab_session   a running lab, for the whole session
    lab           that lab, restored for each test: to the snapshot with the package, or to the
                  situation named by @pytest.mark.lab_situation("NAME") (tests/lab/situations.py)

A failed test leaves logs and kernel state of each host in lab-artifacts/TEST, named in its report.
A lab that does not start is an error, never a skip.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from tests.lab.harness import layers
from tests.lab.harness.collect import collect, kernel_trouble
from tests.lab.harness.errors import LabError
from tests.lab.harness.lab import Lab
from tests.lab.situations import SITUATIONS

ROOT = Path(__file__).resolve().parents[2]
BUILD_DEB = ROOT / "scripts" / "build-deb"
BUILD_DEB_TIMEOUT_S = 600
SECTION = "lab"

LabStage = Callable[..., str]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lab")
    group.addoption(
        "--keep",
        action="store_true",
        help="stop at the first failed lab test and leave the guests up",
    )
    group.addoption(
        "--lab-deb",
        type=Path,
        metavar="PATH",
        help="the package to install in the hosts, or `none` (default: scripts/build-deb)",
    )
    group.addoption("--lab-name", default="pytest", help="the lab's name (default: pytest)")


def option(config: pytest.Config, name: str, default: Any) -> Any:
    """pytest knows these options only where tests/lab is named on its command line."""
    return config.getoption(name, default)


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "lab_situation(name): start from this situation of tests/lab/situations.py",
        "lab_snapshot(name): start from this snapshot, made by the fixture lab_stage",
        "lab_allows(pattern): kernel messages that this test may cause",
    ):
        config.addinivalue_line("markers", line)
    config.pluginmanager.register(Keeper(config), "lab-keeper")


class Keeper:
    """--keep: the first failed lab test ends the run, and its guests stay."""

    def __init__(self, config: pytest.Config) -> None:
        self._wanted = bool(option(config, "--keep", False))
        self.lab: Lab | None = None
        self.kept = False

    def failed(self, session: pytest.Session) -> None:
        if self._wanted:
            self.kept = True
            session.shouldstop = "--keep: the guests of the failed test are left up"

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        if self.kept and self.lab:
            terminalreporter.write_line("The guests are up. To look:", bold=True)
            for name in self.lab.hosts:
                terminalreporter.write_line(f"  scripts/lab --name {self.lab.name} ssh {name}")
            terminalreporter.write_line(f"To end: scripts/lab --name {self.lab.name} down")


# -- fixtures -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def lab_image(request: pytest.FixtureRequest) -> Path:
    """The snapshot that scenarios start from."""
    chosen = option(request.config, "--lab-deb", None)
    packages = [] if str(chosen) == "none" else [chosen or _build_package()]
    return layers.build(packages, progress=_progress(request))


def _build_package() -> Path:
    built = subprocess.run(
        [BUILD_DEB], cwd=ROOT, capture_output=True, text=True, timeout=BUILD_DEB_TIMEOUT_S
    )
    if built.returncode != 0:
        raise LabError(f"scripts/build-deb ended with {built.returncode}: {built.stderr[-1000:]}")
    return Path(built.stdout.splitlines()[-1])


def _progress(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Building takes minutes: what goes on is shown at once, whatever is captured."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    def show(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"lab: {text}")

    return show


@pytest.fixture(scope="session")
def lab_session(lab_image: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One running lab for all tests; ended at the end, or with this process."""
    name = option(request.config, "--lab-name", "pytest")
    keeper: Keeper = request.config.pluginmanager.get_plugin("lab-keeper")
    lab = keeper.lab = Lab.start(name, snapshot=lab_image)
    yield lab
    if keeper.kept:
        lab.release_guard()
    else:
        lab.stop()


@pytest.fixture(scope="session")
def lab_stage(lab_session: Lab, lab_image: Path) -> LabStage:
    """stage(NAME, BUILDER, BASE): makes that situation once a session, from the snapshot BASE or
    from hosts with nothing but the package; later calls only name it."""

    def stage(name: str, builder: Callable[[Lab], None], base: str | None = None) -> str:
        if name not in lab_session.state().snapshots:
            lab_session.restore(base or lab_image)
            builder(lab_session)
            lab_session.snapshot(name)
        return name

    return stage


@pytest.fixture
def lab(
    lab_session: Lab, lab_image: Path, lab_stage: LabStage, request: pytest.FixtureRequest
) -> Iterator[Lab]:
    """The lab as the test wants it. Afterwards no kernel may have complained."""
    request.node.lab_used = lab_session
    lab_session.restore(_wanted_snapshot(lab_image, lab_stage, request.node))
    yield lab_session
    _check_kernels(lab_session, request.node)


def _wanted_snapshot(image: Path, stage: LabStage, node: pytest.Item) -> str | Path:
    if marker := node.get_closest_marker("lab_snapshot"):
        return str(marker.args[0])
    if marker := node.get_closest_marker("lab_situation"):
        return _situation(stage, str(marker.args[0]))
    return image


def _situation(stage: LabStage, name: str) -> str:
    situation = SITUATIONS[name]
    base = _situation(stage, situation.base) if situation.base else None
    return stage(name, situation.build, base)


def _check_kernels(lab: Lab, node: pytest.Item) -> None:
    allowed = [marker.args[0] for marker in node.iter_markers("lab_allows")]
    trouble = [
        line
        for line in kernel_trouble(lab)
        if not any(re.search(pattern, line) for pattern in allowed)
    ]
    if trouble:
        pytest.fail("kernel trouble:\n" + "\n".join(trouble), pytrace=False)


# -- what a failure leaves behind -----------------------------------------------------------------


@pytest.hookimpl(hookwrapper=True)  # type: ignore[untyped-decorator]  # pytest 7.2
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, object, None]:
    """Collects before the fixture restores or ends the lab."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    lab = getattr(item, "lab_used", None)
    if not report.failed or lab is None:
        return
    folder = ROOT / "lab-artifacts" / re.sub(r"[^\w.-]+", "_", item.nodeid.partition("lab/")[2])
    if not getattr(item, "lab_collected", False):
        collect(lab, folder)
        item.lab_collected = True  # type: ignore[attr-defined]
    item.config.pluginmanager.get_plugin("lab-keeper").failed(item.session)
    report.sections.append((SECTION, _where_to_look(lab, folder)))


def _where_to_look(lab: Lab, folder: Path) -> str:
    words = shlex.join(("pytest", "--keep"))
    return (
        f"logs and kernel state of each host: {folder.relative_to(ROOT)}\n"
        f"to keep the guests of a failed test: {words}; lab name: {lab.name}"
    )
