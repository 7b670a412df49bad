"""The host's DRBD: looking at resources, changing them, their files.

Host tools: drbdadm, drbdsetup, systemctl. Every command has the caller's timeout. A command that
is ended at its deadline has taken nothing back: the kernel may still do what was asked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from pathlib import Path

from storage_agent.host.drbd import commands
from storage_agent.host.drbd.definitions import try_argv, with_instead
from storage_agent.host.drbd.events import parse_events2_now
from storage_agent.host.drbd.failures import NO_ADDRESS, failure
from storage_agent.host.drbd.generation import parse_generation
from storage_agent.host.drbd.resource_file import resource_path
from storage_agent.host.drbd.status_json import parse_status_json
from storage_agent.host.drbd.version import is_version_9, parse_driver_version
from storage_agent.host.system.files import replace_file
from storage_agent.host.system.runner import Completed, Runner
from storage_agent.model.errors import CommandFailed, Missing, OperationFailed, ParseError, Refused
from storage_agent.model.replica import (
    DiskState,
    GenerationIdentifiers,
    Replica,
)

# `drbdsetup status --json` of a resource that the kernel does not have: `[ ]` and this.
NO_SUCH_RESOURCE = 10
# `drbdsetup-84 show` of one that the kernel does not have: `received netlink error reply: No such
# device` (drbd-utils 9.22 on 8.4.11, seen in the lab).
NETLINK_ERROR = 20
NO_SUCH_DEVICE = "No such device"
# What drbdsetup 9 executes on the driver 8.4, after a start of its own (drbd-utils,
# maybe_exec_legacy_drbdsetup()).
DRBDSETUP_84 = "/lib/drbd/drbdsetup-84"
# systemd's own; it succeeds also where the module cannot be loaded.
LOAD_UNIT = "modprobe@drbd.service"
MAIN_CONFIGURATION = "etc/drbd.conf"
TRIAL_TIMEOUT_S = 10.0
ADDRESS_WAIT_S = 120.0
ADDRESS_POLL_S = 1.0
SPLIT_BRAIN_NOTES = Path("run/storage-agent/split-brain")


class Drbd:
    """Whatever changes something is believed only after `observe`: with the module missing the
    tools' `secondary` and `down` exit 0 (drbd-utils, drbdsetup_main()).

    Every method may raise, beside what it says itself: Missing (tool not installed),
    CommandTimeout, CommandStuck, and what failures.py makes of the kernel's answer.
    """

    def __init__(self, runner: Runner, root: Path = Path("/")) -> None:
        self.runner = runner
        self.root = root

    def driver_version(self) -> str | None:
        """`8.4.11`; None: the module is not loaded. Reads one file. Raises ParseError."""
        for name in ("sys/module/drbd/version", "proc/drbd"):
            try:
                return parse_driver_version((self.root / name).read_text())
            except FileNotFoundError:
                continue
        return None

    def observe(
        self,
        resource: str,
        minor: int,
        *,
        timeout_s: float,
        with_generation: bool = False,
        peer: str = "",
    ) -> Replica | None:
        """What the kernel shows now; None where it does not have the resource. One process, two
        with_generation (none while diskless: then the kernel has no identifiers to show). Never
        loads the module. Raises ParseError.

        minor: as configured, for messages; the kernel's own is in the replica.  peer: name of the
        other host, by which it is told from a third one.
        """
        version = self.driver_version()
        if version is None:
            return None
        if is_version_9(version):
            ok = frozenset({0, NO_SUCH_RESOURCE})
            argv = commands.status_json(resource)
            done = self._run(argv, "observe", resource, minor, timeout_s=timeout_s, ok=ok)
            parse = parse_status_json
        else:
            argv = commands.events2_now(resource)
            done = self._run(argv, "observe", resource, minor, timeout_s=timeout_s)
            parse = parse_events2_now
        replica = parse(done.stdout, resource, driver_version=version, peer=peer)
        if replica is None:
            return None
        replica = self._with_split_brain(replica)
        wanted = with_generation or replica.split_brain
        if not wanted or replica.disk is DiskState.DISKLESS:
            return replica
        argv = commands.get_gi(resource, replica.minor, driver_version_9=is_version_9(version))
        done = self._run(argv, "read the generation of", resource, minor, timeout_s=timeout_s)
        try:
            generation = parse_generation(done.stdout)
        except ParseError:
            # Of a third host, or in a form of a newer tool: the rest is known all the same.
            return replica
        return dataclasses.replace(replica, generation=generation)

    def _with_split_brain(self, replica: Replica) -> Replica:
        """libexec/split-brain leaves a note when a handshake has found one. It holds until one
        succeeds; seen then, it is taken away, or a later disconnect would look like another."""
        note = self.root / SPLIT_BRAIN_NOTES / replica.resource
        if replica.has_agreed():
            with contextlib.suppress(OSError):
                note.unlink(missing_ok=True)
            return replica
        noted = replica.stands_alone() and note.exists()
        return dataclasses.replace(replica, split_brain=True) if noted else replica

    def generation(self, resource: str, *, timeout_s: float) -> GenerationIdentifiers | None:
        """Of the kernel while the resource is up, else as they stand in the metadata on its
        disk; None: the disk carries no metadata. Needs the resource file.

        For a replica that is up ask `observe`: drbdadm gives the kernel 5 s (cmd-timeout-short)
        and then reads the disk, which is busy.
        """
        argv = commands.drbdadm("get-gi", resource)
        doing = "read the generation of"
        done = self._run(argv, doing, resource, timeout_s=timeout_s, ok=frozenset({0, 1}))
        if done.exit_status == 0:
            return parse_generation(done.stdout)
        if done.stdout or done.stderr:
            failed = CommandFailed(argv, done.exit_status, done.stderr, done.stdout)
            raise failure(failed, doing=doing, resource=resource) from failed
        # drbdmeta says nothing at all when it finds no metadata (drbd-utils 9.22).
        return None

    def has_metadata(self, resource: str, *, timeout_s: float) -> bool:
        """Whether the resource's disk carries DRBD metadata. Needs the resource file."""
        return self.generation(resource, timeout_s=timeout_s) is not None

    def show(self, resource: str, *, timeout_s: float) -> str | None:
        """The options that the kernel has, defaults included. None: it does not have the resource,
        or the module is not loaded. One process."""
        if self.driver_version() is None:
            return None
        argv, doing = commands.show(resource), "read the options of"
        ok = frozenset({0, NO_SUCH_RESOURCE, NETLINK_ERROR})
        done = self._run(argv, doing, resource, timeout_s=timeout_s, ok=ok)
        if done.exit_status == NETLINK_ERROR and NO_SUCH_DEVICE not in done.stderr:
            failed = CommandFailed(argv, done.exit_status, done.stderr, done.stdout)
            raise failure(failed, doing=doing, resource=resource)
        return done.stdout if done.exit_status == 0 else None

    def load_module(self, *, timeout_s: float) -> None:
        """Idempotent. By systemd: this process cannot load any. Raises Missing."""
        if self.driver_version() is None:
            self.runner.run(("systemctl", "start", LOAD_UNIT), timeout_s=timeout_s)
            if self.driver_version() is None:
                raise Missing(
                    "the kernel module drbd cannot be loaded",
                    remedy="see why: modprobe drbd",
                    code="DRBD_MODULE",
                )

    def up(self, resource: str, *, timeout_s: float) -> None:
        """Attaches and begins to connect; returns without waiting for the peer. Idempotent, and
        completes what an interrupted `up` left at any point (`drbdadm up` would refuse).

        Only for a replica that does not serve: `adjust` applies whatever changed in the resource
        file, also by detaching or disconnecting. It connects a StandAlone replica again. Where
        the disk has no metadata it fails and leaves a diskless resource: `down` removes it.

        Waits for this host's address: at boot the network may come up after the daemon, and
        drbdadm refuses before it has asked the kernel for anything.
        """
        argv = commands.drbdadm("adjust", resource)
        now_s = time.monotonic()
        end_s, wait_s = now_s + timeout_s, now_s + min(timeout_s / 2, ADDRESS_WAIT_S)
        while True:
            try:
                left_s = max(1.0, end_s - time.monotonic())
                self._run(argv, "bring up", resource, timeout_s=left_s)
                return
            except Missing as exc:
                if exc.code != NO_ADDRESS or time.monotonic() >= wait_s:
                    raise
            time.sleep(ADDRESS_POLL_S)

    def up_diskless(self, resource: str, *, timeout_s: float) -> None:
        """As `up` of a replica whose metadata are gone, and connects it: the kernel then shows the
        peer's disk. Where the disk has metadata it is attached. Idempotent."""
        try:
            self._run(
                commands.drbdadm("adjust", resource), "bring up", resource, timeout_s=timeout_s
            )
        except Missing as exc:
            if exc.code != "DRBD_NO_METADATA":
                raise
        with contextlib.suppress(Refused):  # It is connecting already.
            self.connect(resource, timeout_s=timeout_s)

    def take_options(self, resource: str, *, has_connection: bool, timeout_s: float) -> None:
        """Makes the kernel take the options of the resource file, also while it serves: of what
        `adjust` would do only what changes options, never what detaches, attaches, disconnects or
        connects. Those of a disk or connection that the kernel does not have are read when it gets
        one. has_connection: by the addresses of the file. Idempotent.

        (`drbdadm disk-options` by itself changes nothing and exits 0: drbd-utils 9.22 on 8.4.11.)
        """
        doing = "change the options of"
        dry = self._run(commands.adjust_dry(resource), doing, resource, timeout_s=timeout_s)
        for argv in commands.option_changes(dry.stdout):
            if argv[1] != "net-options" or has_connection:
                self._run(argv, doing, resource, timeout_s=timeout_s)

    def down(self, resource: str, *, timeout_s: float) -> None:
        """Disconnects, detaches, removes. Idempotent. Refused while held open: 8.4 has then
        changed nothing, 9 has dropped the connection."""
        self._run(commands.down(resource), "take down", resource, timeout_s=timeout_s)

    def primary(self, resource: str, minor: int, *, timeout_s: float) -> None:
        """Never forced. minor: the one that was observed. Idempotent.

        While the peer is not connected the kernel asks the fence-peer handler first, up to four
        times if that fails, so give four times its bound. Ended at its deadline, the kernel and
        the handler still go on: only observing tells.
        """
        argv = commands.primary(resource, minor, driver_version_9=self._is_9())
        self._run(argv, "promote", resource, minor, timeout_s=timeout_s)

    def secondary(self, resource: str, minor: int, *, timeout_s: float) -> None:
        """minor: the one that was observed. Idempotent."""
        argv = commands.secondary(resource, minor, driver_version_9=self._is_9())
        self._run(argv, "demote", resource, minor, timeout_s=timeout_s)

    def connect(self, resource: str, *, timeout_s: float) -> None:
        """Begins to connect; does not wait for the peer. Raises Refused (DRBD_ALREADY_UP) where
        a connection is configured, connected or not."""
        argv = commands.drbdadm("connect", resource)
        self._run(argv, "connect", resource, timeout_s=timeout_s)

    def connect_discarding(self, resource: str, *, timeout_s: float) -> None:
        """`connect`, and if the two copies have diverged, this one's own changes are given up.
        Only the local, confirmed `split-brain` may call it."""
        argv = commands.connect_discarding(resource)
        self._run(argv, "connect", resource, timeout_s=timeout_s)

    def disconnect(self, resource: str, *, timeout_s: float) -> None:
        """In order: of a Primary and a Secondary the latter becomes Outdated, whichever of them
        asks, so that it cannot be promoted by mistake. Raises Missing (DRBD_NOT_UP) where it
        stands alone already (9; 8.4 says nothing), OutcomeUnknown (DRBDADM_GAVE_UP) where the
        kernel takes longer than drbdadm's own 5 s and goes on."""
        argv = commands.drbdadm("disconnect", resource)
        self._run(argv, "disconnect", resource, timeout_s=timeout_s)

    def create_metadata(self, resource: str, *, timeout_s: float) -> None:
        """Writes new metadata on the resource's disk. Never forced: drbdmeta refuses a disk that
        carries metadata, a filesystem or anything but zeroes at its beginning.

        Only the local `create` may call it. Raises Refused (DRBD_METADATA_EXISTS,
        DRBD_DATA_FOUND).
        """
        argv = commands.drbdadm("create-md", resource)
        self._run(argv, "write new metadata for", resource, timeout_s=timeout_s)

    def first_primary(self, resource: str, *, timeout_s: float) -> None:
        """Declares this host's copy to be the data and makes it primary; the other copy becomes
        the target of a full sync. This is `primary --force`, which also promotes outdated data.

        Only the local `create` may call it, on a replica that never held data (both sides
        Inconsistent).
        """
        argv = commands.first_primary(resource)
        self._run(argv, "promote for the first time", resource, timeout_s=timeout_s)

    def resource_file_text(self, name: str) -> str | None:
        """None: there is no file."""
        try:
            return (self.root / resource_path(name)).read_text()
        except FileNotFoundError:
            return None

    def write_resource_file(self, name: str, text: str) -> None:
        """Atomic, durable on return. Idempotent. The kernel takes nothing of it before `up`.

        drbdadm first reads it together with all the others: two definitions that contradict each
        other would make it refuse every resource of the host. Raises Refused
        (DRBD_CONFIGURATION), then nothing has changed, and OperationFailed.
        """
        path = self.root / resource_path(name)
        # The dot and the end keep it from all who read the whole folder.
        trial, whole = (path.with_name(f".{path.name}.{end}") for end in ("trial", "conf-trial"))
        try:
            try:
                replace_file(trial, text.encode(), mode=0o644)
                main = (self.root / MAIN_CONFIGURATION).read_text()
                tried = with_instead(main, self.root / "etc", trial, path)
                replace_file(whole, tried.encode(), mode=0o644)
                self._try_resource_file(name, trial, whole)
            finally:
                trial.unlink(missing_ok=True)
                whole.unlink(missing_ok=True)
            replace_file(path, text.encode(), mode=0o644)
        except OSError as exc:
            raise OperationFailed(
                f"{path}: {exc.strerror or exc}",
                remedy=f"is drbd-utils installed? ls -ld {path.parent}; df -h {path.parent}",
                code="DRBD_CONFIGURATION",
            ) from exc

    def _try_resource_file(self, name: str, trial: Path, whole: Path) -> None:
        try:
            self.runner.run(try_argv(str(whole)), timeout_s=TRIAL_TIMEOUT_S)
        except CommandFailed as failed:
            said = [line.strip() for line in failed.stderr.splitlines() if line.strip()]
            why = "; ".join(said[:3]).replace(str(trial), f"the one of {name}")
            raise Refused(
                f"the definition of {name} and what else drbdadm reads contradict each other, so "
                f"it was not written: {why or f'exit status {failed.tool_exit_status}'}",
                remedy="see what is defined: drbdadm sh-nop; storage-agent config check",
                code="DRBD_CONFIGURATION",
            ) from failed

    def _is_9(self) -> bool:
        version = self.driver_version()
        if version is None:
            raise Missing(
                "the kernel module drbd is not loaded",
                remedy="load it: modprobe drbd",
                code="DRBD_MODULE",
            )
        return is_version_9(version)

    def _wants_84(self) -> bool:
        version = self.driver_version()
        if version is None or is_version_9(version):
            return False
        return os.access(self.root / DRBDSETUP_84.lstrip("/"), os.X_OK)

    def _run(
        self,
        argv: commands.Argv,
        doing: str,
        resource: str,
        minor: int | None = None,
        *,
        timeout_s: float,
        ok: frozenset[int] = frozenset({0}),
    ) -> Completed:
        if argv[0] == "drbdsetup" and self._wants_84():
            argv = (DRBDSETUP_84, *argv[1:])
        try:
            return self.runner.run(argv, timeout_s=timeout_s, ok=ok)
        except CommandFailed as failed:
            raise failure(failed, doing=doing, resource=resource, minor=minor) from failed
