"""What a request asks for, read from its method, path and JSON body; pure.

The body is a bounded copy of what was forwarded. It is decoded typed and partially: prompts
are skipped in C and never become Python objects. A body that cannot be read is no error:
the request is forwarded all the same and counted with `model="unknown"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from .stream import Api, find_api
from .stream.decoding import UNREADABLE

UNKNOWN_MODEL = "unknown"

# Names of models are paths or repository ids; a longer one is not a name.
_MAX_MODEL_CHARS = 256


class Passthrough(StrEnum):
    """Why a request is outside the ratio; the value is the label `kind`."""

    CONTROL = "control"  # an inference path that was asked for no output
    UNMEASURED = "unmeasured"  # inference that ended well while the meter was broken
    REFUSED = "refused"  # malformed: answered here and not forwarded
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Ask:
    """What the body of an inference request asks for."""

    model: str = UNKNOWN_MODEL
    stream: bool = True  # unknown counts as asked for: long prompts, the unreadable, mostly are
    generates: bool = True  # False: `max_tokens: 0`, which scores or warms up
    echo: bool = False


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    echo: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def classify(method: str, path: str) -> Api | None:
    """Return the inference API that a request addresses, None for everything else."""
    return find_api(path) if method == "POST" else None


def read_ask(body: bytes) -> Ask:
    """Return what a JSON body asks for; the defaults where it does not say or is unreadable."""
    try:
        fields = _decode(body)
    except UNREADABLE:
        return Ask()
    model = fields.model
    named = isinstance(model, str) and 0 < len(model) <= _MAX_MODEL_CHARS
    limit = fields.max_completion_tokens
    if limit is None:
        limit = fields.max_tokens
    return Ask(
        model=model if named else UNKNOWN_MODEL,
        stream=fields.stream is True,
        generates=type(limit) is not int or limit != 0,  # `False == 0`, hence the type
        echo=fields.echo is True,
    )


class BodyCopy:
    """Keep a copy of a body while it streams past, up to a bound; then keep nothing."""

    __slots__ = ("_chunks", "_max_bytes", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._size += len(chunk)
        if self._size <= self._max_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    @property
    def size(self) -> int:
        """Bytes that the body has had so far, kept or not."""
        return self._size

    @property
    def overflowed(self) -> bool:
        """Whether the body outgrew the bound."""
        return self._size > self._max_bytes

    def take(self) -> bytes:
        """Return the copy, empty when the body outgrew the bound, and let go of it."""
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        return body
