"""The request log: the share that is asked for, all that may be told, and nothing else."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from goodput_proxy.judged import JudgedRequest
from goodput_proxy.policy import SloClass
from goodput_proxy.record import CancelPhase, Outcome, RequestRecord
from goodput_proxy.requestlog import RequestLog, describe
from goodput_proxy.settings import LogSettings
from goodput_proxy.slo import Limits, judge
from goodput_proxy.stream import Api
from goodput_proxy.stream.events import TokenSource

MS = 10**6
SLO = SloClass("chat", Limits(ttft_ns=500 * MS, itl_ns=100 * MS), 0.95)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def judged(record: RequestRecord, *headers: tuple[bytes, bytes]) -> JudgedRequest:
    """Return a request that has ended so."""
    return JudgedRequest(
        Api.CHAT, "llama", SLO, record, judge(record, SLO.limits), 3, list(headers)
    )


SLOW = judged(
    RequestRecord(
        Outcome.OK,
        elapsed_ns=2000 * MS,
        ttft_ns=600 * MS,
        itl_ns=101 * MS,
        stall_ns=300 * MS,
        e2e_ns=1_999_999_400,
        output_tokens=12,
        input_tokens=7,
        token_source=TokenSource.USAGE,
    ),
    (b"X-Request-Id", b"r-1"),
    (b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode()),
    (b"Authorization", b"Bearer secret"),
)
GOOD = judged(RequestRecord(Outcome.OK, elapsed_ns=MS, ttft_ns=MS, itl_ns=MS, e2e_ns=MS))
LEFT = judged(RequestRecord(Outcome.CLIENT, elapsed_ns=MS, cancel_phase=CancelPhase.BEFORE_HEADERS))


def test_what_is_told() -> None:
    """Names, times, tokens, class, verdict and its reasons."""
    assert describe(SLOW) == {
        "request_id": "r-1",
        "trace_id": TRACE,
        "api": "chat",
        "model": "llama",
        "slo": "chat",
        "verdict": "slow",
        "cause": "ttft",
        "missed": ["ttft", "itl"],
        "ttft_ms": 600.0,
        "itl_ms": 101.0,
        "stall_ms": 300.0,
        "e2e_ms": 1999.999,
        "elapsed_ms": 2000.0,
        "output_tokens": 12,
        "input_tokens": 7,
        "token_source": "usage",
        "in_flight": 3,
    }


def test_what_is_absent_is_not_told() -> None:
    """A request without an answer has few fields."""
    assert describe(LEFT) == {
        "api": "chat",
        "model": "llama",
        "slo": "chat",
        "verdict": "cancelled",
        "cause": "client",
        "elapsed_ms": 1.0,
        "output_tokens": 0,
        "cancel_phase": "before_headers",
        "in_flight": 3,
    }


@pytest.mark.parametrize(
    ("requests", "bad_requests", "draw", "expected"),
    [
        (0.0, 0.0, 0.0, []),
        (1.0, 0.0, 0.999, ["good", "slow"]),
        (0.5, 0.0, 0.5, []),
        (0.5, 0.0, 0.499, ["good", "slow"]),
        (0.1, 1.0, 0.5, ["slow"]),
        (0.0, 1.0, 0.0, ["slow"]),
        (1.0, 0.1, 0.5, ["good", "slow"]),
    ],
)
def test_shares(requests: float, bad_requests: float, draw: float, expected: list[str]) -> None:
    """Each kind is written by its own share; the bad ones by the greater of the two."""
    settings = LogSettings(requests=requests, bad_requests=bad_requests)
    log = RequestLog(settings, lambda: draw)
    with capture_logs() as lines:
        log.write(GOOD)
        log.write(SLOW)
    assert [line["verdict"] for line in lines] == expected
    assert all((line["event"], line["log_level"]) == ("request", "info") for line in lines)
    assert log.wanted is bool(requests or bad_requests)
