"""Who gets a place where there are not enough: each role has its own, and within a role no key has
many while another has none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Protocol, TypeVar

from storage_agent.service.api.access import Role

# Sessions at a time. NONE: gateways whose hello has not come yet.  LOCAL: root's own, which nothing
# that comes over the network can take.
PLACES = {Role.LOCAL: 16, Role.NONE: 64, Role.OBSERVE: 16, Role.OPERATE: 16, Role.GRANT: 32}


class Seated(Protocol):
    role: Role
    key_id: str
    is_busy: bool
    opened_s: float


S = TypeVar("S", bound=Seated)


def is_full(role: Role, present: Collection[Seated]) -> bool:
    return sum(one.role is role for one in present) >= PLACES[role]


def who_makes_room(role: Role, key_id: str, present: Collection[S]) -> S | None:
    """Of a full role: the newest session of the key that has most, an idle one first. None where
    this key has as many already: then there is no room."""
    counts = Counter(one.key_id for one in present if one.role is role)
    greediest, most = counts.most_common(1)[0]
    if most < counts[key_id] + 2:
        return None
    of_it = (one for one in present if one.role is role and one.key_id == greediest)
    return max(of_it, key=lambda one: (not one.is_busy, one.opened_s))
