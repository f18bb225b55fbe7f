"""Bulk histograms show what prometheus_client's own would show."""

from __future__ import annotations

from bisect import bisect_left
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from goodput_proxy.buckets import BulkHistogram

Sample = tuple[str, tuple[tuple[str, str], ...]]

NAME, HELP = "pause_seconds", "Pauses."


@pytest.fixture(autouse=True)
def _without_created() -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]


def read(registry: CollectorRegistry) -> dict[Sample, float]:
    """Return every sample of a registry as a scraper reads it."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def registered(histogram: BulkHistogram) -> CollectorRegistry:
    """Return a registry with one histogram."""
    registry = CollectorRegistry()
    registry.register(histogram)
    return registry


edges = st.lists(st.integers(1, 10**13), min_size=1, max_size=8, unique=True).map(sorted)


@st.composite
def observations(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[str, int]]]:
    """Return edges, and values by label of which many lie on an edge or right beside it."""
    edges_ns = tuple(draw(edges))
    near = st.builds(
        lambda edge, offset: edge + offset, st.sampled_from(edges_ns), st.integers(-1, 1)
    )
    value = st.one_of(near, st.integers(0, 2 * 10**13))
    return edges_ns, draw(st.lists(st.tuples(st.sampled_from("ab"), value), max_size=40))


@given(observations())
def test_same_as_prometheus_clients_histogram(
    drawn: tuple[tuple[int, ...], list[tuple[str, int]]],
) -> None:
    """The same observations give the same series, the same buckets and the same count."""
    edges_ns, values = drawn
    ours = BulkHistogram(NAME, HELP, ("model",), edges_ns)
    reference = CollectorRegistry()
    theirs = Histogram(
        NAME, HELP, ("model",), buckets=[e / 10**9 for e in edges_ns], registry=reference
    )
    for label, value_ns in values:
        ours.child(label).observe(value_ns)
        theirs.labels(label).observe(value_ns / 10**9)
    # Sums are the same up to the rounding of a float: ours is an exact integer.
    assert read(registered(ours)) == pytest.approx(read(reference), rel=1e-9)


@given(observations())
def test_adding_counts_is_observing_each(
    drawn: tuple[tuple[int, ...], list[tuple[str, int]]],
) -> None:
    """Ready-made bucket counts, added in any number of pieces, equal single observations."""
    edges_ns, values = drawn
    single = BulkHistogram(NAME, HELP, ("model",), edges_ns)
    bulk = BulkHistogram(NAME, HELP, ("model",), edges_ns)
    for label, value_ns in values:
        single.child(label).observe(value_ns)
    for piece in (values[::2], values[1::2]):
        for label in {label for label, _ in piece}:
            counts = [0] * (len(edges_ns) + 1)
            own = [value_ns for which, value_ns in piece if which == label]
            for value_ns in own:
                counts[bisect_left(edges_ns, value_ns)] += 1
            bulk.child(label).add(counts, sum(own), edges_ns)
    assert read(registered(bulk)) == read(registered(single))


def test_a_value_on_the_edge_is_within() -> None:
    """Comparison is `<=`: a value equal to an edge counts there, one more nanosecond does not."""
    histogram = BulkHistogram(NAME, HELP, (), (100, 200))
    for value_ns in (100, 101, 200, 201):
        histogram.child().observe(value_ns)
    assert [
        read(registered(histogram))[f"{NAME}_bucket", (("le", le),)]
        for le in ("1e-07", "2e-07", "+Inf")
    ] == [1, 3, 4]


def test_one_value_many_times() -> None:
    """`times` counts a value as often as it says, in count and sum."""
    histogram = BulkHistogram(NAME, HELP, (), (10**9,))
    histogram.child().observe(2 * 10**9, times=3)
    samples = read(registered(histogram))
    assert samples[f"{NAME}_count", ()] == 3
    assert samples[f"{NAME}_sum", ()] == 6


def test_children_exist_at_zero_once_asked_for() -> None:
    """Without labels' values there is no series; a child that was asked for is there at zero."""
    histogram = BulkHistogram(NAME, HELP, ("model",), (10**9,))
    registry = registered(histogram)
    assert read(registry) == {}
    histogram.child("a")
    assert read(registry) == {
        (f"{NAME}_bucket", (("le", "1.0"), ("model", "a"))): 0,
        (f"{NAME}_bucket", (("le", "+Inf"), ("model", "a"))): 0,
        (f"{NAME}_count", (("model", "a"),)): 0,
        (f"{NAME}_sum", (("model", "a"),)): 0,
    }


def test_a_name_is_taken_once() -> None:
    """The registry knows the names before there are values, and refuses a second owner."""
    registry = registered(BulkHistogram(NAME, HELP, ("model",), (1,)))
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(BulkHistogram(NAME, HELP, ("model",), (1,)))


def test_counts_of_fewer_edges() -> None:
    """What was counted into fewer buckets is added where it is surely right: below their ends."""
    histogram = BulkHistogram(NAME, HELP, (), (100, 200, 300))
    histogram.child().add([1, 2, 4], 1000, (100, 300))
    samples = read(registered(histogram))
    assert [samples[f"{NAME}_bucket", (("le", le),)] for le in ("1e-07", "2e-07", "3e-07")] == [
        *(1, 1, 3),
    ]
    assert samples[f"{NAME}_count", ()] == 7


def test_more_edges() -> None:
    """A new edge counts from when it is there; sums, counts and exemplars stay."""
    histogram = BulkHistogram(NAME, HELP, ("model",), (100, 300))
    histogram.child("a").observe(150, trace_id="t")
    histogram.widen((100, 200, 300))
    histogram.child("a").observe(150)
    samples = read(registered(histogram))
    labels = {le: (("le", le), ("model", "a")) for le in ("1e-07", "2e-07", "3e-07", "+Inf")}
    assert [samples[f"{NAME}_bucket", own] for own in labels.values()] == [0, 1, 2, 2]
    assert samples[f"{NAME}_sum", (("model", "a"),)] == pytest.approx(3e-7)
    assert [len(bucket) for bucket in histogram.child("a").buckets()] == [2, 3, 2, 2]


def test_the_same_edges_change_nothing() -> None:
    """Who holds a child goes on counting when no edge is new."""
    histogram = BulkHistogram(NAME, HELP, (), (100,))
    child = histogram.child()
    histogram.widen((100,))
    assert histogram.child() is child


def test_exemplars() -> None:
    """The newest value of each bucket that belongs to a trace is shown, in OpenMetrics only."""
    histogram = BulkHistogram(NAME, HELP, (), (100, 200))
    child = histogram.child()
    for value_ns, trace_id in ((50, "first"), (60, "second"), (70, ""), (150, "third")):
        child.observe(value_ns, trace_id=trace_id)
    registry = registered(histogram)
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    families = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    found = [sample for family in families for sample in family.samples if sample.exemplar]
    exemplars = {s.labels["le"]: (s.exemplar.labels, s.exemplar.value) for s in found}
    assert all(abs(float(s.exemplar.timestamp) - time()) < 60 for s in found)
    assert exemplars == {
        "1e-07": ({"trace_id": "second"}, 6e-8),
        "2e-07": ({"trace_id": "third"}, 1.5e-7),
    }
    assert b"trace_id" not in generate_latest(registry)
