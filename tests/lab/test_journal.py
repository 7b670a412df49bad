"""What is in the state folder is not believed alone: old journals that lost their end, on real
hosts."""

from __future__ import annotations

import pytest

from tests.lab.harness.lab import Lab
from tests.lab.situations import agent, is_mounted, operate, role
from tests.lab.writing import assert_nothing_lost, start_writer

FOLDER = "/var/lib/storage-agent"
OLD = f"{FOLDER}/operation-old-demote"


@pytest.mark.lab_situation("data-serving-on-alpha")
def test_an_old_demote_that_lost_its_end_stops_nothing(lab: Lab) -> None:
    """It ended, a newer promote serves; 70 % of its lines are left when the daemon starts anew."""
    alpha = lab.hosts["alpha"]
    operate(alpha, "demote", "data", "--operation-id", "old-demote")
    operate(alpha, "promote", "data")
    writer = start_writer(lab)
    lines = int(alpha.run(f"wc -l < {OLD}").stdout)
    kept = lines * 7 // 10
    alpha.run(f"head -n {kept} {OLD} > /root/cut && cat /root/cut > {OLD}")
    alpha.run("systemctl restart storage-agentd", timeout_s=120)
    lab.wait_until("told", lambda: _problems(lab) == ["JOURNAL_DAMAGED"], timeout_s=90)
    assert (role(alpha), is_mounted(alpha, "data")) == ("Primary", True)
    left = alpha.run(f"ls {FOLDER}").stdout
    assert ("damaged-old-demote" in left, "operation-old-demote" in left) == (True, False)
    assert "JOURNAL_DAMAGED" in alpha.run("storage-agent status", check=False).stdout
    # Nor when it is asked for once more.
    asked = "storage-agent demote data --operation-id old-demote"
    assert "too old to know" in alpha.run(f"{asked} 2>&1", check=False, timeout_s=120).stdout
    assert (role(alpha), is_mounted(alpha, "data")) == ("Primary", True)
    # The remedy, typed.
    alpha.run(f"rm {FOLDER}/damaged-old-demote")
    lab.wait_until("told no more", lambda: _problems(lab) == [], timeout_s=30)
    writer.wait_for_more()
    assert_nothing_lost(writer.finish())


def _problems(lab: Lab) -> list[str]:
    found = agent(lab.hosts["alpha"], "status", check=False)
    return [problem["code"] for problem in found["problems"]]
