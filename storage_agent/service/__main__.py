"""Entry of storage-agentd: `python3 -I -m storage_agent.service`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Exit status as everywhere: 4 not root, 5 already running, 1 otherwise."""
    from storage_agent.model.errors import AgentError
    from storage_agent.service import log
    from storage_agent.service.daemon import Daemon, require_root

    log.configure()
    try:
        require_root()
        Daemon().run()
    except AgentError as exc:
        remedy = f" ({exc.remedy})" if exc.remedy else ""
        print(f"storage-agentd: {exc.message}{remedy}", file=sys.stderr)
        return exc.exit_status
    except OSError as exc:
        print(f"storage-agentd: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a thread that hangs in the kernel must not hold up the end.
    os._exit(status)
