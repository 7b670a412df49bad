"""The methods of the gateway's sessions: which role one has, and its end."""

from __future__ import annotations

import re

from storage_agent.model.errors import Busy, NotPermitted, UsageError
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import Role
from storage_agent.service.api.answers import Ended, Welcome
from storage_agent.service.api.parameters import Hello, KeyParameters
from storage_agent.service.api.rpc import PROTOCOL_VERSION, BadRequest
from storage_agent.service.api.session import Call

KEY_ID = re.compile(r"[A-Za-z0-9+/:]{1,64}")
# Of the gateway's sessions (server.GATEWAY_LIMIT): one key cannot take another's.
KEY_LIMIT = 12


def greet(agent: Agent, call: Call, parameters: Hello) -> object:
    if call.session.role is not Role.NONE:
        raise UsageError("this session has its role already")
    if not KEY_ID.fullmatch(parameters.key_id):
        raise BadRequest("bad-name", f"{parameters.key_id[:40]!a} is no key id")
    # Not sshd's word alone: a connection that it let in before goes on after the key is revoked.
    if agent.key_role(parameters.key_id) is not parameters.role:
        raise NotPermitted(
            f"the key {parameters.key_id} is not authorized as {parameters.role}",
            remedy="on the storage host, as root: storage-agent authorize list",
            code="KEY_REVOKED",
        )
    if call.sessions_of(parameters.key_id) >= KEY_LIMIT:
        raise Busy(
            f"{KEY_LIMIT} sessions of this key are open, no more are taken",
            remedy="use one session for many requests",
            code="TOO_MANY_CONNECTIONS",
        )
    session = call.session
    session.take_pipes()
    session.role = Role(parameters.role)
    session.key_id = parameters.key_id
    session.origin = f"ssh key {parameters.key_id}"
    return Welcome(role=parameters.role, protocol=PROTOCOL_VERSION)


def end_sessions(_agent: Agent, call: Call, parameters: KeyParameters) -> object:
    count = call.sessions_of(parameters.key_id)
    call.end_sessions_of(parameters.key_id)
    return Ended(sessions=count)
