"""Named rows of growing counts, and what they grew by within the last quarter of an hour; pure.

Every half minute a copy of the rows is kept. The window begins at the oldest copy, hence it is as
long as `WINDOW_S` within one step, and costs nothing while nobody asks for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from .tally import row_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping

WINDOW_S = 15 * 60
STEP_S = 30


class Span(NamedTuple):
    """What was counted since a moment; rows that have counted nothing are left out."""

    since: int  # second
    grown: dict[str, list[int]]


class _Mark(NamedTuple):
    """The rows as they were at the beginning of a second."""

    second: int
    rows: Mapping[str, array[int]]


class Window:
    """Rows of one length.

    Args:
        size: that length.
        second: when counting begins.
    """

    def __init__(self, size: int, second: int) -> None:
        self._size = size
        self._rows: dict[str, array[int]] = {}
        self._marks = deque([_Mark(second, {})])

    def row(self, name: str) -> array[int]:
        """Return the row of this name, made at zero when it is new."""
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = row_of(self._size)
        return row

    def advance(self, second: int) -> None:
        """Keep what has to be kept before anything of this second is counted."""
        due = (self._marks[-1].second // STEP_S + 1) * STEP_S
        if second >= due:
            rows = self._copy()
            begin = max(due, (second - WINDOW_S) // STEP_S * STEP_S)
            for moment in range(begin, second + 1, STEP_S):
                self._marks.append(_Mark(moment, rows))
        while self._marks[0].second < second - WINDOW_S:
            self._marks.popleft()

    def totals(self) -> dict[str, list[int]]:
        """Return all that was ever counted."""
        return {name: list(row) for name, row in self._rows.items()}

    def look(self) -> Span:
        """Return what was counted within the window."""
        since, before = self._marks[0]
        grown = {}
        for name, row in self._rows.items():
            old = before.get(name)
            if old is None:
                grown[name] = list(row)
            elif old != row:
                grown[name] = [now - then for now, then in zip(row, old, strict=True)]
        return Span(since, grown)

    def _copy(self) -> dict[str, array[int]]:
        """Return the rows as they are, sharing with the last copy what has not changed."""
        last = self._marks[-1].rows
        copies = {}
        for name, row in self._rows.items():
            old = last.get(name)
            copies[name] = old if old is not None and old == row else row[:]
        return copies
