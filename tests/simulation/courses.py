"""Courses: what is done to a pair of DRBD hosts, and what both show after each action.

The same courses run on the simulator (simulated_pair.py) and on two kernels in the lab
(tests/lab/bare_pair.py). They lie in tests/data/drbd-courses, where README.md explains them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

FOLDER = Path(__file__).parent.parent / "data" / "drbd-courses"
HOSTS = ("alpha", "beta")
FENCING = ("resource-and-stonith", "resource-only")
NOTHING = "-"
# Words of an action: who does it, what, and with what.
OF_A_HOST = frozenset(
    {
        "primary", "secondary", "disconnect", "connect", "attach", "down", "up",
        "writes", "opens", "closes", "crashes", "says", "cut",
        "disk-fails", "disk-breaks", "disk-works", "old-disk",
        "holds-reads", "holds-writes", "holds-flushes", "holds-resync", "lets-go",
        "speaks-late", "catches-up", "speaks",
    }
)  # fmt: skip
OF_BOTH = frozenset({"start", "cut", "mend"})


@dataclass(frozen=True, slots=True)
class Look:
    """What one host shows. identifiers, flags and blocks: only while a disk is attached."""

    state: str = "Unconfigured"
    identifiers: tuple[int, ...] = ()
    flags: str = ""
    blocks: tuple[str, ...] = ()
    # What waits or was refused: the last command, a fence-peer handler, writes.
    besides: tuple[str, ...] = ()


def is_as_written(expected: str, seen: str) -> bool:
    """The connection, the first word, may have alternatives: StandAlone|WFConnection. Which of two
    hosts that part hears the other's reason, and which only that it has gone, is a race."""
    connection, _, rest = expected.partition(" ")
    return seen in {f"{one} {rest}" for one in connection.split("|")}


def are_as_written(expected: Mapping[str, str], lines: Mapping[str, str]) -> bool:
    """Both hosts. Where both have alternatives, one at least has parted."""
    is_open = bool(expected) and all("|" in line for line in expected.values())
    has_parted = any(line.startswith("StandAlone ") for line in lines.values())
    return (has_parted or not is_open) and all(
        is_as_written(expected.get(host, ""), line) for host, line in lines.items()
    )


Looks = Mapping[str, Look]


class Letters:
    """Names for generation identifiers, A to Z as they first appear in a course."""

    def __init__(self, known: Mapping[int, str] | None = None) -> None:
        self._known = dict(known or {0: "0"})

    def copy(self) -> Letters:
        return Letters(self._known)

    def of(self, identifier: int) -> str:
        if identifier not in self._known:
            self._known[identifier] = chr(ord("A") + len(self._known) - 1)
        return self._known[identifier]


def shown(looks: Looks, letters: Letters) -> dict[str, str]:
    """A line a host, as it stands in a course."""
    lines = {}
    for host in HOSTS:
        look = looks[host]
        copy = NOTHING
        if look.identifiers:
            named = ":".join(letters.of(i) for i in look.identifiers)
            copy = f"{named} {look.flags or NOTHING} [{' '.join(look.blocks)}]"
        lines[host] = " ".join((look.state, copy, *sorted(look.besides)))
    return lines


@dataclass(frozen=True, slots=True)
class Step:
    """actions: done at once, one after the other. lines: by host, what it shows then."""

    actions: tuple[str, ...]
    lines: dict[str, str]


@dataclass(slots=True)
class Course:
    name: str
    file: str
    rules: tuple[str, ...] = ()
    fencing: str = FENCING[0]
    is_long: bool = False
    # The kernel of one host does not survive it.
    crashes_kernel: bool = False
    steps: list[Step] = field(default_factory=list)


class Pair(Protocol):
    """Two hosts that a course can be done to."""

    def start(self, fencing: str) -> None:
        """Both up, connected, in sync, empty and Secondary."""

    def act(self, action: str) -> None: ...

    def settled(self, expected: Mapping[str, str], letters: Letters) -> dict[str, str]:
        """What both show once they have come to rest."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One line of the table of a failed course."""

    action: str
    host: str
    expected: str
    seen: str
    is_right: bool


def follow(course: Course, pair: Pair) -> list[Seen]:
    """Does the whole course, whatever it shows."""
    letters = Letters()
    found = []
    for step in course.steps:
        for action in step.actions:
            if action == "start":
                pair.start(course.fencing)
            else:
                pair.act(action)
        lines = pair.settled(step.lines, letters)
        action = ", ".join(step.actions)
        are_right = are_as_written(step.lines, lines)
        for host in HOSTS:
            expected = step.lines.get(host, "")
            is_right = is_as_written(expected, lines[host]) and (are_right or "|" not in expected)
            found.append(Seen(action, host, expected, lines[host], is_right))
    return found


def table(seen: list[Seen], expected: str, other: str) -> str:
    """Empty where nothing differs. Else all of the course, differing lines twice."""
    if all(line.is_right for line in seen):
        return ""
    rows, action = [], ""
    for line in seen:
        if line.action != action:
            rows.append(line.action)
        action = line.action
        if line.is_right:
            rows.append(f"    {'':<10} {line.host:<5} {line.seen}")
            continue
        rows.append(f"  ! {expected:<10} {line.host:<5} {line.expected}")
        rows.append(f"  ! {other:<10} {line.host:<5} {line.seen}")
    return "\n".join(rows)


# --- the files -----------------------------------------------------------------------------------


def read_courses() -> list[Course]:
    """Raises ValueError for what is none."""
    return [c for path in sorted(FOLDER.glob("*.txt")) for c in parse_courses(path)]


def parse_courses(path: Path) -> Iterator[Course]:
    course: Course | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        try:
            if words[0] == "course":
                if course:
                    yield course
                course = Course(words[1], path.stem)
            else:
                assert course, "before the first course"
                _take(course, line, words)
        except (AssertionError, ValueError, IndexError) as exc:
            raise ValueError(f"{path.name}:{number}: {exc}: {line}") from None
    if course:
        yield course


def _take(course: Course, line: str, words: list[str]) -> None:
    if line.startswith("  "):
        lines = course.steps[-1].lines
        course.steps[-1] = Step(course.steps[-1].actions, lines | {words[0]: " ".join(words[1:])})
    elif words[0] == "shows":
        course.rules += tuple(words[1:])
    elif words[0] == "fencing":
        assert words[1] in FENCING, "no such fencing"
        course.fencing = words[1]
    elif words[0] == "long":
        course.is_long = True
    elif words[0] == "crashes-kernel":
        course.crashes_kernel = True
    else:
        actions = tuple(part.strip() for part in line.split(","))
        for action in actions:
            require_action(action)
        before = course.steps[-1].lines if course.steps else {}
        course.steps.append(Step(actions, dict(before)))


def require_action(action: str) -> None:
    """Raises ValueError for what no pair can do."""
    words = action.split()
    is_known = action in OF_BOTH or (words[0] in HOSTS and words[1:2] and words[1] in OF_A_HOST)
    if not is_known:
        raise ValueError(f"no action: {action}")


def written(courses: list[Course]) -> str:
    """The text of a file, as parse_courses() reads it."""
    blocks = []
    for course in courses:
        lines = [f"course {course.name}", f"shows {' '.join(course.rules)}"]
        if course.fencing != FENCING[0]:
            lines.append(f"fencing {course.fencing}")
        lines += ["long"] * course.is_long + ["crashes-kernel"] * course.crashes_kernel
        before: dict[str, str] = {}
        for step in course.steps:
            lines.append(", ".join(step.actions))
            changed = step.lines.items() - before.items()
            lines += [f"    {host:<5} {line}" for host, line in sorted(changed)]
            before = step.lines
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)
