"""No advice interrupts what is being served without saying so: every remedy and next step that
names a command which may, says it or is in this table with the reason why it does not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.unit.test_remedies import PACKAGE, strings

INTERRUPTS = re.compile(
    r"exportfs -|\bumount\b|unmounting|systemctl (?:stop|restart|disable|mask|kill)"
    r"|drbdadm (?:down|secondary|disconnect|detach|adjust)|mdadm --stop|\breboot\b"
    r"|storage-agent demote|ip link set \S+ down|\brmmod\b|\bp?kill\b"
)
SAYS_SO = re.compile(r"interrupt|cut (?:them )?off|cut off|is in use|only if it names none")
# A part of the advice -> why nobody who is served notices.
HARMLESS = {
    "systemctl restart storage-agentd": "no volume depends on the daemon",
    "storage-agent demote": "refuses while somebody is served, unless the peer takes over or a "
    "person types what it ends",
    "reboot --force --no-sync": "named for a frozen host, which answers nobody",
    "drbdadm adjust": "changes options in place, and connects",
    "drbdadm disconnect": "on the copy that serves nobody",
    "demote the volume, then": "nobody is served when the second command comes",
    "none but the agent's: systemctl disable": "ends nothing that runs",
}


def interrupting() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        for line, text, is_advice in strings(ast.parse(path.read_text())):
            # What failures.py keeps in a table is advice as well.
            if (is_advice or name == "host/drbd/failures.py") and INTERRUPTS.search(text):
                yield f"{name}:{line}", text


FOUND = tuple(interrupting())


@pytest.mark.parametrize(("place", "text"), FOUND)
def test_what_may_interrupt_says_so_or_does_not(place: str, text: str) -> None:
    is_harmless = any(part in text for part in HARMLESS)
    assert is_harmless or SAYS_SO.search(text), f"{place}: {text}"


def test_the_table_has_nothing_that_is_not_advised() -> None:
    texts = [text for _, text in FOUND]
    assert len(texts) > 20
    assert [part for part in HARMLESS if not any(part in text for text in texts)] == []


@pytest.mark.parametrize(
    "text",
    [
        "remove line 1 of /etc/exports, then: exportfs -ra",
        "umount /srv",
        "systemctl stop nfs-server",
        "apt install x, and reboot into it",
        "ip link set eth0 down",
    ],
)
def test_a_bare_interruption_would_be_noticed(text: str) -> None:
    assert INTERRUPTS.search(text)
    assert not SAYS_SO.search(text)
    assert not any(part in text for part in HARMLESS)
