"""`python3 -I -m storage_agent.nfs_server VOLUME` is the supervisor (run by systemd);
`… VOLUME VERB` asks a running one, for people and runbooks."""

from __future__ import annotations

import sys


def main() -> int:
    arguments = sys.argv[1:]
    if len(arguments) == 1:
        from storage_agent.nfs_server.serve import main as supervise

        return supervise(arguments[0])
    from storage_agent.nfs_server.command import main as ask

    return ask(arguments)


if __name__ == "__main__":
    sys.exit(main())
