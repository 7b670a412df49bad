"""`storage-agent-nfs VOLUME VERB`: asks a running supervisor, for people and runbooks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from storage_agent.host.nfs.control import ServerControl
from storage_agent.host.nfs.protocol import Verb
from storage_agent.model.errors import AgentError, UsageError

_TIMEOUT_S = {Verb.PROVE: 150.0}
_DEFAULT_TIMEOUT_S = 30.0


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status; the result is one line on stdout, an error one on stderr."""
    try:
        volume, verb = _parse(arguments)
        reply = ServerControl(volume).ask(verb, timeout_s=_TIMEOUT_S.get(verb, _DEFAULT_TIMEOUT_S))
    except AgentError as exc:
        remedy = f" ({exc.remedy})" if exc.remedy else ""
        print(f"storage-agent-nfs: {exc.message}{remedy}", file=sys.stderr)
        return exc.exit_status
    detail = f": {reply.detail}" if reply.detail else ""
    print(f"{volume}: {reply.state}{detail}")
    return 0


def _parse(arguments: Sequence[str]) -> tuple[str, Verb]:
    try:
        volume, verb = arguments
        return volume, Verb(verb)
    except ValueError:
        raise UsageError(
            f"wanted: VOLUME {'|'.join(Verb)}",
            remedy="a server is started by: systemctl start storage-agent-nfs@VOLUME",
        ) from None
