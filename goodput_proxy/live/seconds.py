"""The last quarter of an hour, second by second; pure."""

from __future__ import annotations

from array import array

from .tally import GOOD, JUDGED, PLACES
from .window import WINDOW_S

# Which of the three series a place belongs to, if to any.
_GOOD, _SLOW, _ERROR = range(3)
_SERIES = {
    place: _GOOD if place in GOOD else _SLOW if verdict == "slow" else _ERROR
    for (verdict, _), place in PLACES.items()
    if place in JUDGED
}


class Seconds:
    """How many requests ended in each second: good, slow, and with an error of the server.

    Args:
        second: the first; nothing is shown of the time before it.
    """

    def __init__(self, second: int) -> None:
        self._first = self._second = second
        self._rings = [array("I", bytes(4 * WINDOW_S)) for _ in range(3)]

    def advance(self, second: int) -> None:
        """Begin a second, and those in which nothing happened before it."""
        for passed in range(max(self._second + 1, second + 1 - WINDOW_S), second + 1):
            for ring in self._rings:
                ring[passed % WINDOW_S] = 0
        self._second = second

    def count(self, place: int) -> None:
        """Count a request, of the verdict and cause with this place, in the present second."""
        series = _SERIES.get(place)
        if series is not None:
            self._rings[series][self._second % WINDOW_S] += 1

    def look(self) -> tuple[int, list[list[int]]]:
        """Return the present second, and the three series of those that have passed before it."""
        # The present second shares its place with the oldest.
        begin = max(self._first, self._second + 1 - WINDOW_S)
        length, at = self._second - begin, begin % WINDOW_S
        return self._second, [[*ring[at:], *ring[:at]][:length] for ring in self._rings]
