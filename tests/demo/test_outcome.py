"""A run is summed up honestly: windows instead of lucky seconds, and no excuse for a difference."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from goodput_proxy.demo.outcome import Course, Outcome, Sample, Spread
from goodput_proxy.demo.records import Recount
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
    return Outcome(samples, [], total or verdicts(), recount, near_limit, 25_000_000)


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
    assert (run.disagreement, run.explained) == (disagreement, explained)
