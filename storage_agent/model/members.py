"""Which of the attached disks make up a volume's array: by what their superblocks say, and where
the configured serials no longer fit, by what this host has seen run.

Facts: kernel drivers/md/md.c super_1_validate() (a member whose event count is behind by one is
still taken as current), raid10.c _enough() (default layout near=2: the copies of a chunk lie on
neighbouring slots).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from storage_agent.model.array import ArrayView, Superblock
from storage_agent.model.configuration import ArrayConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """chosen: one a slot, current, in the order of the slots.  absent: slots for which there is
    none.  taken_over: those of the chosen ones that are not configured, and that this host has
    seen in the array.  left_out: disks of the array that are older than the chosen ones.
    unknown: disks of the array that nobody has named.  doubled: slots that two claim, and who.
    """

    level: str
    slots: int
    chosen: tuple[Superblock, ...]
    absent: tuple[int, ...]
    taken_over: tuple[Superblock, ...]
    left_out: tuple[Superblock, ...]
    unknown: tuple[Superblock, ...]
    doubled: tuple[tuple[int, tuple[Superblock, ...]], ...]

    def is_whole(self) -> bool:
        return bool(self.chosen) and not self.absent

    def can_run(self) -> bool:
        """The chosen ones carry the array, by its level."""
        ready = {b.role for b in self.chosen if b.role is not None and not b.recovering}
        return carries(self.level, self.slots, ready)

    def absent_could_have_run(self) -> bool:
        """Those that were in the array to the last, as far as the chosen ones know, and are not
        here, could have gone on without any of these."""
        newest = max(self.chosen, key=lambda block: block.events)
        return carries(
            self.level,
            self.slots,
            {slot for slot in self.absent if newest.array_state[slot : slot + 1] == "A"},
        )


def select(config: ArrayConfig, view: ArrayView, host: str) -> Members:
    """Of what is attached. Where nothing of the array is, nothing is chosen and no slot known."""
    configured = {serial for disks in config.disks.values() for serial in disks}
    seen = {*view.seen.in_sync, *view.seen.rebuilding} if view.seen else set()
    ours = [block for block in view.attached if block.array_uuid == config.uuid.get(host)]
    slotted = [block for block in ours if block.role is not None]
    newest = max(slotted, key=lambda block: block.events, default=None)
    known = [block for block in slotted if block.serial in configured | seen]
    current = [b for b in known if newest is not None and is_current(b, newest)]
    claims = Counter(block.role for block in current)
    chosen = sorted((b for b in current if claims[b.role] == 1), key=lambda b: b.role or 0)
    slots = newest.raid_disks if newest is not None else 0
    return Members(
        level=newest.level if newest is not None else "",
        slots=slots,
        chosen=tuple(chosen),
        absent=tuple(sorted(set(range(slots)) - {block.role for block in chosen})),
        taken_over=tuple(block for block in chosen if block.serial not in configured),
        left_out=tuple(block for block in known if block not in current),
        unknown=tuple(block for block in slotted if block.serial not in configured | seen),
        doubled=_doubled([b for b in slotted if newest is not None and is_current(b, newest)]),
    )


def _doubled(
    current: list[Superblock],
) -> tuple[tuple[int, tuple[Superblock, ...]], ...]:
    slots = sorted({block.role for block in current if block.role is not None})
    claims = ((slot, tuple(b for b in current if b.role == slot)) for slot in slots)
    return tuple((slot, blocks) for slot, blocks in claims if len(blocks) > 1)


def is_current(block: Superblock, newest: Superblock) -> bool:
    """A power cut between two members' superblocks leaves them one event apart; so does a member
    that was thrown out, but then the others say so."""
    if block.events == newest.events:
        return True
    role = block.role
    says = newest.array_state[role : role + 1] if role is not None else ""
    return block.events + 1 == newest.events and says == "A"


def carries(level: str, slots: int, present: Collection[int]) -> bool:
    """Whether these slots alone are enough; of levels and layouts that `create` makes."""
    if level == "raid1":
        return len(present) >= 1
    if level in ("raid5", "raid6"):
        return len(present) >= slots - (1 if level == "raid5" else 2)
    if level != "raid10" or not slots:
        return False
    # Of an even number each pair has a chunk of its own; of an odd one each two neighbours.
    step = 1 if slots % 2 else 2
    pairs = ({slot, (slot + 1) % slots} for slot in range(0, slots, step))
    return all(pair & set(present) for pair in pairs)
