"""The counts of one class: everything that is shown of it stands in one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from goodput_proxy.edges import find_edges
from goodput_proxy.live.tally import GOOD, JUDGED, PLACES, Layout, row_of, total
from goodput_proxy.record import Outcome
from goodput_proxy.slo import Verdict
from tests.live.traffic import MS, POLICY, ended, failed, slow

if TYPE_CHECKING:
    from goodput_proxy.judged import JudgedRequest

LAYOUT = Layout(find_edges(POLICY))


def count(*requests: JudgedRequest) -> list[int]:
    row = row_of(LAYOUT.size)
    for judged in requests:
        LAYOUT.count(row, PLACES[judged.judgement.verdict, judged.judgement.cause], judged)
    return list(row)


def test_verdicts_of_goodput_and_of_the_ratio() -> None:
    """Goodput is good and good_partial; its ratio is taken over these, slow and error."""
    row = count(ended(), ended(itl_ms=None), slow(), failed(), failed(Outcome.HTTP_4XX))

    assert total(row, GOOD) == 2
    assert total(row, JUDGED) == 4
    assert sum(row[: len(PLACES)]) == 5
    assert row[PLACES[Verdict.SLOW, "ttft"]] == 1
    assert row[PLACES[Verdict.ERROR, "http_5xx"]] == 1


def test_a_latency_lies_at_or_below_the_edge_of_its_bucket() -> None:
    """A value that equals a limit is within it, as in the verdict."""
    ttft, itl, stall = LAYOUT.latencies(count(ended(ttft_ms=500, itl_ms=50)))
    edges = LAYOUT.edges

    assert ttft[edges.ttft_ns.index(500 * MS)] == 1
    assert itl[edges.itl_ns.index(50 * MS)] == 1
    assert stall[edges.stall_ns.index(100 * MS)] == 1
    assert sum(ttft) == sum(itl) == sum(stall) == 1


def test_what_has_no_value_is_in_no_distribution() -> None:
    """A failed request has no latencies, and no cell of the frontier."""
    row = count(failed())

    assert [sum(counts) for counts in LAYOUT.latencies(row)] == [0, 0, 0]
    assert sum(map(sum, LAYOUT.frontier(row))) == 0


@pytest.mark.parametrize(
    ("in_flight", "band"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1 << 20, 20), (1 << 30, 20)]
)
def test_load_by_bands_that_double(in_flight: int, band: int) -> None:
    """Good and other requests of the ratio are told apart; the last band has no end."""
    load = LAYOUT.load(
        count(
            ended(in_flight=in_flight),
            ended(in_flight=in_flight),
            ended(in_flight=in_flight, ttft_ms=900),
            ended(in_flight=in_flight, outcome=Outcome.HTTP_4XX, ttft_ms=None, itl_ms=None),
        )
    )

    assert load[band] == (1, 2)
    assert sum(map(sum, load)) == 3


def test_the_frontier_takes_what_has_no_itl_as_within_all() -> None:
    """A request of one token passes every limit of ITL, as its verdict says."""
    edges = LAYOUT.edges
    cells = LAYOUT.frontier(count(ended(ttft_ms=700, itl_ms=None), ended(ttft_ms=20_000)))

    assert cells[edges.frontier_ttft_ns.index(750 * MS)][0] == 1
    assert cells[-1][edges.frontier_itl_ns.index(20 * MS)] == 1
    assert len(cells) == len(edges.frontier_ttft_ns) + 1
    assert {len(row) for row in cells} == {len(edges.frontier_itl_ns) + 1}
