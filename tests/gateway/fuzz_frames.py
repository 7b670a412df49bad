"""What the fuzzer sends: hostile frames, made by kind, and mutations of those that reached lines of
the agent's code which nothing had reached before."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator

from storage_agent.service.api.methods import METHODS
from storage_agent.service.api.rpc import FRAME_LIMIT_BYTES

# Longer ones are about their length alone.
KEPT_BYTES = 4096
NEWEST = 8

WORDS = [
    "data", "home", "", "-f", "--force", "all", "r0/0", "$(id)", "`id`", "a;b", "../../etc",
    "data\n", "\x00", "\x1b[31m", "\u202e", "\ud800", "é", "дata", "1", "a" * 31, "a" * 32,
    "a" * 5000, "observe", "operate", "grant", "local", "none", "promote", "first", "beta", "op-1",
]  # fmt: skip
NUMBERS = [
    "0", "1", "-1", "5", "6", "7", "-0", "1.0", "1e3", "1e999", "NaN", "Infinity", "-Infinity",
    "9223372036854775807", "9223372036854775808", "9" * 40, "9" * 4400, "true", "false", "null",
    "0x10", "01", "+1", "1_000", "١",
]  # fmt: skip
KEYS_TRIED = [
    "jsonrpc", "id", "method", "params", "volume", "operation_id", "epoch", "coordinator",
    "expected_primary", "succeeds",
    "peer_is_off", "marker_at_least", "wait_s", "role", "key_id", "limit", "number", "confirm",
    "operation", "force", "device", "__class__", "",
]  # fmt: skip
GOOD = {
    "volume": '"data"', "operation_id": '"op-1"', "epoch": "6", "coordinator": '"claim-1"',
    "succeeds": "null", "expected_primary": '"beta"',
    "peer_is_off": "null", "marker_at_least": "[7,2]", "wait_s": "5", "role": '"first"',
    "key_id": '"observe"', "limit": "5", "number": "7", "confirm": '"0123"',
    "marker_lost": "null", "name": '"proof-1"',
    "operation": '"demote"', "stop_serving": "null", "choice": '"discard"',
    "incident": '"0a1b"', "boot_id": '"boot-1"', "verdict": '"deny"', "client": '"desk"',
    "facts": '{"configuration":"c1","filesystem_uuid":"f1","array_uuid":"a1","members":["s1"],'
             '"array_bytes":1,"replica_bytes":1}',
}  # fmt: skip
BYTES = [
    b"\x00", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\t",
    b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\\u0000", b"\\ud800", b"//", b"/*", b"'",
]  # fmt: skip


class Frames:
    """Hostile frames without end. The same seed and the same ones kept give the same ones.

    kept: the corpus, of frames that were worth keeping.
    """

    def __init__(self, seed: int) -> None:
        self.kept: list[bytes] = []
        self._random = random.Random(seed)
        self._kinds: list[tuple[Callable[[], bytes], int]] = [
            (self._near, 25),
            (self._request, 20),
            (self._mutated, 35),
            (self._nested, 5),
            (self._noise, 5),
            (self._long, 1),
            (self._value_frame, 9),
            (self._from_kept, 30),
        ]

    def __iter__(self) -> Iterator[bytes]:
        makers = [maker for maker, weight in self._kinds for _ in range(weight)]
        while True:
            frame = self._random.choice(makers)()
            yield frame.replace(b"\n", b" ")

    def keep(self, frame: bytes) -> None:
        """From now on it is mutated, too."""
        if len(frame) <= KEPT_BYTES:
            self.kept.append(frame)

    def _near(self) -> bytes:
        """What a method takes, but for a key or two."""
        method = self._random.choice(list(METHODS.values()))
        pairs = [
            (one.name, self._value() if self._random.random() < 0.1 else GOOD[one.name])
            for one in dataclasses.fields(method.parameters)
            if self._random.random() < 0.9
        ]
        if {"epoch", "coordinator"} & {key for key, _ in pairs} and self._random.random() < 0.9:
            # One without the other gets no further.
            pairs += [(key, GOOD[key]) for key in ("epoch", "coordinator")]
        if "operation_id" in dict(pairs):
            pairs.append(("operation_id", f'"op-{self._random.randrange(1000)}"'))
        parameters = self._object(list(dict(pairs).items())).decode("utf-8", "surrogatepass")
        parts = {"jsonrpc": '"2.0"', "id": "1", "method": json.dumps(method.name)}
        return self._object([*parts.items(), ("params", parameters)])

    def _request(self) -> bytes:
        parts = {
            "jsonrpc": '"2.0"' if self._random.random() < 0.95 else self._value(),
            "id": self._random.choice(("1", '"x"', self._value())),
            "method": json.dumps(self._random.choice((*METHODS, "reboot", "", "__init__"))),
            "params": self._parameters(),
        }
        if self._random.random() < 0.1:
            parts.pop(self._random.choice(list(parts)))
        return self._object(list(parts.items()))

    def _parameters(self) -> str:
        chosen = self._random.choices(KEYS_TRIED[4:], k=self._random.randint(0, 5))
        if self._random.random() < 0.6:
            chosen[:0] = ["volume", "operation_id"]
        pairs = [(key, self._value()) for key in chosen]
        return self._object(pairs).decode("utf-8", "surrogatepass")

    def _object(self, pairs: list[tuple[str, str]]) -> bytes:
        inner = ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs)
        return ("{" + inner + "}").encode("utf-8", "surrogatepass")

    def _value(self, depth: int = 0) -> str:
        chance = self._random.random()
        if chance < 0.45 or depth > 3:
            word = self._random.choice(WORDS)
            return json.dumps(word, ensure_ascii=self._random.random() < 0.7)
        if chance < 0.85:
            return self._random.choice(NUMBERS)
        if chance < 0.93:
            inner = ",".join(self._value(depth + 1) for _ in range(self._random.randint(0, 3)))
            return f"[{inner}]"
        return f'{{"{self._random.choice(KEYS_TRIED)}":{self._value(depth + 1)}}}'

    def _mutated(self) -> bytes:
        """A good frame with some bytes changed, doubled, cut or put elsewhere."""
        return self._mutation(self._request())

    def _from_kept(self) -> bytes:
        """One of the corpus, changed; now and then with the end of another."""
        if not self.kept:
            return self._mutated()
        # The newest ones have the most that is new behind them.
        newest = self.kept[-NEWEST:] if self._random.random() < 0.5 else self.kept
        frame = self._random.choice(newest)
        if self._random.random() < 0.1:
            other = self._random.choice(self.kept)
            frame = frame[: self._random.randrange(len(frame) + 1)]
            frame += other[self._random.randrange(len(other) + 1) :]
        return self._mutation(frame)

    def _mutation(self, whole: bytes) -> bytes:
        frame = bytearray(whole)
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(frame) + 1)
            to = min(len(frame), at + self._random.randint(0, 8))
            piece = bytes(frame[at:to])
            frame[at:to] = self._random.choice(
                (b"", piece * 2, self._random.choice(BYTES), piece[::-1], piece[:1], self._token())
            )
        return bytes(frame)

    def _token(self) -> bytes:
        table = self._random.choice((WORDS, NUMBERS, KEYS_TRIED))
        return self._random.choice(table).encode("utf-8", "surrogatepass")

    def _nested(self) -> bytes:
        depth = self._random.choice((15, 16, 17, 100, 990, 1000, 20_000))
        opened = self._random.choice((b"[", b'{"a":', b'{"params":[', b'"[', b'["\\'))
        whole = opened * depth
        return whole[: FRAME_LIMIT_BYTES - 100] + (b"]" * depth)[:100]

    def _noise(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 2, 16, 300)))

    def _long(self) -> bytes:
        size = FRAME_LIMIT_BYTES + self._random.choice((-2, -1, 0, 1, 2, 5000))
        return self._random.choice((b"x", b"[", b" ", b'"')) * size

    def _value_frame(self) -> bytes:
        return self._value().encode("utf-8", "surrogatepass")
