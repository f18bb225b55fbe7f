"""The request log: one line per judged request, off unless it is asked for.

It says what was measured and why the verdict fell as it did, never what was asked or answered.
Many good requests look alike and one bad one is worth reading, so each kind has its own share.
"""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Any

import structlog

from .trace import request_id, sampled_trace_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from .judged import JudgedRequest
    from .settings import LogSettings

_log = structlog.get_logger()


class RequestLog:
    """Writes judged requests to the log.

    Args:
        settings: which share of them.
        draw: returns a number from 0 up to 1, other each time.
    """

    def __init__(self, settings: LogSettings, draw: Callable[[], float] = random) -> None:
        self._share = settings.requests
        self._bad_share = max(settings.bad_requests, settings.requests)
        self._draw = draw

    @property
    def wanted(self) -> bool:
        """Whether anything is ever written."""
        return self._bad_share > 0

    def write(self, judged: JudgedRequest) -> None:
        """Write a line, if the lot falls on the request."""
        share = self._share if judged.judgement.compliant else self._bad_share
        if self._draw() < share:
            _log.info("request", **describe(judged))


def describe(judged: JudgedRequest) -> dict[str, Any]:
    """Return what may be told of a request: names, times and numbers, without what is absent."""
    record, judgement = judged.record, judged.judgement
    fields = {
        "request_id": request_id(judged.headers) or None,
        "trace_id": sampled_trace_id(judged.headers) or None,
        "api": judged.api.value,
        "model": judged.model,
        "slo": judged.slo.name,
        "verdict": judgement.verdict.value,
        "cause": str(judgement.cause) or None,
        "missed": [dimension.value for dimension in judgement.missed] or None,
        "ttft_ms": _to_ms(record.ttft_ns),
        "itl_ms": _to_ms(record.itl_ns),
        "stall_ms": _to_ms(record.stall_ns),
        "e2e_ms": _to_ms(record.e2e_ns),
        "elapsed_ms": _to_ms(record.elapsed_ns),
        "output_tokens": record.output_tokens,
        "input_tokens": record.input_tokens,
        "token_source": record.token_source.value if record.output_tokens else None,
        "cancel_phase": record.cancel_phase.value if record.cancel_phase else None,
        "in_flight": judged.in_flight,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _to_ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else round(value_ns / 10**6, 3)
