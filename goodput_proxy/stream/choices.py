"""Dialect of everything that answers with a `choices` list: OpenAI chat and completions.

It turns one record into events and knows the habits of the servers that speak it (vLLM,
SGLang, TGI, llama.cpp, TensorRT-LLM, LMDeploy, MLC, transformers, NIM, Dynamo). It must not
know time, sockets or limits.

What counts as a token: any output below `delta` or in `text` (see `output.py`); a role-only or
empty delta has none. Text apart, generated token ids, logprobs or a per-choice usage counter
that moved are evidence too: vLLM sends a token that ends inside a UTF-8 sequence with
`content: ""`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from .answer import read_answer
from .decoding import as_choice, as_count, failure, finish
from .dialect import JsonDialect
from .events import MAX_CHOICES, CounterEvent, Event, TokenEvent, TokenSource, UsageEvent
from .output import has_text, last_number, last_string, shows_text

if TYPE_CHECKING:
    from .framing import Record


class _Entry(msgspec.Struct, gc=False):
    """An element that is counted and not read."""


class _Logprobs(msgspec.Struct, gc=False):
    content: list[_Entry] | None = None  # chat: one entry per token
    tokens: list[Any] | None = None  # completions: one string per token


class _Usage(msgspec.Struct, gc=False):
    completion_tokens: Any = None
    prompt_tokens: Any = None


class _Timings(msgspec.Struct, gc=False):
    predicted_n: Any = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: dict[str, Any] | None = None
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
# The index of the first choice; the calls below it have indices of their own.
_INDEX = re.compile(rb'"choices"\s*:\s*\[\s*\{[^{}]*"index"\s*:\s*([0-9]{1,6})\b')


class ChoicesDialect(JsonDialect):
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

    def read_unary(self, body: bytes) -> list[Event]:
        """Return what an answer that is not streamed says; never raises."""
        return read_answer(body, generates=self._generates)

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        chunk = _decode(data)
        if chunk.error or event == b"error":
            return [failure(chunk.error, chunk.error_type or chunk.type, chunk.code)]
        choices = chunk.choices
        if not choices:
            return _totals(chunk)
        if len(choices) == 1:  # all servers but MLC
            return self._read_choice(choices[0], chunk)
        return [said for choice in choices for said in self._read_choice(choice, chunk)]

    def _read_oversize(self, record: Record) -> list[Event]:
        """Return what a record says that is large by its text, such as a whole tool call."""
        found = _INDEX.search(record.head)
        index = as_choice(int(found[1]) if found else None)
        reason = last_string(record.tail, b"finish_reason")
        events: list[Event] = []
        total = last_number(record.tail, b"completion_tokens")
        if total is not None:
            self._count(index, total, reason)
            events.append(CounterEvent(index, total, last_number(record.tail, b"prompt_tokens")))
        if self._generates and shows_text(record.head):
            events.append(TokenEvent(index))
        if reason:
            events.append(finish(index, reason))
        return events

    def _read_choice(self, choice: _Choice, chunk: _Chunk) -> list[Event]:
        index = as_choice(choice.index)
        events: list[Event] = []
        moved = False
        if chunk.usage is not None:
            total = as_count(chunk.usage.completion_tokens)
            if total is not None:
                moved = self._count(index, total, choice.finish_reason)
                events.append(CounterEvent(index, total, as_count(chunk.usage.prompt_tokens)))
        if chunk.timings is not None:
            events.append(_timed(chunk.timings))
        if self._generates and (token := self._token(choice, index, moved=moved)) is not None:
            events.append(token)
        if choice.finish_reason:
            events.append(finish(index, choice.finish_reason))
        return events

    def _count(self, index: int, output_tokens: int, finish_reason: str | None) -> bool:
        """Return whether a usage beside a choice proves a new token.

        A usage that is first seen on the finish record is a total, not a step (TGI,
        transformers): it proves nothing about this record.
        """
        before = self._counters.get(index % MAX_CHOICES)
        self._counters[index % MAX_CHOICES] = output_tokens
        if before is None:
            return output_tokens > 0 and not finish_reason
        return output_tokens > before

    def _token(self, choice: _Choice, index: int, *, moved: bool) -> TokenEvent | None:
        visible = bool(choice.text) or has_text(choice.delta)
        if visible and self._echo_record and index % MAX_CHOICES not in self._echoed:
            self._echoed.add(index % MAX_CHOICES)
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


def _totals(chunk: _Chunk) -> list[Event]:
    """Return the totals of a record that belongs to no single choice."""
    events: list[Event] = []
    if chunk.usage is not None:
        usage = chunk.usage
        events.append(UsageEvent(as_count(usage.completion_tokens), as_count(usage.prompt_tokens)))
    if chunk.timings is not None:
        events.append(_timed(chunk.timings))
    return events


def _timed(timings: _Timings) -> UsageEvent:
    return UsageEvent(as_count(timings.predicted_n), None, TokenSource.TIMINGS)
