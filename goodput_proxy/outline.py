"""The outline of a JSON body that is too large to be kept: its fields without its texts.

What a request asks for stands in a few short fields of its top level; what makes it large is
prompts, images and tool definitions. The outline is made while the body streams past, in time
linear in its length: strings above `_MAX_STRING_BYTES` become empty, lists and what is nested
deeper than an object of the top level are emptied. It is JSON if the body is, and is decoded
like any other body.
"""

from __future__ import annotations

import re

from .stream.strings import StringSkipper

_STRUCTURE = re.compile(rb'["{}\[\]]')
_MAX_STRING_BYTES = 256  # no model has a longer name
# An outline is some hundred bytes; with more, its end is missing and it is no JSON.
_MAX_BYTES = 64 * 1024


class Outline:
    """Reduce a body to its outline, piece by piece."""

    __slots__ = ("_begun", "_depth", "_kept", "_open", "_string")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._depth = 0  # of objects and lists
        self._open = 0  # how many of these are kept with what they hold
        self._string = StringSkipper()
        self._begun = 0  # bytes that are kept of the string at hand; -1: it is too long

    def add(self, data: bytes) -> None:
        """Take the next piece of the body."""
        if len(self._kept) > _MAX_BYTES:
            return
        at = self._end_string(data, 0) if self._string.inside else 0
        while found := _STRUCTURE.search(data, at):
            self._keep(data[at : found.start()])
            mark, at = found[0], found.end()
            if mark == b'"':
                self._keep(mark)
                self._string.inside = True
                self._begun = 0
                at = self._end_string(data, at)
            elif mark in b"{[":
                self._keep(mark)
                if mark == b"{" and self._depth == self._open < 2:
                    self._open += 1
                self._depth += 1
            else:
                self._depth -= 1
                self._open = min(self._open, self._depth)
                self._keep(mark)
        self._keep(data[at:])

    def take(self) -> bytes:
        """Return the outline."""
        return bytes(self._kept)

    def _keep(self, data: bytes) -> None:
        if self._depth == self._open:
            self._kept += data

    def _end_string(self, data: bytes, at: int) -> int:
        """Take a string up to its end, or that of the data; return where that is."""
        end = self._string.skip(data, at)
        if self._depth == self._open:
            if self._begun >= 0:
                self._kept += data[at:end]
                self._begun += end - at
            if self._begun > _MAX_STRING_BYTES:
                del self._kept[-self._begun :]
                self._begun = -1
            if self._begun < 0 and not self._string.inside:
                self._kept += b'"'
        return end
