"""Histograms that are filled in bulk, for what happens once per token.

`prometheus_client.Histogram` takes one value at a time, 1.4-3 us each, which is too much for one
per token and four per request. Here a stream's ready-made bucket counts are added in one go, or
a value with a bisection, in integer nanoseconds; they become a metric family when scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def _spell(edge_s: float) -> str:
    """Spell an edge as prometheus_client's own histograms do."""
    return str(floatToGoString(edge_s))  # type: ignore[no-untyped-call]


class Child:
    """The values that were observed under one set of labels.

    Args:
        edges_ns: ascending upper edges.
    """

    __slots__ = ("counts", "edges_ns", "sum_ns")

    def __init__(self, edges_ns: tuple[int, ...]) -> None:
        self.edges_ns = edges_ns
        self.counts = [0] * (len(edges_ns) + 1)
        self.sum_ns = 0

    def observe(self, value_ns: int, times: int = 1) -> None:
        """Count one value, as if it had been observed `times` times."""
        self.counts[bisect_left(self.edges_ns, value_ns)] += times
        self.sum_ns += value_ns * times

    def add(self, counts: Sequence[int], sum_ns: int) -> None:
        """Add ready-made disjoint bucket counts, one more than there are edges."""
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        self.sum_ns += sum_ns


class BulkHistogram(Collector):
    """A labelled histogram over fixed edges.

    Args:
        name: the metric's name.
        documentation: its help text.
        labels: label names.
        edges_ns: ascending upper edges.
    """

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], edges_ns: tuple[int, ...]
    ) -> None:
        self.edges_ns = edges_ns
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._les = [_spell(edge / 10**9) for edge in edges_ns] + ["+Inf"]
        self._children: dict[tuple[str, ...], Child] = {}

    def child(self, *labels: str) -> Child:
        """Return the child of these label values, made at zero when it is new."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = Child(self.edges_ns)
        return child

    def observe(self, value_ns: int, *labels: str, times: int = 1) -> None:
        """Count one value, as if it had been observed `times` times."""
        self.child(*labels).observe(value_ns, times)

    def add(self, counts: Sequence[int], sum_ns: int, *labels: str) -> None:
        """Add ready-made disjoint bucket counts, one more than there are edges."""
        self.child(*labels).add(counts, sum_ns)

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Return the family without samples: registration must not need values."""
        return [HistogramMetricFamily(self._name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the family; safe to call from another thread than the one that counts."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, child in list(self._children.items()):
            cumulative = accumulate(list(child.counts))
            buckets = list(zip(self._les, cumulative, strict=True))
            family.add_metric(labels, buckets, sum_value=child.sum_ns / 10**9)
        return [family]
