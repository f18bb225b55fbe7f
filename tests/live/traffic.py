"""Judged requests without a server: what the observers of the data path are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from goodput_proxy.judged import JudgedRequest
from goodput_proxy.policy import Policy, SloClass
from goodput_proxy.record import Gaps, Outcome, RequestRecord
from goodput_proxy.slo import Limits, judge
from goodput_proxy.stream import Api
from goodput_proxy.traffic import Traffic

if TYPE_CHECKING:
    from goodput_proxy.app import App
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


# -- told to an app, as its taps do

SETTINGS = {
    "upstream": "http://127.0.0.1:1",
    "listen": "127.0.0.1:0",
    "admin_listen": "127.0.0.1:0",
    "slo": {"ttft": "1s", "itl": "100ms", "objective": 0.95},
    "slo_classes": [
        {"name": "chat", "match": {"model": "m-*"}, "ttft": "500ms", "itl": "50ms"},
        {"name": "batch", "match": {"path": "/v1/completions"}, "e2e": "2m", "objective": 0.5},
    ],
}


def tell(app: App, *requests: JudgedRequest) -> None:
    """Tell the proxy's metrics and observers of requests, as its taps do."""
    assert isinstance(app.traffic, Traffic)
    for judged in requests:
        app.metrics.observe(judged)
        for observe in app.traffic.meters.observers:
            observe(judged)


def mixed(app: App) -> list[JudgedRequest]:
    """Return requests of all kinds, in the classes of an app."""
    chat, batch, default = app._policy.classes
    edges = app.metrics.icl_edges_ns
    app.metrics.admit(Api.CHAT, "m-7b", chat)
    app.metrics.admit(Api.CHAT, "<script>alert(1)</script>", default)

    def of(slo: Any = chat, model: str = "m-7b", **values: Any) -> JudgedRequest:
        return ended(slo, model, icl_edges_ns=edges, **values)

    return [
        *(of(ttft_ms=20 * n, in_flight=n, tokens=40) for n in range(1, 25) for _ in range(8)),
        *(of(ttft_ms=400 + 30 * n, in_flight=24 + n) for n in range(1, 40)),
        *(of(itl_ms=60 + n, in_flight=50) for n in range(20)),
        *(of(outcome=Outcome.TRUNCATED, ttft_ms=90, in_flight=50) for _ in range(3)),
        *(of(outcome=Outcome.HTTP_5XX, ttft_ms=None, itl_ms=None, in_flight=50) for _ in range(4)),
        *(of(outcome=Outcome.HTTP_4XX, ttft_ms=None, itl_ms=None) for _ in range(5)),
        *(of(default, "<script>alert(1)</script>", ttft_ms=None, itl_ms=None) for _ in range(6)),
        *(of(batch, "unknown" * 30, ttft_ms=None, itl_ms=None) for _ in range(7)),
        of(ttft_ms=4321, tokens=30, in_flight=99, headers=[(b"x-request-id", b"the-worst-of-all")]),
    ]
