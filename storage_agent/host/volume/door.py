"""The one way to what lies on a volume: its users wrote it.

A folder is held open and everything in it is reached by one name from its descriptor, so nobody
can swap a path under us. Never through a link, into another mount, or to anything but a regular
file with one link or a folder, which must belong to root (whoever runs this) and be nobody
else's to write; what is changed is changed by descriptor. What something is, is known before it
is really opened, so no FIFO blocks and no device is touched. Runs no host tool.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from types import TracebackType

from storage_agent.host.system import syscalls

RESOLVE = (
    syscalls.RESOLVE_BENEATH
    | syscalls.RESOLVE_NO_SYMLINKS
    | syscalls.RESOLVE_NO_XDEV
    | syscalls.RESOLVE_NO_MAGICLINKS
)
# A client that holds a delegation gives it back in that time, or is taken for one that will not.
PATIENCE_S = 2.0
_PAUSE_S = 0.05
# Who may write it beside its owner.
_OTHERS = 0o022
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}


class NotOurs(OSError):
    """Something lies there that the agent did not make, or not like this."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(errno.EPERM, what, where)


class Folder:
    """An open folder on a volume. All names are single ones; every method raises OSError, with
    NotOurs for what is there and must not be touched."""

    def __init__(self, descriptor: int, where: str) -> None:
        """Takes the descriptor. where: its path, for messages alone."""
        self.descriptor = descriptor
        self.where = where

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        seen = os.fstat(self.descriptor)
        return seen.st_dev, seen.st_ino

    def is_known_as(self, parent: Folder, name: str) -> bool:
        """Whether `name` in `parent` is this very folder."""
        try:
            seen = os.stat(name, dir_fd=parent.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (seen.st_dev, seen.st_ino) == self.identity()

    def has(self, name: str) -> bool:
        """Whether there is anything of that name."""
        try:
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def is_mounted(self) -> bool:
        """Whether another filesystem lies above it; asked of a volume's root."""
        above = os.stat("..", dir_fd=self.descriptor, follow_symlinks=False)
        return os.fstat(self.descriptor).st_dev != above.st_dev

    # Opening

    def folder(self, name: str, *, others: int = 0) -> Folder:
        """others: what of _OTHERS' rights is as it should be."""
        descriptor = self._open(name, stat.S_IFDIR, os.O_RDONLY | os.O_DIRECTORY, others)
        return Folder(descriptor, self._path(name))

    def make_folder(self, name: str, *, mode: int) -> Folder:
        """The one that is there, or a new one; with exactly this mode."""
        others = mode & _OTHERS
        try:
            made = self.folder(name, others=_OTHERS)
        except FileNotFoundError:
            with self.changing():
                os.mkdir(name, 0o700, dir_fd=self.descriptor)
            made = self.folder(name, others=others)
        made.make_ours(mode)
        return made

    def file(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Descriptor of a file that is there. flags: never O_CREAT."""
        return self._open(name, stat.S_IFREG, flags, 0)

    def anyones_file(self, name: str) -> int:
        """Descriptor of a file that anybody may have made, for reading alone."""
        return self._open(name, stat.S_IFREG, os.O_RDONLY, 0, is_anyones=True)

    def read(self, name: str, limit_bytes: int) -> bytes | None:
        """At most that much from its start; None where there is none."""
        try:
            descriptor = self.file(name)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            content = b""
            while chunk := file.read(limit_bytes - len(content)):
                content += chunk
            return content

    # Changing

    def make_file(self, name: str, content: bytes, *, mode: int = 0o600) -> None:
        """A new one, durable; a file or link of that name is replaced, not followed. As protected
        as the one before."""
        beside = f".{name}.{os.urandom(4).hex()}.new"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with self.changing():
            descriptor = os.open(beside, flags, 0o600, dir_fd=self.descriptor)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    os.fchmod(file.fileno(), mode)
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                was_protected = False
                with contextlib.suppress(OSError):
                    was_protected = _unlock(self, name)
                syscalls.rename(self.descriptor, beside, self.descriptor, name)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(beside, dir_fd=self.descriptor)
                raise
        os.fsync(self.descriptor)
        if was_protected:
            self.protect_file(name)

    def write_at(self, name: str, content: bytes, offset: int) -> None:
        """In place and durable; what is protected stays so."""
        reader = self.file(name)
        try:
            with _lifted(reader):
                writer = _reopen(reader, os.O_WRONLY | os.O_DSYNC)
                try:
                    os.pwrite(writer, content, offset)
                finally:
                    os.close(writer)
        finally:
            os.close(reader)

    def protect_file(self, name: str, *, on: bool = True) -> None:
        """Nobody but write_at and make_file can change it then, not even root over NFS."""
        reader = self.file(name)
        try:
            _set_immutable(reader, on=on)
        finally:
            os.close(reader)

    def size(self, name: str) -> int | None:
        """Of a file, in bytes; None where there is none."""
        try:
            opened = self.file(name)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(opened).st_size
        finally:
            os.close(opened)

    def set_aside(self, name: str) -> str:
        """Gives what is there, whatever it is, another name beside it, which is returned. Nothing
        in it is touched."""
        new = f"{name}.aside-{os.urandom(4).hex()}"
        with contextlib.suppress(OSError):
            _unlock(self, name)
        with self.changing():
            syscalls.rename(
                self.descriptor, name, self.descriptor, new, flags=syscalls.RENAME_NOREPLACE
            )
        return new

    def take_back(self, folder: Folder, into: Folder, name: str) -> bool:
        """Gives a folder of ours that somebody has moved elsewhere below this one its name in
        `into` again. False: it cannot be found, or is not reached without a link."""
        root = f"{os.readlink(f'/proc/self/fd/{self.descriptor}')}/"
        now = os.readlink(f"/proc/self/fd/{folder.descriptor}")
        if not now.startswith(root):
            return False
        parts = now[len(root) :].split("/")
        try:
            with _walk(self, parts[:-1]) as holder:
                if not folder.is_known_as(holder, parts[-1]):
                    return False
                with folder.changing(), holder.changing(), into.changing():
                    syscalls.rename(
                        holder.descriptor,
                        parts[-1],
                        into.descriptor,
                        name,
                        flags=syscalls.RENAME_NOREPLACE,
                    )
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
                return False
            raise
        return folder.is_known_as(into, name)

    def make_ours(self, mode: int) -> bool:
        """Owner and mode of this very folder as they should be; whether they were not."""
        seen = os.fstat(self.descriptor)
        if (seen.st_uid, stat.S_IMODE(seen.st_mode)) == (os.geteuid(), mode):
            return False
        with self.changing():
            os.fchown(self.descriptor, os.geteuid(), os.getegid())
            os.fchmod(self.descriptor, mode)
        return True

    # Keeping others out

    def protect(self, *, on: bool = True) -> None:
        """Nobody can make, rename or remove entries in it, nor itself, not even root over NFS
        (FS_IMMUTABLE_FL); what is in files and folders below stays writable. Without the right
        to do it (CAP_LINUX_IMMUTABLE) nothing: is_protected says so."""
        _set_immutable(self.descriptor, on=on)

    def is_protected(self) -> bool:
        """Also where this filesystem cannot do it."""
        return syscalls.is_immutable(self.descriptor) is not False

    def changing(self) -> contextlib.AbstractContextManager[None]:
        """Lifts the protection of this very folder, if it has one, for that long."""
        return _lifted(self.descriptor)

    def _open(
        self, name: str, kind: int, flags: int, others: int, *, is_anyones: bool = False
    ) -> int:
        """First as a bare handle (O_PATH), which touches nothing; then, by the handle, for real."""
        handle = _handle(self.descriptor, name, self._path(name))
        try:
            _require(os.fstat(handle), kind, self._path(name), others, is_anyones=is_anyones)
            opened = _reopen(handle, flags)
        finally:
            os.close(handle)
        return opened

    def _path(self, name: str) -> str:
        return f"{self.where}/{name}"


def enter(mount_point: str) -> Folder:
    """The root of the volume that is mounted there; it may be anybody's."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return Folder(os.open(mount_point, flags), mount_point)


def _handle(folder: int, name: str, path: str) -> int:
    if name in ("", ".", "..") or "/" in name:
        raise NotOurs(path, "not a name")
    try:
        return _guarded(folder, name, os.O_PATH)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise NotOurs(path, "is a symbolic link") from exc
        if exc.errno == errno.EXDEV:
            raise NotOurs(path, "lies on another filesystem") from exc
        raise


def _guarded(folder: int, name: str, flags: int) -> int:
    """systemd's RestrictSUIDSGID= answers openat2 with ENOSYS, since it cannot look into its
    structure. For a single name the same can be asked for without it."""
    try:
        return syscalls.openat2(folder, name, flags, resolve=RESOLVE)
    except OSError as exc:
        if exc.errno != errno.ENOSYS:
            raise
    opened = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    seen = os.fstat(opened)
    is_link, is_far = stat.S_ISLNK(seen.st_mode), seen.st_dev != os.fstat(folder).st_dev
    if is_link or is_far:
        os.close(opened)
        number = errno.ELOOP if is_link else errno.EXDEV
        raise OSError(number, os.strerror(number), name)
    return opened


def _require(
    seen: os.stat_result, kind: int, path: str, others: int, *, is_anyones: bool = False
) -> None:
    """Raises NotOurs."""
    found = stat.S_IFMT(seen.st_mode)
    if found != kind:
        raise NotOurs(path, f"is {_KINDS.get(found, 'something unknown')}, not {_KINDS[kind]}")
    if not is_anyones and seen.st_uid != os.geteuid():
        raise NotOurs(path, f"belongs to the user {seen.st_uid}")
    if not is_anyones and seen.st_mode & _OTHERS & ~others:
        raise NotOurs(path, "may be written by others")
    if kind == stat.S_IFREG and seen.st_nlink != 1:
        raise NotOurs(path, f"has {seen.st_nlink} names")


def _reopen(handle: int, flags: int) -> int:
    """O_NONBLOCK: with a delegation in the way (fcntl(2), leases) the kernel calls it back and
    says EWOULDBLOCK, instead of waiting for a client as long as that likes."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return os.open(f"/proc/self/fd/{handle}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise
        time.sleep(_PAUSE_S)


def _set_immutable(descriptor: int, *, on: bool) -> None:
    with contextlib.suppress(PermissionError):
        syscalls.set_immutable(descriptor, on=on)


@contextlib.contextmanager
def _lifted(descriptor: int) -> Iterator[None]:
    if not syscalls.is_immutable(descriptor):
        yield
        return
    syscalls.set_immutable(descriptor, on=False)
    try:
        yield
    finally:
        _set_immutable(descriptor, on=True)


def _unlock(parent: Folder, name: str) -> bool:
    """Lifts the flag of what is to be renamed, which only root can have set; whether it had one.
    Opens nothing but files and folders."""
    handle = _handle(parent.descriptor, name, parent.where)
    try:
        kind = stat.S_IFMT(os.fstat(handle).st_mode)
        if kind not in (stat.S_IFDIR, stat.S_IFREG):
            return False
        opened = _reopen(handle, os.O_RDONLY)
    finally:
        os.close(handle)
    try:
        had = bool(syscalls.is_immutable(opened))
        syscalls.set_immutable(opened, on=False)
        return had
    finally:
        os.close(opened)


@contextlib.contextmanager
def _walk(root: Folder, parts: list[str]) -> Iterator[Folder]:
    """Through folders of anybody's, guarded all the same; only for looking for one of ours."""
    found = root
    try:
        for name in parts:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            below = Folder(_guarded(found.descriptor, name, flags), f"{found.where}/{name}")
            if found is not root:
                found.close()
            found = below
        yield found
    finally:
        if found is not root:
            found.close()
