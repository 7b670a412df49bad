"""DRBD: all that is known about its tools, formats and files. Host tools: drbdadm, drbdsetup.

The drivers 8.4 (stock kernels) and 9 behind one model; which one decides the driver's version.
"""

from __future__ import annotations

from storage_agent.host.drbd.adapter import Drbd
from storage_agent.host.drbd.events import parse_events2_now
from storage_agent.host.drbd.generation import parse_generation
from storage_agent.host.drbd.resource_file import render_resource, resource_path
from storage_agent.host.drbd.status_json import parse_status_json
from storage_agent.host.drbd.stream import EventStream, HelperCall, Update, stream_argv
from storage_agent.host.drbd.version import is_version_9, parse_driver_version

__all__ = [
    "Drbd",
    "EventStream",
    "HelperCall",
    "Update",
    "is_version_9",
    "parse_driver_version",
    "parse_events2_now",
    "parse_generation",
    "parse_status_json",
    "render_resource",
    "resource_path",
    "stream_argv",
]
