"""storage-coordinator.deb: what it contains and depends on, its service, and that it comes and goes
without the agent's package."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Run, Unit, field, files, read_unit

MODULES = "usr/share/storage-coordinator/storage_agent"
SERVICE = "lib/systemd/system/storage-coordinator.service"
# dh_python3's: the modules are compiled anew for a new Python.
RTUPDATE = "usr/share/python3/runtime.d/storage-coordinator.rtupdate"
# As in debian/rules; what a control machine has no use for: engine, nfs_server, operations, ssh.
PARTS = {"cli", "configuration", "coordinator", "coordinator_cli", "host", "model", "policy",
         "service"}  # fmt: skip
MINIMUM_VERSIONS = {"python3": "3.11", "python3-paramiko": "2.12", "python3-systemd": "235"}
MAX_EXPOSURE = 20


@pytest.fixture(scope="module")
def service(coordinator_tree: Path) -> Unit:
    return read_unit(coordinator_tree / SERVICE)


# -- contents -------------------------------------------------------------------------------------


def test_it_holds_what_it_must(coordinator_tree: Path) -> None:
    others = {name for name in files(coordinator_tree) if not name.startswith(f"{MODULES}/")}
    documents = {name for name in others if name.startswith("usr/share/doc/storage-coordinator/")}
    assert "usr/share/doc/storage-coordinator/copyright" in documents
    assert "usr/share/doc/storage-coordinator/examples/coordinator.toml" in documents
    assert {re.sub(r"^usr/share/lintian/.*", "lintian", name) for name in others - documents} == {
        "usr/bin/storage-coordinator",
        SERVICE,
        "usr/share/man/man8/storage-coordinator.8.gz",
        RTUPDATE,
        "lintian",
    }


def test_its_modules_are_those_of_the_tree(coordinator_tree: Path) -> None:
    installed = files(coordinator_tree / MODULES)
    source = files(ROOT / "storage_agent")
    wanted = {name for name in source if name.partition("/")[0] in PARTS and name.endswith(".py")}
    assert installed == wanted | {"__init__.py", "py.typed"}


def test_nothing_of_it_is_in_the_agents_package_too(coordinator_tree: Path, tree: Path) -> None:
    """Both may be on one machine."""
    assert files(coordinator_tree) & files(tree) == set()


def test_it_owns_no_configuration(coordinator_tree: Path, coordinator_control: Path) -> None:
    """The admin writes it: only its folders are there."""
    found = {
        str(path.relative_to(coordinator_tree)) for path in (coordinator_tree / "etc").rglob("*")
    }
    assert found == {
        "etc/storage-coordinator",
        "etc/storage-coordinator/coordinator.d",
        "etc/storage-coordinator/hooks.d",
    }
    assert not (coordinator_control / "conffiles").exists()


def test_only_its_command_is_executable(coordinator_tree: Path) -> None:
    executable = {n for n in files(coordinator_tree) if os.access(coordinator_tree / n, os.X_OK)}
    assert executable == {"usr/bin/storage-coordinator", RTUPDATE}


# -- what it needs --------------------------------------------------------------------------------


def test_it_depends_on_python_alone(coordinator_control: Path) -> None:
    """Nothing of a storage host, and not on its package."""
    depends = field(coordinator_control, "Depends")
    versions = dict(re.findall(r"([\w.-]+) \(>= ([^)]+)\)", depends))
    assert versions == MINIMUM_VERSIONS
    names = {entry.split()[0].partition(":")[0] for entry in depends.split(", ")}
    assert names == set(MINIMUM_VERSIONS)


# Every module of the coordinator and its command, where only what the package depends on is there.
IMPORT_ALL = """\
import importlib, pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder.parent))
sys.modules.update(dict.fromkeys(("psutil", "pyudev", "structlog", "jsonschema")))
for part in ("coordinator", "coordinator_cli"):
    for path in sorted((folder / part).rglob("*.py")):
        name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))
        print(part, path.stem)
"""


def test_what_it_imports_it_depends_on(coordinator_tree: Path, run: Run) -> None:
    ended = run("/usr/bin/python3", "-I", "-B", "-c", IMPORT_ALL, coordinator_tree / MODULES)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {"coordinator ssh", "coordinator_cli service"} <= set(ended.stdout.splitlines())


# -- the service ----------------------------------------------------------------------------------


def test_systemd_understands_it(coordinator_tree: Path, run: Run, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(coordinator_tree, root, symlinks=True)
    for unit in Path("/lib/systemd/system").iterdir():
        target = root / "lib/systemd/system" / unit.name
        if unit.is_file() and not target.exists():
            shutil.copyfile(unit, target)
    verify = ("systemd-analyze", f"--root={root}", "--man=no", "verify", Path(SERVICE).name)
    ended = run(*verify)
    assert [line for line in ended.stderr.splitlines() if "storage-coordinator" in line] == []
    assert ended.returncode == 0, ended.stderr


def test_it_is_exposed_no_more_than_it_must_be(coordinator_tree: Path, run: Run) -> None:
    """What is left is what fencing and hooks take: the network, and root's own files."""
    threshold = f"--threshold={MAX_EXPOSURE}"
    ended = run(
        "systemd-analyze", "security", "--offline=true", threshold, coordinator_tree / SERVICE
    )
    assert ended.returncode == 0, ended.stdout[-400:]


def test_it_writes_only_where_its_record_is(service: Unit) -> None:
    assert service.values("ProtectSystem") == ["strict"]
    assert service.values("ReadWritePaths") == []
    assert service.values("StateDirectory") == ["storage-coordinator"]
    assert service.values("StateDirectoryMode") == ["0700"]
    assert service.values("CapabilityBoundingSet") == [""]


def test_that_the_record_is_no_old_backup_outlives_a_restart_of_the_service(service: Unit) -> None:
    assert service.values("RuntimeDirectory") == ["storage-coordinator"]
    assert service.values("RuntimeDirectoryPreserve") == ["yes"]


def test_it_comes_back_and_its_start_and_stop_are_bounded(service: Unit) -> None:
    """Whoever freezes meanwhile waits for it."""
    assert service.values("Restart") == ["always"]
    assert service.values("WatchdogSec") == ["60s"]
    for setting in ("TimeoutStartSec", "TimeoutStopSec"):
        assert re.fullmatch(r"\d+s", service.values(setting)[-1])


def test_boot_waits_for_nothing_of_it(service: Unit) -> None:
    assert service.values("Before") == []
    assert service.values("RequiredBy") == []
    assert service.values("DefaultDependencies") in ([], ["yes"])


def test_without_a_configuration_it_does_not_start(service: Unit) -> None:
    assert service.values("ConditionPathExists") == ["/etc/storage-coordinator/coordinator.toml"]


# -- coming and going -----------------------------------------------------------------------------


def test_lintian_has_nothing_to_say(coordinator_deb: Path, run: Run) -> None:
    ended = run("lintian", "-I", "--pedantic", "-E", "--fail-on", "error,warning", coordinator_deb)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_its_scripts_touch_no_unit_but_its_own(coordinator_control: Path) -> None:
    scripts = "".join((coordinator_control / name).read_text() for name in ("postinst", "postrm"))
    touched = set(re.findall(r"deb-systemd-\w+ .*?'([^']+)'", scripts))
    assert touched == {"storage-coordinator.service"}


@pytest.fixture(scope="module")
def tried(
    coordinator_deb: Path, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """What try-package.sh printed, by its headings."""
    if os.geteuid() != 0:
        pytest.fail("run as root: it installs the package in a mount namespace")
    work = tmp_path_factory.mktemp("try")
    script = ROOT / "tests/packaging/try-package.sh"
    namespace = ("unshare", "--mount", "--propagation", "private")
    ended = run(*namespace, script, work, coordinator_deb, "storage-coordinator")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, list[str]] = {}
    for line in ended.stdout.splitlines():
        if line.startswith("-- "):
            last = found[line[3:]] = []
        else:
            last.append(line)
    return found


def test_it_runs_without_the_agents_package(
    tried: dict[str, list[str]], coordinator_control: Path
) -> None:
    assert tried["before"] == []
    # Its modules are for its command alone.
    assert tried["modules"] == ["ModuleNotFoundError: No module named 'storage_agent'"]
    version = field(coordinator_control, "Version").partition("-")[0]
    assert tried["version"] == [f"storage-coordinator {version}"]


def test_removed_it_keeps_record_and_configuration(tried: dict[str, list[str]]) -> None:
    assert {
        "/var/lib/storage-coordinator/record",
        "/etc/storage-coordinator/known_hosts",
        "/etc/storage-coordinator/id_ed25519",
    } <= set(tried["removed"])
    assert [name for name in tried["removed"] if name.startswith("/usr/")] == []


def test_purged_it_leaves_nothing(tried: dict[str, list[str]]) -> None:
    assert tried["purged"] == ["dpkg-query: no packages found matching storage-coordinator"]
