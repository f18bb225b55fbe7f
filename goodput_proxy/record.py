"""What is known of a request when its exchange has ended; nothing here computes anything.

The definitions of the times stand at the top of `timeline`, which makes a record; `slo` judges
it and `metrics` counts it. Records are msgspec structs, as events are and for the same reason.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from .faults import MeterFault
from .stream.events import TokenSource


class End(StrEnum):
    """How the exchange with the upstream ended, as the data path saw it."""

    CLEAN = "clean"
    CUT = "cut"  # reset, or closed in the middle of its framing
    CLIENT_LEFT = "client_left"
    CONNECT_FAILED = "connect_failed"
    TIMED_OUT = "timed_out"


class Outcome(StrEnum):
    """What became of a request before any limit is looked at; values are `cause` labels."""

    OK = "ok"
    STREAM_ERROR = "stream_error"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    HTTP_5XX = "http_5xx"
    HTTP_429 = "http_429"
    HTTP_408 = "http_408"
    HTTP_4XX = "http_4xx"
    CLIENT = "client"


class CancelPhase(StrEnum):
    """How far a response was when its client left; the value is the label `phase`."""

    BEFORE_HEADERS = "before_headers"
    BEFORE_FIRST_TOKEN = "before_first_token"  # noqa: S105 -- not that kind of token
    BETWEEN_TOKENS = "between_tokens"
    AFTER_LAST_TOKEN = "after_last_token"  # noqa: S105


class Gaps(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Every ICL of a request as bucket counts: `counts[i]` gaps lie at or below edge i.

    The buckets are disjoint; the last count holds the gaps above the last edge.
    """

    counts: tuple[int, ...] = ()
    sum_ns: int = 0
    edges_ns: tuple[int, ...] = ()


class RequestRecord(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What was measured of one request; None where a value does not exist."""

    outcome: Outcome
    elapsed_ns: int  # until the end of the exchange, whatever ended it
    ttft_ns: int | None = None
    itl_ns: int | None = None
    stall_ns: int | None = None
    e2e_ns: int | None = None
    waiting_ns: int = 0  # since the last token, or since t0 before the first
    awaits_token: bool = False  # the first token of a stream had not come
    output_tokens: int = 0
    input_tokens: int | None = None
    token_source: TokenSource = TokenSource.EVENTS
    gaps: Gaps = Gaps()
    cancel_phase: CancelPhase | None = None
    t0_ns: int = 0
    token_times_ns: tuple[int, ...] = ()  # of some tokens, evenly chosen; see `timeline`
    control: bool = False  # the server says that no output was asked for
    unclassified: dict[MeterFault, int] = {}  # unread records by reason
