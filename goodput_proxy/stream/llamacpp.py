"""Dialect of llama.cpp's own API: `/completion` and `/infill`.

A record is a token when it has text, or when its counter has moved: an end token has no text.
Progress records of the prompt look like tokens (`tokens: [0]`) and move no counter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from .decoding import as_choice, as_count, failure, finish
from .dialect import JsonDialect
from .events import MAX_CHOICES, CounterEvent, Event, TokenEvent, TokenSource
from .output import first_number, last_string, shows_text

if TYPE_CHECKING:
    from .framing import Record


class _Chunk(msgspec.Struct, gc=False):
    content: str | None = None
    index: int | None = None
    stop: bool = False
    stop_type: str | None = None
    tokens_predicted: Any = None
    tokens_evaluated: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_STOP = re.compile(rb'"stop"\s*:\s*true\b')


class LlamaCppDialect(JsonDialect):
    """Read one response of `/completion`."""

    __slots__ = ("_predicted",)

    def __init__(self) -> None:
        self._predicted: dict[int, int] = {}  # output tokens so far by choice

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        chunk = _decode(data)
        if chunk.error or event == b"error":
            return [failure(chunk.error)]
        index = as_choice(chunk.index)
        events: list[Event] = []
        moved = False
        total, inputs = as_count(chunk.tokens_predicted), as_count(chunk.tokens_evaluated)
        if total is not None:
            moved = total > self._predicted.get(index % MAX_CHOICES, 0)
            self._predicted[index % MAX_CHOICES] = total
            events.append(CounterEvent(index, total, inputs, TokenSource.TOKENS_PREDICTED))
        if chunk.content or moved:
            events.append(TokenEvent(index, hidden=chunk.stop and not chunk.content))
        if chunk.stop:
            events.append(finish(index, chunk.stop_type or "stop"))
        return events

    def _read_oversize(self, record: Record) -> list[Event]:
        """The last record repeats the prompt, and has no text of its own."""
        index = as_choice(first_number(record.head, b"index"))
        events: list[Event] = []
        total = first_number(record.head, b"tokens_predicted")
        if total is not None:
            self._predicted[index % MAX_CHOICES] = total
            inputs = first_number(record.head, b"tokens_evaluated")
            events.append(CounterEvent(index, total, inputs, TokenSource.TOKENS_PREDICTED))
        if shows_text(record.head):
            events.append(TokenEvent(index))
        if _STOP.search(record.head) or _STOP.search(record.tail):
            events.append(finish(index, last_string(record.tail, b"stop_type") or "stop"))
        return events
