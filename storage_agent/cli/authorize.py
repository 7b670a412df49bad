"""authorize: which SSH keys of coordinators are let in, and as what."""

from __future__ import annotations

import argparse
from typing import Any

from storage_agent.cli.context import Answer, Context
from storage_agent.cli.text import clean
from storage_agent.host.keys.authorized_keys import KeyRights, read_public_key
from storage_agent.host.keys.lines import REMOVE_DAMAGED, KeyLine, check_addresses
from storage_agent.model.errors import AgentError, Missing, NotPermitted, UsageError
from storage_agent.model.finding import Finding
from storage_agent.model.key import AuthorizedKey, KeyRole
from storage_agent.service.api.access import GATEWAY_USER

PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'


def authorize(options: argparse.Namespace, context: Context) -> Answer:
    """Changes the file of keys itself: it works without the daemon."""
    if not context.is_root:
        raise NotPermitted("keys are root's", remedy="run it as root (sudo)")
    if options.key_file in ("list", "revoke"):
        if options.role or options.addresses:
            raise UsageError("--role and --from belong to a KEYFILE", remedy="leave them out")
        if options.key_file == "revoke":
            return _revoke(options, context)
    if options.key_id is not None:
        raise UsageError("a KEY-ID belongs to revoke", remedy="storage-agent authorize --help")
    return _list(context) if options.key_file == "list" else _add(options, context)


def _add(options: argparse.Namespace, context: Context) -> Answer:
    if options.role is None:
        roles = "|".join(KeyRole)
        raise UsageError(
            "what may the key do?",
            remedy=f"storage-agent authorize --role {roles} {options.key_file}",
        )
    entry = AuthorizedKey(
        key=read_public_key(options.key_file),
        role=KeyRole(options.role),
        addresses=check_addresses(options.addresses),
    )
    file = context.local.key_file()
    file.add(entry)
    trial = f"echo '{PING}' | ssh -T {GATEWAY_USER}@HOST"
    lines = (_line(entry), f"try it from the coordinator: {trial}")
    findings = KeyRights(file).findings()
    return Answer(
        data=_shown(entry), lines=lines, changed=True, findings=findings, notes=_notes(findings)
    )


def _list(context: Context) -> Answer:
    file = context.local.key_file()
    entries, findings = file.read().entries(), KeyRights(file).findings()
    lines = tuple(_line(entry) for entry in entries) or ("no key is authorized",)
    data = {"keys": [_shown(entry) for entry in entries]}
    return Answer(data=data, lines=lines, findings=findings, notes=_notes(findings))


def _notes(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{finding.summary}; try: {finding.remedy}" for finding in findings]


def _revoke(options: argparse.Namespace, context: Context) -> Answer:
    if options.key_id is None:
        raise UsageError("revoke needs a KEY-ID", remedy="storage-agent authorize list")
    if options.key_id == REMOVE_DAMAGED:
        return _remove_damaged(context)
    entry = context.local.key_file().remove(options.key_id)
    lines, notes = [f"revoked: {_line(entry)}"], []
    # sshd would let a connection that it knows go on.
    try:
        ended = context.ask_daemon("sessions.end", {"key_id": entry.key.key_id})
        lines.append(f"open sessions ended: {int(ended['sessions'])}")
    except Missing:
        lines.append("the daemon does not run: no session of that key is open")
    except AgentError as exc:
        notes.append(
            f"sessions of that key may still be open ({exc.message}); end them with: "
            "systemctl restart storage-agentd (volumes go on being served)"
        )
    return Answer(data=_shown(entry), lines=tuple(lines), changed=True, notes=notes)


def _remove_damaged(context: Context) -> Answer:
    """No open session is a damaged line's: it let nobody in."""
    removed = context.local.key_file().remove_damaged()
    lines = tuple(f"removed: {_raw(line)}" for line in removed)
    return Answer(data={"removed": [_raw(line) for line in removed]}, lines=lines, changed=True)


def _raw(line: KeyLine) -> str:
    return f"line {line.number}: {ascii(line.raw.decode('utf-8', 'replace'))[1:-1]}"


def _line(entry: AuthorizedKey) -> str:
    key, origin = entry.key, ", ".join(entry.addresses) or "anywhere"
    text = f"{key.key_id}  {entry.role:7}  {key.kind} {key.bits} bits  from {origin}"
    return clean(f"{text}  {key.comment}".rstrip())


def _shown(entry: AuthorizedKey) -> dict[str, Any]:
    return {
        "key_id": entry.key.key_id,
        "role": entry.role,
        "fingerprint": entry.key.fingerprint,
        "kind": entry.key.kind,
        "bits": entry.key.bits,
        "from": list(entry.addresses),
        "comment": entry.key.comment,
    }
