"""The bytes of one streamed response in, events out: a framer, a dialect, and a short cut.

Most records of a stream differ from the one before in a single thing, the text of the token. A
template remembers what stands before and behind that text. A read that has the same bytes
there, and between them a non-empty JSON string without an escape, says what the record said
from which the template was made, and needs no framing and no JSON parser: 0.5 us instead of 3.

The short cut is exact, not a guess: the template is checked when it is made (with an empty text
the record must say nothing, so the text is all the evidence there is), and everything else
takes the long way: the first token, other fields, finish reasons, usage, errors, escapes, and
records that a read has cut.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from .events import Event, TokenEvent
from .framing import Record

if TYPE_CHECKING:
    from .dialect import Dialect
    from .framing import Framer

# Where servers put text, most frequent first. What is missing here is read the long way.
_TEXT_KEYS = (b'"content":"', b'"text":"', b'"reasoning":"', b'"reasoning_content":"')
# What a JSON string has only escaped, or as its end (RFC 8259, section 7).
_NOT_PLAIN = re.compile(rb'["\\\x00-\x1f]')
# Both below bound what a template can match, so that it stays below any cap on records.
_MAX_RECORD_BYTES = 8 * 1024
_MAX_TEXT_BYTES = 1024
# Choices that take turns, or keys with changing values, make templates that never match again:
# after this many in a row no more are made, until one matches.
_PATIENCE = 8


class _Template(msgspec.Struct, frozen=True, gc=False):
    before: bytes
    behind: bytes
    events: list[Event]

    def skip(self, reads: list[bytes], begin: int) -> int:
        """Return the first read from `begin` on that differs in more than its plain text."""
        before, behind = self.before, self.behind
        text, rest = len(before), len(behind)
        for i in range(begin, len(reads)):
            data = reads[i]
            end = len(data) - rest
            if not (
                text < end <= text + _MAX_TEXT_BYTES
                and data.startswith(before)
                and data.endswith(behind)
                and _NOT_PLAIN.search(data, text, end) is None
                and (data.isascii() or _is_utf8(data[text:end]))
            ):
                return i
        return len(reads)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


class StreamReader:
    """Read a streamed response."""

    __slots__ = ("_dialect", "_framer", "_patience", "_template")

    def __init__(self, framer: Framer, dialect: Dialect) -> None:
        self._framer = framer
        self._dialect = dialect
        self._template: _Template | None = None
        self._patience = _PATIENCE

    def read(self, reads: list[bytes]) -> list[tuple[int, int, list[Event]]]:
        """Return what successive reads of the body say.

        Each item names a run of reads by begin and end, and the events that every read of the
        run completes.
        """
        runs: list[tuple[int, int, list[Event]]] = []
        i = 0
        while i < len(reads):
            template = self._template
            if template is not None and self._framer.idle:
                end = template.skip(reads, i)
                if end > i:
                    runs.append((i, end, template.events))
                    self._patience = _PATIENCE
                    i = end
                    continue
            runs.append((i, i + 1, self._read_one(reads[i])))
            i += 1
        return runs

    def finish(self) -> list[Event]:
        """Return what the clean end of the body completes."""
        return [event for r in self._framer.finish() for event in self._dialect.read(r)]

    def _read_one(self, data: bytes) -> list[Event]:
        idle = self._framer.idle
        records = self._framer.feed(data)
        if len(records) != 1:
            return [event for record in records for event in self._dialect.read(record)]
        events = self._dialect.read(records[0])
        if idle and len(events) == 1 and isinstance(events[0], TokenEvent) and self._patience:
            self._patience -= 1
            self._template = self._make_template(data, events)
        return events

    def _make_template(self, data: bytes, events: list[Event]) -> _Template | None:
        whole = data.startswith(b"data: ") and data.endswith(b"\n\n")
        if not whole or len(data) > _MAX_RECORD_BYTES:
            return None
        for key in _TEXT_KEYS:
            begin = data.find(key) + len(key)
            end = data.find(b'"', begin)
            if begin >= len(key) and end > begin:
                before, behind = data[:begin], data[end:]
                silent = not self._dialect.read(Record((before + behind)[6:-2]))
                return _Template(before, behind, events) if silent else None
        return None
