"""What the daemon answers about them, and what `doctor` finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storage_agent.model.doctor import (
    KERNEL_MODULES,
    TOOL_PACKAGES,
    DoctorFacts,
    StateFolder,
    UnitFact,
)
from storage_agent.model.errors import ConfigurationError
from storage_agent.model.finding import Finding
from storage_agent.model.operation import (
    OperationRecord,
    OperationRequest,
    OperationState,
    StepOutcome,
    StepRecord,
)
from storage_agent.model.plan import OperationKind, Plan, Step, StepKind
from storage_agent.model.snapshot import HostSnapshot, VolumeSnapshot
from storage_agent.model.wire import to_wire
from storage_agent.policy.readiness import assess
from tests.unit.cli.snapshots import GIB
from tests.unit.fakes import ARRAY_UUID, agent_config


def status_result(*volumes: VolumeSnapshot, **more: Any) -> dict[str, Any]:
    """What the daemon answers to `status`, judged by the real policy."""
    config = more.pop("config", agent_config())
    snapshot = HostSnapshot(
        host="alpha",
        boot_id="boot-1",
        taken_monotonic_s=999.6,
        taken_wall_s=1_700_000_999.6,
        volumes={volume.volume: volume for volume in volumes},
        drbd_version="8.4.11",
        problems=more.pop("unseen", ()),
    )
    readiness = {v.volume: assess(config, config.volumes["data"], v) for v in volumes}
    return {
        "host": "alpha",
        "agent_version": "0.1.0",
        "config_digest": "0123456789ab",
        "age_s": 0.4,
        "snapshot": to_wire(snapshot),
        "readiness": to_wire(readiness),
        "operations": [],
        "problems": [],
        **more,
    }


def record(
    state: OperationState = OperationState.SUCCEEDED,
    *outcomes: StepOutcome,
    kind: OperationKind = OperationKind.PROMOTE,
    message: str = "data: serving on alpha",
    **changes: Any,
) -> OperationRecord:
    titles = {
        StepKind.PRIMARY: "make DRBD primary",
        StepKind.MOUNT: "mount /srv/data",
        StepKind.START_SERVER: "start the NFS server",
    }
    steps = tuple(
        StepRecord(
            kind=step,
            title=title,
            outcome=outcome,
            duration_s=None if outcome is StepOutcome.RUNNING else 0.3,
            detail="mount: /dev/drbd0: wrong medium type" if outcome is StepOutcome.FAILED else "",
        )
        for (step, title), outcome in zip(titles.items(), outcomes, strict=False)
    )
    base = OperationRecord(
        request=OperationRequest(
            kind=kind, volume="data", operation_id="00000000000000aa", origin="uid 0 pid 7"
        ),
        state=state,
        changed=state is not OperationState.REFUSED,
        epoch=7,
        message=message,
        steps=steps,
        started_wall_s=1_700_000_990.0,
        duration_s=None if state is OperationState.RUNNING else 3.2,
    )
    return replace(base, **changes)


def facts(**changes: Any) -> DoctorFacts:
    """A host on which all is well."""
    unit = UnitFact(
        name="drbd.service",
        load="loaded",
        active="inactive",
        enabled="enabled",
        drop_ins=("/lib/systemd/system/drbd.service.d/storage-agent.conf",),
    )
    logind = UnitFact(
        name="systemd-logind.service", load="loaded", active="active", enabled="static"
    )
    base = DoctorFacts(
        host="alpha",
        is_root=True,
        has_configuration=True,
        tools=frozenset(TOOL_PACKAGES),
        modules=frozenset(KERNEL_MODULES),
        drbd_version="8.4.11",
        units={unit.name: unit, logind.name: logind},
        fstab=(),
        export_clients=(),
        exports=(),
        mdadm_lines=(f"ARRAY <ignore> UUID={ARRAY_UUID}",),
        is_clock_synchronised=True,
        state_folder=StateFolder(
            mode=0o700, owner_uid=0, source="/dev/vda1", read_only=False, free_bytes=GIB
        ),
        replica_settings={"data": good_settings()},
    )
    return replace(base, **changes)


def good_settings(**changes: str) -> dict[str, str]:
    return {
        "net.protocol": "C",
        "net.ping-int": "3",
        "net.ping-timeout": "30",
        "disk.fencing": "resource-only",
        "startup.wfc-timeout": "5",
        **{key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()},
    }


def blocked(code: str = "PEER_IS_PRIMARY") -> Finding:
    from storage_agent.policy.common import blocker

    return blocker(
        code,
        "beta is Primary for data",
        measured="peer role: Primary",
        limit="peer role: Secondary",
        remedy="on beta: storage-agent demote data",
    )


NO_CONFIGURATION = ConfigurationError(
    "/etc/storage-agent/agent.toml:1: No such file or directory", remedy="write it"
)


def plan_of(kind: OperationKind, *findings: Any, **options: str) -> dict[str, Any]:
    steps = (
        Step(
            kind=StepKind.PRIMARY,
            title="make DRBD primary",
            commands=("drbdadm primary data",),
            check="role: Primary",
            undo=StepKind.SECONDARY,
            timeout_s=30,
        ),
        Step(
            kind=StepKind.MOUNT,
            title="mount /srv/data",
            commands=("mount -t ext4 -o nosuid,nodev /dev/drbd0 /srv/data",),
            check="mounted, read-write",
            undo=None,
            timeout_s=60,
        ),
    )
    plan = Plan(operation=kind, volume="data", host="alpha", steps=steps, options=options)
    return {"plan": plan, "digest": plan.digest(), "findings": findings}
