"""The list of requests: what is told of each."""

from __future__ import annotations

import pytest

from goodput_proxy.live import documents
from goodput_proxy.live.kept import KeptRequests
from goodput_proxy.live.requestlist import list_requests
from tests.live.traffic import MS, S, ended, failed, slow


def test_what_is_told_of_a_request() -> None:
    """Its times by the wall's clock and its own, its counts and its verdict."""
    kept = KeptRequests()
    kept.add(
        ended(ttft_ms=600, itl_ms=100, tokens=3, in_flight=4, headers=[(b"x-request-id", b"r-1")]),
        100 * S,
    )
    latest, worst = kept.look()
    told = list_requests(latest, worst, now_ns=102 * S, unix_s=1_790_000_000.0)

    assert told.latest == told.worst
    assert told.latest == [
        documents.Request(
            number=1,
            ended_unix_s=1_790_000_000.0 - 2,
            request_id="r-1",
            api="chat",
            model="llama",
            slo="chat",
            verdict="slow",
            cause="ttft",
            limits=documents.Limits(500.0, 50.0, None, None),
            missed=["ttft", "itl"],
            excess=2.0,
            ttft_ms=600.0,
            itl_ms=100.0,
            stall_ms=200.0,
            e2e_ms=800.0,
            elapsed_ms=801.0,
            output_tokens=3,
            input_tokens=7,
            in_flight=4,
            token_times_ms=[600, 700, 800],
        )
    ]


@pytest.mark.parametrize("count", [0, 1, 300])
def test_the_list_is_as_long_as_it_may_be(count: int) -> None:
    """The last 200, and 25 of each bad kind."""
    kept = KeptRequests()
    for i in range(count):
        kept.add(slow(), i * MS)
        kept.add(failed(), i * MS)
    told = list_requests(*kept.look(), now_ns=S, unix_s=1.0)

    assert len(told.latest) == min(2 * count, 200)
    assert len(told.worst) == min(2 * count, 50)
