"""A run is summed up honestly: windows instead of lucky seconds, and no excuse for a difference."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from goodput_proxy.demo.knee import Band
from goodput_proxy.demo.outcome import Climb, Course, Density, Outcome, Sample, Spread, Totals
from goodput_proxy.demo.records import CUT, ClientRecord, Recount
from goodput_proxy.demo.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence


def verdicts(good: int = 0, slow: int = 0, failed: int = 0) -> Verdicts:
    counts = {("good", ""): good, ("slow", "ttft"): slow, ("error", "connect"): failed}
    return Verdicts(Counter(counts))


def outcome(
    counts: Sequence[tuple[int, int]] = (),
    total: Verdicts | None = None,
    *,
    recounted: tuple[int, int, int] = (0, 0, 0),
    near_limit: int = 0,
) -> Outcome:
    samples = [
        Sample(float(at + 1), 1.0, 4, verdicts(good, slow), None, None)
        for at, (good, slow) in enumerate(counts)
    ]
    good, completed, failed = recounted
    recount = Recount(good, completed, failed, good / 1.0, completed / 1.0)
    return Outcome(samples, Totals([], total or verdicts(), recount, near_limit, 25_000_000))


def test_percentiles_are_measured_values() -> None:
    """Nearest rank over what is known; nothing known, nothing said."""
    assert Spread.of([None, 3, 1, 2]) == Spread(2, 2)
    assert Spread.of(range(1, 101)) == Spread(50, 95)
    assert Spread.of([7.5]) == Spread(7.5, 7.5)
    assert Spread.of([None]) is None


def test_rates_are_per_second_of_the_sample() -> None:
    """An interval that took longer is divided by what it took."""
    sample = Sample(1.0, 2.0, 4, verdicts(6, 2), None, None)
    assert (sample.throughput_rps, sample.goodput_rps) == (4.0, 3.0)


def test_peak_and_end_are_averages_of_a_third_of_the_run() -> None:
    """One lucky second is no peak, and one bad second is no collapse."""
    run = outcome([(9, 0), (1, 0), (8, 0), (8, 0), (0, 30), (1, 7)])
    assert run.goodput == Course(peak_rps=8.0, final_rps=0.5)
    assert run.throughput == Course(peak_rps=19.0, final_rps=19.0)
    assert run.goodput.kept == 0.5 / 8


def test_nothing_measured_is_no_division_by_zero() -> None:
    """A run that was stopped at once has rates of zero."""
    assert outcome().goodput == Course(0.0, 0.0)
    assert outcome().goodput.kept == 0.0


@pytest.mark.parametrize(
    ("counted", "recounted", "near", "disagreement", "explained"),
    [
        (verdicts(5, 3), (5, 8, 0), 0, 0, True),
        (verdicts(5, 3), (4, 8, 0), 1, 1, True),
        (verdicts(5, 3), (4, 8, 0), 0, 1, False),
        (verdicts(5, 3), (5, 5, 0), 2, 3, False),
        (verdicts(5, 3, failed=1), (5, 8, 0), 0, 1, False),
        (verdicts(), (0, 0, 0), 0, 0, True),
    ],
)
def test_a_difference_needs_an_excuse(
    counted: Verdicts,
    recounted: tuple[int, int, int],
    near: int,
    disagreement: int,
    *,
    explained: bool,
) -> None:
    """Proxy and clients may differ on requests near a limit and on no others."""
    run = outcome((), counted, recounted=recounted, near_limit=near)
    totals = run.totals
    assert (totals.disagreement, totals.explained) == (disagreement, explained)


def record(tokens: int, records: int, **changes: Any) -> ClientRecord:
    fields = {"ttft_ns": 100, "itl_ns": 1.0, "e2e_ns": 1000, "status": 200, "ok": True}
    fields |= {"start_ns": 0, "output_tokens": tokens, "content_records": records}
    return ClientRecord(**{**fields, **changes})


def test_a_sample_is_measured_by_its_clients() -> None:
    """Latencies come from the records of the stretch, and what was not reached is left out."""
    records = [record(3, 3, stall_ns=7), record(1, 1, itl_ns=None), record(0, 0, ttft_ns=None)]
    sample = Sample.of(9.0, 1.0, 4, verdicts(2), records)
    assert (sample.ttft, sample.itl) == (Spread(100, 100), Spread(1.0, 1.0))
    assert sample.stall == Spread(7, 7)


def test_answers_are_those_that_were_waited_for() -> None:
    """What its own client gave up is no answer, whatever its status was."""
    records = [record(3, 3), record(3, 3, status=500, ok=False), record(1, 1, error=CUT, ok=False)]
    totals = Totals(records, verdicts(), Recount(0, 0, 0, 0.0, 0.0), 0, 0, {"connect": 2})
    assert (len(totals.answers), totals.http_200, totals.cut) == (2, 1, 1)
    assert totals.errors == {"connect": 0}


def test_density_is_for_records_with_several_tokens() -> None:
    """The ITL of all answers by tokens, and the one that counting records would give."""
    answers = [record(7, 4), record(13, 7), record(1, 1, itl_ns=None), record(9, 1, ok=False)]
    assert Density.of(answers) == Density(10.0, 5.5, 1800 / 18, 1800 / 9)
    assert Density.of([record(7, 7)]) is None
    assert Density.of([]) is None


def test_both_knees_follow_one_rule() -> None:
    """A level breaks where its share of good requests does, and so does a band."""
    levels = [
        Sample(1.0, 1.0, users, verdicts(good, 100 - good), None, None)
        for users, good in ((1, 100), (2, 95), (4, 94), (8, 100))
    ]
    bands = [Band(1, 10, 10), Band(2, 10, 10), Band(4, 10, 10), Band(8, 10, 2)]
    climb = Climb(levels, outcome().totals, bands)
    assert (climb.knee, climb.proxys_knee) == (2, 4)
