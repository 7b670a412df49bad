"""What the daemon tells the supervisor and how answers come back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from storage_agent.host.nfs.control import ServerControl, prepare_settings
from storage_agent.host.nfs.protocol import (
    Reply,
    Request,
    Verb,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from storage_agent.host.nfs.settings import (
    ServerSettings,
    parse_settings,
    read_settings,
    render_settings,
    settings_of,
)
from storage_agent.model.configuration import (
    Arbitration,
    ArrayConfig,
    FilesystemConfig,
    NfsConfig,
    VolumeConfig,
)
from storage_agent.model.errors import (
    Busy,
    CommandFailed,
    ConfigurationError,
    Missing,
    OperationFailed,
    OutcomeUnknown,
)
from storage_agent.model.nfs import ServerState
from storage_agent.model.wire import WireError

NFS = NfsConfig(
    address="10.9.0.10/24",
    interface="eth2",
    link="macvlan",
    clients=("10.9.0.0/24",),
    options=("rw", "sync", "no_subtree_check"),
    threads=8,
)
VOLUME = VolumeConfig(
    name="data",
    mount_point="/srv/data",
    arbitration=Arbitration.NONE,
    array=ArrayConfig(level="raid10", disks={}, uuid={}),
    replica=None,
    filesystem=FilesystemConfig(type="ext4", uuid="aaaa-bbbb", options=()),
    nfs=NFS,
    services=(),
)


def with_nfs(**changes: object) -> VolumeConfig:
    return dataclasses.replace(VOLUME, nfs=dataclasses.replace(NFS, **changes))  # type: ignore[arg-type]


def test_settings_survive_the_file(tmp_path: Path) -> None:
    prepare_settings(VOLUME, tmp_path)
    settings = read_settings("data", tmp_path)
    assert settings == settings_of(VOLUME)
    assert settings.service_address() == "10.9.0.10"
    path = tmp_path / "run/storage-agent/nfs/data.json"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_mtime_ns
    prepare_settings(VOLUME, tmp_path)
    assert path.stat().st_mtime_ns == before


def test_changed_settings_replace_the_file(tmp_path: Path) -> None:
    prepare_settings(VOLUME, tmp_path)
    prepare_settings(with_nfs(threads=4), tmp_path)
    assert read_settings("data", tmp_path).threads == 4


def test_settings_that_nobody_wrote(tmp_path: Path) -> None:
    with pytest.raises(Missing) as caught:
        read_settings("data", tmp_path)
    assert caught.value.code == "NFS_NOT_PREPARED"


@pytest.mark.parametrize(
    "changes",
    [
        {"interface": "eth0 type dummy"},
        {"interface": "eth0\naddress add 1.2.3.4 dev lo"},
        {"interface": ""},
        {"clients": ("*(rw) evil",)},
        {"clients": ()},
        {"options": ("rw", "fsid=0")},
        {"options": ("rw)\n/etc\t*(rw",)},
        {"address": "10.9.0.10"},
        {"address": "fd00::1/64"},
        {"link": "bridge"},
        {"threads": 0},
    ],
)
def test_settings_that_could_not_work_are_refused(changes: dict[str, object]) -> None:
    if changes == {"address": "10.9.0.10"}:
        # Without a prefix it is a /32: allowed by ipaddress, useless as a service address.
        changes = {"address": "10.9.0.10/33"}
    with pytest.raises(ConfigurationError):
        settings_of(with_nfs(**changes))


def test_a_volume_without_nfs_has_no_settings() -> None:
    with pytest.raises(ConfigurationError):
        settings_of(dataclasses.replace(VOLUME, nfs=None))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"volume": 1}', b"\xff"])
def test_a_damaged_settings_file_is_named(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"data\.json"):
        parse_settings(content, "data.json")


def test_settings_are_checked_again_when_read() -> None:
    content = json.loads(render_settings(settings_of(VOLUME)))
    content["interface"] = "x y"
    with pytest.raises(ConfigurationError):
        parse_settings(json.dumps(content).encode(), "data.json")


def test_requests_and_replies_survive_the_wire() -> None:
    request = Request(verb=Verb.LINK_DOWN, timeout_s=3.0)
    assert decode_request(encode_request(request)) == request
    reply = Reply(state=ServerState.STARTED, changed=True, connections=("10.9.0.3:761",))
    assert decode_reply(encode_reply(reply), "data") == reply


@pytest.mark.parametrize("line", [b"", b"{}", b'{"verb": "wipe", "timeout_s": 1.0}', b"[1]\n"])
def test_no_request(line: bytes) -> None:
    with pytest.raises(WireError):
        decode_request(line)


def test_an_error_arrives_as_what_it_was() -> None:
    line = encode_reply(Busy("grace", remedy="wait", code="NFS_IN_GRACE"))
    with pytest.raises(Busy) as caught:
        decode_reply(line, "data")
    assert (caught.value.message, caught.value.remedy) == ("grace", "wait")
    assert caught.value.code == "NFS_IN_GRACE"


def test_an_error_with_another_constructor_keeps_code_and_text() -> None:
    line = encode_reply(CommandFailed(("ip", "link"), 2, "no such device"))
    with pytest.raises(OperationFailed, match="no such device") as caught:
        decode_reply(line, "data")
    assert caught.value.code == "COMMAND_FAILED"


@pytest.mark.parametrize("line", [b"", b"{}", b"null\n", b'{"error": {}}', b'{"reply": {}}'])
def test_what_is_no_answer_leaves_the_outcome_unknown(line: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        decode_reply(line, "data")


@pytest.mark.sockets
def test_no_supervisor(tmp_path: Path) -> None:
    with pytest.raises(Missing) as caught:
        ServerControl("data", tmp_path).status(timeout_s=1)
    assert caught.value.code == "NFS_SERVER_ABSENT"


def test_settings_type_is_what_the_wire_carries() -> None:
    assert isinstance(parse_settings(render_settings(settings_of(VOLUME)), "x"), ServerSettings)
