"""Histograms that are filled in bulk, for what happens once per token.

`prometheus_client.Histogram` takes one value at a time, 1.4-3 us each, which is too much for one
per token and four per request. Here a stream's ready-made bucket counts are added in one go, or
a value with a bisection, in integer nanoseconds; they become a metric family when scraped.

Edges may be added while the process lives, which the library's histograms cannot do either: the
children are made anew with their counts, and whoever held one asks for it again.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate
from time import time
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from .edges import rebin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@lru_cache(maxsize=1024)
def spell(edge_ns: int) -> str:
    """Spell an edge in seconds as prometheus_client's own histograms do."""
    return str(floatToGoString(edge_ns / 10**9))  # type: ignore[no-untyped-call]


class _Seen(NamedTuple):
    """The newest value of a bucket whose request belongs to a recorded trace."""

    trace_id: str
    value_ns: int
    unix_s: float


class Child:
    """The values that were observed under one set of labels.

    Args:
        edges_ns: ascending upper edges.
    """

    __slots__ = ("_exemplars", "counts", "edges_ns", "sum_ns")

    def __init__(self, edges_ns: tuple[int, ...]) -> None:
        self.edges_ns = edges_ns
        self.counts = [0] * (len(edges_ns) + 1)
        self.sum_ns = 0
        self._exemplars: dict[int, _Seen] = {}  # by bucket

    def observe(self, value_ns: int, times: int = 1, *, trace_id: str = "") -> None:
        """Count one value, as if it had been observed `times` times."""
        bucket = bisect_left(self.edges_ns, value_ns)
        self.counts[bucket] += times
        self.sum_ns += value_ns * times
        if trace_id:
            self._exemplars[bucket] = _Seen(trace_id, value_ns, time())

    def add(self, counts: Sequence[int], sum_ns: int, edges_ns: tuple[int, ...]) -> None:
        """Add ready-made disjoint bucket counts, which were made with these edges or fewer."""
        if edges_ns is not self.edges_ns and edges_ns != self.edges_ns:
            counts = rebin(counts, edges_ns, self.edges_ns)
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        self.sum_ns += sum_ns

    def widened(self, edges_ns: tuple[int, ...]) -> Child:
        """Return the same values among more edges."""
        child = Child(edges_ns)
        child.add(self.counts, self.sum_ns, self.edges_ns)
        for seen in self._exemplars.values():
            child._exemplars[bisect_left(edges_ns, seen.value_ns)] = seen
        return child

    def buckets(self) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """Return edge, cumulative count and exemplar of each bucket; safe in another thread."""
        seen = dict(self._exemplars)
        les = [*map(spell, self.edges_ns), "+Inf"]
        return [
            (le, count, _as_exemplar(seen[i])) if i in seen else (le, count)
            for i, (le, count) in enumerate(zip(les, accumulate(list(self.counts)), strict=True))
        ]


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
        self._children: dict[tuple[str, ...], Child] = {}

    def child(self, *labels: str) -> Child:
        """Return the child of these label values, made at zero when it is new."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = Child(self.edges_ns)
        return child

    def widen(self, edges_ns: tuple[int, ...]) -> None:
        """Go on with more edges; children that are held elsewhere count no longer."""
        if edges_ns == self.edges_ns:
            return
        self.edges_ns = edges_ns
        # Replaced and not changed: a scrape may be reading.
        self._children = {k: child.widened(edges_ns) for k, child in self._children.items()}

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Return the family without samples: registration must not need values."""
        return [HistogramMetricFamily(self._name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the family; safe to call from another thread than the one that counts."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, child in list(self._children.items()):
            family.add_metric(labels, child.buckets(), sum_value=child.sum_ns / 10**9)
        return [family]


def _as_exemplar(seen: _Seen) -> Exemplar:
    return Exemplar({"trace_id": seen.trace_id}, seen.value_ns / 10**9, seen.unix_s)
