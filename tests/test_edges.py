"""Edges: every limit has one, and more of them make no count untrue."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.edges import MAX_EDGES, MAX_FRONTIER_EDGES, Edges, find_edges, rebin
from goodput_proxy.policy import Policy, SloClass
from goodput_proxy.slo import Limits

MS = 10**6
edges = st.lists(st.integers(1, 1000), max_size=12, unique=True).map(sorted)


def policy(*limits: Limits) -> Policy:
    """Return a policy with a class for each of these limits."""
    return Policy(tuple(SloClass(f"c{i}", limit, 0.9) for i, limit in enumerate(limits)))


def test_every_limit_is_an_edge() -> None:
    """Each histogram ends a bucket at each limit of its dimension; the grid has two of them."""
    limit = Limits(ttft_ns=333 * MS, itl_ns=33 * MS, stall_ns=444 * MS, e2e_ns=5555 * MS)
    found = find_edges(policy(limit))
    assert 333 * MS in found.ttft_ns
    assert 333 * MS in found.frontier_ttft_ns
    assert 33 * MS in found.itl_ns
    assert 33 * MS in found.frontier_itl_ns
    assert {33 * MS, 444 * MS} <= set(found.icl_ns)
    assert 444 * MS in found.stall_ns
    assert 5555 * MS in found.e2e_ns


def test_no_limits() -> None:
    """Without limits, and with those that are edges already, the grid has twelve by twelve cells.

    The twelfth is the one without end.
    """
    for limits in (Limits(), Limits(ttft_ns=500 * MS, itl_ns=100 * MS)):
        found = find_edges(policy(limits))
        assert (len(found.frontier_ttft_ns), len(found.frontier_itl_ns)) == (11, 11)


def test_edges_are_only_added() -> None:
    """What another policy promised stays an edge."""
    first = find_edges(policy(Limits(ttft_ns=333 * MS)))
    second = find_edges(policy(Limits(ttft_ns=334 * MS)), first)
    assert {333 * MS, 334 * MS} <= set(second.ttft_ns)
    assert find_edges(policy(Limits(ttft_ns=333 * MS)), second) == second


def test_edges_are_bounded() -> None:
    """However often limits change, neither histograms nor the grid grow without end."""
    known: Edges | None = None
    for i in range(300):
        known = find_edges(policy(Limits(ttft_ns=i * MS + 1, itl_ns=i * MS + 1)), known)
    assert known is not None
    assert len(known.ttft_ns) == len(known.icl_ns) == MAX_EDGES
    assert len(known.frontier_ttft_ns) == len(known.frontier_itl_ns) == MAX_FRONTIER_EDGES


def test_limits_come_before_defaults() -> None:
    """With more limits than a grid has places for default edges, it has the limits."""
    limits = [Limits(ttft_ns=i * MS + 1) for i in range(MAX_FRONTIER_EDGES)]
    assert set(find_edges(policy(*limits)).frontier_ttft_ns) == {limit.ttft_ns for limit in limits}


@given(edges, edges, st.lists(st.integers(0, 1100)))
def test_rebinned_counts(few: list[int], more: list[int], values: list[int]) -> None:
    """At every old edge as many values lie as before, and at a new one not more than there do."""
    wide = sorted({*few, *more})
    counts = [0] * (len(few) + 1)
    for value in values:
        counts[bisect_left(few, value)] += 1
    below = dict(zip(wide, accumulate(rebin(counts, few, wide)), strict=False))

    assert all(below[edge] == sum(v <= edge for v in values) for edge in few)
    assert all(below[edge] <= sum(v <= edge for v in values) for edge in wide)
    assert sum(rebin(counts, few, wide)) == len(values)
