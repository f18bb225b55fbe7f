"""The frontier: any pair of limits on the grid, asked after the fact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from goodput_proxy.buckets import spell
from goodput_proxy.frontier import Frontier

values = st.one_of(st.none(), st.integers(0, 120))
edges = st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True).map(sorted).map(tuple)
Requests = list[tuple[int | None, int | None]]


def read(frontier: Frontier) -> dict[tuple[str, str, str], float]:
    """Return every sample by its labels, as a registry hands it out."""
    registry = CollectorRegistry()
    registry.register(frontier)
    return {
        (s.labels["model"], s.labels["ttft_le"], s.labels["itl_le"]): s.value
        for family in registry.collect()
        for s in family.samples
    }


def recount(requests: Requests, ttft_ns: int | None, itl_ns: int | None) -> int:
    """Return how many requests meet two limits; None is no limit, and no value meets any."""
    return sum(
        (ttft is None or ttft_ns is None or ttft <= ttft_ns)
        and (itl is None or itl_ns is None or itl <= itl_ns)
        for ttft, itl in requests
    )


@given(edges, edges, st.lists(st.tuples(values, values), max_size=60))
def test_every_cell_is_a_recount(
    rows: tuple[int, ...], columns: tuple[int, ...], requests: Requests
) -> None:
    """Each pair of edges has the number of requests that met both, of any kind."""
    frontier = Frontier(rows, columns)
    for ttft_ns, itl_ns in requests:
        frontier.grid("m").count(ttft_ns, itl_ns)
    samples = read(frontier)

    assert len(samples) == (len(rows) + 1) * (len(columns) + 1) * bool(requests)
    for ttft_ns in (*rows, None) if requests else ():
        for itl_ns in (*columns, None):
            ttft_le, itl_le = ("+Inf" if e is None else spell(e) for e in (ttft_ns, itl_ns))
            labels = ("m", ttft_le, itl_le)
            assert samples[labels] == recount(requests, ttft_ns, itl_ns)


@given(edges, edges, st.lists(st.tuples(values, values)), st.lists(st.tuples(values, values)))
def test_a_wider_grid(
    rows: tuple[int, ...], columns: tuple[int, ...], before: Requests, after: Requests
) -> None:
    """More edges leave every count at the old ones, and count exactly from then on."""
    frontier = Frontier(rows[:1], columns[:1])
    for ttft_ns, itl_ns in before:
        frontier.grid("m").count(ttft_ns, itl_ns)
    old = read(frontier)
    frontier.widen(rows, columns)
    widened = read(frontier)
    for ttft_ns, itl_ns in after:
        frontier.grid("m").count(ttft_ns, itl_ns)
    new = read(frontier)

    assert {labels: widened[labels] for labels in old} == old
    for ttft_ns, itl_ns in [(r, c) for r in rows for c in columns] if before and after else ():
        labels = ("m", spell(ttft_ns), spell(itl_ns))
        assert new[labels] - widened[labels] == recount(after, ttft_ns, itl_ns)


def test_the_same_edges_change_nothing() -> None:
    """A grid that is held goes on counting when no edge is new."""
    frontier = Frontier((1,), (1,))
    grid = frontier.grid("m")
    frontier.widen((1,), (1,))
    assert frontier.grid("m") is grid
