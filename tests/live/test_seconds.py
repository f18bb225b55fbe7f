"""The series: one number a second for a quarter of an hour."""

from __future__ import annotations

import pytest

from goodput_proxy.live.seconds import Seconds
from goodput_proxy.live.tally import PLACES
from goodput_proxy.live.window import WINDOW_S
from goodput_proxy.record import Outcome
from goodput_proxy.slo import Dimension, Verdict

START = 5_000_123
GOOD = PLACES[Verdict.GOOD, ""]


def test_a_second_is_shown_when_it_has_passed() -> None:
    """The present second is never taken for a whole one."""
    seconds = Seconds(START)
    seconds.count(GOOD)
    assert seconds.look() == (START, [[], [], []])

    seconds.advance(START + 1)
    assert seconds.look() == (START + 1, [[1], [0], [0]])


@pytest.mark.parametrize(
    ("verdict", "cause", "expected"),
    [
        (Verdict.GOOD, "", [1, 0, 0]),
        (Verdict.GOOD_PARTIAL, "", [1, 0, 0]),
        (Verdict.SLOW, Dimension.STALL, [0, 1, 0]),
        (Verdict.ERROR, Outcome.TRUNCATED, [0, 0, 1]),
        (Verdict.CLIENT_ERROR, Outcome.HTTP_4XX, [0, 0, 0]),
        (Verdict.CANCELLED, Outcome.CLIENT, [0, 0, 0]),
    ],
)
def test_series_by_verdict(verdict: Verdict, cause: str, expected: list[int]) -> None:
    """Good, slow and error; what is not in the ratio is in none."""
    seconds = Seconds(START)
    seconds.count(PLACES[verdict, cause])
    seconds.advance(START + 1)

    assert [series[0] for series in seconds.look()[1]] == expected


@pytest.mark.parametrize("step", [1, 7, WINDOW_S - 1, WINDOW_S, WINDOW_S + 1, 5 * WINDOW_S])
def test_a_pause_is_zeros(step: int) -> None:
    """Seconds without a request are there, and old ones are gone, however long the pause was."""
    seconds = Seconds(START)
    expected: dict[int, int] = {}
    second = START
    for times in range(1, 12):
        for _ in range(times):
            seconds.count(GOOD)
        expected[second] = times
        second += step
        seconds.advance(second)

    now, (good, _, _) = seconds.look()
    assert now == second
    assert len(good) == min(second - START, WINDOW_S - 1)
    shown = range(second - len(good), second)
    assert good == [expected.get(moment, 0) for moment in shown]
