"""Framer of `text/event-stream`: blocks of lines with a blank line behind them.

It follows "Parsing an event stream" of the HTML standard (section 9.2.6): LF, CRLF or CR ends
a line, a leading BOM and one space after the colon are dropped, several `data` lines are
joined with LF, a blank line dispatches. It is laxer than a browser in two places, because a
meter must see what a browser drops: `event: error` without data is a record (that is how
Dynamo fails), and a block that a clean end of the body left without its blank line is one
too.
"""

from __future__ import annotations

from typing import Final

from .framing import HEAD_BYTES, MAX_RECORD_BYTES, TAIL_BYTES, Record

_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = ord("\n")
_BLANK_LINE: Final = b"\n\n"


class SseFramer:
    """Cut `text/event-stream` into blocks."""

    __slots__ = ("_after_cr", "_first", "_head_bytes", "_max_bytes", "_oversize_head", "_pending")

    def __init__(self, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._max_bytes = max_record_bytes
        # No more than the cap: that much has come of the block, however the reads were cut.
        self._head_bytes = min(HEAD_BYTES, max_record_bytes)
        self._pending = bytearray()  # the block that has begun, or the end of an oversize one
        self._oversize_head: bytes | None = None  # how the oversize block at hand began
        self._after_cr = False  # the last read ended with CR: an LF that follows belongs to it
        self._first = True  # no block has ended yet: a BOM may lead it

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a block, and is not the first of the body."""
        return not (self._pending or self._first or self._after_cr)

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that `data` completed, oldest first."""
        if not data:
            return []
        if self._after_cr or b"\r" in data:
            data = self._to_lf(data)
        if self._pending or self._oversize_head is not None or len(data) > self._max_bytes:
            return self._cut(data)
        # The common read is one whole block: a line of data, alone or below its event's name.
        size = len(data) - 2
        event = b""
        begin = 0
        end = data.find(b"\n")
        # Without a line end this is no slice: compiled, `[7:-1]` of seven bytes is an error.
        if end < size and data.startswith(b"event: ") and end >= 0:
            event, begin = data[7:end], end + 1
            end = data.find(b"\n", begin)
        if end != size or end < 0 or not data.startswith(b"data: ", begin) or data[-1] != _LF:
            return self._cut(data)
        self._first = False
        return [Record(data[begin + 6 : end], event)]

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
            if end > begin or self._oversize_head is not None:
                records += self._dispatch(bytes(pending[begin:end]))
            begin = resume = end + 2
        del pending[:begin]
        # A line end may be the first half of the blank line, which is not part of the block.
        if self._oversize_head is not None:
            del pending[: -TAIL_BYTES - 1]
        elif len(pending) - pending.endswith(b"\n") > self._max_bytes:
            self._oversize_head = bytes(pending[: self._head_bytes])
            del pending[: -TAIL_BYTES - 1]
        return records

    def _dispatch(self, block: bytes) -> list[Record]:
        if self._oversize_head is not None or len(block) > self._max_bytes:
            head = self._oversize_head or block[: self._head_bytes]
            self._oversize_head = None
            return [self._shorten(self._without_bom(head), block[-TAIL_BYTES:])]
        block = self._without_bom(block)
        if block.startswith(b"data: ") and b"\n" not in block:
            return [Record(block[6:])]
        return self._parse_fields(block)

    def _without_bom(self, block: bytes) -> bytes:
        if self._first:
            self._first = False
            return block.removeprefix(_BOM)
        return block

    def _shorten(self, head: bytes, tail: bytes) -> Record:
        fields = self._parse_fields(head)
        if not fields:  # a comment, or nothing that has a name
            return Record(None, oversize=True)
        return Record(None, fields[0].event, oversize=True, head=fields[0].data or b"", tail=tail)

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
