"""Which codes a decision can give: read from the code, so that no list can fall behind it.

A walk over what a function calls, as far as names tell: functions of the same module and imported
ones, methods of the same object, and of the objects that its constructor was given.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage_agent.policy.catalogue import CATALOGUE

PACKAGE = Path(__file__).resolve().parents[2]
# What stands behind a port on a real host.
BEHIND = {"Store": ("storage_agent.host.system.store", "FileStore")}
_LOOKS = (
    "storage_agent.policy.",
    "storage_agent.engine.",
    "storage_agent.model.",
    "storage_agent.host.system.store",
)
Function = ast.FunctionDef


@dataclass(frozen=True)
class _Module:
    name: str
    functions: dict[str, Function]
    classes: dict[str, ast.ClassDef]
    imported: dict[str, tuple[str, str]]
    constants: dict[str, object]

    @classmethod
    def read(cls, name: str) -> _Module:
        path = PACKAGE.joinpath(*name.split(".")).with_suffix(".py")
        tree = ast.parse(path.read_text())
        return cls(
            name=name,
            functions={n.name: n for n in tree.body if isinstance(n, Function)},
            classes={n.name: n for n in tree.body if isinstance(n, ast.ClassDef)},
            imported={
                alias.asname or alias.name: (node.module or "", alias.name)
                for node in tree.body
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            },
            constants={
                target.id: node.value.value
                for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
                for target in node.targets
                if isinstance(target, ast.Name)
            },
        )


class Walk:
    def __init__(self) -> None:
        self._modules: dict[str, _Module] = {}
        self._seen: set[tuple[str, str, str]] = set()
        self.codes: set[str] = set()

    def follow(self, module: str, function: str, owner: str = "") -> None:
        """owner: the class whose method it is."""
        if (module, owner, function) in self._seen or not module.startswith(_LOOKS):
            return
        self._seen.add((module, owner, function))
        if module not in self._modules:
            self._modules[module] = _Module.read(module)
        read = self._modules[module]
        found = _method(read, owner, function) if owner else read.functions.get(function)
        if found is None:
            return
        for node in ast.walk(found):
            if isinstance(node, ast.Constant) and node.value in CATALOGUE:
                self.codes.add(str(node.value))
            elif isinstance(node, ast.Name):
                self._named(read, node.id)
            elif isinstance(node, ast.Attribute):
                self._attribute(read, owner, node)

    def _named(self, read: _Module, name: str) -> None:
        if read.constants.get(name) in CATALOGUE:
            self.codes.add(str(read.constants[name]))
        if name in read.functions:
            self.follow(read.name, name)
        elif name in read.imported:
            self.follow(*read.imported[name])

    def _attribute(self, read: _Module, owner: str, node: ast.Attribute) -> None:
        """`self.method`, and `self._part.method` by the constructor's annotation of the part."""
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            self.follow(read.name, node.attr, owner)
        elif isinstance(node.value, ast.Attribute) and owner:
            for part, kind in _parts(read, owner):
                if node.value.attr == part:
                    place = BEHIND.get(kind) or read.imported.get(kind) or (read.name, kind)
                    self.follow(place[0], node.attr, place[1])


def _method(read: _Module, owner: str, name: str) -> Function | None:
    body = read.classes[owner].body if owner in read.classes else []
    return next((n for n in body if isinstance(n, Function) and n.name == name), None)


def _parts(read: _Module, owner: str) -> Iterator[tuple[str, str]]:
    """Attribute and class, of what the constructor is given or makes."""
    begin = _method(read, owner, "__init__")
    if begin is None:
        return
    given = {
        argument.arg: argument.annotation.id
        for argument in (*begin.args.args, *begin.args.kwonlyargs)
        if isinstance(argument.annotation, ast.Name)
    }
    for node in begin.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            value = node.value
            if isinstance(value, ast.Name) and value.id in given:
                yield node.targets[0].attr, given[value.id]
            elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
                yield node.targets[0].attr, value.func.id


def codes_of(*roots: tuple[str, str, str]) -> frozenset[str]:
    """roots: module, function, and the class whose method it is (empty: none)."""
    walk = Walk()
    for module, function, owner in roots:
        walk.follow(module, function, owner)
    return frozenset(walk.codes)
