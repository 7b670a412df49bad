"""Makes a volume, and takes back one that was not made to its end. One function a step; none of
them proves anything: the engine looks afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from storage_agent.host.block.devices import device_signatures
from storage_agent.host.drbd.metadata import MetadataReader
from storage_agent.host.drbd.resource_file import render_resource, resource_path
from storage_agent.host.drbd.version import is_version_9
from storage_agent.host.filesystem.content import ContentReader
from storage_agent.host.identity import identity_text, write_identity
from storage_agent.host.made import MadeFiles
from storage_agent.host.md.ignore import (
    IGNORE_CONFIGURATION,
    render_ignore_configuration,
    write_ignore_configuration,
)
from storage_agent.host.tools import Act, Tools
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.creation import MadeView
from storage_agent.model.errors import AgentError, Missing, OperationFailed, Refused
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import StepKind
from storage_agent.model.replica import GenerationIdentifiers

CONFIGURATION_FOLDER = Path("etc/storage-agent/agent.d")
LOOK_TIMEOUT_S = 10.0

T = TypeVar("T")


class Creating:
    def __init__(self, config: AgentConfig, tools: Tools) -> None:
        self._config = config
        self._tools = tools
        self._content = ContentReader(tools.root)
        self._metadata = MetadataReader(tools.root)

    def acts(self) -> dict[StepKind, Act]:
        return {
            StepKind.WRITE_CONFIGURATION: self._write_configuration,
            StepKind.MAKE_ARRAY: self._make_array,
            StepKind.SEE_GOOD_COPY: self._see_good_copy,
            StepKind.GIVE_UP_COPY: self._give_up_copy,
            StepKind.MAKE_METADATA: self._make_metadata,
            StepKind.FIRST_PRIMARY: lambda v, r, t: self._tools.drbd.first_primary(
                v.name, timeout_s=t
            ),
            StepKind.MAKE_FILESYSTEM: self._make_filesystem,
            StepKind.REMOVE_SERVER: lambda v, r, t: self._tools.services.stop(
                f"storage-agent-nfs@{v.name}.service", timeout_s=t
            ),
            StepKind.ERASE_CONTENT: self._erase_content,
            StepKind.ERASE_ARRAY: self._erase_array,
            StepKind.REMOVE_CONFIGURATION: self._remove_configuration,
        }

    # --- making --------------------------------------------------------------------------------

    def _write_configuration(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        """DRBD's definition first: it may contradict others, and then nothing else is written.
        The mdadm lines before there is an array: from then on udev leaves it alone. Each file is
        noted before it is written, so that `--abandon` takes back these and no others."""
        made = MadeFiles(volume.name, self._tools.root)
        if volume.replica is not None:
            self._tools.drbd.load_module(timeout_s=timeout_s)
            text = self._resource_text(volume)
            made.will_write(resource_path(volume.name), text.encode())
            self.write_resource(volume)
        write_ignore_configuration(self._ignore_lines(*volume.array.uuid.values()), self._root)
        made.will_make_folder(volume.mount_point)
        self._tools.filesystem.make_mount_point(volume.mount_point)
        assert volume.filesystem.uuid is not None
        path = CONFIGURATION_FOLDER / f"{volume.name}.toml"
        identity = identity_text(
            volume.name,
            volume.array.uuid,
            volume.filesystem.uuid,
            self._root / CONFIGURATION_FOLDER,
        )
        made.will_write(path, identity.encode())
        write_identity(
            volume.name,
            volume.array.uuid,
            volume.filesystem.uuid,
            self._root / CONFIGURATION_FOLDER,
        )

    def _ignore_lines(self, *more: str) -> str:
        volumes = self._config.volumes.values()
        return render_ignore_configuration(
            (*(uuid for v in volumes for uuid in v.array.uuid.values()), *more)
        )

    def write_resource(self, volume: VolumeConfig) -> None:
        """Where it says something else. Raises AgentError."""
        text = self._resource_text(volume)
        if self._tools.drbd.resource_file_text(volume.name) != text:
            self._tools.drbd.write_resource_file(volume.name, text)

    def _resource_text(self, volume: VolumeConfig) -> str:
        version = self._tools.drbd.driver_version()
        if version is None:
            raise Missing("the kernel module drbd is not loaded", remedy="modprobe drbd")
        return render_resource(self._config, volume, driver_version_9=is_version_9(version))

    def _make_array(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        self._tools.md.create(
            volume.array_device(),
            volume.array.level,
            volume.array.uuid[self._config.host],
            self.member_paths(volume),
            name=volume.name,
            homehost=self._config.host,
            timeout_s=timeout_s,
        )

    def member_paths(self, volume: VolumeConfig) -> tuple[str, ...]:
        """Raises Missing."""
        serials = volume.array.disks[self._config.host]
        disks = self._tools.block.by_serial(serials)
        if missing := [serial for serial in serials if serial not in disks]:
            raise Missing(f"disk {missing[0]} of {volume.name} is not attached")
        return tuple(disks[serial].path for serial in serials)

    def _make_metadata(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        if not self._has_metadata(volume, timeout_s):
            self._tools.drbd.create_metadata(volume.name, timeout_s=timeout_s)

    def _make_filesystem(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        assert volume.filesystem.uuid is not None
        self._tools.filesystem.make(
            volume.device(),
            volume.filesystem.type,
            volume.filesystem.uuid,
            volume.name,
            timeout_s=timeout_s,
        )

    def _has_metadata(self, volume: VolumeConfig, timeout_s: float) -> bool:
        """By the disk itself where DRBD does not hold it: of a resource that is up and diskless
        drbdadm asks the kernel, which knows of none."""
        seen = self._metadata.look(volume.array_device())
        if seen is None:
            return self._tools.drbd.has_metadata(volume.name, timeout_s=timeout_s)
        return seen

    # --- making anew from the peer's copy -------------------------------------------------------

    def _see_good_copy(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        """Without its metadata the disk is not attached, and DRBD tells what the peer has."""
        self._tools.drbd.load_module(timeout_s=timeout_s)
        self.write_resource(volume)
        self._tools.drbd.up_diskless(volume.name, timeout_s=timeout_s)

    def _give_up_copy(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        """Raises Refused for what is no copy of this volume, and where DRBD finds its metadata."""
        if self._has_metadata(volume, timeout_s):
            raise Refused(
                f"{volume.array_device()} carries DRBD's metadata: nothing was erased",
                remedy=f"storage-agent assemble {volume.name}",
                code="METADATA_PRESENT",
            )
        self._erase_start(volume, timeout_s, blanks=True)

    # --- taking back ---------------------------------------------------------------------------

    def look(self, volume: VolumeConfig) -> MadeView:
        """At what an unfinished `create` has left beside what every look shows."""
        files = _seen(MadeFiles(volume.name, self._root).states)
        view = _seen(lambda: self._tools.md.view(volume.array, self._config.host))
        runs = not isinstance(view, Unobserved) and view.array is not None and view.array.running()
        return MadeView(
            files=files,
            signatures=_seen(lambda: self._signatures(volume)) if runs else None,
            generation=_seen(lambda: self._generation(volume)),
            is_pristine=_seen(lambda: self._is_pristine(volume)) if runs else None,
        )

    def _is_pristine(self, volume: VolumeConfig) -> bool | None:
        return self._content.is_pristine(volume.array_device())

    def _signatures(self, volume: VolumeConfig) -> tuple[tuple[str, str], ...]:
        device = volume.array_device()
        return device_signatures(self._tools.runner, device, timeout_s=LOOK_TIMEOUT_S)

    def _generation(self, volume: VolumeConfig) -> GenerationIdentifiers | None:
        """Only while it is up: nothing is asked of the disk below."""
        if volume.replica is None:
            return None
        replica = self._tools.drbd.observe(
            volume.name, volume.replica.minor, timeout_s=LOOK_TIMEOUT_S, with_generation=True
        )
        return None if replica is None else replica.generation

    def _erase_content(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        self._erase_start(volume, timeout_s)

    def _erase_start(self, volume: VolumeConfig, timeout_s: float, *, blanks: bool = False) -> None:
        """Raises Refused for anything that `create` does not write. blanks: also where there is no
        signature of DRBD's."""
        ours = made_signatures(volume)
        found = self._signatures(volume)
        if foreign := [entry for entry in found if _as_made(entry) not in ours]:
            raise Refused(
                f"{volume.array_device()} carries {' '.join(foreign[0])}, which create did not "
                "write; nothing of it was erased",
                remedy=f"see what is on it: wipefs --no-act {volume.array_device()}",
                code="CREATION_CHANGED",
            )
        if blanks or ("drbd", "") in map(_as_made, found):
            # Before its own signature: that is the proof that this was blank before.
            self._tools.runner.run(blank_argv(volume.array_device()), timeout_s=timeout_s)
        if found:
            argv = ("wipefs", "--all", "--", volume.array_device())
            self._tools.runner.run(argv, timeout_s=timeout_s)
        if left := self._signatures(volume):
            raise OperationFailed(f"{volume.array_device()} still carries {left[0][0]}")

    def _erase_array(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        uuid = volume.array.uuid[self._config.host]
        view = self._tools.md.view(volume.array, self._config.host, fresh=True)
        ours = [block.disk for block in view.attached if block.array_uuid == uuid]
        paths = {disk.name: disk.path for disk in self._tools.block.disks()}
        for name in ours:
            self._tools.md.erase(paths[name], timeout_s=timeout_s)

    def _remove_configuration(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        MadeFiles(volume.name, self._root).take_back()
        others = [v for n, v in self._config.volumes.items() if n != volume.name]
        uuids = tuple(uuid for other in others for uuid in other.array.uuid.values())
        path = self._root / IGNORE_CONFIGURATION
        if uuids:
            write_ignore_configuration(render_ignore_configuration(uuids), self._root)
        elif path.exists():
            path.unlink()

    @property
    def _root(self) -> Path:
        return self._tools.root


def blank_argv(device: str) -> tuple[str, ...]:
    """Zeroes what `drbdadm create-md` saw to be blank, and will look at again (drbdmeta.c: 68 KiB):
    an interrupted mkfs leaves data there without a signature."""
    return ("blkdiscard", "--zeroout", "--offset", "0", "--length", str(68 << 10), "--", device)


def _as_made(entry: tuple[str, str]) -> tuple[str, str]:
    """DRBD's metadata bear a number of DRBD's own choice."""
    return (entry[0], "") if entry[0] == "drbd" else entry


def _seen(look: Callable[[], T]) -> T | Unobserved:
    try:
        return look()
    except AgentError as exc:
        return Unobserved(reason=exc.message)
    except OSError as exc:
        return Unobserved(reason=f"{exc.filename or 'system'}: {exc.strerror or exc}")


def made_signatures(volume: VolumeConfig) -> frozenset[tuple[str, str]]:
    """Type and UUID of what `create` writes to the array; DRBD's metadata has none."""
    return frozenset({("drbd", ""), (volume.filesystem.type, volume.filesystem.uuid or "")})
