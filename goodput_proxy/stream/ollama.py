"""Dialect of Ollama's own API and of those that copy it: a JSON object a line, `done` at last.

Text, thinking and whole tool calls; `content` is there in every record and mostly says nothing.
A model that is only loaded or unloaded answers with a `done_reason` that says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from .decoding import as_count, failure, finish
from .dialect import JsonDialect
from .events import Event, TerminatorEvent, TokenEvent, TokenSource, UsageEvent
from .output import find_strings, has_text, last_number, shows_text

if TYPE_CHECKING:
    from .framing import Record


class _Chunk(msgspec.Struct, gc=False):
    message: dict[str, Any] | None = None
    response: str | None = None
    thinking: str | None = None
    logprobs: list[msgspec.Raw] | None = None
    done: bool = False
    done_reason: str | None = None
    eval_count: Any = None
    prompt_eval_count: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_DONE = re.compile(rb'"done"\s*:\s*true\b')


class OllamaDialect(JsonDialect):
    """Read one response of `/api/chat` or `/api/generate`."""

    __slots__ = ()

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        chunk = _decode(data)
        if chunk.error or event == b"error":
            return [failure(chunk.error)]
        events: list[Event] = []
        proofs = len(chunk.logprobs or ())
        if chunk.response or chunk.thinking or has_text(chunk.message) or proofs:
            events.append(TokenEvent(0, logprobs=proofs))
        if chunk.done:
            total, inputs = as_count(chunk.eval_count), as_count(chunk.prompt_eval_count)
            if total is not None or inputs is not None:
                events.append(UsageEvent(total, inputs, TokenSource.EVAL_COUNT))
            events += [finish(0, chunk.done_reason or "stop"), TerminatorEvent()]
        return events

    def _read_oversize(self, record: Record) -> list[Event]:
        """Whole tool calls are large, and so is the last record, which has the context's ids."""
        events: list[Event] = [TokenEvent()] if shows_text(record.head) else []
        if _DONE.search(record.head) or _DONE.search(record.tail):
            total = last_number(record.tail, b"eval_count")
            inputs = last_number(record.tail, b"prompt_eval_count")
            reasons = find_strings(record.head + record.tail, b"done_reason")
            events.append(UsageEvent(total, inputs, TokenSource.EVAL_COUNT))
            events += [finish(0, reasons[-1] if reasons else "stop"), TerminatorEvent()]
        return events
