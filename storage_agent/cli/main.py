"""Entry of `storage-agent`.

`status --json` is what monitors call, so its good case is done here with json and socket alone:
no argument parser, no dataclasses. Whatever is unusual goes the long way, which asks again and
explains.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from storage_agent import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status that `docs/commands.md` lists."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        print(f"storage-agent {__version__}")
        return 0
    if (volume := _plain_status(arguments)) is not None and _answer_status(volume):
        return 0
    from storage_agent.cli.dispatch import run

    return run(arguments)


def _plain_status(arguments: list[str]) -> str | None:
    """The volume asked for (empty: all) if this is `status [VOLUME] --json` and nothing else."""
    if arguments[:1] != ["status"] or "--json" not in arguments:
        return None
    rest = [word for word in arguments[1:] if word != "--json"]
    if len(rest) > 1 or any(word.startswith("-") for word in rest):
        return None
    return rest[0] if rest else ""


def _answer_status(volume: str) -> bool:
    import json

    from storage_agent.cli.client import connect

    try:
        client = connect()
        try:
            result = client.call("status", {})
        finally:
            client.close()
        if volume:
            result = only_volume(result, volume)
    # Also AgentError, KeyError: whatever it was, the long way asks again and says it properly.
    except Exception:
        return False
    try:
        sys.stdout.write(json.dumps(envelope(result), separators=(",", ":")) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        close_stdout()
    return True


def close_stdout() -> None:
    """The reader has what it wanted (`| head`): nothing more is written, also not at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def envelope(
    data: Any,
    *,
    changed: bool = False,
    findings: list[Any] | None = None,
    error: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What `--json` prints, for every command the same."""
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": error is None,
        "changed": changed,
        "data": data,
        "findings": findings or [],
        "error": error,
    }


def only_volume(result: dict[str, Any], volume: str) -> dict[str, Any]:
    """A status answer cut down to one volume. Raises KeyError for an unknown one."""
    snapshot = result["snapshot"]
    return {
        **result,
        "snapshot": {**snapshot, "volumes": {volume: snapshot["volumes"][volume]}},
        "readiness": {k: v for k, v in result["readiness"].items() if k == volume},
        "operations": [o for o in result["operations"] if o["request"]["volume"] == volume],
    }


if __name__ == "__main__":
    sys.exit(main())
