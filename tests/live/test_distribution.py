"""What bucket counts say."""

from __future__ import annotations

import pytest

from goodput_proxy.live.distribution import distribution, quantile_ms
from tests.live.traffic import MS

EDGES = (100 * MS, 200 * MS, 400 * MS)


@pytest.mark.parametrize(
    ("counts", "quantile", "expected"),
    [
        ([0, 0, 0, 0], 0.5, None),
        ([10, 0, 0, 0], 0.5, 50.0),
        ([0, 10, 0, 0], 0.95, 195.0),
        ([5, 5, 0, 0], 0.5, 100.0),
        ([0, 0, 4, 0], 0.25, 250.0),
        ([1, 0, 0, 9], 0.5, 400.0),  # nothing is known beyond the last edge
    ],
)
def test_quantiles(counts: list[int], quantile: float, expected: float | None) -> None:
    """They are interpolated as `histogram_quantile` does it."""
    assert quantile_ms(EDGES, counts, quantile) == expected


@pytest.mark.parametrize(
    ("limit_ns", "within"),
    [(None, None), (200 * MS, 0.75), (400 * MS, 0.875), (300 * MS, None)],
)
def test_share_within_a_limit(limit_ns: int | None, within: float | None) -> None:
    """It is exact, since limits are edges; where one is not, nothing is claimed."""
    assert distribution(EDGES, [4, 2, 1, 1], limit_ns).within == within


def test_without_requests_there_is_no_share() -> None:
    """Nothing is neither all nor none."""
    empty = distribution(EDGES, [0, 0, 0, 0], 200 * MS)

    assert (empty.within, empty.p50_ms, empty.limit_ms) == (None, None, 200.0)
    assert empty.edges_ms == [100.0, 200.0, 400.0]
