"""storage-coordinator on a machine of its own (the clients'), set up as its documentation says."""

from __future__ import annotations

import json
import shlex
from typing import Any

from tests.lab.debs import build_deb, install
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host

FOLDER = "/etc/storage-coordinator"
ADDRESSES = {"alpha": "10.9.0.1", "beta": "10.9.0.2"}
CONFIGURATION = f"""
key_file = "{FOLDER}/id_ed25519"
[deadlines]
connect_s = 30
answer_s = 60
[hosts.alpha]
address = "{ADDRESSES["alpha"]}"
[hosts.beta]
address = "{ADDRESSES["beta"]}"
[pairs.office]
hosts = ["alpha", "beta"]
[pairs.office.volumes.data]
automatic = AUTOMATIC
cooldown_s = 60
"""
# A second coordinator on the same machine: the same configuration and key, a record of its own.
SECOND = (
    "mount --bind /root/second/lib /var/lib/storage-coordinator && "
    "mount --bind /root/second/run /run/storage-coordinator && exec "
)

# The installed command, which is killed right after its Nth step: a request's answer is there, or a
# change of its record is on disk. argv: N, and the command's own.
STRIKE = """
import os, signal, sys
sys.path.insert(0, "/usr/share/storage-coordinator")
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator_cli.main import main

left = int(sys.argv[1])

def counted(kind, name):
    real = getattr(kind, name)
    def step(*args, **more):
        global left
        try:
            return real(*args, **more)
        finally:
            left -= 1
            if left == 0:
                print("killed after", name, args[1:3], file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
    setattr(kind, name, step)

counted(Fleet, "ask")
counted(Fleet, "ask_beside")
counted(Store, "_note")
sys.exit(main(sys.argv[2:]))
"""
KILLED = 128 + 9


def by_hand(lab: Lab) -> None:
    """Both hosts obey it; it fails over when a person says so."""
    _set_up(lab, automatic=False)


def by_itself(lab: Lab) -> None:
    """Both hosts obey it; its service runs and may fail over by itself."""
    control = _set_up(lab, automatic=True)
    control.run("systemctl start storage-coordinator", timeout_s=60)


def _set_up(lab: Lab, *, automatic: bool) -> Host:
    control = lab.hosts["client"]
    agent = build_deb()
    install(control, agent.with_name(agent.name.replace("-agent_", "-coordinator_")))
    control.run(f"ssh-keygen -q -t ed25519 -N '' -f {FOLDER}/id_ed25519", timeout_s=60)
    text = CONFIGURATION.replace("AUTOMATIC", str(automatic).lower())
    control.write_file(f"{FOLDER}/coordinator.toml", text)
    key = control.read_file(f"{FOLDER}/id_ed25519.pub")
    for host in (lab.hosts[name] for name in ADDRESSES):
        _let_sshd_read_drop_ins(host)
        host.write_file("/root/coordinator.pub", key)
        host.run("storage-agent authorize --role grant /root/coordinator.pub", timeout_s=60)
        line = host.read_file("/etc/ssh/ssh_host_ed25519_key.pub").strip()
        control.run(["storage-coordinator", "enroll", host.name, "--known-hosts-line", line])
    coordinate(control, "adopt", "--all")
    return control


def _let_sshd_read_drop_ins(host: Host) -> None:
    """The lab's own sshd_config is shorter than Debian's, which includes them and uses PAM."""
    host.run(
        "grep -q ^Include /etc/ssh/sshd_config || "
        "sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config; "
        "sed -i 's/^UsePAM no/UsePAM yes/' /etc/ssh/sshd_config; "
        "sshd -t && systemctl reload ssh",
        timeout_s=60,
    )


def words_of(*words: str, second: bool = False) -> str:
    """The command line of `storage-coordinator WORDS --json`."""
    line = shlex.join(("storage-coordinator", *words, "--json"))
    return f"unshare --mount sh -c {shlex.quote(SECOND + line)}" if second else line


def coordinate(control: Host, *words: str, second: bool = False) -> Any:
    """Its answer."""
    line = words_of(*words, second=second)
    return json.loads(control.run(line, timeout_s=300).stdout)


def is_killed_after(control: Host, step: int, *words: str) -> bool:
    """False where it has ended, and well, with fewer steps."""
    control.write_file("/root/strike.py", STRIKE)
    line = shlex.join(("python3", "/root/strike.py", str(step), *words))
    # Without the shell's own word ssh tells 255 of every signal.
    line += "; exit $?"
    done = control.run(line, timeout_s=300, check=False)
    assert done.exit_status in (0, KILLED), done.stderr
    return done.exit_status == KILLED


def refused(control: Host, *words: str, second: bool = False) -> Any:
    """The error of a command that has to fail."""
    line = words_of(*words, second=second)
    done = control.run(line, timeout_s=300, check=False)
    assert done.exit_status != 0, done.stdout
    return json.loads(done.stdout)["error"]
