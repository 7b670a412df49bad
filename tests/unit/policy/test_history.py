"""What is said of operations that are not known any more."""

from __future__ import annotations

from storage_agent.model.finding import Severity
from storage_agent.policy.history import account_lost, forgotten, record_damaged, record_lost


def test_what_could_be_done_again_is_refused() -> None:
    for finding in (forgotten("op-1", "its journal is gone"), account_lost("data", "is missing")):
        assert finding.severity is Severity.BLOCKER
    assert "storage-agent epoch restore data NUMBER" in account_lost("data", "is missing").remedy


def test_what_is_set_aside_is_told_with_a_command_that_ends_it() -> None:
    finding = record_damaged("damaged-op-1", "it had ended")
    assert finding.severity is Severity.WARNING
    assert finding.remedy.endswith("rm /var/lib/storage-agent/damaged-op-1")
    assert "data" in record_lost("data", "op-1").summary
