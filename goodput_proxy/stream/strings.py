"""Where a JSON string ends, in data that arrives in pieces; nothing is decoded."""

from __future__ import annotations

import re
from typing import Final

# The inside of a string. Possessive, so that its time is linear and it keeps no way back.
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class StringSkipper:
    """Follow one string after the other through a body.

    `inside` is true from the opening quote, which the caller has seen, to the closing one.
    """

    __slots__ = ("_escaped", "inside")

    def __init__(self) -> None:
        self.inside = False
        self._escaped = False  # the last byte that came was a backslash

    def skip(self, data: bytes, at: int) -> int:
        """Return where the string ends that goes on at `at`: behind its quote, or the data."""
        if self._escaped and at < len(data):
            self._escaped = False
            at += 1
        found = _INSIDE.match(data, at)
        at = found.end() if found else at
        if at == len(data):
            return at
        if data[at] == _QUOTE:
            self.inside = False
        else:
            self._escaped = True  # a backslash, and what it escapes is yet to come
        return at + 1


_QUOTE: Final = ord('"')
