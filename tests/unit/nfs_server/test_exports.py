"""The export table that rpc.mountd reads."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.host.nfs.adapter import parse_exports
from storage_agent.model.errors import ConfigurationError
from storage_agent.nfs_server.exports import render_etab

from .settings import SETTINGS


def test_one_line_a_client_and_one_for_the_canary() -> None:
    pinned = "fsid=0d8e1b1e-8f0b-4d0f-9a60-6c9a1c0b4e11,mountpoint,sec=sys"
    assert render_etab(SETTINGS) == (
        f"/srv/data\t10.9.0.0/24(rw,sync,no_subtree_check,{pinned})\n"
        f"/srv/data\t@office(rw,sync,no_subtree_check,{pinned})\n"
        f"/srv/data\t169.254.253.2(rw,sync,no_subtree_check,no_root_squash,{pinned})\n"
    )


def test_what_is_written_is_what_is_read() -> None:
    settings = dataclasses.replace(SETTINGS, mount_point='/srv/a b#"\\')
    assert parse_exports(render_etab(settings)) == ('/srv/a b#"\\',)


def test_a_configured_security_flavour_stays() -> None:
    settings = dataclasses.replace(SETTINGS, options=("rw", "sec=krb5p"))
    first = render_etab(settings).splitlines()[0]
    assert "sec=krb5p" in first
    assert "sec=sys" not in first


def test_without_a_filesystem_uuid_nothing_is_exported() -> None:
    with pytest.raises(ConfigurationError):
        render_etab(dataclasses.replace(SETTINGS, filesystem_uuid=None))
