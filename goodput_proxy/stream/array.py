"""Framer of one JSON array that arrives piecemeal: Gemini without `alt=sse`.

Elements are found by the depth of braces and brackets outside strings; nothing is decoded. A
body that is an object instead, as its errors are, is one record. The closing bracket is the
format's terminator and so a record of its own, marked `end`.
"""

from __future__ import annotations

import re

from .framing import MAX_RECORD_BYTES, PartialRecord, Record
from .strings import StringSkipper

# What changes the depth, or begins a string.
_STRUCTURE = re.compile(rb'["{}\[\]]')


class ArrayFramer:
    """Cut a top-level JSON array into its objects."""

    __slots__ = ("_depth", "_object", "_string")

    def __init__(self, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._object = PartialRecord(max_record_bytes)
        self._depth = 0  # of objects, and of arrays inside them
        self._string = StringSkipper()

    @property
    def idle(self) -> bool:
        """Never: a comma or a bracket may come first, so no record is a whole read."""
        return False

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that `data` completed, oldest first."""
        records: list[Record] = []
        begin = 0  # of the object at hand
        at = self._string.skip(data, 0) if self._string.inside else 0
        while found := _STRUCTURE.search(data, at):
            mark, at = found[0], found.end()
            if mark == b'"':
                self._string.inside = True
                at = self._string.skip(data, at)
            elif mark in b"{[":
                if self._depth == 0:
                    begin = at - 1
                if self._depth > 0 or mark == b"{":  # not the bracket of the array itself
                    self._depth += 1
            else:
                records += self._close(mark, data, begin, at)
        if self._depth > 0:
            self._object.add(data[begin:])
        return records

    def _close(self, mark: bytes, data: bytes, begin: int, at: int) -> list[Record]:
        """Take a closing mark that ends at `at`; the object at hand goes on at `begin`."""
        if self._depth == 0:
            return [Record(None, end=True)] if mark == b"]" else []
        self._depth -= 1
        return [self._object.end(data[begin:at])] if self._depth == 0 else []

    def finish(self) -> list[Record]:
        """Return nothing: an object without its end is no record."""
        return []
