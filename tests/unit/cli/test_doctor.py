from __future__ import annotations

import json

from storage_agent.model.doctor import FstabLine
from tests.unit.cli import answers
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World


def test_a_good_host() -> None:
    world = World()
    world.answers["ping"] = {}
    assert world.run("doctor") == 0
    assert_golden("doctor-good", world.out)


def test_a_host_with_faults() -> None:
    world = World()
    world.down = FileNotFoundError(2, "No such file or directory")
    line = FstabLine(line=9, source="/dev/drbd0", mount_point="/srv/data", options=("defaults",))
    world.local.found = answers.facts(
        tools=answers.facts().tools - {"mdadm", "nfsdcld"},
        fstab=(line,),
        is_clock_synchronised=False,
    )
    assert world.run("doctor") == 1
    assert_golden("doctor-faults", world.out)
    assert world.err == ""


def test_a_fresh_host() -> None:
    world = World()
    world.down = FileNotFoundError(2, "No such file or directory")
    world.local.loaded = answers.NO_CONFIGURATION
    world.local.found = answers.facts(has_configuration=False, replica_settings={})
    assert world.run("doctor") == 0
    assert world.out.endswith(
        "next: editor /etc/storage-agent/agent.toml && storage-agent config check\n"
    )


def test_as_json() -> None:
    world = World()
    world.answers["ping"] = {}
    world.local.found = answers.facts(is_clock_synchronised=False)
    assert world.run("doctor", "--json") == 0
    shown = json.loads(world.out)
    clock = next(check for check in shown["data"]["checks"] if check["title"] == "clock")
    assert (clock["outcome"], clock["code"]) == ("warn", "CLOCK")
    assert shown["data"]["next"] == "storage-agent status"
    assert [finding["code"] for finding in shown["findings"]] == ["CLOCK"]
