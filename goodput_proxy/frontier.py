"""The frontier: how many requests would have met any other pair of limits.

A verdict counter knows one pair of limits, and from histograms the joint share of two cannot be
had. Here each completed request falls into one cell of a grid of TTFT by ITL; when scraped, the
cells are summed along both axes, so that the series `{ttft_le="1.0", itl_le="0.05"}` is the
number of requests with TTFT <= 1 s AND mean ITL <= 50 ms, asked after the fact.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from .buckets import spell
from .edges import rebin

if TYPE_CHECKING:
    from collections.abc import Iterable


class Grid:
    """The completed requests of one model, by cell.

    Args:
        ttft_edges_ns: ascending upper edges; a last row without end is added.
        itl_edges_ns: likewise, of the columns.
    """

    __slots__ = ("itl_edges_ns", "rows", "ttft_edges_ns")

    def __init__(self, ttft_edges_ns: tuple[int, ...], itl_edges_ns: tuple[int, ...]) -> None:
        self.ttft_edges_ns = ttft_edges_ns
        self.itl_edges_ns = itl_edges_ns
        self.rows = [[0] * (len(itl_edges_ns) + 1) for _ in range(len(ttft_edges_ns) + 1)]

    def count(self, ttft_ns: int | None, itl_ns: int | None) -> None:
        """Count a request; what could not be computed passes every limit, as in a verdict."""
        row = self.rows[0 if ttft_ns is None else bisect_left(self.ttft_edges_ns, ttft_ns)]
        row[0 if itl_ns is None else bisect_left(self.itl_edges_ns, itl_ns)] += 1

    def widened(self, ttft_edges_ns: tuple[int, ...], itl_edges_ns: tuple[int, ...]) -> Grid:
        """Return the same requests among more edges."""
        grid = Grid(ttft_edges_ns, itl_edges_ns)
        columns = zip(
            *(rebin(row, self.itl_edges_ns, itl_edges_ns) for row in self.rows), strict=True
        )
        moved = [rebin(column, self.ttft_edges_ns, ttft_edges_ns) for column in columns]
        grid.rows = [list(row) for row in zip(*moved, strict=True)]
        return grid

    def cumulative(self) -> Iterable[tuple[str, str, int]]:
        """Return both edges and the requests within them, of each cell."""
        itl_les = [*map(spell, self.itl_edges_ns), "+Inf"]
        ttft_les = [*map(spell, self.ttft_edges_ns), "+Inf"]
        below = [0] * len(itl_les)
        for ttft_le, row in zip(ttft_les, self.rows, strict=True):
            below = [a + b for a, b in zip(below, accumulate(list(row)), strict=True)]
            for itl_le, requests in zip(itl_les, below, strict=True):
                yield ttft_le, itl_le, requests


class Frontier(Collector):
    """The grids of all models, as a metric.

    Args:
        ttft_edges_ns: ascending upper edges of the grids' rows.
        itl_edges_ns: ascending upper edges of their columns.
    """

    name = "goodput_frontier_requests"
    documentation = (
        "Completed requests with TTFT <= ttft_le AND mean ITL <= itl_le, cumulative on both axes."
    )
    labels = ("model", "ttft_le", "itl_le")

    def __init__(self, ttft_edges_ns: tuple[int, ...], itl_edges_ns: tuple[int, ...]) -> None:
        self._ttft_edges_ns = ttft_edges_ns
        self._itl_edges_ns = itl_edges_ns
        self._grids: dict[str, Grid] = {}

    def grid(self, model: str) -> Grid:
        """Return the grid of a model, made at zero when it is new."""
        grid = self._grids.get(model)
        if grid is None:
            grid = self._grids[model] = Grid(self._ttft_edges_ns, self._itl_edges_ns)
        return grid

    def widen(self, ttft_edges_ns: tuple[int, ...], itl_edges_ns: tuple[int, ...]) -> None:
        """Go on with more edges; grids that are held elsewhere count no longer."""
        if (ttft_edges_ns, itl_edges_ns) == (self._ttft_edges_ns, self._itl_edges_ns):
            return
        self._ttft_edges_ns, self._itl_edges_ns = ttft_edges_ns, itl_edges_ns
        # Replaced and not changed: a scrape may be reading.
        self._grids = {
            model: grid.widened(ttft_edges_ns, itl_edges_ns) for model, grid in self._grids.items()
        }

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Return the family without samples: registration must not need values."""
        return [CounterMetricFamily(self.name, self.documentation, labels=self.labels)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return the family; safe to call from another thread than the one that counts."""
        family = CounterMetricFamily(self.name, self.documentation, labels=self.labels)
        for model, grid in list(self._grids.items()):
            for ttft_le, itl_le, requests in grid.cumulative():
                family.add_metric((model, ttft_le, itl_le), requests)
        return [family]
