"""The documents of the JSON API, version 1, field by field; pure.

These types are the contract: the reference page and the JSON Schema are generated from them.
Within a version fields may be added and none is removed, renamed or given another meaning.
Latencies are in milliseconds, as in the request log; spans and points of time are in seconds.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

API: Final = "v1"

Count = Annotated[int, Meta(ge=0)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Milliseconds = Annotated[float, Meta(ge=0)]


class Rates(msgspec.Struct, frozen=True):
    """What a stretch of time was like."""

    seconds: Annotated[float, Meta(description="its length")]
    throughput_rps: Annotated[
        float, Meta(description="requests per second that were answered: good and slow ones")
    ]
    goodput_rps: Annotated[
        float, Meta(description="requests per second that met all limits of their class")
    ]
    error_rps: Annotated[float, Meta(description="requests per second that the server failed")]
    ratio: Annotated[
        Ratio | None,
        Meta(description="goodput ratio: good of good, slow and failed; null without requests"),
    ]


class VerdictCount(msgspec.Struct, frozen=True):
    """How many requests got a verdict for a cause."""

    verdict: Annotated[str, Meta(description="label `verdict` of `goodput_requests_total`")]
    cause: Annotated[str, Meta(description="label `cause`; empty where all was well")]
    window: Annotated[Count, Meta(description="requests within the window")]
    ever: Annotated[Count, Meta(description="requests since the start, as in `/metrics`")]


class Limits(msgspec.Struct, frozen=True):
    """What was promised; null where nothing was."""

    ttft_ms: Annotated[Milliseconds | None, Meta(description="time to first token")]
    itl_ms: Annotated[Milliseconds | None, Meta(description="mean time between tokens")]
    stall_ms: Annotated[Milliseconds | None, Meta(description="longest time between tokens")]
    e2e_ms: Annotated[Milliseconds | None, Meta(description="time to the last token")]


class Distribution(msgspec.Struct, frozen=True):
    """How a latency was distributed within the window."""

    edges_ms: Annotated[
        list[Milliseconds], Meta(description="ascending upper edges; each limit is one")
    ]
    counts: Annotated[
        list[Count],
        Meta(description="requests per bucket, disjoint; the last has no upper edge"),
    ]
    p50_ms: Annotated[Milliseconds | None, Meta(description="median, interpolated in its bucket")]
    p95_ms: Annotated[Milliseconds | None, Meta(description="95th percentile, likewise")]
    limit_ms: Annotated[Milliseconds | None, Meta(description="the class's limit")]
    within: Annotated[Ratio | None, Meta(description="share within that limit alone")]


class Band(msgspec.Struct, frozen=True):
    """Requests that arrived while about as many were in flight."""

    in_flight: Annotated[
        int, Meta(ge=1, description="upper end of the band; the one before is its lower end")
    ]
    requests: Annotated[Count, Meta(description="requests of the goodput ratio")]
    ratio: Annotated[Ratio, Meta(description="goodput ratio among them")]


class Frontier(msgspec.Struct, frozen=True):
    """The goodput ratio that other limits would have given, all else equal."""

    ttft_le_ms: Annotated[
        list[Milliseconds | None], Meta(description="limit of each row; null is none")
    ]
    itl_le_ms: Annotated[
        list[Milliseconds | None], Meta(description="limit of each column; null is none")
    ]
    ratios: Annotated[list[list[Ratio]], Meta(description="a row per TTFT; empty without requests")]


class SloClass(msgspec.Struct, frozen=True):
    """A class of the policy in force, within the window."""

    name: Annotated[str, Meta(description="label `slo`")]
    objective: Annotated[Ratio, Meta(description="share of requests that is to be good")]
    limits: Annotated[Limits, Meta(description="its limits")]
    rates: Annotated[Rates, Meta(description="what the window was like for it")]
    requests: Annotated[Count, Meta(description="requests of any verdict")]
    ttft: Annotated[Distribution, Meta(description="time to first token")]
    itl: Annotated[Distribution, Meta(description="mean time between tokens, one per request")]
    stall: Annotated[Distribution, Meta(description="longest time between tokens of a request")]
    load: Annotated[
        list[Band], Meta(description="by requests in flight, ascending; empty bands left out")
    ]
    knee_in_flight: Annotated[
        int | None,
        Meta(
            description="the largest band that, like all before it, keeps the objective; null"
            " when none does. Bands with less than 20 requests are not asked"
        ),
    ]
    frontier: Annotated[Frontier, Meta(description="completed requests by other limits")]


class Model(msgspec.Struct, frozen=True):
    """A model within the window."""

    name: Annotated[str, Meta(description="label `model`; `other` beyond `limits.models`")]
    requests: Annotated[Count, Meta(description="requests of any verdict")]
    rates: Annotated[Rates, Meta(description="what the window was like for it")]


class Series(msgspec.Struct, frozen=True):
    """Requests by the second in which they ended, oldest first."""

    begin: Annotated[int, Meta(description="number of the first second; the next has one more")]
    begin_unix_s: Annotated[float, Meta(description="when that second began, in Unix time")]
    good: Annotated[list[Count], Meta(description="requests that met all limits")]
    slow: Annotated[list[Count], Meta(description="requests that missed one")]
    error: Annotated[list[Count], Meta(description="requests that the server failed")]


class Summary(msgspec.Struct, frozen=True):
    """`/api/v1/summary`, and each message of `/api/v1/stream`."""

    api: Annotated[Literal["v1"], Meta(description="version of this document")]
    version: Annotated[str, Meta(description="version of the proxy")]
    unix_s: Annotated[float, Meta(description="when this was true, in Unix time")]
    uptime_s: Annotated[float, Meta(description="age of the process")]
    proxy_url: Annotated[str, Meta(description="where clients connect")]
    in_flight: Annotated[Count, Meta(description="requests that have begun and not ended")]
    requests: Annotated[Count, Meta(description="requests of any verdict since the start")]
    now: Annotated[Rates, Meta(description="the last 10 seconds that have passed")]
    window: Annotated[Rates, Meta(description="the last 15 minutes, within half a minute")]
    verdicts: Annotated[
        list[VerdictCount], Meta(description="by verdict and cause; what never was is left out")
    ]
    classes: Annotated[
        list[SloClass],
        Meta(description="as they are tried; their counts begin anew when a reload changes them"),
    ]
    models: Annotated[list[Model], Meta(description="by requests, most first")]
    series: Annotated[
        Series,
        Meta(description="the last 15 minutes; in later messages of a stream the last 5 seconds"),
    ]


class Request(msgspec.Struct, frozen=True):
    """A request that has ended; never what was asked or answered."""

    number: Annotated[int, Meta(description="counts up, one per request")]
    ended_unix_s: Annotated[float, Meta(description="when it ended, in Unix time")]
    request_id: Annotated[
        str, Meta(description="`x-request-id`, where it is printable and of sane length")
    ]
    api: Annotated[str, Meta(description="label `api`")]
    model: Annotated[str, Meta(description="as the request named it")]
    slo: Annotated[str, Meta(description="its class")]
    verdict: Annotated[str, Meta(description="label `verdict`")]
    cause: Annotated[str, Meta(description="label `cause`")]
    limits: Annotated[
        Limits, Meta(description="those that it was judged by: its class's, or its own")
    ]
    missed: Annotated[list[str], Meta(description="every limit that it missed")]
    excess: Annotated[float | None, Meta(description="largest factor by which it exceeded a limit")]
    ttft_ms: Annotated[Milliseconds | None, Meta(description="time to first token")]
    itl_ms: Annotated[Milliseconds | None, Meta(description="mean time between tokens")]
    stall_ms: Annotated[Milliseconds | None, Meta(description="longest time between tokens")]
    e2e_ms: Annotated[Milliseconds | None, Meta(description="time to the last token")]
    elapsed_ms: Annotated[Milliseconds, Meta(description="until the exchange had ended")]
    output_tokens: Annotated[Count, Meta(description="generated tokens")]
    input_tokens: Annotated[Count | None, Meta(description="prompt tokens, where they are told")]
    in_flight: Annotated[int, Meta(description="requests when it arrived, itself included")]
    token_times_ms: Annotated[
        list[Count],
        Meta(description="when tokens came: all of a short stream, 64 to 128 of a long one"),
    ]


class Requests(msgspec.Struct, frozen=True):
    """`/api/v1/requests`."""

    api: Annotated[Literal["v1"], Meta(description="version of this document")]
    unix_s: Annotated[float, Meta(description="when this was true, in Unix time")]
    latest: Annotated[list[Request], Meta(description="the last 200, newest first")]
    worst: Annotated[
        list[Request],
        Meta(
            description="of the last hour: the 25 slow ones with the largest `excess`, and the 25"
            " failed ones that took longest"
        ),
    ]
