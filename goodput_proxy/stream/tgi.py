"""Dialect of TGI's own API: exactly one token a record, the end token included.

The last record repeats the whole text as `generated_text`; `details` come only on request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .decoding import as_count, failure, finish
from .dialect import JsonDialect
from .events import Event, TokenEvent, TokenSource, UsageEvent
from .output import last_number, last_string

if TYPE_CHECKING:
    from .framing import Record


class _Token(msgspec.Struct, gc=False):
    id: int | None = None
    special: bool = False


class _Details(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    generated_tokens: Any = None
    input_length: Any = None


class _Chunk(msgspec.Struct, gc=False):
    token: _Token | None = None
    generated_text: str | None = None
    details: _Details | None = None
    error: Any = None
    error_type: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class TgiDialect(JsonDialect):
    """Read one response of `/generate_stream`."""

    __slots__ = ()

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        chunk = _decode(data)
        if chunk.error or event == b"error":
            return [failure(chunk.error, chunk.error_type)]
        last = chunk.generated_text is not None
        events: list[Event] = []
        if chunk.token is not None:
            events.append(TokenEvent(0, ids=1, hidden=last and chunk.token.special))
        if chunk.details is not None:
            total = as_count(chunk.details.generated_tokens)
            inputs = as_count(chunk.details.input_length)
            events.append(UsageEvent(total, inputs, TokenSource.DETAILS))
        if last:
            reason = chunk.details.finish_reason if chunk.details is not None else None
            events.append(finish(0, reason or "stop"))
        return events

    def _read_oversize(self, record: Record) -> list[Event]:
        """Only the record that repeats the whole text can be so large."""
        events: list[Event] = [TokenEvent(0, ids=1, hidden=b'"special":true' in record.head)]
        total = last_number(record.tail, b"generated_tokens")
        if total is not None:
            inputs = last_number(record.tail, b"input_length")
            events.append(UsageEvent(total, inputs, TokenSource.DETAILS))
        return [*events, finish(0, last_string(record.tail, b"finish_reason") or "stop")]
