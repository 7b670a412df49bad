"""Records what a command prints on a lab host, for the parsers' tests.

tests/data/<slug>/<version>/<situation>-<host>.out holds stdout; the .json beside it argv, exit
status, stderr and what kernel, driver and package it came from. Never edited by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.harness.errors import LabError
from tests.lab.harness.lab import Lab

DATA = Path(__file__).parents[1] / "data"
# What the recording is said to be of. `command -v` may name a path that dpkg knows without /usr.
FACTS = r"""
printf 'kernel=%s\nkernel_build=%s\n' "$(uname -r)" "$(uname -v)"
printf 'distro=Debian %s\n' "$(cat /etc/debian_version)"
printf 'driver=%s\n' "$(cat /sys/module/drbd/version 2>/dev/null)"
path=$(command -v -- "$1")
package=$(dpkg -S "$path" "${path#/usr}" 2>/dev/null | head -n 1 | cut -d: -f1)
printf 'package=%s\n' "$package"
[ -z "$package" ] || dpkg-query -W -f 'package_version=${Version}\n' "$package"
"""


def slug_of(argv: Sequence[str]) -> str:
    """`drbdsetup-events2-now` of `drbdsetup events2 --now r0`, `proc-mdstat` of `cat /proc/mdstat`:
    the tool, its verb, its options; no names, which differ from one recording to the next."""
    tool, *rest = argv
    if tool == "cat" and rest:
        return re.sub(r"[^A-Za-z0-9]+", "-", rest[0]).strip("-").lower()
    verb = [rest[0]] if rest and re.fullmatch(r"[a-z][a-z0-9-]*", rest[0]) else []
    options = [word.lstrip("-").partition("=")[0] for word in rest if word.startswith("-")]
    return "-".join([Path(tool).name, *verb, *(word for word in options if word)])


def version_of(argv: Sequence[str], facts: Mapping[str, str]) -> str:
    """The driver's for DRBD, the kernel's for what `cat` shows, else the package's upstream."""
    if Path(argv[0]).name.startswith("drbd") or "/proc/drbd" in argv:
        return facts["driver"] or "no-driver"
    if argv[0] == "cat" or not facts.get("package_version"):
        return f"linux-{facts['kernel']}"
    return facts["package_version"].rpartition("-")[0].rpartition(":")[2]


def record(lab: str, host: str, situation: str, argv: Sequence[str], *, slug: str = "") -> Path:
    """Returns the path of the .out file. Raises LabError."""
    guest = Lab.attach(lab).hosts[host]
    told = guest.run(["sh", "-c", FACTS, "sh", argv[0]]).stdout
    facts = dict(line.split("=", 1) for line in told.splitlines())
    began_s = time.monotonic()
    done = guest.run(argv, check=False)
    package = facts.get("package")
    about = {
        "argv": list(argv),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "distro": facts["distro"],
        "driver": facts["driver"] or None,
        "exit_status": done.exit_status,
        "host": host,
        "kernel": facts["kernel"],
        "kernel_build": facts["kernel_build"],
        "seconds": round(time.monotonic() - began_s, 2),
        "situation": situation,
        "stderr": done.stderr,
        "utils": {package: facts["package_version"]} if package else {},
    }
    folder = DATA / (slug or slug_of(argv)) / version_of(argv, facts)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{situation}-{host}.out"
    path.write_text(done.stdout)
    path.with_suffix(".json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/record-fixture",
        usage="%(prog)s --lab NAME [--slug SLUG] HOST SITUATION -- COMMAND...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--lab", required=True, help="a lab that is up (scripts/lab --name NAME up)"
    )
    parser.add_argument("--slug", default="", help="folder name; made of the command if not given")
    parser.add_argument("host")
    parser.add_argument("situation", help="as in syncing, link-cut; no host, no date")
    # argparse would take every `--` out of the command as well.
    words = sys.argv[1:]
    if "--" not in words or words[-1] == "--":
        parser.print_help()
        return 0 if {"-h", "--help"} & set(words) else 2
    place = words.index("--")
    chosen, command = parser.parse_args(words[:place]), words[place + 1 :]
    for word in filter(None, (chosen.situation, chosen.slug)):
        if not re.fullmatch(r"[A-Za-z0-9._]+(-[A-Za-z0-9._]+)*", word):
            parser.error(f"{word!r}: use letters, digits, '.', '_' and '-'")
    try:
        path = record(chosen.lab, chosen.host, chosen.situation, command, slug=chosen.slug)
    except (LabError, KeyError) as error:
        print(f"scripts/record-fixture: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0
