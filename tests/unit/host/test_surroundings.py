"""What else a host has, of what the tools and the kernel said in the lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.host.block.devices import Block
from storage_agent.host.drbd.adapter import Drbd
from storage_agent.host.drbd.definitions import (
    parse_definitions,
    parse_end,
    parse_kernel,
    try_argv,
    with_instead,
)
from storage_agent.host.md.adapter import MdRaid
from storage_agent.host.surroundings import (
    SurroundingsReader,
    parse_array_lines,
    parse_listeners,
)
from storage_agent.model.errors import ParseError
from storage_agent.model.observed import Unobserved
from storage_agent.model.surroundings import ArrayName, Listener, OtherReplica, Surroundings
from tests.unit.host.disks import FakeUdev
from tests.unit.host.recorded import Answer, AnsweringRunner, Argv, recorded
from tests.unit.host.tree import Tree

NAMES = ("defined-and-down-alpha", "nothing-defined-alpha")
DOWN = {
    "hand": "hand-made-down-alpha",
    "elsewhere": "included-address-missing-alpha",
    "two": "two-volumes-down-alpha",
}
TCP = "linux-6.1.0-57-cloud-amd64"


def dump(situation: str) -> str:
    return recorded("drbdadm-dump-xml", "8.4.11", situation).stdout


def test_definitions_as_drbdadm_prints_them() -> None:
    (hand,) = parse_definitions(dump(DOWN["hand"]), "alpha")
    assert hand == OtherReplica(
        name="hand",
        place="/etc/drbd.d/hand.res:1",
        minors=(0,),
        disks=("/dev/vdb",),
        address="10.8.0.1",
        port=7789,
    )
    (elsewhere,) = parse_definitions(dump(DOWN["elsewhere"]), "alpha")
    assert elsewhere.place == "/root/inc/elsewhere.res:1"
    assert (elsewhere.minors, elsewhere.address, elsewhere.port) == ((9,), "fd00::1", 7801)
    assert elsewhere.disks == ("/dev/disk/by-id/virtio-alpha-3", "/dev/vdd")
    (two,) = parse_definitions(dump(DOWN["two"]), "beta")
    assert (two.minors, two.disks, two.address) == (
        (5, 6),
        ("/dev/vdc", "/dev/mapper/x"),
        "10.8.0.2",
    )


def test_of_another_hosts_resource_only_the_name_counts() -> None:
    (foreign,) = parse_definitions(dump("hand-made-down-alpha"), "gamma")
    assert foreign == OtherReplica(name="hand", place="/etc/drbd.d/hand.res:1")


def test_all_at_once_is_no_way_to_ask() -> None:
    """Why they are asked for one by one: one address that is not there hides them all."""
    answer = recorded("drbdadm-dump-xml", "8.4.11", "all-address-missing-alpha")
    assert (answer.exit_status, answer.stdout) == (10, "")


def test_an_end_in_a_path() -> None:
    text = (
        '<resource name="r"><host name="a"/><connection><path><host name="b"/>'
        '<host name="a"><address port="70">1.2.3.4</address></host></path></connection></resource>'
    )
    (found,) = parse_definitions(text, "a")
    assert (found.address, found.port, found.minors) == ("1.2.3.4", 70, ())
    (without,) = parse_definitions(text, "c")
    assert without.port == 0
    (nowhere,) = parse_definitions('<resource name="r"><host name="a"/></resource>', "a")
    assert (nowhere.address, nowhere.port) == ("", 0)


@pytest.mark.parametrize("text", ["", "<config", '<resource><host><volume><device minor="x"/>'
                                  "</volume></host></resource>"])  # fmt: skip
def test_what_is_no_definition(text: str) -> None:
    with pytest.raises(ParseError):
        parse_definitions(text, "alpha")


def test_the_kernels_resources() -> None:
    text = recorded("drbdsetup-events2-now", "8.4.11", "two-resources-two-volumes-alpha").stdout
    assert {(r.name, r.minors, r.place) for r in parse_kernel(text)} == {
        ("r0", (0,), "the kernel"),
        ("home-vol.2", (10, 11), "the kernel"),
    }
    nothing = recorded("drbdsetup-events2-now", "8.4.11", "nothing-up-alpha").stdout
    assert parse_kernel(nothing) == ()
    path = "exists path name:r local:ipv6:[fd00::1]:7789 peer:ipv4:1.2.3.4:1\nexists -\n"
    (nine,) = parse_kernel(path)
    assert (nine.address, nine.port) == ("fd00::1", 7789)
    for broken in ("", "exists device name:r volume:0 minor:x\nexists -\n",
                   "exists resource name:r role:Primary\n"):  # fmt: skip
        with pytest.raises(ParseError):
            parse_kernel(broken)
    with pytest.raises(ParseError):
        parse_end("ipv4:10.8.0.1")


def test_the_question_for_a_contradiction_is_the_one_that_was_recorded() -> None:
    answer = recorded("drbdadm-config-file", "8.4.11", "minor-taken-alpha")
    assert answer.exit_status == 10
    assert "conflicting use of device-minor" in answer.stderr
    assert try_argv("/root/whole") == ("drbdadm", "--config-file", "/root/whole", "sh-nop")


def test_the_whole_configuration_with_one_file_in_the_place_of_another(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for name in ("a.res", "storage-agent-data.res"):
        tree.write(f"etc/drbd.d/{name}", "")
    folder, drbd_d = tmp_path / "etc", tmp_path / "etc/drbd.d"
    main = '# all\ninclude "drbd.d/*.res";\n include /nowhere/*.res ; # ours\ncommon { }\n'
    assert with_instead(main, folder, drbd_d / ".new", drbd_d / "storage-agent-data.res") == (
        f'# all\ninclude "{drbd_d}/a.res";\ncommon {{ }}\ninclude "{drbd_d}/.new";\n'
    )


def test_who_listens() -> None:
    tcp = parse_listeners(recorded("proc-net-tcp", TCP, "listening-alpha").stdout)
    assert tcp == (Listener(address="", port=111), Listener(address="", port=22))
    tcp6 = parse_listeners(recorded("proc-net-tcp6", TCP, "listening-alpha").stdout)
    assert Listener(address="", port=22) in tcp6
    line = "  0: 0100080A:1E6D 00000000:0000 0A 0\n  1: 0100080A:1E6E 00000000:0000 01 0\n"
    assert parse_listeners(line) == (Listener(address="10.8.0.1", port=7789),)
    mapped = "  0: 0000000000000000FFFF00000100080A:1E6D 0:0 0A\n"
    assert parse_listeners(mapped) == (Listener(address="10.8.0.1", port=7789),)
    with pytest.raises(ParseError):
        parse_listeners("  0: zz:1E6D 0:0 0A\n")


def test_names_in_mdadm_conf() -> None:
    lines = (
        "ARRAY /dev/md/data metadata=1.2 UUID=A:B:C:D name=x:data",
        "ARRAY logs uuid=1:2:3:4",
        "ARRAY <ignore> UUID=5:6:7:8",
        "ARRAY /dev/md0 UUID=5:6:7:8",
        "ARRAY",
        "AUTO -all",
    )
    assert parse_array_lines(lines, "/etc/mdadm/mdadm.conf") == (
        ArrayName(path="/dev/md/data", uuid="a:b:c:d", place="/etc/mdadm/mdadm.conf"),
        ArrayName(path="/dev/md/logs", uuid="1:2:3:4", place="/etc/mdadm/mdadm.conf"),
    )


class Script(AnsweringRunner):
    def __init__(self, **answers: Answer) -> None:
        super().__init__()
        self.answers = answers

    def answer(self, argv: Argv, stdin: bytes) -> Answer:
        return self.answers[argv[-1] if argv[1] == "dump-xml" else argv[1]]


def read(tree: Tree, **answers: Answer) -> Surroundings:
    runner = Script(**answers)
    block = Block(tree.root, FakeUdev())
    drbd = Drbd(runner, tree.root)
    return SurroundingsReader(runner, MdRaid(runner, block, tree.root), drbd, tree.root).read()


def prepared(root: Path) -> Tree:
    tree = Tree(root)
    tree.folder("sys/block")
    tree.write("proc/1/mountinfo", "")
    tree.write("proc/net/tcp", recorded("proc-net-tcp", TCP, "listening-alpha").stdout)
    return tree


def test_a_whole_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = prepared(tmp_path)
    tree.write("sys/module/drbd/version", "8.4.11\n")
    tree.link("dev/disk/by-id/virtio-alpha-3", "../../vde")
    tree.write("etc/mdadm/mdadm.conf", "ARRAY /dev/md/data UUID=1:2:3:4\n")
    names = recorded("drbdadm-sh-resources", "8.4.11", NAMES[0])
    dumps = {name: Answer(0, dump(file)) for name, file in DOWN.items()}
    nothing_up = recorded("drbdsetup-events2-now", "8.4.11", "nothing-up-alpha")
    monkeypatch.setattr("os.uname", lambda: type("Uname", (), {"nodename": "alpha"}))
    seen = read(tree, **{"sh-resources": names, "events2": nothing_up}, **dumps)
    assert isinstance(seen.replicas, tuple)
    assert {r.name for r in seen.replicas} == {"hand", "elsewhere", "two"}
    (elsewhere,) = (r for r in seen.replicas if r.name == "elsewhere")
    assert "vde" in elsewhere.disks
    assert seen.arrays == (
        ArrayName(path="/dev/md/data", uuid="1:2:3:4", place="/etc/mdadm/mdadm.conf"),
    )
    assert isinstance(seen.listeners, tuple)
    assert Listener(address="", port=22) in seen.listeners


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    tree = prepared(tmp_path)
    broken = Answer(10, "", "drbd.d/zz.res:3: Parse error: 'disk' expected\n")
    seen = read(tree, **{"sh-resources": broken})
    assert seen.replicas == Unobserved(
        reason="drbdadm sh-resources: drbd.d/zz.res:3: Parse error: 'disk' expected"
    )
    tree.write("proc/net/tcp", "  0: zz:1E6D 0:0 0A\n")
    tree.folder("etc/mdadm/mdadm.conf")
    empty = recorded("drbdadm-sh-resources", "8.4.11", NAMES[1])
    seen = read(tree, **{"sh-resources": empty})
    assert seen.replicas == ()
    assert isinstance(seen.listeners, Unobserved)
    assert isinstance(seen.arrays, Unobserved)
    assert "etc/mdadm/mdadm.conf: Is a directory" in seen.arrays.reason
