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
