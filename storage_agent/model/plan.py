"""A plan: ordered steps that a person can read and run by hand, and the engine can resume."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from storage_agent.model.wire import to_wire


class OperationKind(StrEnum):
    """ASSEMBLE_DEGRADED, REMAKE: `assemble --degraded`, and `create --join` of a replica that has
    lost its metadata.  CLOSE_LINK and OPEN_LINK: by the agent alone, while a coordinator
    arbitrates."""

    CREATE = "create"
    ASSEMBLE = "assemble"
    ASSEMBLE_DEGRADED = "assemble-degraded"
    REMAKE = "remake"
    PROMOTE = "promote"
    DEMOTE = "demote"
    LEAVE = "leave"
    CLOSE_LINK = "close-link"
    OPEN_LINK = "open-link"
    STANDALONE = "standalone"
    REJOIN = "rejoin"
    SPLIT_BRAIN = "split-brain"
    ABANDON = "abandon"


class StepKind(StrEnum):
    """Every change that the agent can make to a host. What each one needs, does and how it is
    undone: operations/steps.py; how it is done: host/linux.py."""

    MAKE_ARRAY = "make-array"
    SEE_GOOD_COPY = "see-good-copy"
    GIVE_UP_COPY = "give-up-copy"
    MAKE_METADATA = "make-metadata"
    FIRST_PRIMARY = "first-primary"
    MAKE_FILESYSTEM = "make-filesystem"
    WRITE_CONFIGURATION = "write-configuration"
    ASSEMBLE_ARRAY = "assemble-array"
    START_DEGRADED = "start-degraded"
    STOP_ARRAY = "stop-array"
    REPLICA_UP = "replica-up"
    TAKE_OPTIONS = "take-options"
    REPLICA_DOWN = "replica-down"
    WAIT_FOR_PEER = "wait-for-peer"
    DISCONNECT = "disconnect"
    CONNECT = "connect"
    CONNECT_DISCARDING = "connect-discarding"
    GRANT_PROMOTION = "grant-promotion"
    WITHDRAW_GRANT = "withdraw-grant"
    PRIMARY = "primary"
    SECONDARY = "secondary"
    READ_MARKER = "read-marker"
    MOUNT = "mount"
    WRITE_MARKER = "write-marker"
    UNMOUNT = "unmount"
    PREPARE_SERVER = "prepare-server"
    START_SERVER = "start-server"
    STOP_SERVER = "stop-server"
    START_SERVICES = "start-services"
    STOP_SERVICES = "stop-services"
    LINK_UP = "link-up"
    LINK_DOWN = "link-down"
    PROVE_EXPORT = "prove-export"
    REMOVE_SERVER = "remove-server"
    ERASE_CONTENT = "erase-content"
    ERASE_ARRAY = "erase-array"
    REMOVE_CONFIGURATION = "remove-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """commands: what a person would type for it.  check: what must be seen afterwards.
    undo: the step that takes it back, None where nothing has to be."""

    kind: StepKind
    title: str
    commands: tuple[str, ...]
    check: str
    undo: StepKind | None
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """options: what the request chose (`role` = first or join for create, `choice` = keep or
    discard for split-brain)."""

    operation: OperationKind
    volume: str
    host: str
    steps: tuple[Step, ...]
    options: dict[str, str]

    def digest(self) -> str:
        """Twelve hexadecimal digits that name exactly this plan; `--confirm` wants them."""
        text = json.dumps(to_wire(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
