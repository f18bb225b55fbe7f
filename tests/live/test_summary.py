"""The summary: what it says of a history that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from goodput_proxy.live import documents
from goodput_proxy.live.history import History
from goodput_proxy.live.summary import summarize
from goodput_proxy.record import Outcome
from tests.live.traffic import CHAT, DEFAULT, POLICY, S, ended, failed, slow

if TYPE_CHECKING:
    from goodput_proxy.judged import JudgedRequest

START = 50_000 * S + S // 2  # not at the beginning of a second


def story(
    *requests: tuple[float, JudgedRequest], now_s: float, seconds: int | None = None
) -> documents.Summary:
    """Return the summary of requests that ended so many seconds after the start."""
    history = History(POLICY, str, START)
    for at_s, judged in sorted(requests, key=lambda request: request[0]):
        history.observe(judged, START + round(at_s * S))
    return summarize(
        history.counts(START + round(now_s * S)),
        unix_s=1_790_000_000.0,
        proxy_url="http://127.0.0.1:9000",
        in_flight=3,
        seconds=seconds,
    )


def test_before_the_first_request() -> None:
    """Nothing is neither good nor bad."""
    summary = story(now_s=0.2)

    assert summary.requests == 0
    assert summary.now == documents.Rates(0.0, 0.0, 0.0, 0.0, None)
    assert (summary.verdicts, summary.models) == ([], [])
    assert [slo.name for slo in summary.classes] == ["chat", "default"]
    assert {slo.rates.ratio for slo in summary.classes} == {None}
    assert {slo.knee_in_flight for slo in summary.classes} == {None}
    assert summary.classes[0].frontier.ratios == []
    assert summary.series.good == []


def test_now_is_the_last_ten_whole_seconds() -> None:
    """What is older, or in the present second, is not in it; the window has both."""
    summary = story(
        (1, slow()),
        *((at_s, ended()) for at_s in range(10, 19)),
        (15, slow()),
        (16, failed()),
        (16, failed(Outcome.HTTP_4XX)),
        (20.4, ended()),
        (20.6, slow()),
        now_s=20.8,
    )

    assert summary.now == documents.Rates(10, 1.0, 0.9, 0.1, 9 / 11)
    assert summary.window.seconds == 20.8
    assert summary.window.ratio == 10 / 14
    assert summary.requests == 15


def test_throughput_holds_slow_requests_and_no_failed_ones() -> None:
    """The definitions are those of docs/metrics.md."""
    summary = story((0, ended()), (1, slow()), (2, failed()), now_s=10)

    assert summary.window == documents.Rates(10.0, 0.2, 0.1, 0.1, 1 / 3)


def test_series_have_a_place_in_time() -> None:
    """Each second has a number, and the first a time; the present one is left out."""
    summary = story((0, ended()), (0.6, slow()), (1.7, failed()), now_s=2.75)
    series = summary.series

    assert (series.good, series.slow, series.error) == ([1, 0, 0], [0, 1, 0], [0, 0, 1])
    assert series.begin == START // S
    assert series.begin_unix_s == pytest.approx(1_790_000_000.0 - 3.25)


def test_later_messages_repeat_a_few_seconds() -> None:
    """The numbers of the seconds tell where they belong."""
    whole = story((3, ended()), (9, slow()), now_s=12)
    part = story((3, ended()), (9, slow()), now_s=12, seconds=5)

    assert part.series.good == whole.series.good[-5:]
    assert part.series.slow == whole.series.slow[-5:]
    assert part.series.begin + 5 == whole.series.begin + len(whole.series.good)
    assert msgspec.structs.replace(part, series=whole.series) == whole


def test_verdicts_ever_and_within_the_window() -> None:
    """What was long ago is in the one and not in the other."""
    summary = story((0, failed()), (2000, slow()), (2000, slow()), now_s=2001)

    assert summary.verdicts == [
        documents.VerdictCount("slow", "ttft", 2, 2),
        documents.VerdictCount("error", "http_5xx", 0, 1),
    ]


def test_classes_and_models_have_their_own_rates() -> None:
    """Each class against its own limits; models with most requests first."""
    summary = story(
        (0, ended(CHAT, "b")),
        (0, ended(DEFAULT, "a", ttft_ms=700)),
        (0, ended(CHAT, "a", ttft_ms=700)),
        now_s=2,
    )
    chat, default = summary.classes

    assert (chat.requests, chat.rates.ratio, chat.objective) == (2, 0.5, 0.9)
    assert chat.limits == documents.Limits(500.0, 50.0, None, None)
    assert chat.ttft.within == 0.5
    assert chat.stall.within is None
    assert (default.requests, default.rates.ratio) == (1, 1.0)
    assert [(m.name, m.requests, m.rates.ratio) for m in summary.models] == [
        ("a", 2, 0.5),
        ("b", 1, 1.0),
    ]


@pytest.mark.parametrize(
    ("bands", "knee"),
    [
        ([], None),
        ([(1, 19, 0)], None),  # too few
        ([(1, 20, 0)], 1),
        ([(1, 20, 0), (2, 18, 2), (4, 17, 3)], 2),
        ([(1, 20, 0), (2, 10, 0), (4, 20, 0)], 4),  # the one between is too small to break it
        ([(1, 10, 10), (2, 20, 0)], None),  # bad already when idle
    ],
)
def test_the_knee(bands: list[tuple[int, int, int]], knee: int | None) -> None:
    """It is the last band that keeps the objective, as all before it do."""
    requests = [
        (0.0, judged)
        for in_flight, good, bad in bands
        for judged in (
            *(ended(in_flight=in_flight),) * good,
            *(ended(in_flight=in_flight, ttft_ms=900),) * bad,
        )
    ]
    chat = story(*requests, now_s=1).classes[0]

    assert chat.knee_in_flight == knee
    assert [(band.in_flight, band.requests) for band in chat.load] == [
        (in_flight, good + bad) for in_flight, good, bad in bands
    ]


def test_the_frontier_is_the_ratio_that_other_limits_would_have_given() -> None:
    """Cumulative along both axes, over all requests of the ratio, failed ones included."""
    frontier = (
        story(
            (0, ended(ttft_ms=400, itl_ms=20)),
            (0, ended(ttft_ms=900, itl_ms=20)),
            (0, ended(ttft_ms=900, itl_ms=90)),
            (0, failed()),
            now_s=1,
        )
        .classes[0]
        .frontier
    )

    def ratio(ttft_ms: float | None, itl_ms: float | None) -> float:
        row = frontier.ttft_le_ms.index(ttft_ms)
        return frontier.ratios[row][frontier.itl_le_ms.index(itl_ms)]

    assert ratio(500, 50) == 0.25
    assert ratio(1000, 50) == 0.5
    assert ratio(1000, 100) == ratio(None, None) == 0.75
    assert ratio(500, None) == 0.25
    assert ratio(300, 15) == 0.0
