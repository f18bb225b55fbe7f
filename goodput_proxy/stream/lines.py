"""Framer of one JSON value a line: `application/x-ndjson`, `application/jsonl`, or no type.

LF ends a line; a CR before it is dropped, and lines of nothing but white space are no records.
The last line needs no LF when the body ended cleanly.
"""

from __future__ import annotations

from .framing import MAX_RECORD_BYTES, PartialRecord, Record


class LineFramer:
    """Cut a body into its lines."""

    __slots__ = ("_begun", "_line")

    def __init__(self, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._line = PartialRecord(max_record_bytes)
        self._begun = False

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a line, and is not the first of the body."""
        return self._begun and not self._line

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that `data` completed, oldest first."""
        self._begun = True
        *complete, rest = data.split(b"\n")
        records = [record for line in complete for record in self._end(line)]
        self._line.add(rest)
        return records

    def finish(self) -> list[Record]:
        """Return the line that the clean end of the body left without its LF."""
        return self._end(b"")

    def _end(self, rest: bytes) -> list[Record]:
        record = self._line.end(rest)
        if record.data is None:
            return [record]
        line = record.data.strip()
        return [Record(line)] if line else []
