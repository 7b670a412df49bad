"""What a go-live has proved of a volume, as each host of the pair keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.model.bounds import EpochNumber, Name, Serials, SizeBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SealFacts:
    """What a seal binds, as one host shows it.

    configuration: digest of the hosts and this volume, the same on both.  members: serials of the
    array's disks, sorted.  array_bytes: of the md device.  replica_bytes: of the DRBD device.
    possible_array_bytes: see Array.possible_bytes; it is compared, and does not break a seal.
    """

    configuration: Name
    filesystem_uuid: Name
    array_uuid: Name
    members: Serials
    array_bytes: SizeBytes
    replica_bytes: SizeBytes
    possible_array_bytes: SizeBytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """epoch: of the volume at the go-live.  client: from where the export was proved; empty for a
    volume that is not exported.  facts: of this host."""

    epoch: EpochNumber
    client: Name
    facts: SealFacts
    sealed_unix_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRecord:
    """A host has one of each volume that a coordinator has adopted. seal: None before the
    go-live."""

    seal: Seal | None = None
