"""The configuration for everybody else: loaded, checked, shown, compared."""

from __future__ import annotations

import dataclasses

from storage_agent.configuration.build import build, local_hostname
from storage_agent.configuration.read import Document, Paths, Problem, read_documents
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import ConfigurationError

DEFAULT_PATHS = Paths()


def load(paths: Paths = DEFAULT_PATHS, *, hostname: str | None = None) -> AgentConfig:
    """What this host needs: volumes that have no disks here (local ones of the other host) are
    left out. hostname: of this machine, for want of `host`; asked of the kernel where not given,
    which inside a volume's NFS server gives the wrong one.

    Raises ConfigurationError, `FILE:LINE: …` of the first problem.
    """
    _, config = load_document(paths, hostname=hostname)
    here = {n: v for n, v in config.volumes.items() if config.host in v.array.disks}
    return dataclasses.replace(config, volumes=here)


def load_document(paths: Paths, *, hostname: str | None = None) -> tuple[Document, AgentConfig]:
    """The files as they are, and all volumes of both hosts. Raises ConfigurationError."""
    document, config = _look(paths, hostname)
    problems = _in_order(document)
    if problems:
        count = len(problems) - 1
        more = f" (and {count} more: storage-agent config check)" if count else ""
        raise ConfigurationError(
            f"{problems[0]}{more}",
            remedy=f"correct {problems[0].origin}, then: storage-agent config check",
        )
    return document, config


def check(paths: Paths = DEFAULT_PATHS, *, hostname: str | None = None) -> tuple[str, ...]:
    """All problems as `FILE:LINE: error: …`, in the order of files and lines."""
    document, _ = _look(paths, hostname)
    return tuple(f"{p.origin}: error: {p.message}" for p in _in_order(document))


def digest(config: AgentConfig) -> str:
    """Twelve hexadecimal digits that are the same on both hosts of a healthy pair.

    Not in it: which host this is, volumes without a replica, and the arrays' UUIDs, of which
    each host needs only its own.
    """
    # Not for everybody who loads.
    import hashlib
    import json

    from storage_agent.model.wire import to_wire

    volumes = {
        name: dataclasses.replace(volume, array=dataclasses.replace(volume.array, uuid={}))
        for name, volume in config.volumes.items()
        if volume.replica is not None
    }
    shared = {"hosts": to_wire(config.hosts), "volumes": to_wire(volumes)}
    text = json.dumps(shared, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _in_order(document: Document) -> list[Problem]:
    """Each once, by file and line; on one line in the order in which they were found."""
    return sorted(dict.fromkeys(document.problems), key=lambda problem: problem.origin)


def _look(paths: Paths, hostname: str | None) -> tuple[Document, AgentConfig]:
    document = read_documents(paths)
    # Where a file could not be read, what is missing in the rest means nothing.
    unreadable = list(document.problems)
    config = build(document, hostname or local_hostname())
    if unreadable:
        document.problems = unreadable
    return document, config
