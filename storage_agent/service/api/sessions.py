"""The methods of the gateway's sessions: which role one has, and its end."""

from __future__ import annotations

import re
from collections.abc import Callable

from storage_agent.model.errors import AgentError, UsageError
from storage_agent.model.key import KeyRole
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import RightsLost, Role
from storage_agent.service.api.answers import Ended, Welcome
from storage_agent.service.api.parameters import Hello, KeyParameters
from storage_agent.service.api.rpc import PROTOCOL_VERSION, BadRequest
from storage_agent.service.api.session import Call, Session

KEY_ID = re.compile(r"[A-Za-z0-9+/:]{1,64}")
# An open session that asks for nothing, as a subscription, is looked at so often.
RIGHTS_PERIOD_S = 1.0


def greet(agent: Agent, call: Call, parameters: Hello) -> object:
    if call.session.role is not Role.NONE:
        raise UsageError("this session has its role already")
    if not KEY_ID.fullmatch(parameters.key_id):
        raise BadRequest("bad-name", f"{parameters.key_id[:40]!a} is no key id")
    # Not sshd's word alone: a connection that it let in before goes on after the key is revoked.
    if agent.key_role(parameters.key_id) is not parameters.role:
        raise _revoked(parameters.key_id, parameters.role)
    call.take_place(Role(parameters.role), parameters.key_id)
    session = call.session
    session.take_pipes()
    session.role = Role(parameters.role)
    session.key_id = parameters.key_id
    session.origin = f"ssh key {parameters.key_id}"
    return Welcome(role=parameters.role, protocol=PROTOCOL_VERSION)


def lost_rights(key_role: Callable[[str], KeyRole | None], session: Session) -> RightsLost | None:
    """Why the session ends now: its key is not any more what it was when it came. key_role: as of
    Agent."""
    if not session.key_id:
        return None
    try:
        role = key_role(session.key_id)
    except AgentError as exc:
        # What it may do is not known: unknown means no.
        return RightsLost(exc.message, remedy=exc.remedy, code=exc.code)
    same = role is not None and Role(role) is session.role
    return None if same else _revoked(session.key_id, session.role)


def _revoked(key_id: str, role: str) -> RightsLost:
    return RightsLost(
        f"the key {key_id} is not authorized as {role}",
        remedy="on the storage host, as root: storage-agent authorize list",
    )


def end_sessions(_agent: Agent, call: Call, parameters: KeyParameters) -> object:
    count = call.sessions_of(parameters.key_id)
    call.end_sessions_of(parameters.key_id)
    return Ended(sessions=count)
