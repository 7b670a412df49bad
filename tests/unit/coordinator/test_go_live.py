"""The gate before users, on two real agents: what is proved, what is sealed, what breaks it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage_agent.configuration.load import digest
from storage_agent.coordinator.client_proof import SCRIPT, prover
from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.contradictions import contradictions
from storage_agent.coordinator.go_live import Errand, Live, go_live
from storage_agent.coordinator.switchover import switch_over
from storage_agent.model.errors import AgentError, OperationFailed, Refused, UsageError
from storage_agent.model.finding import Severity
from storage_agent.model.nfs import ServerState
from storage_agent.service.api.answers import Setup
from tests.unit.coordinator.pair import (
    FIRST_EPOCH,
    VOLUME,
    Killed,
    Pair,
    PairHost,
    make_coordinator,
)


class Client:
    """Mounts whatever it is told. server: which host's volume that is."""

    def __init__(self, pair: Pair, server: str = "alpha") -> None:
        self.pair = pair
        self.server = server
        self.used: list[tuple[str, str]] = []

    def __call__(self, errand: Errand) -> str:
        self.used.append((errand.address, errand.path))
        self.pair.hosts[self.server].written[errand.name] = errand.content
        return "desk"


def live(pair: Pair, coordinator: Coordinator) -> Live:
    return go_live(coordinator, VOLUME, Client(pair))


def seals(coordinator: Coordinator) -> list[str]:
    """The codes of everything that is said of the seal."""
    found = contradictions(coordinator.look(VOLUME))
    return [finding.code for finding in found if "SEAL" in finding.code]


def words(coordinator: Coordinator) -> list[str]:
    return [host.verdict.word for host in coordinator.look(VOLUME).hosts if host.verdict]


def test_before_a_go_live_nothing_is_ready(pair: Pair, tmp_path: Path) -> None:
    coordinator = make_coordinator(pair)
    assert words(coordinator) == ["serving", "ready"]
    coordinator.adopt(VOLUME)
    assert words(coordinator) == ["degraded", "degraded"]
    assert seals(coordinator) == ["UNSEALED", "UNSEALED"]
    # And nothing is refused for it.
    switch_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["beta"]


def test_it_is_proved_and_sealed_on_both(pair: Pair, coordinator: Coordinator) -> None:
    client, lines = Client(pair), list[str]()
    done = go_live(coordinator, VOLUME, client, lines.append)
    assert (done.client, done.epoch, done.is_already) == ("desk", FIRST_EPOCH + 1, False)
    assert client.used == [("10.9.0.10", "/srv/data")]
    assert [line.partition(":")[0] for line in lines] == [
        "pair",
        "move",
        "capacity",
        "growth",
        "export",
        "seal",
        "seal",
    ]
    assert "1048576 sectors (536870912 bytes)" in lines[2]
    assert (seals(coordinator), words(coordinator)) == ([], ["serving", "ready"])
    # A move in a newer epoch breaks nothing, and a second run has nothing to do.
    switch_over(coordinator, VOLUME, "beta")
    assert seals(coordinator) == []
    client.used.clear()
    again = go_live(coordinator, VOLUME, client)
    assert again == dataclasses.replace(done, is_already=True)
    assert client.used == []


def smaller(pair: Pair) -> None:
    pair.hosts["beta"].array_bytes -= 512


def resync(pair: Pair) -> None:
    pair.link_up = False


def other_version(pair: Pair) -> None:
    agent = pair.agents["beta"]
    config = dataclasses.replace(agent.setup.config, hosts={})
    agent.setup = Setup(config=agent.setup.config, digest=digest(config))


def blocked(pair: Pair) -> None:
    pair.hosts["beta"].mount_point_state = "not-empty"


def not_exported(pair: Pair) -> None:
    pair.hosts["alpha"].server = ServerState.STANDBY


def nobody(pair: Pair) -> None:
    pair.kill("alpha")
    pair.alive.add("alpha")
    pair.link_up = True


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (smaller, "CAPACITY_DIFFERS"),
        (resync, "NOT_IN_SYNC"),
        (other_version, "CONFIG_DIFFERS"),
        (blocked, "MOUNT_POINT"),
        (not_exported, "NOT_EXPORTED"),
        (nobody, "NO_PRIMARY"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_as_it_should_be_is_not_sealed(
    pair: Pair, coordinator: Coordinator, spoil: object, code: str
) -> None:
    assert callable(spoil)
    spoil(pair)
    client = Client(pair)
    with pytest.raises(Refused) as caught:
        go_live(coordinator, VOLUME, client)
    assert code in [finding.code for finding in caught.value.findings]
    assert caught.value.remedy
    assert client.used == []
    assert seals(coordinator) == ["UNSEALED", "UNSEALED"]


def test_both_numbers_are_named(pair: Pair, coordinator: Coordinator) -> None:
    smaller(pair)
    with pytest.raises(Refused) as caught:
        live(pair, coordinator)
    (finding,) = caught.value.findings
    assert finding.measured == (
        "alpha: 1048576 sectors (536870912 bytes), beta: 1048575 sectors (536870400 bytes)"
    )
    assert "smaller on beta" in finding.summary


@pytest.mark.parametrize(("small", "large"), [("alpha", "beta"), ("beta", "alpha")])
def test_the_side_that_limits_growth_is_named_and_by_how_much(
    pair: Pair, coordinator: Coordinator, small: str, large: str
) -> None:
    pair.hosts[large].possible_bytes = (768 << 20) + 512
    pair.hosts[small].possible_bytes = 768 << 20
    done = live(pair, coordinator)
    (finding,) = [finding for finding in done.findings if "GROWTH" in finding.code]
    assert (finding.code, finding.severity) == ("GROWTH_DIFFERS", Severity.WARNING)
    assert finding.summary == (
        f"the disks of {small} limit data: {large} has room for 512 bytes more"
    )
    assert f"{small}: array up to 1572864 sectors (805306368 bytes)" in finding.measured
    assert f"{large}: array up to 1572865 sectors (805306880 bytes)" in finding.measured
    assert seals(coordinator) == []


def test_room_that_is_the_same_is_no_matter(pair: Pair, coordinator: Coordinator) -> None:
    for host in pair.hosts.values():
        host.possible_bytes = 768 << 20
    assert [f for f in live(pair, coordinator).findings if "GROWTH" in f.code] == []


@pytest.mark.parametrize("blind", [("beta",), ("alpha", "beta")])
def test_room_that_is_not_known_is_said(
    pair: Pair, coordinator: Coordinator, blind: tuple[str, ...]
) -> None:
    for name in blind:
        pair.hosts[name].possible_bytes = None
    (finding,) = [f for f in live(pair, coordinator).findings if "GROWTH" in f.code]
    assert finding.code == "GROWTH_UNKNOWN"
    assert finding.summary.endswith(" and ".join(blind))
    assert "beta: array up to an unknown size" in finding.measured


def test_never_adopted(pair: Pair) -> None:
    with pytest.raises(Refused) as caught:
        live(pair, make_coordinator(pair))
    assert caught.value.code == "NOT_ADOPTED"


def test_one_host_dead(pair: Pair, coordinator: Coordinator) -> None:
    pair.kill("beta")
    with pytest.raises(Refused) as caught:
        live(pair, coordinator)
    assert "BOTH_MUST_ANSWER" in [finding.code for finding in caught.value.findings]


def test_an_export_that_no_client_can_use(pair: Pair, coordinator: Coordinator) -> None:
    def fail(errand: Errand) -> str:
        raise OperationFailed("access denied by server", code="EXPORT_UNPROVEN")

    with pytest.raises(OperationFailed, match="access denied"):
        go_live(coordinator, VOLUME, fail)
    assert seals(coordinator) == ["UNSEALED", "UNSEALED"]


@pytest.mark.parametrize("server", ["nobody", "beta"])
def test_what_the_serving_host_has_not_got_is_no_proof(
    pair: Pair, coordinator: Coordinator, server: str
) -> None:
    """Another machine answers at the address, or what was mounted is no export at all."""
    pair.hosts.setdefault("nobody", PairHost(name="nobody", pair=pair))
    with pytest.raises(OperationFailed) as caught:
        go_live(coordinator, VOLUME, Client(pair, server))
    assert caught.value.code == "EXPORT_UNPROVEN"
    assert "alpha has not got it" in caught.value.message
    assert "ip neighbour show 10.9.0.10" in caught.value.remedy
    assert seals(coordinator) == ["UNSEALED", "UNSEALED"]


def test_something_else_on_the_volume_is_no_proof(pair: Pair, coordinator: Coordinator) -> None:
    def torn(errand: Errand) -> str:
        return Client(pair)(dataclasses.replace(errand, content=errand.content[:-1]))

    with pytest.raises(OperationFailed) as caught:
        go_live(coordinator, VOLUME, torn)
    assert caught.value.code == "EXPORT_UNPROVEN"


def test_what_a_client_has_left_is_taken_away(pair: Pair, coordinator: Coordinator) -> None:
    live(pair, coordinator)
    assert pair.hosts["alpha"].written == {}


def test_what_changes_while_it_is_proved_is_not_sealed(
    pair: Pair, coordinator: Coordinator
) -> None:
    def grow(errand: Errand) -> str:
        pair.hosts["beta"].array_bytes *= 2
        return Client(pair)(errand)

    with pytest.raises(Refused) as caught:
        go_live(coordinator, VOLUME, grow)
    assert caught.value.code == "SEAL_DIFFERS"
    # alpha has its seal: the pair has none.
    assert seals(coordinator) == ["UNSEALED"]
    assert not coordinator.look(VOLUME).is_sealed


@pytest.mark.parametrize("host", ["alpha", "beta"])
def test_a_broken_seal_is_made_anew(pair: Pair, coordinator: Coordinator, host: str) -> None:
    live(pair, coordinator)
    pair.hosts["alpha"].array_bytes = pair.hosts["beta"].array_bytes = 1 << 30
    found = [f for f in contradictions(coordinator.look(VOLUME)) if f.code == "SEAL_BROKEN"]
    assert len(found) == 2
    assert "now 1.0 GiB (1073741824 bytes)" in found[0].measured
    assert found[0].remedy == "storage-coordinator go-live office/data"
    assert words(coordinator) == ["degraded", "degraded"]
    assert not live(pair, coordinator).is_already
    assert seals(coordinator) == []


def test_a_host_that_was_installed_anew_has_no_seal(pair: Pair, coordinator: Coordinator) -> None:
    live(pair, coordinator)
    store = pair.stores["beta"]
    epochs = store.files["epoch-data"]
    store.files.clear()
    store.files["epoch-data"] = epochs
    pair.agents["beta"] = pair._agent("beta")
    again = make_coordinator(pair)
    assert seals(again) == ["UNSEALED"]
    assert not live(pair, again).is_already
    assert seals(again) == []


def test_another_coordinator_has_taken_over(
    pair: Pair, tmp_path: Path, coordinator: Coordinator
) -> None:
    make_coordinator(pair, tmp_path / "second").adopt(VOLUME)
    with pytest.raises(Refused) as caught:
        live(pair, coordinator)
    assert caught.value.code == "EPOCH_AHEAD"


def test_two_race_one_wins_the_other_says_so(
    pair: Pair, tmp_path: Path, coordinator: Coordinator
) -> None:
    """The second one takes over between the first one's proof and its seal."""
    second = make_coordinator(pair, tmp_path / "second")

    def overtaken(errand: Errand) -> str:
        second.adopt(VOLUME)
        return Client(pair)(errand)

    with pytest.raises(AgentError) as caught:
        go_live(coordinator, VOLUME, overtaken)
    assert caught.value.code == "OTHER_COORDINATOR"
    assert seals(second) == ["UNSEALED", "UNSEALED"]
    live(pair, second)
    assert seals(second) == []


REQUESTS = 12


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(REQUESTS + 1))
def test_killed_at_any_request_it_goes_on(
    pair: Pair, tmp_path: Path, number: int, when: str
) -> None:
    make_coordinator(pair).adopt(VOLUME)
    left = [number]

    def die(_host: str, _method: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    setattr(pair, when, die)
    was_killed = False
    try:
        live(pair, make_coordinator(pair))
    except Killed:
        was_killed = True
    setattr(pair, when, lambda _host, _method: None)
    assert was_killed == (number < REQUESTS)
    again = make_coordinator(pair)
    live(pair, again)
    assert seals(again) == []
    assert pair.serving() == ["alpha"]
    assert pair.epoch("alpha") == pair.epoch("beta") == FIRST_EPOCH + 1


# --- the client ----------------------------------------------------------------------------------


class Shell:
    def __init__(self, ended: Ended) -> None:
        self.ended = ended
        self.argv: tuple[str, ...] = ()
        self.stdin = ""

    def __call__(self, argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
        self.argv, self.stdin = argv, stdin.decode()
        return self.ended


ERRAND = Errand(address="10.9.0.10", path="/srv/a'b", name="id1", content=b"one\ntwo\n")


def test_the_script_runs_here_with_quoted_words() -> None:
    shell = Shell(Ended(exit_status=0))
    assert prover(shell, None)(ERRAND) == "this machine"
    assert shell.argv == ("sh", "-s")
    head, _, rest = shell.stdin.partition("PATH=")
    assert head == (
        "address=10.9.0.10\npath='/srv/a'\"'\"'b'\nfile=.storage-agent/clients/id1\n"
        "content='one\ntwo\n'\n"
    )
    assert f"PATH={rest}" == SCRIPT


def test_or_on_another_machine() -> None:
    shell = Shell(Ended(exit_status=0))
    assert prover(shell, "root@desk7")(ERRAND) == "root@desk7"
    assert shell.argv[0] == "ssh"
    assert shell.argv[-3:] == ("--", "root@desk7", "sh -s")
    assert "StrictHostKeyChecking=yes" in shell.argv


@pytest.mark.parametrize(
    "client", ["-oProxyCommand=x", "a b", "root@", "$(id)@desk", "@desk;id", f"{'d' * 65}"]
)
def test_what_is_no_host_never_reaches_ssh(client: str) -> None:
    with pytest.raises(UsageError):
        prover(Shell(Ended(exit_status=0)), client)


def test_why_it_cannot_be_used_is_told() -> None:
    text = "mount.nfs: access denied by server\nit cannot be mounted\n"
    with pytest.raises(OperationFailed) as caught:
        prover(Shell(Ended(exit_status=1, text=text)), None)(ERRAND)
    assert caught.value.code == "EXPORT_UNPROVEN"
    assert "access denied by server; it cannot be mounted" in caught.value.message
    assert "--client HOST" in caught.value.remedy
