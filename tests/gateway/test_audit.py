"""What stands in the journal of who did what over ssh. Row 43 of the hostile inputs."""

from __future__ import annotations

from typing import Any

from tests.gateway.host import StorageHost, frame, wait_for


def lines_of(host: StorageHost, begun: int, method: str) -> list[dict[str, Any]]:
    return [line for line in host.daemon_log()[begun:] if line.get("method") == method]


def test_every_request_has_its_line(host: StorageHost) -> None:
    begun = len(host.daemon_log())
    host.exchange(
        frame("ping")
        + frame("promote", volume="home", operation_id="op-a", epoch=6, coordinator="c")
    )
    (line,) = wait_for(lambda: lines_of(host, begun, "promote"), "a line")
    assert line["origin"] == f"ssh key {host.key_id('operate')}"
    assert (line["role"], line["answer"]) == ("operate", "UNKNOWN_VOLUME")
    assert (line["volume"], line["operation_id"]) == ("home", "op-a")
    assert [one["answer"] for one in lines_of(host, begun, "ping")] == ["ok"]
    assert [one["answer"] for one in lines_of(host, begun, "hello")] == ["ok"]
    # The same id stands in sshd's own log, with the address.
    assert host.key_id("operate") in host.sshd_log()


def test_a_callers_text_stays_in_its_line(host: StorageHost) -> None:
    before = len((host.folder / "daemon.log").read_bytes().splitlines())
    begun = len(host.daemon_log())
    fake = "x' level=info root promote ok"
    host.exchange(
        frame("demote", volume=fake, operation_id="op-fake")
        + frame("demote", volume=f"{fake} é", operation_id="y" * 5000)
    )
    wait_for(lambda: len(lines_of(host, begun, "demote")) == 2, "two lines")
    lines = lines_of(host, begun, "demote")
    assert [line["answer"] for line in lines] == ["bad-name", "out-of-bounds"]
    assert lines[0]["volume"] == fake
    # Nothing of what is beyond the bounds.
    assert {"volume", "operation_id"} & set(lines[1]) == set()
    after = (host.folder / "daemon.log").read_bytes().splitlines()
    assert len(after) - before == len(host.daemon_log()) - begun


def test_a_flood_hides_no_change(host: StorageHost) -> None:
    begun = len(host.daemon_log())
    given = host.next_epoch()
    operation_id = f"op-flood-{given['epoch']}"
    flood = (frame("events", limit=1) + b"junk\n" + frame("create")) * 300
    promote = frame("promote", volume="data", operation_id=operation_id, **given)
    demote = frame("demote", volume="data", operation_id=f"{operation_id}-back")
    answers, _ = host.exchange(flood + promote + flood + demote)
    assert len([answer for answer in answers if "id" in answer]) == 6 * 300 + 2
    lines = host.daemon_log()[begun:]
    assert len(lines) < 300
    done = [line for line in lines if line.get("method") in ("promote", "demote")]
    assert [line["answer"] for line in done] == ["ok", "ok"]
    # And what the operation did, with who asked for it.
    steps = [line for line in lines if line.get("operation_id") == operation_id]
    assert {line.get("origin") for line in steps} == {f"ssh key {host.key_id('operate')}"}
    assert len(steps) > 5
