"""The requests that are kept: the latest whatever they are, the worst for longer."""

from __future__ import annotations

import pytest

from goodput_proxy.judged import JudgedRequest
from goodput_proxy.live.kept import LATEST, WORST, KeptRequests
from goodput_proxy.record import CancelPhase, Outcome, RequestRecord
from goodput_proxy.slo import judge
from goodput_proxy.stream import Api
from tests.live.traffic import CHAT, S, ended, failed, slow

SECRET = b"Bearer sk-secret"


def test_the_latest_are_the_last_newest_first() -> None:
    """Of very many requests as many are kept as are shown."""
    kept = KeptRequests()
    for second in range(3 * LATEST):
        kept.add(ended(), second * S)
    latest, worst = kept.look()

    assert [entry.ended_ns // S for entry in latest] == list(range(2 * LATEST, 3 * LATEST))[::-1]
    assert latest[0].number == 3 * LATEST
    assert worst == []


def test_the_worst_are_not_washed_away() -> None:
    """A slow request is seen among the worst when thousands of good ones have come after it."""
    kept = KeptRequests()
    kept.add(slow(2000), 0)
    for second in range(5000):
        kept.add(ended(), second)

    assert [entry.excess for entry in kept.look()[1]] == [4.0]


def test_the_worst_are_those_farthest_beyond_a_limit() -> None:
    """Of many slow requests the largest factors stay, largest first."""
    kept = KeptRequests()
    for ttft_ms in (*range(600, 1600, 10), *range(1595, 595, -10)):
        kept.add(slow(ttft_ms), 0)
    factors = [entry.excess for entry in kept.look()[1]]

    assert factors == sorted((t / 500 for t in range(600, 1600, 5)), reverse=True)[: WORST // 2]


def test_failures_have_places_of_their_own() -> None:
    """Neither do thousands of slow requests hide the failed ones, nor the other way round."""
    kept = KeptRequests()
    for _ in range(WORST):
        kept.add(slow(), 0)
        kept.add(failed(), 0)
    verdicts = [entry.judgement.verdict.value for entry in kept.look()[1]]

    assert verdicts == ["slow"] * (WORST // 2) + ["error"] * (WORST // 2)


@pytest.mark.parametrize(
    ("judged", "excess"),
    [
        (ended(), None),
        (slow(1000), 2.0),
        (ended(ttft_ms=600, itl_ms=150), 3.0),
        (failed(Outcome.HTTP_4XX), None),
    ],
)
def test_excess_is_the_largest_factor(judged: JudgedRequest, excess: float | None) -> None:
    """A request that misses several limits counts by the one it misses most."""
    kept = KeptRequests()
    kept.add(judged, 0)

    assert kept.look()[0][0].excess == excess


def test_excess_of_a_client_that_gave_up() -> None:
    """It waited for its first token four times as long as promised, and left."""
    record = RequestRecord(
        Outcome.CLIENT,
        elapsed_ns=2 * S,
        awaits_token=True,
        cancel_phase=CancelPhase.BEFORE_FIRST_TOKEN,
    )
    judged = JudgedRequest(Api.CHAT, "m", CHAT, record, judge(record, CHAT.limits))
    kept = KeptRequests()
    kept.add(judged, 0)

    assert kept.look()[1][0].excess == 4.0


def test_old_sins_are_forgotten() -> None:
    """What is dropped by its age leaves its place to what is less bad."""
    kept = KeptRequests()
    for _ in range(WORST):
        kept.add(slow(9000), 0)
    kept.forget(1)
    kept.add(slow(600), 2)

    assert [entry.ended_ns for entry in kept.look()[1]] == [2]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"r-1", "r-1"), (b"", ""), (b"a" * 129, ""), (b"\xff\x00", ""), (b"two words", "")],
)
def test_of_the_headers_only_a_sane_request_id_is_kept(sent: bytes, expected: str) -> None:
    """Keys in particular are not held longer than their request."""
    kept = KeptRequests()
    kept.add(ended(headers=[(b"X-Request-Id", sent), (b"Authorization", SECRET)]), 0)
    entry = kept.look()[0][0]

    assert entry.request_id == expected
    assert "secret" not in repr(entry)
