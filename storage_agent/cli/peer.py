"""Commands about the peer: standalone, rejoin, split-brain."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from storage_agent.cli.confirm import confirm_plan
from storage_agent.cli.context import Answer, Context
from storage_agent.cli.look import known_config
from storage_agent.cli.operate import ask_plan, operate, plan_answer, refuse_blocked, show_plan
from storage_agent.cli.render_status import finding_lines, peer_name
from storage_agent.cli.sync import SyncWatch
from storage_agent.cli.terminal import Tone
from storage_agent.cli.text import clean, when_text
from storage_agent.model.answers import StatusAnswer, parse_status
from storage_agent.model.configuration import AgentConfig, Arbitration
from storage_agent.model.errors import AgentError, OutcomeUnknown, Refused, unknown_volume
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.model.split_brain import changed_text, side_text

WATCH_EVERY_S = 1.0
SAY_EVERY_S = 10.0


def standalone(options: argparse.Namespace, context: Context) -> Answer:
    """Where a coordinator arbitrates, the plan must be confirmed, as the coordinator is not
    asked."""
    if options.dry_run:
        return show_plan(options, context, "standalone")
    params = {}
    if options.confirm is not None or _is_arbitrated(options.volume, known_config(context)):
        answer = ask_plan(options, context, "standalone")
        refuse_blocked(answer)
        confirm_plan(
            options,
            context,
            answer,
            command=f"standalone {options.volume}",
            why="the coordinator is not asked whether this host may go on alone: that is risky",
            to="go on alone",
        )
        params["confirm"] = answer.digest
    done = operate(options, context, "standalone", params)
    if done.error is None:
        warnings = [line for f in done.findings for line in finding_lines(f, context.out)]
        done.lines = (*done.lines, *warnings)
    return done


def _is_arbitrated(volume: str, config: AgentConfig | None) -> bool:
    known = config.volumes.get(volume) if config else None
    return known is not None and known.arbitration is Arbitration.COORDINATOR


def rejoin(options: argparse.Namespace, context: Context) -> Answer:
    if options.dry_run:
        return show_plan(options, context, "rejoin")
    done = operate(options, context, "rejoin", {})
    if done.error is None and options.wait is not None:
        done.error = _watch_resync(options, context)
    return done


def _watch_resync(options: argparse.Namespace, context: Context) -> AgentError | None:
    """A bar until both copies are the same; the resync itself does not need us."""
    volume, screen = options.volume, context.err if options.json else context.out
    syncs, peer = SyncWatch(), peer_name(known_config(context))
    end_s, say_s = context.clock.monotonic() + options.wait, 0.0
    try:
        while True:
            answer = parse_status(context.ask_daemon("status", {}))
            snapshot = _snapshot(answer, volume)
            replica = snapshot.replica
            if isinstance(replica, Replica) and replica.in_sync():
                return None
            if isinstance(replica, Replica) and replica.stands_alone():
                return _dropped(volume, replica)
            lines = syncs.lines(snapshot, peer, answer.rates.get(volume, {}))
            line = lines[-1] if lines else f"{volume}  waiting for {peer}"
            screen.transient(line)
            now_s = context.clock.monotonic()
            if not screen.is_terminal and not options.json and now_s >= say_s:
                say_s = now_s + SAY_EVERY_S
                screen.line(line)
            if now_s >= end_s:
                return _goes_on(volume, f"not in sync after {options.wait:g} s")
            context.clock.sleep(WATCH_EVERY_S)
    except KeyboardInterrupt:
        return _goes_on(volume, "no longer watching")
    finally:
        screen.drop_transient()


def _goes_on(volume: str, why: str) -> AgentError:
    return OutcomeUnknown(
        f"{volume}: {why}; DRBD goes on by itself",
        remedy="storage-agent status --watch",
        code="RESYNC_RUNS",
    )


def _dropped(volume: str, replica: Replica) -> AgentError:
    if replica.split_brain:
        return Refused(
            f"{volume}: SPLIT BRAIN: both copies were changed apart from each other",
            remedy=f"on both hosts: storage-agent split-brain {volume}",
            code="SPLIT_BRAIN",
        )
    return Refused(
        f"{volume}: DRBD has dropped the connection again",
        remedy="journalctl -k -g drbd -n 50",
        code="STAND_ALONE",
    )


def split_brain(options: argparse.Namespace, context: Context) -> Answer:
    """Without a choice it only shows this side, in one line that the other host's can be laid
    beside; --discard is confirmed like `create`."""
    status = parse_status(context.ask_daemon("status", {}))
    snapshot = _snapshot(status, options.volume)
    peer = peer_name(known_config(context))
    if options.choice is None:
        shown = summary(snapshot)
        lines = [context.out.paint(clean(shown), Tone.BOLD), *_guide(snapshot, peer)]
        return Answer(data={"summary": shown}, lines=tuple(lines))
    answer = ask_plan(options, context, "split-brain", choice=options.choice)
    if options.dry_run:
        return plan_answer(answer, context)
    refuse_blocked(answer)
    if options.choice == "discard":
        confirm_plan(
            options,
            context,
            answer,
            command=f"split-brain {options.volume} --discard",
            why="--discard gives up what only this host's copy has",
            to="DISCARD them",
            show=lambda: _what_is_lost(snapshot, peer),
        )
    params = {"choice": options.choice, "confirm": answer.digest}
    return operate(options, context, "split-brain", params)


def summary(snapshot: VolumeSnapshot) -> str:
    """`split-brain data alpha: Primary, UpToDate, 528.0 KiB …, generation …; last served …`."""
    replica = snapshot.replica
    if isinstance(replica, Unobserved):
        facts = f"unknown: {replica.reason}"
    else:
        facts = side_text(replica) if replica else "the replica is not up"
    return f"split-brain {snapshot.volume} {snapshot.host}: {facts}; {_served(snapshot)}"


def _served(snapshot: VolumeSnapshot) -> str:
    marker = snapshot.marker
    if not isinstance(marker, Marker):
        return "last served: not known here"
    return (
        f"last served on {marker.host}, epoch {marker.epoch} count {marker.counter}, "
        f"{when_text(marker.wall_s)}"
    )


def _guide(snapshot: VolumeSnapshot, peer: str) -> Iterator[str]:
    replica, volume, here = snapshot.replica, snapshot.volume, snapshot.host
    if not isinstance(replica, Replica) or not replica.split_brain:
        yield f"no split brain of {volume} is known on {here}"
        return
    command = f"storage-agent split-brain {volume}"
    yield f"What {peer} has written since is counted there alone; it is seen"
    yield f"  on {peer}, to be laid beside the line above: {command}"
    yield f"  both at once, where a coordinator is in charge: storage-coordinator status {volume}"
    yield "  as it was when the two met, 4 KiB a bit, in this kernel's log: " + (
        "journalctl -k -g 'peer .* bits:'"
    )
    yield "Then choose:"
    yield f"  to keep {here}'s copy: on {peer} `{command} --discard`, here `{command} --keep`"
    yield f"      lost: what {peer} shows as changed there since"
    yield f"  to keep {peer}'s copy: here `{command} --discard`, on {peer} `{command} --keep`"
    yield f"      lost: {changed_text(replica)} written here since they parted"
    yield "Copy away first what must be kept of the side that is given up."


def _what_is_lost(snapshot: VolumeSnapshot, peer: str) -> Iterator[str]:
    yield clean(summary(snapshot))
    replica = snapshot.replica
    lost = changed_text(replica) if isinstance(replica, Replica) else "unknown how much"
    yield f"{lost} that were written on {snapshot.host} since the two parted will be LOST;"
    yield f"{peer}'s copy takes their place as soon as the two are connected."


def _snapshot(status: StatusAnswer, volume: str) -> VolumeSnapshot:
    """Raises UsageError."""
    snapshot = status.snapshot.volumes.get(volume)
    if snapshot is None:
        raise unknown_volume(volume, status.snapshot.volumes, status.host)
    return snapshot
