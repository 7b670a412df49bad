"""The file of options that a fence agent gets: `name=value` lines, root's alone. Which machine they
name is checked as far as it can be seen from here: another one's power off proves nothing."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from storage_agent.coordinator.fence_agents import OF_ONE_MACHINE, target_of, treacherous
from storage_agent.coordinator.settings import HostSettings, Settings
from storage_agent.model.errors import ConfigurationError

SIZE_LIMIT_BYTES = 1 << 16
_OPTION = re.compile(r"[a-z][a-z0-9_-]{0,40}=[^\x00-\x1f\x7f]{0,500}")
_MAN = "see the man page of the fence agent, STDIN PARAMETERS"


def read_options(agent: str, path: Path) -> bytes:
    """What the agent gets on stdin. Raises ConfigurationError, with file and line."""
    lines = _lines(path)
    if not target_of(agent, dict(line.split("=", 1) for _, line in lines)):
        wanted = "ip=ADDRESS" if agent in OF_ONE_MACHINE else "plug=NAME"
        raise ConfigurationError(
            f"{path}:1: it does not say which machine is to be turned off: {wanted} is wanted",
            remedy=_MAN,
        )
    return "".join(f"{line}\n" for _, line in lines).encode()


def option_problems(settings: Settings) -> tuple[str, ...]:
    """As settings.check: what is wrong with the files, each alone and beside each other."""
    found = []
    owners: dict[tuple[str, ...], str] = {}
    for host in settings.hosts.values():
        if host.fence is None:
            continue
        path = host.fence.options
        try:
            content = read_options(host.fence.agent, Path(path)).decode()
        except ConfigurationError as exc:
            # The path has no blanks (settings.py).
            found.append(exc.message.replace(": ", ": error: ", 1))
            continue
        options = dict(line.split("=", 1) for line in content.splitlines())
        target = target_of(host.fence.agent, options)
        found += [f"{path}:1: error: {why}" for why in _of_another(settings, host, target)]
        owner = owners.setdefault((host.fence.agent, *target), host.name)
        if owner != host.name:
            found.append(
                f"{path}:1: error: it names the machine that {owner}'s options name: one of "
                f"{owner} and {host.name} would be taken for off while it runs"
            )
    return tuple(found)


def _of_another(settings: Settings, host: HostSettings, target: tuple[str, ...]) -> list[str]:
    """Where the machine is called as another host is."""
    others = {other.name: other for other in settings.hosts.values() if other.name != host.name}
    return [
        f"it names {word!a}, which is another host: {others[word].name}"
        for word in target
        if word in others
    ]


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(SIZE_LIMIT_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"{path}:1: {exc}", remedy=f"see whether root can read it: ls -l {path}"
        ) from exc
    if len(text) > SIZE_LIMIT_BYTES:
        raise ConfigurationError(
            f"{path}:1: it is longer than {SIZE_LIMIT_BYTES} bytes", remedy=_MAN
        )
    if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"{path}:1: it holds a password and others may read it",
            remedy=f"chown root {path}; chmod 600 {path}",
        )
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not _OPTION.fullmatch(line):
            raise ConfigurationError(f"{path}:{number}: name=value is wanted", remedy=_MAN)
        if why := treacherous(line.partition("=")[0]):
            raise ConfigurationError(
                f"{path}:{number}: the option {line.partition('=')[0]!r} is refused: {why}",
                remedy=f"take the line out of {path}",
            )
        lines.append((number, line))
    return lines
