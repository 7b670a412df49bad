"""The frame decoder on well-formed, hostile and random input."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_agent.model.errors import AgentError, Refused
from storage_agent.model.finding import blocker
from storage_agent.service.api import rpc

# Machines differ too much in speed for a deadline an example.
fuzzed = settings(max_examples=100, deadline=None)
GOOD = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}


def code_of(frame: bytes) -> str:
    with pytest.raises(rpc.BadRequest) as caught:
        rpc.decode_request(frame)
    return caught.value.code


def request(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def with_params(text: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"promote","params":' + text.encode() + b"}"


def test_a_good_request_is_decoded() -> None:
    decoded = rpc.decode_request(request(params={"volume": "data", "epoch": 7}))
    assert decoded == rpc.Request(
        request_id=1, method="ping", parameters={"volume": "data", "epoch": 7}
    )
    assert rpc.decode_request(rpc.encode_request(decoded)) == decoded


def test_parameters_may_be_left_out() -> None:
    assert rpc.decode_request(b'{"jsonrpc":"2.0","id":"a","method":"ping"}').parameters == {}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "bad-request"),
        (b" \t\r", "bad-request"),
        (b"[]", "bad-request"),
        (b"[" + json.dumps(GOOD).encode() + b"]", "bad-request"),
        (b'"ping"', "bad-request"),
        (b"null", "bad-request"),
        (b"7", "bad-request"),
        (request(extra=1), "bad-request"),
        (request(jsonrpc="1.0"), "bad-request"),
        (request(id=None), "bad-request"),
        (request(id=True), "bad-request"),
        (request(id="x" * 65), "bad-request"),
        (request(id=[1]), "bad-request"),
        (b'{"jsonrpc":"2.0","method":"ping"}', "bad-request"),
        (request(method=7), "bad-request"),
        (request(params=[1]), "bad-request"),
        (request(params=None), "bad-request"),
        (b'{"jsonrpc":"2.0"', "bad-json"),
        (json.dumps(GOOD).encode() * 2, "bad-json"),
        (json.dumps(GOOD).encode() + b" x", "bad-json"),
        (b'{"jsonrpc":"2.0",}', "bad-json"),
        (b"// comment\n{}", "bad-json"),
        (b"{'jsonrpc':'2.0'}", "bad-json"),
        (b"rm -rf / ; $(id)", "bad-json"),
        (b"\xff\xfe{\x00}\x00", "bad-encoding"),
        (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "bad-encoding"),
        (json.dumps(GOOD).encode("utf-16"), "bad-encoding"),
        (json.dumps(GOOD).encode("utf-16-le"), "bad-encoding"),
        (json.dumps(GOOD).encode("utf-32"), "bad-encoding"),
        (b'{"a":"\xff"}', "bad-encoding"),
        (b'{"a":"\xc0\xaf"}', "bad-encoding"),  # overlong "/"
        (b'{"a":"\xed\xa0\x80"}', "bad-encoding"),  # a surrogate in UTF-8
        (b"{}" + b" " * rpc.FRAME_LIMIT_BYTES, "too-large"),
        (b"[" * 100_000, "too-large"),
        (b"[" * 60_000, "too-deep"),
        (b'{"a":' * 990 + b"1" + b"}" * 990, "too-deep"),
        (with_params('{"force":false,"force":true}'), "duplicate-key"),
        (b'{"id":1,"id":2}', "duplicate-key"),
        (with_params('{"epoch":NaN}'), "bad-type"),
        (with_params('{"epoch":Infinity}'), "bad-type"),
        (with_params('{"epoch":-Infinity}'), "bad-type"),
        (with_params('{"epoch":1e999}'), "bad-type"),
        (with_params('{"epoch":1.0}'), "bad-type"),
        (with_params('{"epoch":-0}'), "bad-type"),
        (with_params('{"epoch":' + "9" * 5000 + "}"), "bad-type"),
        (with_params('{"volume":"\\ud800"}'), "bad-string"),
        (with_params('{"volume":"\\u0000"}'), "bad-string"),
        (with_params('{"volume":"a\\r\\nb"}'), "bad-string"),
        (with_params('{"volume":"\\u001b[31m"}'), "bad-string"),
        (with_params('{"volume":"\x1b[31m"}'), "bad-string"),
        (with_params('{"volume":"\\u202e"}'), "bad-string"),
        (with_params('{"volume":"\\u2028"}'), "bad-string"),
        (with_params('{"a\\u0007":1}'), "bad-string"),
        (with_params('{"volume":["\\u0085"]}'), "bad-string"),
    ],
)
def test_what_is_no_request_is_refused_by_name(frame: bytes, code: str) -> None:
    assert code_of(frame) == code


def test_depth_counts_brackets_only_outside_strings() -> None:
    many = "[{" * 40
    assert rpc.decode_request(request(params={"volume": many, "b": '\\"['})).parameters[
        "volume"
    ] == (many)
    nested = "[" * (rpc.DEPTH_LIMIT - 1) + "]" * (rpc.DEPTH_LIMIT - 1)
    assert rpc.decode_request(with_params('{"a":1}')).parameters == {"a": 1}
    assert rpc.decode_document(nested.encode()) is not None
    assert code_of(with_params('{"a":' + nested + "}")) == "too-deep"


@pytest.mark.parametrize("unit", [b'\\"', b'"', b'"\\', b"[", b'{"', b"\\", b'"a":'])
def test_no_input_takes_long(unit: bytes) -> None:
    frame = b'"' + unit * ((rpc.FRAME_LIMIT_BYTES - 1) // len(unit))
    begun_s = time.process_time()
    code_of(frame)
    assert time.process_time() - begun_s < 0.5


def test_an_envelope_that_fails_keeps_its_id() -> None:
    with pytest.raises(rpc.BadRequest) as caught:
        rpc.decode_request(request(id="abc", extra=1))
    assert caught.value.request_id == "abc"


@fuzzed
@given(st.binary(max_size=400))
def test_random_bytes_are_decoded_or_refused(frame: bytes) -> None:
    try:
        rpc.decode_request(frame)
    except rpc.BadRequest as exc:
        answer = rpc.encode_error(exc.request_id, exc)
        assert answer.count(b"\n") == 1
        assert answer.isascii()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@fuzzed
@given(json_values, st.text(max_size=20))
def test_random_json_is_decoded_or_refused(parameters: object, method: str) -> None:
    frame = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
    try:
        decoded = rpc.decode_request(frame.encode())
    except rpc.BadRequest:
        return
    assert decoded.method == method
    assert decoded.parameters == parameters


@fuzzed
@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 5))
def test_damaged_requests_are_decoded_or_refused(junk: bytes, at: int, cut: int) -> None:
    good = json.dumps(GOOD).encode()
    try:
        decoded = rpc.decode_request(good[:at] + junk + good[at + cut :])
    except rpc.BadRequest:
        return
    assert isinstance(decoded.request_id, int | str)
    assert isinstance(decoded.method, str)
    assert isinstance(decoded.parameters, dict)


def test_errors_carry_code_remedy_status_and_findings() -> None:
    finding = blocker("OOS", "8 KiB out of sync", measured="8 KiB", limit="0 bytes", remedy="wait")
    error = Refused("no", remedy="wait", findings=(finding,))
    decoded = json.loads(rpc.encode_error("x", error))
    assert decoded["id"] == "x"
    assert decoded["error"]["code"] == -32003
    assert decoded["error"]["data"]["code"] == "REFUSED"
    assert decoded["error"]["data"]["remedy"] == "wait"
    assert decoded["error"]["data"]["exit_status"] == 3
    assert decoded["error"]["data"]["findings"][0]["code"] == "OOS"


@pytest.mark.parametrize(
    ("code", "number"),
    [("bad-json", -32700), ("bad-request", -32600), ("unknown-method", -32601)],
)
def test_standard_codes_are_json_rpcs_own(code: str, number: int) -> None:
    assert json.loads(rpc.encode_error(None, rpc.BadRequest(code, "x")))["error"]["code"] == number


def test_an_answer_that_is_too_large_becomes_an_error() -> None:
    line = rpc.encode_answer(1, {"texts": ["x" * 4096] * (rpc.ANSWER_LIMIT_BYTES // 4096)})
    assert len(line) < 1000
    assert json.loads(line)["error"]["data"]["code"] == "ANSWER_TOO_LARGE"


def test_a_line_is_one_line_whatever_is_in_it() -> None:
    line = rpc.encode_error(1, AgentError("a\nb\x1b[31m é", remedy="\r\n"))
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert b"\x1b" not in line
