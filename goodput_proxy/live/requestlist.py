"""The list of requests, made of those that the history has kept; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import documents
from .distribution import describe_limits, to_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .kept import KeptRequest


def list_requests(
    latest: Sequence[KeptRequest], worst: Sequence[KeptRequest], *, now_ns: int, unix_s: float
) -> documents.Requests:
    """Return the list as of a moment, which is given by both clocks."""
    offset_s = unix_s - now_ns / 10**9
    return documents.Requests(
        api=documents.API,
        unix_s=unix_s,
        latest=[_describe(kept, offset_s) for kept in latest],
        worst=[_describe(kept, offset_s) for kept in worst],
    )


def _describe(kept: KeptRequest, offset_s: float) -> documents.Request:
    record, judgement, t0_ns = kept.record, kept.judgement, kept.record.t0_ns
    return documents.Request(
        number=kept.number,
        ended_unix_s=round(kept.ended_ns / 10**9 + offset_s, 3),
        request_id=kept.request_id,
        api=kept.api.value,
        model=kept.model,
        slo=kept.slo,
        verdict=judgement.verdict.value,
        cause=str(judgement.cause),
        limits=describe_limits(kept.limits),
        missed=[dimension.value for dimension in judgement.missed],
        excess=None if kept.excess is None else round(kept.excess, 2),
        ttft_ms=_maybe_ms(record.ttft_ns),
        itl_ms=_maybe_ms(record.itl_ns),
        stall_ms=_maybe_ms(record.stall_ns),
        e2e_ms=_maybe_ms(record.e2e_ns),
        elapsed_ms=to_ms(record.elapsed_ns),
        output_tokens=record.output_tokens,
        input_tokens=record.input_tokens,
        in_flight=kept.in_flight,
        token_times_ms=[(at_ns - t0_ns) // 10**6 for at_ns in record.token_times_ns],
    )


def _maybe_ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else to_ms(value_ns)
