"""Dialect of everything whose records name their type: events of a protocol, not bare data.

It reads OpenAI Responses and realtime, Anthropic Messages, Cohere v2, LM Studio's own API and
the transcription streams. The name stands in the SSE `event:` line, in the payload's `type`, or
in both. What is output is an allow-list, because the same text comes again in snapshots:
`*.done`, `content_part.*`, `output_item.*`, `response.completed`, `chat.end`.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import msgspec

from .decoding import as_count, failure, finish
from .dialect import JsonDialect
from .events import Event, TerminatorEvent, TokenEvent, TokenSource, UsageEvent
from .output import find_strings, has_text, last_number, shows_text
from .usage import read_usage

if TYPE_CHECKING:
    from .framing import Record


class _Kind(Enum):
    DELTA = auto()  # output, if its payload is not empty
    BLOCK = auto()  # Anthropic: a block begins; of a tool call the name has been generated
    BEGIN = auto()  # Anthropic: what the prompt cost
    STOP = auto()  # a finish reason and totals; perhaps more follows
    LAST = auto()  # the same, and nothing follows
    ERROR = auto()


# OpenAI's deltas of model output; `response.shell_call_output_content.delta` and the like are
# output of tools.
_RESPONSE_DELTAS = (
    *("output_text", "reasoning_text", "reasoning_summary_text", "refusal"),
    *("function_call_arguments", "custom_tool_call_input", "mcp_call_arguments"),
    *("code_interpreter_call_code", "shell_call_command", "text", "audio", "audio.transcript"),
    *("audio_transcript", "output_audio", "output_audio_transcript"),
)
_KINDS: dict[str, _Kind] = {
    **{f"response.{name}.delta": _Kind.DELTA for name in _RESPONSE_DELTAS},
    "transcript.text.delta": _Kind.DELTA,
    "transcription.delta": _Kind.DELTA,
    "speech.audio.delta": _Kind.DELTA,
    "conversation.item.input_audio_transcription.delta": _Kind.DELTA,
    "content_block_delta": _Kind.DELTA,
    "content-delta": _Kind.DELTA,
    "tool-plan-delta": _Kind.DELTA,
    "tool-call-start": _Kind.DELTA,
    "tool-call-delta": _Kind.DELTA,
    "message.delta": _Kind.DELTA,
    "reasoning.delta": _Kind.DELTA,
    "tool_call.arguments": _Kind.DELTA,
    "content_block_start": _Kind.BLOCK,
    "message_start": _Kind.BEGIN,
    "message_delta": _Kind.STOP,
    "message-end": _Kind.STOP,
    "message_stop": _Kind.LAST,
    "response.completed": _Kind.LAST,
    "response.incomplete": _Kind.LAST,
    "response.failed": _Kind.LAST,
    "response.cancelled": _Kind.LAST,
    "response.done": _Kind.LAST,
    "transcript.text.done": _Kind.LAST,
    "transcription.done": _Kind.LAST,
    "speech.audio.done": _Kind.LAST,
    "conversation.item.input_audio_transcription.completed": _Kind.LAST,
    "conversation.item.input_audio_transcription.failed": _Kind.LAST,
    "chat.end": _Kind.LAST,
    "error": _Kind.ERROR,
}


class _Response(msgspec.Struct, gc=False):
    status: Any = None
    usage: Any = None
    error: Any = None


class _Message(msgspec.Struct, gc=False):
    usage: Any = None


class _Block(msgspec.Struct, gc=False):
    type: Any = None


class _Result(msgspec.Struct, gc=False):
    stats: Any = None


class _Payload(msgspec.Struct, gc=False):
    type: Any = None
    delta: Any = None
    content: Any = None  # LM Studio
    arguments: Any = None  # LM Studio
    audio: Any = None  # OpenAI speech
    content_block: _Block | None = None
    message: Any = None
    response: _Response | None = None
    result: _Result | None = None
    usage: Any = None
    error: Any = None
    code: Any = None


_decode = msgspec.json.Decoder(_Payload).decode
_CALL = re.compile(rb'"type"\s*:\s*"[a-z_]*tool_use"')


_TOKEN = TokenEvent()


class TypedDialect(JsonDialect):
    """Read one response, or one utterance, whose records name their type."""

    __slots__ = ()

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        payload = _decode(data)
        name = payload.type if isinstance(payload.type, str) else event.decode("utf-8", "replace")
        kind = _KINDS.get(name)
        if kind is _Kind.DELTA:
            output = payload.delta or payload.content or payload.arguments or payload.audio
            return [_TOKEN] if has_text(output) else []
        if kind is _Kind.ERROR or event == b"error":
            return [failure(payload.error, payload.type, payload.code)]
        if kind is None:
            # llama.cpp reports errors of typed streams in records without a type.
            return [failure(payload.error, payload.type, payload.code)] if payload.error else []
        if kind is _Kind.BLOCK:
            block = payload.content_block
            calls = block is not None and str(block.type).endswith("tool_use")
            return [TokenEvent()] if calls else []
        if kind is _Kind.BEGIN:
            return _read_begin(payload.message)
        return _read_end(payload, name, last=kind is _Kind.LAST)

    def _read_oversize(self, record: Record) -> list[Event]:
        """A response's last event repeats all of it, and so is the record most often too large."""
        name = _find_name(record)
        kind = _KINDS.get(name)
        if kind is _Kind.DELTA:
            return [TokenEvent()] if shows_text(record.head) else []
        if kind is _Kind.BLOCK:
            return [TokenEvent()] if _CALL.search(record.head) else []
        if kind is _Kind.ERROR:
            return [failure(None)]
        if kind is not _Kind.LAST:
            return []
        events = _read_totals(record.tail)
        reason = next(iter(find_strings(record.head, b"status")), name.rpartition(".")[2])
        if reason == "failed":
            events.append(failure(None))
        return [*events, finish(0, reason), TerminatorEvent()]


def _find_name(record: Record) -> str:
    """Return the type of an oversize record: what `event` says, or the first that is known."""
    if record.event:
        return record.event.decode("utf-8", "replace")
    # Other things have types as well, and a writer that sorts its keys puts this one last.
    names = (*find_strings(record.head, b"type"), *find_strings(record.tail, b"type")[::-1])
    return next((name for name in names if name in _KINDS), "")


def _read_totals(tail: bytes) -> list[Event]:
    total = last_number(tail, b"output_tokens")
    if total is not None:
        return [UsageEvent(total, last_number(tail, b"input_tokens"))]
    total = last_number(tail, b"total_output_tokens")
    inputs = last_number(tail, b"input_tokens")
    return [] if total is None else [UsageEvent(total, inputs, TokenSource.STATS)]


def _read_begin(message: Any) -> list[Event]:
    """Return what a message's beginning says; its output count is a placeholder."""
    usage = message.get("usage") if isinstance(message, dict) else None
    return [UsageEvent(None, said.input_tokens) for said in read_usage(usage)]


def _read_end(payload: _Payload, name: str, *, last: bool) -> list[Event]:
    response = payload.response or _Response()
    delta = payload.delta if isinstance(payload.delta, dict) else {}
    events: list[Event] = []
    for usage in (payload.usage, response.usage, delta.get("usage")):
        events += read_usage(usage)
    stats = payload.result.stats if payload.result is not None else None
    if isinstance(stats, dict):
        total, inputs = stats.get("total_output_tokens"), stats.get("input_tokens")
        total, inputs = as_count(total), as_count(inputs)
        events.append(UsageEvent(total, inputs, TokenSource.STATS))
    reason = delta.get("stop_reason") or delta.get("finish_reason") or response.status
    reason = reason if isinstance(reason, str) else ""
    error = response.error or payload.error
    if error or reason in {"ERROR", "failed"} or name.endswith(".failed"):
        events.append(failure(error))
    if reason:
        events.append(finish(0, reason))
    return [*events, TerminatorEvent()] if last else events
