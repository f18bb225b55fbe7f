"""Judged requests without a server: what the observers of the data path are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from goodput_proxy.judged import JudgedRequest
from goodput_proxy.policy import Policy, SloClass
from goodput_proxy.record import Gaps, Outcome, RequestRecord
from goodput_proxy.slo import Limits, judge
from goodput_proxy.stream import Api

if TYPE_CHECKING:
    from goodput_proxy.heads import Headers

MS = 10**6
S = 10**9

CHAT = SloClass("chat", Limits(ttft_ns=500 * MS, itl_ns=50 * MS), 0.9)
DEFAULT = SloClass("default", Limits(ttft_ns=1000 * MS, e2e_ns=10 * S), 0.95)
POLICY = Policy((CHAT, DEFAULT))


def ended(
    slo: SloClass = CHAT,
    model: str = "llama",
    *,
    outcome: Outcome = Outcome.OK,
    ttft_ms: int | None = 100,
    itl_ms: int | None = 20,
    tokens: int = 11,
    in_flight: int = 1,
    headers: Headers | None = None,
    icl_edges_ns: tuple[int, ...] = (),
) -> JudgedRequest:
    """Return a request that has ended so, its tokens evenly spaced."""
    first_ns, itl_ns = (ttft_ms or 0) * MS, (itl_ms or 0) * MS
    times = tuple(first_ns + i * itl_ns for i in range(tokens)) if ttft_ms is not None else ()
    e2e_ns = times[-1] if times else None
    record = RequestRecord(
        outcome,
        elapsed_ns=(e2e_ns or 3 * S) + MS,
        ttft_ns=None if ttft_ms is None else first_ns,
        itl_ns=None if itl_ms is None else itl_ns,
        stall_ns=None if itl_ms is None else 2 * itl_ns,
        e2e_ns=e2e_ns,
        output_tokens=len(times),
        input_tokens=7,
        gaps=Gaps((0,) * (len(icl_edges_ns) + 1), 0, icl_edges_ns),
        token_times_ns=times[:128],
    )
    return JudgedRequest(
        Api.CHAT, model, slo, record, judge(record, slo.limits), in_flight, headers or []
    )


def slow(ttft_ms: int = 2000, slo: SloClass = CHAT) -> JudgedRequest:
    """Return a request whose first token came late."""
    return ended(slo, ttft_ms=ttft_ms)


def failed(outcome: Outcome = Outcome.HTTP_5XX) -> JudgedRequest:
    """Return a request that the server failed."""
    return ended(outcome=outcome, ttft_ms=None, itl_ms=None)
