"""What is refused, and where the message points."""

from __future__ import annotations

import re

import pytest

from storage_agent.model.errors import ConfigurationError
from tests.unit.configuration.files import BASE, LOCAL, SECOND, Files, line_of

# -- what is refused, one thing at a time ---------------------------------------------------------

WRONG = [
    ('mount_point = "/srv/data"', 'mount_point = "/srv/data/"', "volumes.data.mount_point: "),
    ('mount_point = "/srv/data"', 'mount_point = "srv/data"', "is not an absolute path"),
    ('mount_point = "/srv/data"', 'mount_point = "/srv/../data"', "is not an absolute path"),
    ('mount_point = "/srv/data"', 'mount_point = "/srv/a b"', "is not an absolute path"),
    ('mount_point = "/srv/data"', 'mount_point = "/srv/a\\nb"', "is not an absolute path"),
    ('mount_point = "/srv/data"', 'mount_point = "/srv/a(rw)"', "is not an absolute path"),
    ('mount_point = "/srv/data"', 'mount_point = "/srv/#a"', "is not an absolute path"),
    ('mount_point = "/srv/data"', 'mount_point = "/"', "is not an absolute path"),
    ('mount_point = "/srv/data"', 'mount_point = "/etc/x"', "lies in /etc"),
    ('mount_point = "/srv/data"', 'mount_point = "/var"', "/var/lib/storage-agent"),
    ('mount_point = "/srv/data"', 'mount_point = "/var/lib/nfs/x"', "/var/lib/nfs"),
    ('mount_point = "/srv/data"', "mount_point = 7", "a string is wanted"),
    ('level = "raid1"', 'level = "raid0"', "survives the loss of no disk"),
    ('level = "raid1"', 'level = "raid"', "'raid' is not known (did you mean 'raid"),
    ('level = "raid1"', 'level = "raid6"\n#', "raid6 needs 4 disks, not 2"),
    ('"a0", "a1"', '"a0", "a0"', "'a0' is listed twice"),
    ('alpha = ["a0", "a1"]', "alpha = []", "the list is empty"),
    ('"a0", "a1"', '"a0", "a 1"', "'a 1' is not a disk's serial number"),
    ('"a0", "a1"', '"a0", 1', "a list of strings is wanted"),
    ('["a0", "a1"]', '"a0"', "a list of strings is wanted"),
    ("minor = 0", "minor = 256", "256 is not between 0 and 255"),
    ("minor = 0", "minor = false", "a whole number is wanted"),
    ("minor = 0", 'minor = "0"', "a whole number is wanted"),
    ("port = 7789", "port = 80", "80 is not between 1024 and 65535"),
    ("port = 7789", "prot = 7789", "unknown key (did you mean 'port'?)"),
    ('type = "ext4"', 'type = "ext3"', "'ext3' is not known (did you mean 'ext4'?)"),
    ('type = "ext4"', 'type = "ext4"\nuuid = "x"', "'x' is not a UUID"),
    ('type = "ext4"', 'type = "ext4"\noptions = ["nobarrier"]', "'nobarrier' is not"),
    ('type = "ext4"', 'type = "ext4"\noptions = ["data=writeback"]', "is not a mount option"),
    ('type = "ext4"', 'type = "ext4"\noptions = ["noatime,nobarrier"]', "is not a mount option"),
    ('type = "ext4"', 'type = "ext4"\noptions = ["commit="]', "is not a mount option"),
    ('type = "ext4"', 'type = "ext4"\noptions = ["inode64"]', "is not a mount option"),
    ('"10.9.0.10/24"', '"10.9.0.10"', "lacks its prefix length, like '10.9.0.10/24'"),
    ('"10.9.0.10/24"', '"10.9.0.0/24"', "the address of the network itself"),
    ('"10.9.0.10/24"', '"10.9.0.255/24"', "broadcast"),
    ('"10.9.0.10/24"', '"127.0.0.1/8"', "a client could reach"),
    ('"10.9.0.10/24"', '"fd00::1/64"', "is not an IPv4 address"),
    ('"10.9.0.10/24"', '"10.9.0.10/255.255.255.0"', "is written '10.9.0.10/24'"),
    ('"eth2"', '"eth2; reboot"', "is not a network interface"),
    ('"eth2"', '"-eth2"', "is not a network interface"),
    ('"eth2"', '"eth2"\nlink = "bridge"', "'bridge' is not known (known: ipvlan, macvlan)"),
    ('"10.9.0.0/24"]', '"10.9.0.1/24"]', "write 10.9.0.0/24, or the address"),
    ('"10.9.0.0/24"]', '"*"]', "is not an IPv4 address or network"),
    ('"10.9.0.0/24"]', '"10.9.0.0/24(rw)"]', "is not an IPv4 address or network"),
    ('"10.9.0.0/24"]', '"10.9.0.7 (rw)"]', "is not an IPv4 address or network"),
    ('"10.9.0.0/24"]', '"client"]', "is not an IPv4 address or network"),
    ('"10.9.0.0/24"]', '"10.9.0.0/24"]\nthreads = 0', "0 is not between 1 and 256"),
    ('"10.9.0.0/24"]', '"10.9.0.0/24"]\noptions = ["async"]', "lose acknowledged writes"),
    ('"10.9.0.0/24"]', '"10.9.0.0/24"]\noptions = ["fsid=1"]', "set by the agent"),
    ('"10.9.0.0/24"]', '"10.9.0.0/24"]\noptions = ["rw", "ro"]', "contradict each other"),
    ('"10.9.0.0/24"]', '"10.9.0.0/24"]\noptions = ["rw,async"]', "is not an export option"),
    ('"10.9.0.0/24"]', '"10.9.0.0/24"]\noptions = ["sec=krb5"]', "is not an export option"),
    ('address = "10.8.0.1"', 'address = "10.8.0"', "'10.8.0' is not an IP address"),
    ('address = "10.8.0.1"', 'address = "127.0.0.1"', "another host could reach"),
    ('address = "10.8.0.1"', 'adress = "10.8.0.1"', "unknown key (did you mean 'address'?)"),
    ('host = "alpha"', 'host = "alhpa"', "is none of [hosts] (did you mean 'alpha'?)"),
    ('host = "alpha"', 'host = "alpha"\nhostt = 1', "hostt: unknown key (did you mean 'host"),
    ('host = "alpha"', 'host = "alpha"\n"a\\u001bb" = 1', '"a\\u001bb": unknown key'),
    ('beta = ["b0"', 'betta = ["b0"', "'betta' is none of [hosts] (did you mean 'beta'?)"),
    ('"/srv/data"', '"/srv/data"\narbitration = "coordinatr"', "did you mean 'coordinator'?"),
    ('"/srv/data"', '"/srv/data"\nservices = ["minio"]', "full name, like 'minio.service'"),
    ('"/srv/data"', '"/srv/data"\nservices = ["-x y.service"]', "is not a systemd unit"),
    ('"/srv/data"', '"/srv/data"\nservices = ["nfs-server.service"]', "NFS server of its own"),
    ('"/srv/data"', '"/srv/data"\nservices = ["storage-agentd.service"]', "is the agent's own"),
    ('"/srv/data"', '"/srv/data"\nservices = ["a.service", "a.service"]', "is listed twice"),
    ('"/srv/data"', '"/srv/data"\narray = 7\n#', "a table is wanted"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG)
def test_refused_with_the_line(files: Files, right: str, wrong: str, message: str) -> None:
    assert right in BASE
    text = BASE.replace(right, wrong, 1)
    if wrong.endswith("array = 7\n#"):
        text = text.replace("[volumes.data.array", "[other")
    found = files.problems(text)
    (hit,) = [problem for problem in found if message in problem][:1] or [""]
    assert message in hit, found
    last = wrong.removesuffix("\n#").splitlines()[-1]
    expected = line_of(text, last)
    assert hit.startswith(f"{expected}: ") or "raid6 needs" in hit
    with pytest.raises(ConfigurationError) as caught:
        files.load()
    assert re.match(rf"{re.escape(str(files.paths.main))}:\d+: ", caught.value.message)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("mount_point", "the key 'mount_point' is missing"),
        ("level", "the key 'level' is missing"),
        ("beta = [", "no disks are listed for host beta"),
        ("minor", "the key 'minor' is missing"),
        ("port", "the key 'port' is missing"),
        ("type", "the key 'type' is missing"),
        ("interface", "the key 'interface' is missing"),
        ("clients", "the key 'clients' is missing"),
    ],
)
def test_a_missing_key_is_told_at_its_table(files: Files, key: str, message: str) -> None:
    lines = BASE.splitlines(True)
    number = next(n for n, line in enumerate(lines) if line.startswith(key))
    text = "".join(lines[:number] + lines[number + 1 :])
    (problem,) = files.problems(text)
    assert message in problem
    header = max(n for n, line in enumerate(lines[:number]) if line.startswith("["))
    assert problem.startswith(f"{header + 1}: ")


@pytest.mark.parametrize("name", ["all", "Data", "1data", "a" * 32, "da_ta", "", "a/b"])
def test_volume_names(files: Files, name: str) -> None:
    text = BASE.replace("volumes.data", f'volumes."{name}"')
    assert any(p.startswith("6: ") for p in files.problems(text))


@pytest.mark.parametrize("name", ["alpha.example", "al pha", "-alpha", "a" * 64, ""])
def test_host_names(files: Files, name: str) -> None:
    text = BASE.replace("hosts.alpha", f'hosts."{name}"')
    assert any("short name" in p and p.startswith("2: ") for p in files.problems(text))


def test_hosts(files: Files) -> None:
    third = '[hosts.gamma]\naddress = "10.8.0.3"\n'
    assert any("one host or two" in p for p in files.problems(BASE + third))
    assert files.problems("") == ["1: the table [hosts] is missing"]
    alone = BASE.replace('[hosts.beta]\naddress = "10.8.0.2"\n', "").replace("beta =", "#")
    assert files.problems(alone) == [
        "11: volumes.data.replica: a replica needs two hosts, and [hosts] names one"
    ]


def test_arbitration_needs_a_replica(files: Files) -> None:
    text = BASE + LOCAL.replace('"/srv/scratch"', '"/srv/scratch"\narbitration = "coordinator"')
    assert any("nothing to arbitrate" in p for p in files.problems(text))


def test_everything_wrong_is_told_at_once_and_once(files: Files) -> None:
    text = BASE.replace("minor = 0", "minor = -1").replace('"ext4"', '"ntfs"') + "[nonsense]\n"
    assert files.problems(text) == [
        "14: volumes.data.replica.minor: -1 is not between 0 and 255",
        "17: volumes.data.filesystem.type: 'ntfs' is not known (known: ext4, xfs)",
        "22: nonsense: unknown key (known: compare_port, host, hosts, volumes)",
    ]
    with pytest.raises(ConfigurationError, match=r"agent\.toml:14: .* \(and 2 more: "):
        files.load()


def test_the_agents_do_not_compare_at_a_replicas_port(files: Files) -> None:
    (problem,) = files.problems("compare_port = 7789\n" + BASE)
    assert problem == "16: volumes.data.replica.port: port 7789 is taken: see compare_port at 1"
    (problem,) = files.problems("compare_port = 80\n" + BASE)
    assert problem == "1: compare_port: 80 is not between 1024 and 65535"


def test_a_mistake_is_not_told_twice_as_a_conflict(files: Files) -> None:
    text = BASE.replace("minor = 0", "minor = true") + SECOND.replace("minor = 1", "minor = true")
    assert [p.split(": ")[1] for p in files.problems(text)] == [
        "volumes.data.replica.minor",
        "volumes.two.replica.minor",
    ]


# -- conflicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "wrong", "message", "other"),
    [
        ('"/srv/two"', '"/srv/data"', "mount point /srv/data is taken", "mount_point"),
        ('"/srv/two"', '"/srv/data/two"', "lies inside volume data", "mount_point"),
        ("minor = 1", "minor = 0", "minor 0 is taken", "minor"),
        ("port = 7790", "port = 7789", "port 7789 is taken", "port"),
        ('"10.9.0.11/24"', '"10.9.0.10/24"', "address 10.9.0.10 is taken", "10.9.0.10"),
        ('"10.9.0.11/24"', '"10.8.0.2/24"', "address 10.8.0.2 is taken", "10.8.0.2"),
        ('"a2"', '"a1"', "disk a1 is taken", "a1"),
        ('"b2"', '"a1"', "disk a1 is taken", "a1"),
        ('"eth2"', '"eth2"\nlink = "ipvlan"', "cannot share interface eth2", "18"),
        ("volumes.two", "volumes.beta", "a host is called so", "[hosts.beta]"),
    ],
)
def test_conflicts_name_both_places(
    files: Files, right: str, wrong: str, message: str, other: str
) -> None:
    file = files.write(SECOND.replace(right, wrong), "two.toml")
    files.write(BASE)
    (problem,) = files.problems()
    assert message in problem
    last = wrong.splitlines()[-1]
    assert problem.startswith(f"two.toml:{line_of(file.read_text(), last)}: ")
    # `link` is a default in the first volume, so its table is the place.
    line = int(other) if other.isdigit() else line_of(BASE, other)
    assert problem.endswith(f" at {line}") or problem.endswith(f":{line}")


def test_the_same_unit_and_the_same_uuids(files: Files) -> None:
    units = 'services = ["a.service"]\n[volumes.{}.array]'
    text = (BASE + SECOND).replace("[volumes.data.array]", units.format("data"))
    text = text.replace("[volumes.two.array]", units.format("two"))
    same = 'uuid = "0f4c2a36-9b5e-4b5e-8f4e-3f1f6f1e9a10"'
    text = text.replace('"ext4"', f'"ext4"\n{same}').replace('"xfs"', f'"xfs"\n{same}')
    array = 'uuid.alpha = "a1b2c3d4:a1b2c3d4:a1b2c3d4:a1b2c3d4"'
    text = text.replace('"raid1"', f'"raid1"\n{array}')
    words = [" ".join(p.split(": ")[2].split()[:2]) for p in files.problems(text)]
    assert words == ["unit a.service", "array UUID", "filesystem UUID"]
