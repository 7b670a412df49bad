"""A volume that is being made on this host, and what there is of it so far."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import GenerationIdentifiers

# DRBD's first generation of a copy that never held data (drbd-headers linux/drbd.h,
# UUID_JUST_CREATED), without the lowest bit's meaning.
JUST_CREATED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A `create` that has begun here and was not brought to its end: durable before the first step
    and gone with success, or with `--abandon`.

    role: `first` or `join`.  array_uuid: the array that it makes of the disks with these serials;
    it was found on none of them before.  filesystem_uuid: likewise, on the array.
    """

    operation_id: str
    role: str
    array_uuid: str
    filesystem_uuid: str
    serials: tuple[str, ...]


class FileState(StrEnum):
    """of a file that `create` wrote.  CHANGED: somebody else has written it since."""

    WRITTEN = "written"
    GONE = "gone"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeView:
    """What a look at an unfinished volume finds beyond the ordinary snapshot.

    files: each one that `create` wrote, by path.  signatures: type and UUID of what lies on the
    array, None while it does not run.  generation: of the replica, None while it is not attached.
    is_pristine: the filesystem that begins on the array was never used; None where none does.
    """

    files: dict[str, FileState] | Unobserved
    signatures: tuple[tuple[str, str], ...] | Unobserved | None
    generation: GenerationIdentifiers | Unobserved | None
    is_pristine: bool | Unobserved | None = None
