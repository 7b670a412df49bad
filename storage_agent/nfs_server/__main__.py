"""`python3 -I -m storage_agent.nfs_server VOLUME` is the supervisor, where systemd runs it;
`… VOLUME VERB` asks a running one, for people and runbooks."""

from __future__ import annotations

import os
import sys


def main() -> int:
    arguments = sys.argv[1:]
    # Of the unit's Type=notify; nothing that a person starts has it.
    if len(arguments) == 1 and "NOTIFY_SOCKET" in os.environ:
        from storage_agent.nfs_server.serve import main as supervise

        return supervise(arguments[0])
    from storage_agent.nfs_server.command import main as ask

    return ask(arguments)


if __name__ == "__main__":
    sys.exit(main())
