"""Facts for doctor: parsers on real and synthetic texts, the reader on a tree of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage_agent.host.doctor_facts import (
    DoctorFactsReader,
    parse_connected,
    parse_exports,
    parse_fstab,
    parse_mdadm_conf,
    parse_module_names,
    parse_units,
    units_argv,
)
from storage_agent.host.drbd.dump import parse_replica_settings
from storage_agent.model.doctor import automount_unit, drbd_units
from storage_agent.model.errors import Missing, ParseError
from storage_agent.model.observed import Unobserved
from tests.unit.fakes import agent_config
from tests.unit.host.recorded import Answer, AnsweringRunner

DATA = Path(__file__).parents[2] / "data"
DUMP_8 = (DATA / "drbdadm-dump-xml/8.4.11/fencing-configured-alpha.out").read_text()
DUMP_9 = (DATA / "drbdadm-dump-xml/9.1.23/fencing-configured-alpha.out").read_text()


def test_settings_of_both_drivers() -> None:
    for text, fencing in ((DUMP_8, "disk.fencing"), (DUMP_9, "net.fencing")):
        settings = parse_replica_settings(text)["r0"]
        assert settings[fencing] == "resource-and-stonith"
        assert settings["net.after-sb-1pri"] == "disconnect"
        assert settings["net.ping-int"] == "4"
        assert settings["handlers.fence-peer"] == "/root/fence-slow"


def test_common_options_count_and_own_ones_win() -> None:
    text = """<config><common><section name="net"><option name="ping-int" value="9"/>
        <option name="allow-two-primaries"/></section></common>
        <resource name="data"><section name="net"><option name="ping-int" value="3"/>
        <new-element/></section></resource></config>"""
    assert parse_replica_settings(text) == {
        "data": {"net.ping-int": "3", "net.allow-two-primaries": "yes"}
    }


def test_what_is_not_xml_raises() -> None:
    with pytest.raises(ParseError):
        parse_replica_settings("drbd.d/x.res:3: Parse error")


def test_fstab() -> None:
    text = "# a comment\n\nUUID=12 / ext4 errors=remount-ro 0 1\n/dev/drbd0\t/srv/data\nshort\n"
    root, data = parse_fstab(text)
    assert (root.line, root.source, root.options) == (3, "UUID=12", ("errors=remount-ro",))
    assert (data.line, data.mount_point, data.options) == (4, "/srv/data", ("defaults",))


def test_exports() -> None:
    text = '# no\n/srv/data *(rw) \\\n  10.0.0.0/8(ro)\n"/srv/with space" *(ro)\n'
    found = parse_exports(text, "/etc/exports")
    assert [(entry.line, entry.path) for entry in found] == [
        (2, "/srv/data"),
        (4, "/srv/with space"),
    ]


def test_mdadm_conf() -> None:
    text = (
        "HOMEHOST <system>\nAUTO -all # why\nARRAY /dev/md/x metadata=1.2\n   UUID=1:2:3:4\n"
        "arr <ignore> UUID=5:6:7:8\nAR x\n"
    )
    assert parse_mdadm_conf(text) == (
        "AUTO -all",
        "ARRAY /dev/md/x metadata=1.2 UUID=1:2:3:4",
        "ARRAY <ignore> UUID=5:6:7:8",
    )


def test_module_names() -> None:
    text = "k/macvlan.ko: \nk/drbd/drbd.ko.xz: k/lru.ko\nk/dm-mod.ko:\n"
    assert parse_module_names(text) == {"macvlan", "drbd", "dm_mod"}


UNITS = """Id=drbd.service
LoadState=loaded
ActiveState=inactive
UnitFileState=enabled
DropInPaths=/lib/systemd/system/drbd.service.d/storage-agent.conf

Id=pacemaker.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
NewKey=1
"""


def test_units() -> None:
    found = parse_units(UNITS)
    assert found["drbd.service"].drop_ins == (
        "/lib/systemd/system/drbd.service.d/storage-agent.conf",
    )
    assert found["drbd.service"].may_run()
    assert not found["pacemaker.service"].may_run()


def test_what_is_missing_of_a_unit_hides_no_other() -> None:
    found = parse_units("Id=x.service\nLoadState=loaded\n\nLoadState=loaded\n\nId=y.service\n")
    assert set(found) == {"x.service", "y.service"}
    assert (found["x.service"].load, found["x.service"].active) == ("loaded", "")
    with pytest.raises(ParseError, match="no unit"):
        parse_units("LoadState=loaded\n")


# -- the reader -----------------------------------------------------------------------------------


class Tools(AnsweringRunner):
    """Outputs by tool; a tool that is not in the table is not installed."""

    def __init__(self, outputs: dict[str, str]) -> None:
        super().__init__()
        self.outputs = outputs

    def answer(self, argv: tuple[str, ...], stdin: bytes) -> Answer:
        if argv[0] not in self.outputs:
            raise Missing(f"the command {argv[0]!r} is not installed")
        output = self.outputs[argv[0]]
        return Answer(1, "", output) if output.startswith("FAIL") else Answer(0, output)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_configured_host(tmp_path: Path) -> None:
    release = os.uname().release
    root = tree(
        tmp_path,
        {
            "etc/storage-agent/agent.d/10-data.toml": "",
            f"lib/modules/{release}/modules.dep": "kernel/drbd.ko: \nkernel/nfsd.ko:\n",
            f"lib/modules/{release}/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
            "sys/module/macvlan/x": "",
            "sys/module/drbd/version": "8.4.11\n",
            "etc/fstab": "/dev/vda1 / ext4\n",
            "etc/exports.d/a.exports": "/srv/x *\n",
            "etc/exports.d/b.txt": "/srv/y *\n",
            "etc/mdadm/mdadm.conf": "AUTO -all\n",
            "etc/mdadm/mdadm.conf.d/storage-agent.conf": "ARRAY <ignore> UUID=1:1:1:1\n",
            "var/lib/storage-agent/x": "",
            "proc/1/mountinfo": "1 0 254:1 / / rw - ext4 /dev/vda1 rw\n",
        },
    )
    outputs = {
        "systemctl": UNITS,
        "timedatectl": "yes\n",
        "drbdadm": DUMP_8.replace('name="r0"', 'name="data"'),
    }
    runner = Tools(outputs)
    found = DoctorFactsReader(runner, root).read(agent_config())
    assert found.has_configuration
    assert found.modules == {"drbd", "nfsd", "ext4", "macvlan"}
    assert found.drbd_version == "8.4.11"
    assert not isinstance(found.units, Unobserved)
    assert not isinstance(found.exports, Unobserved)
    assert [entry.path for entry in found.exports] == ["/srv/x"]
    assert found.mdadm_lines == ("AUTO -all", "ARRAY <ignore> UUID=1:1:1:1")
    assert found.is_clock_synchronised is True
    assert found.state_folder is not None
    assert not isinstance(found.state_folder, Unobserved)
    assert found.state_folder.source == "/dev/vda1"
    settings = found.replica_settings["data"]
    assert not isinstance(settings, Unobserved)
    assert settings["net.protocol"] == "C"
    # systemctl, timedatectl, drbdadm for one volume.
    assert [argv[0] for argv in runner.asked] == ["systemctl", "timedatectl", "drbdadm"]


def test_an_empty_host_raises_nothing_and_says_why_it_saw_nothing(tmp_path: Path) -> None:
    found = DoctorFactsReader(Tools({"timedatectl": "FAIL: no bus\nmore"}), tmp_path).read(None)
    assert not found.has_configuration
    assert found.units == Unobserved(reason="the command 'systemctl' is not installed")
    assert found.is_clock_synchronised == Unobserved(reason="timedatectl: FAIL: no bus")
    assert found.state_folder is None
    assert found.fstab == ()
    assert found.replica_settings == {}


def test_an_unloaded_driver_is_asked_of_modinfo(tmp_path: Path) -> None:
    root = tree(tmp_path, {f"lib/modules/{os.uname().release}/modules.dep": "k/drbd.ko:\n"})
    runner = Tools({"modinfo": "9.1.23\n"})
    assert DoctorFactsReader(runner, root).read(None).drbd_version == "9.1.23"
    assert DoctorFactsReader(Tools({}), root).read(None).drbd_version is None


def test_all_units_are_asked_in_one_call() -> None:
    argv = units_argv(None)
    assert argv[:2] == ("systemctl", "show")
    assert "drbd.service" in argv
    assert "pacemaker.service" in argv
    more = units_argv(agent_config())[len(argv) :]
    assert {"drbd-promote@data.service", "drbd@data.target", "srv-data.automount"} <= set(more)


def test_names_of_units() -> None:
    """As systemd-escape(1) prints them."""
    assert automount_unit("/srv/my data/a-b") == r"srv-my\x20data-a\x2db.automount"
    assert automount_unit("/.hidden") == r"\x2ehidden.automount"
    assert drbd_units("a-b")[0] == "drbd@a-b.target"
    assert r"drbd-promote@a\x2db.service" in drbd_units("a-b")
    assert len(drbd_units("data")) * 2 == len(drbd_units("a-b"))


def test_options_of_exports() -> None:
    text = (
        "/srv -rw,crossmnt 10.0.0.0/8(ro) *.example.org(sync,\\\n  no_subtree_check)\n"
        '"/with space" *(fsid=0,crossmnt)\n/plain\n/tab\t*(rw)\n'
    )
    srv, quoted, plain, tab = parse_exports(text, "/etc/exports")
    assert srv.options == {"rw", "crossmnt", "ro", "sync", "no_subtree_check"}
    assert (quoted.line, quoted.path, quoted.options) == (
        3,
        "/with space",
        frozenset({"fsid=0", "crossmnt"}),
    )
    assert (plain.path, plain.options) == ("/plain", frozenset())
    assert (tab.path, tab.options) == ("/tab", frozenset({"rw"}))


def test_who_is_connected_to_the_hosts_own_nfs_server() -> None:
    lines = (
        "  0: 0100080A:0801 6400090A:02E5 01 0\n"
        "  1: 0100080A:0801 00000000:0000 0A 0\n"
        "  2: 0100080A:0016 6400090A:02E5 01 0\n"
        "  3: 0000000000000000FFFF00000100080A:0801 0000000000000000FFFF00006500090A:1 01\n"
    )
    assert parse_connected(lines, 2049) == ("10.9.0.100", "10.9.0.101")
    odd = "  0: 0100080A:0801 zz:02E5 01 0\n  1: 0100080A:zz 6400090A:02E5 01 0\n"
    assert parse_connected(odd + lines, 2049)[0] == "an address that is not understood"
    assert parse_connected(odd + lines, 2049)[1:] == ("10.9.0.100", "10.9.0.101")
