"""Bytes of a response body in, whole records out; sans-IO.

A framer is fed whatever the network delivered and returns the records which that completed,
or an empty list for "need more". It never raises, never looks into a record, and never keeps
more than `max_record_bytes`: a longer record is announced as oversize, without its data, and
framing goes on behind it. Any split of a stream's bytes gives the same records.

`SseFramer` follows "Parsing an event stream" of the HTML standard (section 9.2.6): LF, CRLF
or CR ends a line, a leading BOM and one space after the colon are dropped, several `data`
lines are joined with LF, a blank line dispatches. It is laxer than a browser in two places,
because a meter must see what a browser drops: `event: error` without data is a record (that
is how Dynamo fails), and a block that a clean end of the body left without its blank line is
one too.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

# Token deltas are 0.2-20 kB. 48 KiB keeps all that the tap holds for a stream below 64 KiB.
MAX_RECORD_BYTES = 48 * 1024

_BOM = b"\xef\xbb\xbf"
_BLANK_LINE = b"\n\n"


class Record(msgspec.Struct, frozen=True, gc=False):
    """One framed record: its payload and the name that the framing gave it.

    `data` is None for a block that only named an event, and for an oversize record.
    """

    data: bytes | None
    event: bytes = b""
    oversize: bool = False


class Framer(Protocol):
    """Cut a body into records, incrementally."""

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a record, and is not the first of the body."""

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that `data` completed, oldest first."""

    def finish(self) -> list[Record]:
        """Return the record that the clean end of the body completes, if one had begun."""


class SseFramer:
    """Cut `text/event-stream` into blocks."""

    __slots__ = ("_after_cr", "_first", "_max_bytes", "_overflow", "_pending")

    def __init__(self, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._max_bytes = max_record_bytes
        self._pending = bytearray()  # the block that has begun
        self._overflow = False  # that block is oversize: only its end is still awaited
        self._after_cr = False  # the last read ended with CR: an LF that follows belongs to it
        self._first = True  # no block has ended yet: a BOM may lead it

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a block, and is not the first of the body."""
        return not (self._pending or self._first or self._after_cr)

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that `data` completed, oldest first."""
        if self._after_cr or b"\r" in data:
            data = self._to_lf(data)
        elif (
            # The common read: one whole block of one line.
            data.startswith(b"data: ")
            and not self._pending
            and data.find(b"\n") == len(data) - 2
            and data.endswith(b"\n")
            and len(data) <= self._max_bytes
        ):
            self._first = False
            return [Record(data[6:-2])]
        return self._cut(data)

    def finish(self) -> list[Record]:
        """Return the block that the clean end of the body left without its blank line."""
        rest = bytes(self._pending).removesuffix(b"\n")
        self._pending.clear()
        return self._dispatch(rest)

    def _to_lf(self, data: bytes) -> bytes:
        """Turn every line end into LF; CRLF is one line end also when a read cuts it."""
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _cut(self, data: bytes) -> list[Record]:
        pending = self._pending
        resume = max(len(pending) - 1, 0)  # what was searched before holds no blank line
        pending += data
        records: list[Record] = []
        begin = 0
        while (end := pending.find(_BLANK_LINE, resume)) >= 0:
            if end > begin or self._overflow:
                records += self._dispatch(bytes(pending[begin:end]))
            begin = resume = end + 2
        del pending[:begin]
        # A line end may be the first half of the blank line, which is not part of the block.
        if len(pending) - pending.endswith(b"\n") > self._max_bytes:
            self._overflow = True
            del pending[:-1]  # the last byte may be the first half of the blank line
        return records

    def _dispatch(self, block: bytes) -> list[Record]:
        if self._overflow or len(block) > self._max_bytes:
            self._overflow = self._first = False
            return [Record(None, oversize=True)]
        if self._first:
            block = block.removeprefix(_BOM)
            self._first = False
        if block.startswith(b"data: ") and b"\n" not in block:
            return [Record(block[6:])]
        return self._parse_fields(block)

    @staticmethod
    def _parse_fields(block: bytes) -> list[Record]:
        """Read a block line by line; comments, `id` and `retry` mean nothing to a meter."""
        event = b""
        data: list[bytes] = []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))
            elif name == b"event":
                event = value.removeprefix(b" ")
        if data:
            return [Record(b"\n".join(data), event)]
        return [Record(None, event)] if event == b"error" else []
