"""The structure that docs/architecture.md draws, held: arrows of imports, and the one place that
starts processes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "storage_agent"

# What each part may import of ours, besides itself.
# model <- host, policy <- operations <- engine <- service <- cli
MAY_IMPORT: dict[str, frozenset[str]] = {
    "model": frozenset(),
    # Over the socket only: it starts once a session.
    "ssh": frozenset(),
    "configuration": frozenset({"model"}),
    "host": frozenset({"model", "configuration"}),
    "policy": frozenset({"model"}),
    "nfs_server": frozenset({"model", "host", "configuration"}),
}
MAY_IMPORT["operations"] = frozenset({"model", "host", "policy"})
MAY_IMPORT["engine"] = MAY_IMPORT["operations"] | {"operations"}
MAY_IMPORT["service"] = MAY_IMPORT["engine"] | {"engine", "configuration", "nfs_server"}
MAY_IMPORT["cli"] = MAY_IMPORT["service"] | {"service"}
# The coordinator sees hosts through the wire alone; its command shows them as the local one does.
MAY_IMPORT["coordinator"] = frozenset({"model", "configuration"})
MAY_IMPORT["coordinator_cli"] = frozenset(
    {"model", "configuration", "coordinator", "cli", "host", "policy", "service"}
)

# Not even imported. threading and sockets are everyone's.
PROCESS_MODULES = frozenset({"subprocess", "multiprocessing", "pty"})
# Names that start a process, by module.
STARTS_PROCESS = {
    "os": frozenset({"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}),
    "asyncio": frozenset({"create_subprocess_exec", "create_subprocess_shell"}),
}
OS_PREFIXES = ("exec", "spawn")
# Who else, and what: our own code in another namespace, never a program.
FORKS = {
    "host/system/apart.py": {"os.fork"},
    "nfs_server/canary.py": {"os.fork"},
    "nfs_server/host_side.py": {"os.fork"},
}

# Who does something among the host's own mounts (host/system/outside.py).
LEAVES = frozenset(
    {
        "host/system/apart.py",
        "host/system/runner.py",
        # A mount point made and removed, mount, umount, a server's view of its volume.
        "host/filesystem/adapter.py",
        "host/filesystem/mountpoint.py",
        "host/made.py",
        # What is written on a volume.
        "host/linux.py",
        "host/perform.py",
        "host/volume/marker_tick.py",
        # md's sysfs.
        "host/md/adapter.py",
        # The name of a network namespace.
        "nfs_server/host_side.py",
        "nfs_server/namespaces.py",
    }
)


# Names by which a volume, or what lies on one, is opened or changed: never outside host/volume.
OPENS = {
    "os": frozenset(
        {
            "open",
            "mkdir",
            "makedirs",
            "mkfifo",
            "mknod",
            "link",
            "symlink",
            "rename",
            "replace",
            "unlink",
            "remove",
            "rmdir",
            "chmod",
            "chown",
            "lchown",
            "truncate",
            "utime",
            "listdir",
            "scandir",
            "walk",
            "readlink",
        }
    ),
    "shutil": frozenset({"rmtree", "copy", "copyfile", "move", "copytree", "chown"}),
    "syscalls": frozenset({"openat2", "rename", "mount"}),
}
OPENS_AS = frozenset({"open", "Path", "replace_file", "sync_folder", "open_folder", "connect"})
# Who says where a volume is. Below, why the exceptions are none.
VOLUME_WORDS = frozenset({"mount_point", "AGENT_FOLDER"})
OWN_FOLDER = ".storage-agent"
# The mount itself, and a mount point before there is a volume on it; both are checked there.
KEEPS_MOUNT_POINTS = ("host/filesystem/",)
# Through NFS, as a client: what it meets there is the server's to decide.
CLIENTS_OF_NFS = frozenset({"nfs_server/canary.py", "coordinator/client_proof.py"})
# Commands and advice for people; not opened here.
ONLY_SAYS = ("operations/steps.py", "policy/")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def part_of(path: Path) -> str:
    """`host` for storage_agent/host/system/runner.py; empty for storage_agent/__init__.py."""
    return path.relative_to(PACKAGE).parts[0] if path.parent != PACKAGE else ""


def our_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and part of each import of ours, also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            module = node.module or ""
            is_package = module == "storage_agent"
            names = [f"{module}.{a.name}" for a in node.names] if is_package else [module]
        else:
            continue
        for name in names:
            if name.startswith("storage_agent."):
                yield node.lineno, name.split(".")[1]


def process_starts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything that can start a process."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            used = [(alias.name.split(".")[0], "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            used = [((node.module or "").split(".")[0], alias.name) for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used = [(node.value.id, node.attr)]
        else:
            continue
        for module, name in used:
            if starts_process(module, name):
                yield node.lineno, f"{module}.{name}".rstrip(".")


def starts_process(module: str, name: str) -> bool:
    return (
        module in PROCESS_MODULES
        or name in STARTS_PROCESS.get(module, ())
        or (module == "os" and name.startswith(OS_PREFIXES))
    )


def opens_on_a_volume(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each call that opens or changes something by a name that mentions where a
    volume is. A path that was given another name first is not seen: reviews still count."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not _opens(node.func):
            continue
        given = [*node.args, *(word.value for word in node.keywords)]
        words = {
            name
            for argument in given
            for inner in ast.walk(argument)
            for name in (getattr(inner, "attr", ""), getattr(inner, "id", ""))
        }
        if words & VOLUME_WORDS:
            yield node.lineno, ast.unparse(node)


def _opens(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in OPENS_AS
    if not isinstance(function, ast.Attribute):
        return False
    if isinstance(function.value, ast.Name) and function.value.id in OPENS:
        return function.attr in OPENS[function.value.id]
    return function.attr in OPENS_AS


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_only_the_door_opens_what_lies_on_a_volume(path: Path) -> None:
    name = name_of(path)
    tree = ast.parse(path.read_text(), str(path))
    if name.startswith("host/volume/"):
        return
    if not name.startswith(KEEPS_MOUNT_POINTS) and name not in CLIENTS_OF_NFS:
        assert list(opens_on_a_volume(tree)) == []
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if node.body and isinstance(node.body[0], ast.Expr)
    }
    named = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and id(node) not in docs
        if isinstance(node.value, str) and OWN_FOLDER in node.value.split("/")
    ]
    if name not in CLIENTS_OF_NFS and not name.startswith(ONLY_SAYS):
        assert named == [], f"{name} names the agent's folder: ask host/volume/own.py"


def test_in_the_door_itself_no_path_is_opened_but_the_volumes_root() -> None:
    """All else goes by a name in an open folder."""
    tree = ast.parse((PACKAGE / "host/volume/door.py").read_text())
    (enter,) = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "enter")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _opens(node.func) and ast.unparse(node.func) != "Path":
            relative = any(word.arg == "dir_fd" for word in node.keywords)
            text = ast.unparse(node)
            by_descriptor = "descriptor" in text or "/proc/self/fd/" in text or "folder" in text
            at_root = any(node is inner for inner in ast.walk(enter))
            assert relative or by_descriptor or at_root, text
    assert "RESOLVE_NO_SYMLINKS" in ast.unparse(tree)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_inwards(path: Path) -> None:
    part = part_of(path)
    wrong = [
        f"{name_of(path)}:{line} imports {imported}"
        for line, imported in our_imports(ast.parse(path.read_text(), str(path)))
        if part and imported != part and imported not in MAY_IMPORT[part]
        if (PACKAGE / imported).is_dir()
    ]
    assert wrong == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_only_the_runner_starts_processes(path: Path) -> None:
    found = {name for _, name in process_starts(ast.parse(path.read_text(), str(path)))}
    if name_of(path) == "host/system/runner.py":
        assert "subprocess.Popen" in found
    else:
        assert found == FORKS.get(name_of(path), set())


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_who_leaves_the_units_mounts(path: Path) -> None:
    """What goes outside is free of the unit's limits on files: so little of it, and each known."""
    tree = ast.parse(path.read_text(), str(path))
    words = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    asked = any(word.arg == "outside" for word in words)
    imported = any(
        alias.name == "outside"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )
    assert (asked or imported) == (name_of(path) in LEAVES)


def test_the_gateway_imports_nothing_that_is_written_in_python() -> None:
    """It starts once a session: each such module would show. os and sys are there already."""
    tree = ast.parse((PACKAGE / "ssh/gateway.py").read_text())
    names = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
        )
    }
    assert names <= {"__future__", "_socket", "os", "select", "sys", "syslog", "time"}


def test_every_part_has_its_arrows() -> None:
    parts = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert parts <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import subprocess", ["subprocess"]),
        ("def f():\n    import multiprocessing.pool", ["multiprocessing"]),
        ("from subprocess import run", ["subprocess.run"]),
        ("import os\nos.execvp('a', ['a'])", ["os.execvp"]),
        ("import os\nos.getpid()", []),
        ("from os import fork", ["os.fork"]),
    ],
)
def test_process_starts_are_seen(source: str, names: list[str]) -> None:
    assert [name for _, name in process_starts(ast.parse(source))] == names


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("from storage_agent.host.system.runner import Runner", ["host"]),
        ("from storage_agent import policy", ["policy"]),
        ("def f():\n    import storage_agent.engine.run", ["engine"]),
        ("import json", []),
    ],
)
def test_imports_are_seen(source: str, parts: list[str]) -> None:
    assert [part for _, part in our_imports(ast.parse(source))] == parts


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("os.open(volume.mount_point + '/x', 0)", 1),
        ("Path(settings.mount_point, 'x').mkdir()", 1),
        ("replace_file(Path(mount_point) / 'x', b'')", 2),
        ("syscalls.mount(f'{self._settings.mount_point}/x', '/run')", 1),
        ("open(dir_fd=3, file=AGENT_FOLDER)", 1),
        ("print(volume.mount_point)", 0),
        ("os.path.ismount(volume.mount_point)", 0),
        ("Path('/run/x').mkdir()", 0),
    ],
)
def test_opening_on_a_volume_is_seen(source: str, count: int) -> None:
    assert len(list(opens_on_a_volume(ast.parse(source)))) == count
