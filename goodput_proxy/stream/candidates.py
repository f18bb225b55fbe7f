"""Dialect of Gemini: `candidates` with parts, as event stream or as a JSON array.

Thoughts are output in parts of their own, and their tokens are counted apart from the answer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .decoding import as_choice, failure, finish
from .dialect import JsonDialect
from .events import Event, TokenEvent
from .output import last_number, last_string, shows_text
from .usage import read_usage

if TYPE_CHECKING:
    from .framing import Record


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    functionCall: Any = None  # noqa: N815 -- the wire's name
    executableCode: Any = None  # noqa: N815
    inlineData: Any = None  # noqa: N815 -- audio and images that the model has made


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False):
    content: _Content | None = None
    index: int | None = None
    finishReason: str | None = None  # noqa: N815


class _Chunk(msgspec.Struct, gc=False):
    candidates: list[_Candidate] | None = None
    usageMetadata: Any = None  # noqa: N815
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk | list[_Chunk]).decode


class CandidatesDialect(JsonDialect):
    """Read one response of the `candidates` family."""

    __slots__ = ()

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        chunk = _decode(data)
        if event == b"error":
            return [failure(None)]
        chunks = chunk if isinstance(chunk, list) else [chunk]  # Vertex wraps errors in a list
        return [said for chunk in chunks for said in _read_chunk(chunk)]

    def _read_oversize(self, record: Record) -> list[Event]:
        index = as_choice(last_number(record.tail, b"index"))
        events: list[Event] = [TokenEvent(index)] if shows_text(record.head) else []
        if reason := last_string(record.tail, b"finishReason"):
            events.append(finish(index, reason))
        names = ("candidatesTokenCount", "thoughtsTokenCount", "promptTokenCount")
        usage = {name: last_number(record.tail, name.encode()) for name in names}
        return [*events, *read_usage(usage)]


def _read_chunk(chunk: _Chunk) -> list[Event]:
    if chunk.error:
        return [failure(chunk.error)]
    events: list[Event] = []
    for candidate in chunk.candidates or ():
        index = as_choice(candidate.index)
        parts = (candidate.content.parts if candidate.content else None) or ()
        if any(p.text or p.functionCall or p.executableCode or p.inlineData for p in parts):
            events.append(TokenEvent(index))
        if candidate.finishReason:
            events.append(finish(index, candidate.finishReason))
    return [*events, *read_usage(chunk.usageMetadata)]
