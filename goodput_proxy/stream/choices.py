"""Dialect of everything that answers with a `choices` list: OpenAI chat and completions.

It turns one record into events and knows the habits of the servers that speak it (vLLM,
SGLang, TGI, llama.cpp, TensorRT-LLM, LMDeploy, MLC, transformers, NIM, Dynamo). It must not
know time, sockets or limits.

What counts as a token: any non-empty string below `delta`, whatever its name, except the
names in `_NOT_OUTPUT`. A list of known names would be wrong the day a server invents the next
field for reasoning (`reasoning`, `reasoning_content`, `reasoning_details`, `thinking` exist
already); a role-only or empty delta has none. Text apart, generated token ids, logprobs or a
per-choice usage counter that moved are evidence too: vLLM sends a token that ends inside a
UTF-8 sequence with `content: ""`.

Decoding is typed and partial (msgspec): keys that are not asked for are skipped in C, so text
of the prompt or of logprobs never becomes a Python object.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from goodput_proxy.faults import MeterFault

from .decoding import UNREADABLE
from .events import (
    CounterEvent,
    ErrorEvent,
    Event,
    FinishEvent,
    TerminatorEvent,
    TokenEvent,
    UnclassifiedEvent,
    UsageEvent,
)

if TYPE_CHECKING:
    from .framing import Record

# Strings below a delta that label or sign output and are none.
_NOT_OUTPUT = frozenset(
    ("role", "type", "id", "index", "signature", "thoughtSignature", "expires_at", "format")
)
_DONE = b"[DONE]"
# transformers serve does not escape the message inside its error records.
_ERROR_HEAD = re.compile(rb"""\s*\{\s*"error"\s*:""")


class _Entry(msgspec.Struct, gc=False):
    """An element that is counted and not read."""


class _Logprobs(msgspec.Struct, gc=False):
    content: list[_Entry] | None = None  # chat: one entry per token
    tokens: list[Any] | None = None  # completions: one string per token


class _Usage(msgspec.Struct, gc=False):
    completion_tokens: int | None = None
    prompt_tokens: int | None = None


class _Timings(msgspec.Struct, gc=False):
    predicted_n: int | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    text: str | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None
    logprobs: _Logprobs | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: Any = None
    error_type: Any = None
    type: Any = None
    code: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class ChoicesDialect:
    """Read one response of the `choices` family.

    Args:
        generates: False when the request asked for no output (`max_tokens: 0`): text is then
            an echo of the prompt.
        echo_record: True when the first text record of each choice repeats the prompt, as
            vLLM's chat endpoint does for `echo: true`.
    """

    __slots__ = ("_counters", "_echo_record", "_echoed", "_generates")

    def __init__(self, *, generates: bool = True, echo_record: bool = False) -> None:
        self._generates = generates
        self._echo_record = echo_record
        self._echoed: set[int] = set()  # choices whose echo has passed
        self._counters: dict[int, int] = {}  # output tokens so far by choice (continuous usage)

    def read(self, record: Record) -> list[Event]:
        """Return what one record of a stream says; never raises."""
        data = record.data
        if data is None:
            if record.oversize:
                return [UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)]
            return [ErrorEvent("event_error_without_data")]
        if data.startswith(_DONE):
            return [TerminatorEvent()]
        try:
            return self._read_chunk(_decode(data), record.event)
        except UNREADABLE as exc:
            return [_unreadable(data, record.event, exc)]

    def read_unary(self, body: bytes) -> list[Event]:
        """Return what an answer that is not streamed says; never raises."""
        try:
            return self._read_answer(_decode(body))
        except UNREADABLE as exc:
            return [_unreadable(body, b"", exc)]

    def _read_chunk(self, chunk: _Chunk, event: bytes) -> list[Event]:
        if chunk.error or event == b"error":
            return [_failure(chunk)]
        choices = chunk.choices
        if not choices:
            return _totals(chunk)
        if len(choices) == 1:  # all servers but MLC
            return self._read_choice(choices[0], chunk)
        return [said for choice in choices for said in self._read_choice(choice, chunk)]

    def _read_answer(self, chunk: _Chunk) -> list[Event]:
        if chunk.error:
            return [_failure(chunk)]
        events = _totals(chunk)
        for choice in chunk.choices or ():
            index = choice.index or 0
            if self._generates and (choice.text or _has_text(choice.message)):
                events.append(TokenEvent(index))
            if choice.finish_reason:
                events.append(FinishEvent(index, choice.finish_reason))
        return events

    def _read_choice(self, choice: _Choice, chunk: _Chunk) -> list[Event]:
        index = choice.index or 0
        events: list[Event] = []
        moved = False
        if chunk.usage is not None and chunk.usage.completion_tokens is not None:
            moved = self._count(index, chunk.usage.completion_tokens, choice.finish_reason)
            events.append(
                CounterEvent(index, chunk.usage.completion_tokens, chunk.usage.prompt_tokens)
            )
        if chunk.timings is not None:
            events.append(UsageEvent(chunk.timings.predicted_n, timings=True))
        if self._generates and (token := self._token(choice, index, moved=moved)) is not None:
            events.append(token)
        if choice.finish_reason:
            events.append(FinishEvent(index, choice.finish_reason))
        return events

    def _count(self, index: int, output_tokens: int, finish_reason: str | None) -> bool:
        """Return whether a usage beside a choice proves a new token.

        A usage that is first seen on the finish record is a total, not a step (TGI,
        transformers): it proves nothing about this record.
        """
        before = self._counters.get(index)
        self._counters[index] = output_tokens
        if before is None:
            return output_tokens > 0 and not finish_reason
        return output_tokens > before

    def _token(self, choice: _Choice, index: int, *, moved: bool) -> TokenEvent | None:
        visible = bool(choice.text) or _has_text(choice.delta)
        if visible and self._echo_record and index not in self._echoed:
            self._echoed.add(index)
            return None
        if choice.token_ids is None and choice.logprobs is None:
            if not (visible or moved):
                return None
            ids = logprobs = 0
        else:
            ids = len(choice.token_ids or ())
            logprobs = _count_logprobs(choice.logprobs)
            if not (visible or ids or logprobs or moved):
                return None
        return TokenEvent(index, ids, logprobs, not visible and bool(choice.finish_reason))


def _count_logprobs(logprobs: _Logprobs | None) -> int:
    return 0 if logprobs is None else len(logprobs.content or logprobs.tokens or ())


def _has_text(value: Any) -> bool:
    """Return whether generated text stands anywhere below a delta or a message."""
    if isinstance(value, str):
        return value != ""
    if isinstance(value, dict):
        for name, item in value.items():
            if item and name not in _NOT_OUTPUT and _has_text(item):
                return True
    elif isinstance(value, list):
        return any(map(_has_text, value))
    return False


def _totals(chunk: _Chunk) -> list[Event]:
    """Return the totals of a record that belongs to no single choice."""
    events: list[Event] = []
    if chunk.usage is not None:
        events.append(UsageEvent(chunk.usage.completion_tokens, chunk.usage.prompt_tokens))
    if chunk.timings is not None:
        events.append(UsageEvent(chunk.timings.predicted_n, timings=True))
    return events


def _failure(chunk: _Chunk) -> ErrorEvent:
    """Find type and code where the servers put them."""
    error = chunk.error if isinstance(chunk.error, dict) else {}
    kind = error.get("type") or chunk.error_type or chunk.type
    code = error.get("code") or error.get("http_status_code") or chunk.code
    return ErrorEvent(
        kind if isinstance(kind, str) else None,
        code if isinstance(code, int | str) else None,
    )


def _unreadable(data: bytes, event: bytes, exc: Exception) -> Event:
    """Say why a record could not be read; servers also send error records that are not JSON."""
    if event == b"error" or _ERROR_HEAD.match(data):
        return ErrorEvent()
    if isinstance(exc, msgspec.ValidationError):
        return UnclassifiedEvent(MeterFault.UNEXPECTED_SHAPE)
    return UnclassifiedEvent(MeterFault.BAD_JSON)
