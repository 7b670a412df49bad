"""coordinator.toml: what it gives, and that each mistake is named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.configuration.read import Paths
from storage_agent.coordinator.settings import check, load
from storage_agent.model.errors import ConfigurationError, UsageError

GOOD = """\
key_file = "/etc/storage-coordinator/id"
parallel = 32

[deadlines]
connect_s = 3

[hosts.alpha]
address = "alpha.storage.example"
[hosts.alpha.fence]
agent = "fence_ipmilan"
options = "/etc/storage-coordinator/fence-alpha"
[hosts.beta]
address = "10.0.0.2"
port = 2222

[pairs.office]
hosts = ["alpha", "beta"]
[pairs.office.volumes.data]
automatic = true
[pairs.office.volumes.mail]
cooldown_s = 600
"""


def paths(folder: Path, text: str) -> Paths:
    main = folder / "coordinator.toml"
    main.write_text(text)
    main.chmod(0o600)
    return Paths(main=main, folder=folder / "coordinator.d")


def test_what_it_gives(tmp_path: Path) -> None:
    settings = load(paths(tmp_path, GOOD))
    assert settings.hosts["beta"].port == 2222
    assert settings.hosts["alpha"].fence is not None
    assert settings.deadlines.connect_s == 3
    data, mail = settings.volume("data"), settings.volume("office/mail")
    assert (data.automatic, data.cooldown_s, data.hosts) == (True, 3600, ("alpha", "beta"))
    assert (mail.automatic, mail.cooldown_s) == (False, 600)
    assert data.peer_of("alpha") == "beta"
    with pytest.raises(UsageError):
        settings.volume("dta")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("automatic = true", "automatic = 1", ":19: error: pairs.office.volumes.data.automatic"),
        ("automatic = true", "automatik = true", "did you mean 'automatic'"),
        ("cooldown_s = 600", "cooldown_s = 5", "is not between 60 and"),
        ('"alpha.storage.example"', '"-oProxyCommand=x"', "no IP address and no DNS name"),
        ('"alpha.storage.example"', '"$(id).example"', "no IP address and no DNS name"),
        ('hosts = ["alpha", "beta"]', 'hosts = ["alpha"]', "a pair has two hosts"),
        ('hosts = ["alpha", "beta"]', 'hosts = ["alpha", "gamma"]', "none of [hosts]"),
        ("fence_ipmilan", "ipmi; rm", "fence agent"),
        ("[hosts.alpha]", "[hosts.'al pha']", "short name"),
        ("volumes.data]", "volumes.all]", "drbdadm's word"),
        ("parallel = 32", "parallel = 32\nunknown = 1", "unknown key"),
        ("port = 2222", "port = 0", "between 1 and 65535"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    where = paths(tmp_path, GOOD.replace(old, new))
    problems = check(where)
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith(str(where.main)) for problem in problems)
    with pytest.raises(ConfigurationError):
        load(where)


def test_a_host_belongs_to_one_pair(tmp_path: Path) -> None:
    more = '\n[pairs.lab]\nhosts = ["alpha", "beta"]\n[pairs.lab.volumes.data]\n'
    (problem, *_) = check(paths(tmp_path, GOOD + more))
    assert "is in the pair 'office' already" in problem


def test_the_example_is_right() -> None:
    example = Path(__file__).parents[3] / "examples" / "coordinator.toml"
    found = check(Paths(main=example, folder=example.parent / "none"))
    assert found == ()
