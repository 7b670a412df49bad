"""JSON-RPC 2.0, one object a line: the wire form of every request, answer and notification.

Pure: bytes in, values out. Strict where Python's json is lax: it takes duplicate keys, NaN,
numbers without end, BOMs, lone surrogates and nesting that ends in a RecursionError.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from storage_agent.model.bounds import COUNT_LIMIT, TEXT_LIMIT_CHARS, cut
from storage_agent.model.errors import AgentError, UsageError
from storage_agent.model.wire import to_wire

PROTOCOL_VERSION = 1
FRAME_LIMIT_BYTES = 64 << 10
ANSWER_LIMIT_BYTES = 256 << 10
DEPTH_LIMIT = 16
# 2**63 has 19 digits: no number that we take needs more.
DIGITS_LIMIT = 19
ID_LIMIT_CHARS = 64
OUT_OF_BOUNDS = "out-of-bounds"
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
# Strings (an unclosed one runs to the end) and brackets. Possessive: linear on any input.
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_STANDARD_CODES = {
    "too-large": -32700,
    "bad-encoding": -32700,
    "too-deep": -32700,
    "bad-json": -32700,
    "duplicate-key": -32700,
    "bad-request": -32600,
    "unknown-method": -32601,
    "unknown-key": -32602,
    "missing-key": -32602,
    "bad-type": -32602,
    OUT_OF_BOUNDS: -32602,
    "bad-string": -32602,
    "bad-name": -32602,
    "INTERNAL": -32603,
}


class BadRequest(UsageError):
    """A frame that is not a request we take. `code` is lower-case and names what is wrong.

    request_id: to answer under, as far as it could be read.
    """

    def __init__(self, code: str, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy, code=code)
        self.request_id: int | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call. parameters: as decoded, not yet checked against the method."""

    request_id: int | str
    method: str
    parameters: dict[str, Any] = field(default_factory=dict)


def decode_request(frame: bytes) -> Request:
    """One line, without or with its newline, to a request. Raises BadRequest."""
    document = decode_document(frame)
    if type(document) is not dict:
        raise BadRequest("bad-request", "a request is one JSON object")
    request_id = document.get("id")
    try:
        return _decode_envelope(document)
    except BadRequest as exc:
        exc.request_id = request_id if _is_id(request_id) else None
        raise


def decode_document(frame: bytes) -> Any:
    """Strict JSON of at most FRAME_LIMIT_BYTES. Raises BadRequest."""
    if len(frame) > FRAME_LIMIT_BYTES:
        raise too_large()
    # A NUL is in no JSON text, but in every UTF-16 or UTF-32 one.
    if frame.startswith(_BOMS) or b"\0" in frame:
        raise BadRequest("bad-encoding", "the frame is not UTF-8 without a byte order mark")
    try:
        text = frame.decode("utf-8", errors="strict")
    except UnicodeDecodeError as exc:
        raise BadRequest("bad-encoding", f"not UTF-8 at byte {exc.start}") from None
    if not text.strip(" \t\r\n"):
        raise BadRequest("bad-request", "the frame is empty")
    _check_depth(frame)
    return _parse(text)


def too_large() -> BadRequest:
    """The error for a frame that does not end within the limit."""
    return BadRequest("too-large", f"a request has at most {FRAME_LIMIT_BYTES} bytes")


def encode_request(request: Request) -> bytes:
    """For clients: one line with its newline."""
    return _line(
        {
            "jsonrpc": "2.0",
            "id": request.request_id,
            "method": request.method,
            "params": request.parameters,
        }
    )


def encode_answer(request_id: int | str, result: object) -> bytes:
    """One line. A result over ANSWER_LIMIT_BYTES becomes an error that says so."""
    line = _line({"jsonrpc": "2.0", "id": request_id, "result": to_wire(result)})
    if len(line) <= ANSWER_LIMIT_BYTES:
        return line
    return encode_error(
        request_id,
        AgentError(
            f"the answer has {len(line)} bytes, at most {ANSWER_LIMIT_BYTES} are sent",
            remedy="ask for fewer with `limit`",
            code="ANSWER_TOO_LARGE",
        ),
    )


def encode_error(request_id: int | str | None, error: AgentError) -> bytes:
    """One line. `code` is JSON-RPC's own where it has one, else -32000 minus the exit status."""
    return _line(
        {
            "jsonrpc": "2.0",
            "id": request_id,
            "error": {
                "code": _STANDARD_CODES.get(error.code, -32000 - error.exit_status),
                "message": cut(error.message, TEXT_LIMIT_CHARS),
                "data": {
                    "code": error.code,
                    "remedy": cut(error.remedy, TEXT_LIMIT_CHARS),
                    "exit_status": error.exit_status,
                    "findings": to_wire(error.findings),
                },
            },
        }
    )


def encode_notification(method: str, parameters: object) -> bytes:
    """One line without an id."""
    return _line({"jsonrpc": "2.0", "method": method, "params": to_wire(parameters)})


def _line(document: dict[str, Any]) -> bytes:
    # ASCII: neither a terminal nor a log can be surprised, and surrogates cannot break it.
    return _ENCODER.encode(document).encode("ascii") + b"\n"


def _check_depth(frame: bytes) -> None:
    if frame.count(b"[") + frame.count(b"{") <= DEPTH_LIMIT:
        return
    depth = 0
    for match in _TOKENS.finditer(frame):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            if depth > DEPTH_LIMIT:
                raise BadRequest("too-deep", f"nested deeper than {DEPTH_LIMIT}")
        elif token in (b"]", b"}"):
            depth -= 1


def _parse(text: str) -> Any:
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as exc:
        raise BadRequest("bad-json", f"not JSON: {exc.msg} at character {exc.pos}") from None
    # Without an escape no string has what the text has not.
    if "\\" in text or not text.isprintable():
        _check_strings(document)
    return document


def _closed_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRequest("duplicate-key", f"the key {key[:40]!a} occurs twice")
        found[key] = value
    return found


def _refuse_number(text: str) -> NoReturn:
    raise BadRequest("bad-type", f"{text[:20]!a}: only whole numbers are taken")


def _whole_number(text: str) -> int:
    if len(text.lstrip("-")) > DIGITS_LIMIT or text == "-0":
        raise BadRequest("bad-type", f"{text[:24]!a} is out of range")
    return int(text)


def _check_strings(value: object) -> None:
    """Refuses what is not printable: control, format and bidi characters, lone surrogates."""
    if isinstance(value, str):
        if not value.isprintable():
            raise BadRequest("bad-string", f"{value[:40]!a} has unprintable characters")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key)
            _check_strings(item)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item)


def _is_id(value: object) -> bool:
    if type(value) is int:
        return abs(value) <= COUNT_LIMIT
    return type(value) is str and len(value) <= ID_LIMIT_CHARS


def _decode_envelope(document: dict[str, Any]) -> Request:
    if unknown := set(document) - {"jsonrpc", "id", "method", "params"}:
        raise BadRequest("bad-request", f"unknown key {min(unknown)[:40]!a}")
    if document.get("jsonrpc") != "2.0":
        raise BadRequest("bad-request", 'the key "jsonrpc" must be "2.0"')
    if not _is_id(document.get("id")):
        raise BadRequest("bad-request", 'the key "id" must be a whole number or a short string')
    method = document.get("method")
    if type(method) is not str:
        raise BadRequest("bad-request", 'the key "method" must be a string')
    parameters = document.get("params", {})
    if type(parameters) is not dict:
        raise BadRequest("bad-request", 'the key "params" must be an object')
    return Request(request_id=document["id"], method=method, parameters=parameters)


# Made once: json.loads and json.dumps would make one for each frame.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(
    strict=False,  # control characters are refused by _check_strings, with a better word
    object_pairs_hook=_closed_object,
    parse_constant=_refuse_number,
    parse_float=_refuse_number,
    parse_int=_whole_number,
)
