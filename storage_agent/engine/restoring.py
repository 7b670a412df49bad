"""A person's word in place of what this host has lost: where a volume's epoch stands."""

from __future__ import annotations

from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal
from storage_agent.model.errors import Refused
from storage_agent.model.operation import Epoch


def restore_epoch(epochs: EpochStore, journal: Journal, volume: str, number: int) -> None:
    """Durable on return; a damaged note of the marker is given up. Nobody else writes meanwhile.

    Raises Refused for a number below a readable epoch or below the newest marker seen."""
    try:
        marker = epochs.last_marker(volume)
    except Refused:
        marker = None
    try:
        epoch = epochs.read(volume).number
    except Refused:
        epoch = 0
    account = journal.readable_account(volume)
    known = max(epoch, marker.epoch if marker else 0, account.epoch if account else 0)
    if number < known:
        raise Refused(
            f"epoch {number} of {volume} would be older than what this host knows",
            remedy=f"use {known} or more",
            code="STALE_EPOCH",
        )
    epochs.write(volume, Epoch(number=number, operation_id="restored"))
    if journal.lost(volume):
        journal.begin_anew(volume, number)
    if marker is None:
        epochs.forget_marker(volume)
