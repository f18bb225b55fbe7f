"""The counts of one SLO class, as one row of numbers; pure.

A row only ever grows, so that what happened in between is the difference of two copies, and a
copy is all that has to be kept of a moment. What stands where in it follows from the policy's
bucket edges, which are those of the metrics.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from goodput_proxy.edges import band_of
from goodput_proxy.record import Outcome
from goodput_proxy.slo import COMPLIANT, IN_RATIO, VERDICT_CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from goodput_proxy.edges import Edges
    from goodput_proxy.judged import JudgedRequest

# The place of each verdict and cause at the beginning of every row.
PLACES = {known: place for place, known in enumerate(VERDICT_CAUSES)}
# Places of the verdicts that goodput, throughput and the ratio are made of.
GOOD = frozenset(place for (verdict, _), place in PLACES.items() if verdict in COMPLIANT)
JUDGED = frozenset(place for (verdict, _), place in PLACES.items() if verdict in IN_RATIO)
# In flight at most: 2^20, beyond any number of connections; what is more shares the last band.
_BANDS = 21


def row_of(size: int) -> array[int]:
    """Return a row of zeros."""
    return array("Q", bytes(8 * size))


def total(row: Sequence[int], places: Iterable[int]) -> int:
    """Return the sum of some places of a row."""
    return sum(row[place] for place in places)


class Layout:
    """What stands where in the row of a class.

    Args:
        edges: of the distributions and of the frontier.
    """

    def __init__(self, edges: Edges) -> None:
        self.edges = edges
        columns = len(edges.frontier_itl_ns) + 1
        self._columns = columns
        self._ttft = len(PLACES)
        self._itl = self._ttft + len(edges.ttft_ns) + 1
        self._stall = self._itl + len(edges.itl_ns) + 1
        self._load = self._stall + len(edges.stall_ns) + 1
        self._frontier = self._load + 2 * _BANDS
        self.size = self._frontier + columns * (len(edges.frontier_ttft_ns) + 1)

    def count(self, row: array[int], place: int, judged: JudgedRequest) -> None:
        """Count a request whose verdict and cause have this place."""
        record, edges = judged.record, self.edges
        ttft_ns, itl_ns = record.ttft_ns, record.itl_ns
        row[place] += 1
        if ttft_ns is not None:
            row[self._ttft + bisect_left(edges.ttft_ns, ttft_ns)] += 1
        if itl_ns is not None:
            row[self._itl + bisect_left(edges.itl_ns, itl_ns)] += 1
        if record.stall_ns is not None:
            row[self._stall + bisect_left(edges.stall_ns, record.stall_ns)] += 1
        if place in JUDGED:
            band = min(band_of(judged.in_flight), _BANDS - 1)
            row[self._load + 2 * band + (place in GOOD)] += 1
        if record.outcome is Outcome.OK:
            # What could not be computed passes every limit, as in a verdict.
            up = 0 if ttft_ns is None else bisect_left(edges.frontier_ttft_ns, ttft_ns)
            along = 0 if itl_ns is None else bisect_left(edges.frontier_itl_ns, itl_ns)
            row[self._frontier + up * self._columns + along] += 1

    def latencies(self, row: Sequence[int]) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Return the disjoint bucket counts of TTFT, ITL and stall."""
        return (
            row[self._ttft : self._itl],
            row[self._itl : self._stall],
            row[self._stall : self._load],
        )

    def load(self, row: Sequence[int]) -> list[tuple[int, int]]:
        """Return how many requests of each band were not good, and how many were."""
        counts = row[self._load : self._frontier]
        return list(zip(counts[::2], counts[1::2], strict=True))

    def frontier(self, row: Sequence[int]) -> list[Sequence[int]]:
        """Return the cells of the frontier: a list per TTFT of a count per ITL, all disjoint."""
        width = self._columns
        return [row[i : i + width] for i in range(self._frontier, self.size, width)]
