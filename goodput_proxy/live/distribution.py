"""What limits and bucket counts say: quantiles, and the share within a limit; pure."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from .documents import Distribution, Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from goodput_proxy.slo import Limits as SloLimits


def to_ms(value_ns: int) -> float:
    """Return a time in milliseconds, to the microsecond."""
    return round(value_ns / 10**6, 3)


def describe_limits(limits: SloLimits) -> Limits:
    """Return limits as they are told."""
    values = (limits.ttft_ns, limits.itl_ns, limits.stall_ns, limits.e2e_ns)
    return Limits(*(None if value is None else to_ms(value) for value in values))


def distribution(
    edges_ns: Sequence[int], counts: Sequence[int], limit_ns: int | None
) -> Distribution:
    """Describe disjoint bucket counts."""
    return Distribution(
        edges_ms=[to_ms(edge) for edge in edges_ns],
        counts=list(counts),
        p50_ms=quantile_ms(edges_ns, counts, 0.5),
        p95_ms=quantile_ms(edges_ns, counts, 0.95),
        limit_ms=None if limit_ns is None else to_ms(limit_ns),
        within=_share_within(edges_ns, counts, limit_ns),
    )


def quantile_ms(edges_ns: Sequence[int], counts: Sequence[int], quantile: float) -> float | None:
    """Return a quantile as Prometheus' `histogram_quantile` finds it.

    That is by interpolation within a bucket; of the bucket without end it is the lower edge.
    """
    rank = quantile * sum(counts)
    if not rank:
        return None
    bounds = pairwise((0, *edges_ns))
    for (low_ns, high_ns), count, reached in zip(bounds, counts, accumulate(counts), strict=False):
        if reached >= rank:
            return to_ms(round(high_ns - (high_ns - low_ns) * (reached - rank) / count))
    return to_ms(edges_ns[-1])


def _share_within(
    edges_ns: Sequence[int], counts: Sequence[int], limit_ns: int | None
) -> float | None:
    requests = sum(counts)
    if limit_ns is None or limit_ns not in edges_ns or not requests:
        return None
    return sum(counts[: edges_ns.index(limit_ns) + 1]) / requests
