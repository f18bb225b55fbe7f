"""Whether a promise was kept.

Pure: a record and limits in, one verdict out. Comparison is `<=`, as in every benchmark of
the field. Each inference request gets exactly one verdict:

  good          ended well, every limit of its class met
  good_partial  ended well, what could be computed was met, and at least one limit could not
                be computed (ITL with one token, TTFT of an answer that is not streamed)
  slow          ended well but missed a limit; or its client left after one was missed, for
                else abandoning late requests would raise goodput (arXiv 2410.14257)
  error         the server's fault
  client_error  any other 4xx; or the proxy has lost patience with an upload
  cancelled     the client left before any limit was missed

goodput = rate of good and good_partial; its ratio is taken over these two, slow and error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from .record import Outcome, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable


class Verdict(StrEnum):
    """The judgement of one request; the value is the label `verdict`."""

    GOOD = "good"
    GOOD_PARTIAL = "good_partial"
    SLOW = "slow"
    ERROR = "error"
    CLIENT_ERROR = "client_error"
    CANCELLED = "cancelled"


class Dimension(StrEnum):
    """What a limit bounds; the order is that in which the first miss becomes the cause."""

    TTFT = "ttft"
    STALL = "stall"
    ITL = "itl"
    E2E = "e2e"


# Every verdict with every cause that it may have.
VERDICT_CAUSES: tuple[tuple[Verdict, str], ...] = (
    (Verdict.GOOD, ""),
    (Verdict.GOOD_PARTIAL, ""),
    *((Verdict.SLOW, dimension.value) for dimension in Dimension),
    (Verdict.ERROR, Outcome.HTTP_5XX),
    (Verdict.ERROR, Outcome.HTTP_429),
    (Verdict.ERROR, Outcome.HTTP_408),
    (Verdict.ERROR, Outcome.STREAM_ERROR),
    (Verdict.ERROR, Outcome.TRUNCATED),
    (Verdict.ERROR, Outcome.EMPTY),
    (Verdict.ERROR, Outcome.CONNECT),
    (Verdict.ERROR, Outcome.TIMEOUT),
    (Verdict.CLIENT_ERROR, Outcome.HTTP_4XX),
    (Verdict.CANCELLED, Outcome.CLIENT),
)
COMPLIANT = frozenset((Verdict.GOOD, Verdict.GOOD_PARTIAL))
# Over these the goodput ratio is taken.
IN_RATIO = COMPLIANT | {Verdict.SLOW, Verdict.ERROR}


@dataclass(frozen=True, slots=True)
class Limits:
    """The promise of a class; None where nothing is promised."""

    ttft_ns: int | None = None
    itl_ns: int | None = None
    stall_ns: int | None = None
    e2e_ns: int | None = None

    def items(self) -> Iterable[tuple[Dimension, int]]:
        """Return the limits that are set, in the order of `Dimension`."""
        values = (self.ttft_ns, self.stall_ns, self.itl_ns, self.e2e_ns)
        return [(d, v) for d, v in zip(Dimension, values, strict=True) if v is not None]


class Judgement(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A verdict with its reasons."""

    verdict: Verdict
    cause: str = ""  # an Outcome or a Dimension; empty for a good request
    missed: tuple[Dimension, ...] = ()

    @property
    def compliant(self) -> bool:
        """Whether the request counts as goodput."""
        return self.verdict in COMPLIANT


def judge(record: RequestRecord, limits: Limits) -> Judgement:
    """Return the one verdict of a request that has ended."""
    if record.outcome is Outcome.HTTP_4XX:
        return Judgement(Verdict.CLIENT_ERROR, Outcome.HTTP_4XX)
    if record.outcome is not Outcome.OK and record.outcome is not Outcome.CLIENT:
        return Judgement(Verdict.ERROR, record.outcome)
    left = record.outcome is Outcome.CLIENT
    values = measured(record)
    partial = False
    missed: list[Dimension] = []
    for dimension, limit_ns in limits.items():
        value_ns = values[dimension]
        if value_ns is None:
            partial = True
        elif value_ns > limit_ns:
            missed.append(dimension)
    if missed:
        return Judgement(Verdict.SLOW, missed[0], tuple(missed))
    if left:
        return Judgement(Verdict.CANCELLED, Outcome.CLIENT)
    return Judgement(Verdict.GOOD_PARTIAL if partial else Verdict.GOOD)


def measured(record: RequestRecord) -> dict[Dimension, int | None]:
    """Return what a limit is compared with; of a request whose client left, what it took so far."""
    return _values_so_far(record) if record.outcome is Outcome.CLIENT else _values(record)


def _values(record: RequestRecord) -> dict[Dimension, int | None]:
    return {
        Dimension.TTFT: record.ttft_ns,
        Dimension.STALL: record.stall_ns,
        Dimension.ITL: record.itl_ns,
        Dimension.E2E: record.e2e_ns,
    }


def _values_so_far(record: RequestRecord) -> dict[Dimension, int | None]:
    """Return what a request that is still running has used up of its limits."""
    values = _values(record)
    values[Dimension.E2E] = record.elapsed_ns
    if record.awaits_token:
        values[Dimension.TTFT] = record.elapsed_ns
    elif record.ttft_ns is not None:
        values[Dimension.STALL] = max(record.stall_ns or 0, record.waiting_ns)
    return values
