"""One judged request, as the metrics, the log and the live page are told of it; pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from .heads import Headers
from .policy import SloClass
from .record import RequestRecord
from .slo import Judgement
from .stream import Api


class JudgedRequest(msgspec.Struct, frozen=True, gc=False):
    """A request that has ended, with its verdict.

    Attributes:
        model: as the request names it, unbounded: no label value.
        in_flight: requests under way when it arrived, itself included.
        headers: of the request.
    """

    api: Api
    model: str
    slo: SloClass
    record: RequestRecord
    judgement: Judgement
    in_flight: int = 1
    headers: Headers = []


Observer = Callable[[JudgedRequest], None]
"""Who is told of every request that has been judged and counted."""
