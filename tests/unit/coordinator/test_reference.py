"""What docs/coordinator.md says of the library is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import storage_agent.coordinator as coordinator_package
from storage_agent.coordinator.coordinator import Coordinator

COORDINATOR = Path(coordinator_package.__file__).parent
TEXT = (
    (Path(__file__).parents[3] / "docs" / "coordinator.md").read_text().split("## From Python")[1]
)
EXAMPLE = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
CALLS = re.findall(r"^\| `(\w+)\.(\w+)\(", TEXT, re.MULTILINE)


def test_the_example_is_python_and_finds_what_it_imports() -> None:
    assert EXAMPLE
    imports = [line for line in EXAMPLE[1].splitlines() if line.startswith("from ")]
    assert imports
    compile(EXAMPLE[1], "docs/coordinator.md", "exec")
    exec("\n".join(imports), {})


@pytest.mark.parametrize(("owner", "name"), CALLS, ids="-".join)
def test_what_the_table_names_is_there(owner: str, name: str) -> None:
    if owner == "coordinator":
        assert callable(getattr(Coordinator, name))
    else:
        (path,) = COORDINATOR.rglob(f"{owner}.py")
        dotted = ".".join(path.relative_to(COORDINATOR.parents[1]).with_suffix("").parts)
        module = importlib.import_module(dotted)
        assert callable(getattr(module, name))


def test_the_table_was_read() -> None:
    assert len(CALLS) > 6
