"""What the package contains, depends on and does at installation."""

from __future__ import annotations

import filecmp
import os
import re
from pathlib import Path

from storage_agent.model.doctor import TOOL_PACKAGES
from tests.packaging.conftest import ROOT, Build, Run, field, files

MINIMUM_VERSIONS = {
    "drbd-utils": "9.22",
    "mdadm": "4.2",
    "nfs-kernel-server": "1:2.6.2",
    "python3": "3.11",
    "python3-psutil": "5.9.4",
    "python3-pyudev": "0.24",
    "python3-structlog": "22.3",
    "python3-systemd": "235",
}


def test_it_holds_what_it_must(tree: Path) -> None:
    assert {
        "usr/bin/storage-agent",
        "usr/bin/storage-agent-nfs",
        "usr/lib/python3/dist-packages/storage_agent/__init__.py",
        "usr/lib/storage-agent/fence-peer",
        "usr/lib/storage-agent/split-brain",
        "usr/lib/storage-agent/gateway",
        "usr/lib/storage-agent/other-drbd-resources",
        "lib/systemd/system/storage-agentd.service",
        "lib/systemd/system/storage-agent.socket",
        "lib/systemd/system/storage-agent-nfs@.service",
        "lib/systemd/system/storage-agent-shutdown.service",
        "lib/systemd/system/drbd.service.d/storage-agent.conf",
        "usr/share/initramfs-tools/hooks/storage-agent",
        "usr/lib/sysusers.d/storage-agent.conf",
        "usr/lib/tmpfiles.d/storage-agent.conf",
        "usr/share/doc/storage-agent/copyright",
        "usr/share/storage-agent/api.json",
        "usr/share/man/man8/storage-agent.8.gz",
        "usr/share/man/man8/storage-agent-nfs.8.gz",
    } <= files(tree)


def test_it_holds_every_module_and_nothing_else_of_python(tree: Path) -> None:
    modules = tree / "usr/lib/python3/dist-packages/storage_agent"
    installed = {str(path.relative_to(modules)) for path in modules.rglob("*.py")}
    source = ROOT / "storage_agent"
    assert installed == {str(path.relative_to(source)) for path in source.rglob("*.py")}
    others = {path.name for path in modules.parent.iterdir()} - {"storage_agent"}
    assert all(re.fullmatch(r"storage_agent-[\d.]+\.dist-info", name) for name in others)


def test_it_keeps_out_of_places_that_are_not_a_packages(tree: Path) -> None:
    allowed = (
        "usr/bin/",
        "usr/lib/",
        "usr/share/",
        "lib/systemd/system/",
        "etc/ssh/sshd_config.d/",
    )
    assert [name for name in files(tree) if not name.startswith(allowed)] == []


def test_all_that_is_the_packages_in_etc_is_sshds_drop_in(tree: Path, control: Path) -> None:
    """create and the admin write the configuration, so no file of it may be a conffile."""
    drop_in = "etc/ssh/sshd_config.d/storage-agent.conf"
    assert {str(p.relative_to(tree)) for p in (tree / "etc").rglob("*")} == {
        "etc/storage-agent",
        "etc/storage-agent/agent.d",
        # Its folder must exist when the daemon starts, to be one that it may write in.
        "etc/mdadm",
        "etc/mdadm/mdadm.conf.d",
        "etc/ssh",
        "etc/ssh/sshd_config.d",
        drop_in,
    }
    assert (control / "conffiles").read_text() == f"/{drop_in}\n"


def test_only_programs_are_executable(tree: Path) -> None:
    executable = {name for name in files(tree) if os.access(tree / name, os.X_OK)}
    assert {name for name in executable if not name.startswith("usr/lib/storage-agent/")} == {
        "usr/bin/storage-agent",
        "usr/bin/storage-agent-nfs",
        "usr/share/initramfs-tools/hooks/storage-agent",
    }
    assert {"usr/lib/storage-agent/fence-peer", "usr/lib/storage-agent/split-brain"} <= executable


def test_it_names_the_oldest_versions_that_do(control: Path) -> None:
    versions = dict(re.findall(r"([\w.-]+) \(>= ([^)]+)\)", field(control, "Depends")))
    assert MINIMUM_VERSIONS.items() <= versions.items()


def test_the_tools_that_doctor_asks_for_come_with_it(control: Path) -> None:
    """util-linux is always there; xfsprogs is wanted by hosts with such a volume."""
    depends = set(re.findall(r"(?:^|, )([\w.-]+)", field(control, "Depends")))
    assert set(TOOL_PACKAGES.values()) - {"util-linux", "xfsprogs"} <= depends
    assert "xfsprogs" in field(control, "Recommends")


def test_users_come_before_folders_and_folders_before_units(control: Path) -> None:
    """A folder of a user that does not exist yet, or a socket in a folder that does not."""
    postinst = (control / "postinst").read_text()
    added = re.findall(r"^# Automatically added by (dh_\w+)", postinst, re.MULTILINE)
    order = [added.index(f"dh_install{what}") for what in ("sysusers", "tmpfiles", "systemd")]
    assert order == sorted(order)


def test_an_upgrade_restarts_the_daemon_and_nothing_else(control: Path) -> None:
    scripts = "".join((control / name).read_text() for name in ("postinst", "prerm", "postrm"))
    touched = set(re.findall(r"deb-systemd-\w+ .*?'([^']+)'", scripts))
    assert touched == {
        "storage-agent.socket",
        "storage-agent-shutdown.service",
        "storage-agentd.service",
    }
    postinst = (control / "postinst").read_text()
    for line in postinst.splitlines():
        # Restarted, it would be stopped first.
        assert not ("deb-systemd-invoke $_dh_action" in line and "shutdown" in line)
    prerm = (control / "prerm").read_text()
    for stop in re.findall(r"^.*deb-systemd-invoke stop.*$", prerm, re.MULTILINE):
        before = prerm[: prerm.index(stop)].splitlines()[-1]
        assert '"$1" = remove' in before


def test_lintian_has_nothing_to_say(deb: Path, run: Run) -> None:
    ended = run("lintian", "-I", "--pedantic", "-E", "--fail-on", "error,warning", deb)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_two_builds_give_the_same_package(deb: Path, build: Build, tmp_path: Path) -> None:
    """Built in another folder, at another time."""
    again = build("--force", "--output", tmp_path / "elsewhere")
    assert filecmp.cmp(deb, again, shallow=False), f"diffoscope {deb} {again}"


def test_an_unchanged_tree_is_not_built_again(deb: Path, build: Build) -> None:
    before = deb.stat().st_mtime_ns
    assert build() == deb
    assert deb.stat().st_mtime_ns == before


def test_build_deb_names_a_wrong_argument(run: Run) -> None:
    ended = run(ROOT / "scripts/build-deb", "--outptu", "x")
    assert ended.returncode == 2
    assert "--outptu" in ended.stderr
