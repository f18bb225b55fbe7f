"""Dialect of the engines' own `/generate`: SGLang, LMDeploy, and vLLM before 0.12.

The same path and keys mean opposite things. SGLang sends the whole output so far in each
record, or with a flag only what is new, as LMDeploy does; the counter `completion_tokens` is
cumulative in all of them, and so is what decides. Old vLLM sends a list with prompt and output
so far of each choice, and no counter: there a choice has a new token when its text has grown.

A cumulative record is large and says little that is new. Above `_LARGE_BYTES` nothing but its
end is read, where the statistics stand; parsing all of it would make a stream quadratic.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from .decoding import as_choice, as_count, failure, finish
from .dialect import JsonDialect
from .events import (
    MAX_CHOICES,
    CounterEvent,
    EndsAtCloseEvent,
    Event,
    TokenEvent,
    TokenSource,
)
from .output import last_number

if TYPE_CHECKING:
    from .framing import Record

_LARGE_BYTES = 4 * 1024
_TAIL_BYTES = 2 * 1024
# In the statistics behind text and ids. Text cannot imitate them: its quotes are escaped.
_GOES_ON = re.compile(rb'"finish_reason"\s*:\s*null')
_COUNTER = re.compile(rb'"completion_tokens"\s*:\s*([0-9]{1,12})\b')
_INDEX = re.compile(rb'"index"\s*:\s*([0-9]{1,6})\b')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*\{[^{}]*"type"\s*:\s*"([a-z_]{1,32})"')
# Old vLLM: a list, where the others have a string.
_TEXTS = re.compile(rb'\s*\{\s*"text"\s*:\s*\[')


class _Statistics(msgspec.Struct, gc=False):
    completion_tokens: Any = None
    prompt_tokens: Any = None
    finish_reason: Any = None


class _Chunk(msgspec.Struct, gc=False):
    text: str | list[str] | None = None
    output_ids: list[int] | None = None
    meta_info: _Statistics | None = None
    index: int | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class _Progress:
    """What is remembered of a choice; never its text."""

    __slots__ = ("chars", "tokens")

    def __init__(self) -> None:
        self.tokens = 0  # output tokens so far, by the server's counter
        self.chars: int | None = 0  # of the last record's text; None when that was not read


class GenerateDialect(JsonDialect):
    """Read one response of `/generate`."""

    __slots__ = ("_choices",)

    def __init__(self) -> None:
        self._choices: dict[int, _Progress] = {}

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        if len(data) > _LARGE_BYTES:
            begin = data.rfind(b'"meta_info"', len(data) - _TAIL_BYTES)
            tail = data[begin:] if begin >= 0 else b""
            counter = _COUNTER.search(tail)
            if counter is not None and (b'"finish_reason":null' in tail or _GOES_ON.search(tail)):
                index = _INDEX.search(tail) if b'"index"' in tail else None
                choice = as_choice(int(index[1])) if index is not None else 0
                return self._read_counter(choice, int(counter[1]))
        chunk = _decode(data)
        if chunk.error or event == b"error":
            return [failure(chunk.error)]
        if isinstance(chunk.text, list):
            return self._read_texts(chunk.text)
        return self._read_chunk(chunk, chunk.meta_info or _Statistics())

    def _read_oversize(self, record: Record) -> list[Event]:
        total = last_number(record.tail, b"completion_tokens")
        if total is None:
            return [EndsAtCloseEvent()] if _TEXTS.match(record.head) else []
        index = as_choice(last_number(record.tail, b"index"))
        events = self._read_counter(index, total)
        ended = _FINISH.search(record.tail)
        return [*events, finish(index, ended[1].decode())] if ended else events

    def _read_counter(self, index: int, total: int) -> list[Event]:
        """Return what a record says of which only the counter was read."""
        progress = self._progress(index)
        moved = total > progress.tokens
        progress.tokens = total
        progress.chars = None
        counter = CounterEvent(index, total, None, TokenSource.META_INFO)
        return [counter, TokenEvent(index)] if moved else [counter]

    def _read_chunk(self, chunk: _Chunk, said: _Statistics) -> list[Event]:
        index = as_choice(chunk.index)
        progress = self._progress(index)
        text, ids = chunk.text or "", chunk.output_ids or ()
        reason = said.finish_reason
        if isinstance(reason, dict):
            reason = reason.get("type")
        total = as_count(said.completion_tokens)
        events: list[Event] = []
        if total is None:
            moved = bool(text or ids)
        else:
            moved = total > progress.tokens
            inputs = as_count(said.prompt_tokens)
            events.append(CounterEvent(index, total, inputs, TokenSource.META_INFO))
        if moved:
            hidden = bool(reason) and not _shows_more(len(text), len(ids), total, reason, progress)
            events.append(TokenEvent(index, len(ids) if total is None else 0, hidden=hidden))
        progress.tokens, progress.chars = total or 0, len(text)
        if isinstance(reason, str):
            events.append(finish(index, reason))
        return events

    def _read_texts(self, texts: list[str]) -> list[Event]:
        """Old vLLM: all choices in one record, each with its prompt."""
        events: list[Event] = [EndsAtCloseEvent()]
        for index, text in enumerate(texts[:MAX_CHOICES]):
            progress = self._progress(index)
            if len(text) > (progress.chars or 0):
                events.append(TokenEvent(index))
            progress.chars = len(text)
        return events

    def _progress(self, index: int) -> _Progress:
        place = index % MAX_CHOICES
        progress = self._choices.get(place)
        if progress is None:
            progress = self._choices[place] = _Progress()
        return progress


def _shows_more(chars: int, ids: int, total: int | None, reason: str, before: _Progress) -> bool:
    """Return whether the last record of a choice has text that its last but one had not.

    Where the last but one was too large to be read, a choice that ran into its length limit
    ended with text, and one that stopped with its end token.
    """
    if before.chars is None:
        return reason != "stop"
    cumulative = ids >= total if ids and total is not None else chars >= before.chars
    return chars > before.chars if cumulative else chars > 0
