from __future__ import annotations

import json
from dataclasses import replace

from storage_agent.model.doctor import FstabLine
from storage_agent.policy.epoch import unusable_epoch as epoch_lost
from tests.unit.cli import answers
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.snapshots import secondary, serving
from tests.unit.cli.worlds import World


def test_a_good_host() -> None:
    world = World()
    world.answers |= {"ping": {}, "status": answers.status_result(serving())}
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


def test_a_host_that_would_refuse_a_promotion_is_not_well() -> None:
    world = World()
    lost = epoch_lost("data", "EPOCH_MISSING", "is missing")
    snapshot = replace(secondary(), records=(lost,))
    world.answers |= {"ping": {}, "status": answers.status_result(snapshot)}
    assert world.run("doctor") == 1
    assert "FAIL  volume data         the epoch file of data on this host is missing" in world.out
    assert "1 failed" in world.out
    assert f"next: {lost.remedy}" in " ".join(world.out.split())


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
    world.answers |= {"ping": {}, "status": answers.status_result(serving())}
    world.local.found = answers.facts(is_clock_synchronised=False)
    assert world.run("doctor", "--json") == 0
    shown = json.loads(world.out)
    clock = next(check for check in shown["data"]["checks"] if check["title"] == "clock")
    assert (clock["outcome"], clock["code"]) == ("warn", "CLOCK")
    assert shown["data"]["next"] == "storage-agent status"
    assert [finding["code"] for finding in shown["findings"]] == ["CLOCK"]
