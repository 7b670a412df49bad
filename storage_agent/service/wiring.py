"""Chooses the real things: the only module of the service that knows the host's adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from storage_agent.configuration.build import local_hostname
from storage_agent.configuration.load import DEFAULT_PATHS, digest, load
from storage_agent.configuration.read import Paths
from storage_agent.engine.engine import Engine
from storage_agent.host.block.device_events import DeviceEvents
from storage_agent.host.drbd.incidents import last_change_ns
from storage_agent.host.drbd.stream import stream_argv
from storage_agent.host.keys.authorized_keys import KeyFile, KeyRights
from storage_agent.host.linux import LinuxHost
from storage_agent.host.md.seen import SeenRecords
from storage_agent.host.system.clock import SystemClock
from storage_agent.host.system.inhibitor import Inhibitor
from storage_agent.host.system.runner import Runner, end_stream
from storage_agent.host.system.store import STATE_FOLDER, FileStore
from storage_agent.host.volume.marker_tick import read_apart, write_apart
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import ConfigurationError
from storage_agent.policy.readiness import assess
from storage_agent.service.agent import Agent
from storage_agent.service.api.answers import Setup
from storage_agent.service.observing.attachments import Attachments, WatchedHost
from storage_agent.service.observing.incident_source import IncidentSource
from storage_agent.service.observing.observer import Observer
from storage_agent.service.observing.replica_source import ReplicaSource
from storage_agent.service.observing.sources import ArraySource, DeviceSource, MountSource
from storage_agent.service.observing.ticks import WRITE_TIMEOUT_S, Ticks


def load_setup(paths: Paths = DEFAULT_PATHS) -> Setup:
    """Never raises: what is wrong is in the Setup, with an empty configuration."""
    try:
        config = load(paths)
        return Setup(config=config, digest=digest(config))
    except ConfigurationError as exc:
        empty = AgentConfig(host=local_hostname(), hosts={}, volumes={})
        if not paths.exist():
            note = f"not configured: there is no {paths.main}"
            return Setup(config=empty, digest=digest(empty), note=note)
        return Setup(config=empty, digest=digest(empty), problem=exc)


def make_agent(
    broadcast: Callable[[str, object], None],
    *,
    paths: Paths = DEFAULT_PATHS,
    state_folder: Path = STATE_FOLDER,
) -> Agent:
    """The agent of this host, not yet started."""
    setup = load_setup(paths)
    clock, runner, attachments = SystemClock(), Runner(), Attachments()
    store = FileStore(state_folder)
    host = LinuxHost(setup.config, runner, seen=SeenRecords(store, is_writer=True))
    replicas = ReplicaSource(
        start=lambda: runner.stream(stream_argv()),
        end=end_stream,
        attachments=attachments,
        seen=lambda volume, replica: observer.replica_seen(volume, replica),
    )
    observer = Observer(
        config=setup.config,
        host=host,
        clock=clock,
        attachments=attachments,
        sources=(
            replicas,
            ArraySource(),
            MountSource(),
            DeviceSource(DeviceEvents),
            IncidentSource(last_change_ns),
        ),
        records=lambda volume: agent.problems.obstacles(volume),
    )
    ticks = Ticks(
        read=lambda volume: read_apart(volume, timeout_s=WRITE_TIMEOUT_S),
        write=lambda volume, before: write_apart(volume, before, timeout_s=WRITE_TIMEOUT_S),
        base=lambda volume, found: engine.marker_to_count_on(volume, found),
        seen=lambda volume, marker: agent.marker_written(volume, marker),
        keep=lambda volume, marker: engine.note_marker(volume, marker),
        tried=host.marker_tried,
    )
    engine = Engine(
        config=setup.config,
        host=WatchedHost(host, attachments, observer.catch_up, observer.looked, ticks.resting),
        store=store,
        clock=clock,
        on_change=lambda record: agent.runs.changed(record),
        wait_for_news=attachments.wait_for_news,
    )

    def apply(config: AgentConfig) -> None:
        host.reconfigure(config)
        engine.reconfigure(config)
        observer.reconfigure(config)

    rights = KeyRights(KeyFile())
    agent = Agent(
        setup=setup,
        load=lambda: load_setup(paths),
        apply=apply,
        engine=engine,
        observer=observer,
        assess=assess,
        clock=clock,
        broadcast=broadcast,
        inhibit=Inhibitor(runner).take,
        ticks=ticks,
        key_role=rights.role_of,
        key_findings=rights.findings,
    )
    return agent
