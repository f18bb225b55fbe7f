"""Requests that are kept whole for a while: the latest, and the worst for longer; pure.

Good requests look alike and wash bad ones away: so the latest are kept whatever they are, and
beside them those of the last hour that missed a limit by the largest factor, and those that
failed after the longest wait. Both have half of the places, that neither drives the other out.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from goodput_proxy.record import RequestRecord
from goodput_proxy.slo import Judgement, Limits, Verdict, measured
from goodput_proxy.stream import Api
from goodput_proxy.trace import request_id

if TYPE_CHECKING:
    from goodput_proxy.judged import JudgedRequest

LATEST = 200
WORST = 50
WORST_AGE_S = 60 * 60


class KeptRequest(msgspec.Struct, frozen=True, gc=False):
    """What may be kept of a request: neither its headers nor anything that was said.

    Attributes:
        number: counts up; no two have the same.
        excess: the largest factor by which a limit was exceeded, None when none was.
    """

    number: int
    ended_ns: int
    api: Api
    model: str
    slo: str
    limits: Limits
    record: RequestRecord
    judgement: Judgement
    in_flight: int
    request_id: str
    excess: float | None = None


class KeptRequests:
    """The latest requests and the worst."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._latest: deque[KeptRequest] = deque(maxlen=LATEST)
        # Heaps, whose least bad entry goes first when a worse one comes.
        self._slow: list[tuple[float, int, KeptRequest]] = []
        self._failed: list[tuple[float, int, KeptRequest]] = []

    def add(self, judged: JudgedRequest, now_ns: int) -> None:
        """Keep a request that has just ended."""
        judgement, number = judged.judgement, next(self._numbers)
        slow = judgement.verdict is Verdict.SLOW
        excess = _find_excess(judged.record, judgement, judged.slo.limits) if slow else None
        kept = KeptRequest(
            number,
            now_ns,
            judged.api,
            judged.model,
            judged.slo.name,
            judged.slo.limits,
            judged.record,
            judgement,
            judged.in_flight,
            request_id(judged.headers),
            excess,
        )
        self._latest.append(kept)
        if excess is not None:
            _offer(self._slow, (excess, number, kept))
        elif judgement.verdict is Verdict.ERROR:
            _offer(self._failed, (judged.record.elapsed_ns, number, kept))

    def forget(self, before_ns: int) -> None:
        """Drop the worst that ended before this time."""
        for heap in (self._slow, self._failed):
            heap[:] = [entry for entry in heap if entry[2].ended_ns >= before_ns]
            heapify(heap)

    def look(self) -> tuple[list[KeptRequest], list[KeptRequest]]:
        """Return the latest, newest first, and the worst: slow ones, then failed ones."""
        worst = [*sorted(self._slow, reverse=True), *sorted(self._failed, reverse=True)]
        return list(reversed(self._latest)), [kept for _, _, kept in worst]


def _offer(
    heap: list[tuple[float, int, KeptRequest]], entry: tuple[float, int, KeptRequest]
) -> None:
    if len(heap) < WORST // 2:
        heappush(heap, entry)
    elif entry > heap[0]:
        heapreplace(heap, entry)


def _find_excess(record: RequestRecord, judgement: Judgement, limits: Limits) -> float:
    values, bounds = measured(record), dict(limits.items())
    return max(_ratio(values[dimension], bounds[dimension]) for dimension in judgement.missed)


def _ratio(value_ns: int | None, limit_ns: int) -> float:
    return (value_ns or 0) / limit_ns
