"""The project's packages, built here and installed in guests as a user installs them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.harness.ssh import Host

ROOT = Path(__file__).parents[2]
APT = "DEBIAN_FRONTEND=noninteractive apt-get -y -q"
APT_TIMEOUT_S = 600


def build_deb(*arguments: str) -> Path:
    """scripts/build-deb's last line: the path of storage-agent's package."""
    built = subprocess.run(
        [ROOT / "scripts/build-deb", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return Path(built.stdout.splitlines()[-1])


def install(host: Host, deb: Path) -> None:
    host.copy_in(deb, "/root/")
    host.run(f"{APT} install /root/{deb.name}", timeout_s=APT_TIMEOUT_S)
