"""Which epochs are believed: what both hosts show and our record are held against each other. Pure.

An epoch grows by one with each change of ownership, so it is never far from what the others know. A
host that is far beyond them lies or is damaged, and what it shows is neither stored nor given on:
an agent refuses such a jump too, and the record would be of no use any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from storage_agent.model.finding import Finding, blocker

# As policy/epoch.py of the agents has it: what one of them would take at once.
JUMP_LIMIT = 20_000
# No volume changes hands so often. Far below 2^53, from where on a number is not the same for
# everybody who reads it.
EPOCH_LIMIT = 10**9
_HARD_LIMIT = (1 << 53) - 1 - JUMP_LIMIT


def believed(record: int | None, shown: Mapping[str, int | None]) -> tuple[int, frozenset[str]]:
    """The highest epoch that counts, and the hosts whose word is not believed.

    record: ours, or None. Two hosts that agree are believed. Of two that do not, the one that our
    record agrees with; where it agrees with none, or is beyond belief itself, the lower one: an
    epoch that nobody else knows has told nobody anything.
    """
    known = {host: number for host, number in shown.items() if number is not None}
    numbers = sorted(known.values())
    base = _base(record, numbers)
    near = [n for n in (base, *numbers, record or 0) if base <= n <= base + JUMP_LIMIT]
    return max(near), frozenset(h for h, n in known.items() if abs(n - base) > JUMP_LIMIT)


def _base(record: int | None, numbers: Sequence[int]) -> int:
    """numbers: sorted."""
    if len(numbers) > 1 and numbers[-1] - numbers[0] <= JUMP_LIMIT and numbers[-1] <= _HARD_LIMIT:
        return numbers[0]
    lowest = numbers[0] if numbers and numbers[0] <= EPOCH_LIMIT else None
    if record is None or record > EPOCH_LIMIT:
        return lowest or 0
    agrees = any(abs(number - record) <= JUMP_LIMIT for number in numbers)
    return record if agrees or lowest is None or len(numbers) < 2 else lowest


def implausible(
    volume: str, key: str, record: int | None, shown: Mapping[str, int | None]
) -> Finding | None:
    """What stands in the way of an epoch that both hosts would take. volume, key: its names at the
    hosts and here."""
    highest, liars = believed(record, shown)
    known = {host: number for host, number in shown.items() if number is not None}
    measured = ", ".join(f"{host}: epoch {number}" for host, number in known.items())
    measured += f", record: {'none' if record is None else f'epoch {record}'}"
    limit = f"within {JUMP_LIMIT} of each other"
    if liars:
        host = sorted(liars)[0]
        return blocker(
            "EPOCH_IMPLAUSIBLE",
            f"{host} shows epoch {known[host]} of {volume}, which is nowhere near to what the "
            "others know: it is damaged, or not to be trusted",
            measured=measured,
            limit=limit,
            remedy=f"find out why: on {host}: storage-agent events; if the host is sound, there, "
            f"as root: mv /var/lib/storage-agent/epoch-{volume} /root/ && storage-agent epoch "
            f"restore {volume} {highest or 'NUMBER'}; then: storage-coordinator adopt {key}",
        )
    if record is not None and known and record > highest + JUMP_LIMIT:
        return blocker(
            "EPOCH_IMPLAUSIBLE",
            f"the record has epoch {record} of {key}, which is far beyond what the hosts know: "
            "they would refuse what comes after it",
            measured=measured,
            limit=limit,
            remedy=f"storage-coordinator reset-epoch {key}",
        )
    return None


def ahead(host: str, theirs: int, ours: int) -> Finding:
    """Of one host, where nothing else is known. `VOLUME` in the remedy is the volume."""
    if (odd := _far_ahead(host, theirs, ours)) is not None:
        return odd
    return blocker(
        "EPOCH_AHEAD",
        f"{host} has seen a newer epoch than this coordinator has given: another coordinator or an "
        "admin has acted, or this record is an old backup",
        measured=f"epoch {theirs} on {host}",
        limit=f"at most epoch {ours}",
        remedy="look at both hosts, then: storage-coordinator adopt VOLUME",
    )


def _far_ahead(host: str, theirs: int, ours: int) -> Finding | None:
    """Too far ahead of our record to be believed."""
    if theirs <= ours + JUMP_LIMIT:
        return None
    return blocker(
        "EPOCH_IMPLAUSIBLE",
        f"{host} shows an epoch that is nowhere near to what this coordinator has given: it is "
        "damaged, or not to be trusted",
        measured=f"epoch {theirs} on {host}",
        limit=f"at most {JUMP_LIMIT} above epoch {ours}",
        remedy="see what both hosts show, and the way back: storage-coordinator status VOLUME",
    )


def reset_to(given: Iterable[int], shown: Mapping[str, int | None]) -> int | None:
    """The epoch that a record goes back to: the highest that can have been used, going up from the
    lowest that a host shows without a jump. given: all that the record has ever given. None where
    no host shows one."""
    hosts = [number for number in shown.values() if number is not None]
    if not hosts:
        return None
    reached = min(hosts)
    for number in sorted([*given, *hosts]):
        if reached < number <= reached + JUMP_LIMIT:
            reached = number
    return reached
