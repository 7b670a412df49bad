"""What runs when the host goes down: demote and leave for every volume, bounded, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from storage_agent.cli.client import Disconnected
from storage_agent.cli.shutdown import LIMIT_S, Shutdown
from storage_agent.model.errors import Busy, CommandTimeout
from storage_agent.model.finding import blocker
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import OperationKind
from tests.unit.cli.answers import record, status_result
from tests.unit.cli.snapshots import serving
from tests.unit.cli.worlds import World


class Host:
    """The daemon's answers in order, the last one for ever; said: what the journal gets."""

    def __init__(self, **answers: list[Any]) -> None:
        self.world = World()
        self.said: list[str] = []
        self.world.answers["status"] = status_result(serving())
        for method, these in answers.items():
            self.world.answers[method] = self._script(these)

    @staticmethod
    def _script(these: list[Any]) -> Callable[[object], Any]:
        left = list(these)

        def answer(_: object) -> Any:
            return left.pop(0) if len(left) > 1 else left[0]

        return answer

    def run(self, *, is_stopping: bool = True) -> int:
        shutdown = Shutdown(self.world.context, self.said.append)
        return shutdown.run(lambda: is_stopping)

    def methods(self) -> list[str]:
        return [method for method, _ in self.world.asked]


def ended(state: OperationState = OperationState.SUCCEEDED, **more: Any) -> OperationRecord:
    return record(state, kind=OperationKind.DEMOTE, message=f"data: {state}", **more)


def test_every_volume_goes_down_in_order() -> None:
    host = Host(demote=[ended()], leave=[ended()])
    assert host.run() == 0
    assert host.methods() == ["status", "demote", "leave"]
    assert host.world.asked[1][1] == {
        "volume": "data",
        "operation_id": "shutdown-00000000000000aa",
        "stop_serving": "alpha/data",
    }


def test_stopped_for_any_other_reason_it_does_nothing() -> None:
    host = Host()
    assert host.run(is_stopping=False) == 0
    assert host.world.asked == []


def test_a_busy_file_is_tried_again_while_the_shutdown_ends_its_owner() -> None:
    again = [Busy("data is busy"), ended(OperationState.ROLLED_BACK), ended()]
    host = Host(demote=again, leave=[ended(OperationState.FAILED), ended()])
    assert host.run() == 0
    assert host.methods()[1:] == ["demote"] * 3 + ["leave"] * 2


def test_what_never_lets_go_does_not_hold_up_the_shutdown() -> None:
    host = Host(demote=[ended(OperationState.ROLLED_BACK)])
    begun_s = host.world.clock.monotonic()
    assert host.run() == 1
    assert "leave" not in host.methods()
    assert host.said[-1] == "data: goes down with the host, unprepared"
    assert host.world.clock.monotonic() - begun_s < LIMIT_S + 2


def test_a_refusal_is_not_asked_again() -> None:
    """A frozen replica: the kernel would let nobody unmount it."""
    refused = ended(OperationState.REFUSED)
    host = Host(demote=[refused], leave=[refused])
    assert host.run() == 1
    assert host.methods() == ["status", "demote", "leave"]


def test_a_device_that_is_still_held_is_asked_for_again() -> None:
    held = blocker(
        "VOLUME_HELD", "/dev/drbd0 is held open on alpha", measured="", limit="", remedy=""
    )
    frozen = blocker(
        "VOLUME_PRIMARY", "alpha is Primary for data", measured="", limit="", remedy=""
    )
    host = Host(demote=[ended()], leave=[ended(OperationState.REFUSED, findings=(held,)), ended()])
    assert host.run() == 0
    assert host.methods()[1:] == ["demote", "leave", "leave"]
    stuck = Host(demote=[ended()], leave=[ended(OperationState.REFUSED, findings=(held, frozen))])
    assert stuck.run() == 1
    assert stuck.methods()[1:] == ["demote", "leave"]


def test_without_the_daemon_the_host_goes_down_as_it_is() -> None:
    host = Host()
    host.world.down = FileNotFoundError(2, "No such file or directory")
    assert host.run() == 1
    assert host.said[0].startswith("the volumes go down with the host, unprepared: ")


def test_a_daemon_that_dies_on_the_way() -> None:
    host = Host(demote=[Disconnected("gone")], leave=[Disconnected("gone")])
    assert host.run() == 1


def test_systemd_that_does_not_answer() -> None:
    host = Host()

    def stuck() -> bool:
        raise CommandTimeout("systemctl: no answer within 5 s, ended")

    assert Shutdown(host.world.context, host.said.append).run(stuck) == 1
    assert host.world.asked == []
