"""The summary of a demonstration as JSON, field by field; pure.

`docs/demo.schema.json` is generated from these types. Latencies are in milliseconds and rates per
second, as in the proxy's own JSON API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from goodput_proxy import __version__

from .knee import OBJECTIVE

if TYPE_CHECKING:
    from . import outcome
    from .outcome import Climb, Outcome, Sample, Spread, Totals
    from .records import Limits
    from .scenarios import Scenario
    from .verdicts import Verdicts

Count = Annotated[int, Meta(ge=0)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Rate = Annotated[float, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0)]


class Percentiles(msgspec.Struct, frozen=True):
    """A latency as clients measured it."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds


class Row(msgspec.Struct, frozen=True):
    """One stretch of time."""

    at_s: Annotated[float, Meta(ge=0, description="its end, from the start of the run")]
    seconds: Annotated[float, Meta(gt=0, description="its length")]
    users: Annotated[Count, Meta(description="users at its end; each has one request at a time")]
    throughput_rps: Annotated[Rate, Meta(description="requests per second that were answered")]
    goodput_rps: Annotated[Rate, Meta(description="those that kept all limits")]
    ratio: Annotated[
        Ratio | None, Meta(description="good of good, slow and failed; null without requests")
    ]
    causes: Annotated[
        dict[str, int], Meta(description="why requests were not good, as VERDICT:CAUSE")
    ]
    ttft: Percentiles | None
    itl: Percentiles | None
    stall: Percentiles | None


class Promise(msgspec.Struct, frozen=True):
    """The limits of a request; null where there is none."""

    ttft_ms: Milliseconds
    itl_ms: Milliseconds
    stall_ms: Milliseconds | None


class Counts(msgspec.Struct, frozen=True):
    """Requests by how they ended."""

    good: Count
    slow: Count
    failed: Count


class Comparison(msgspec.Struct, frozen=True):
    """All requests of the run, as the proxy counted them and as its clients did."""

    answers: Annotated[Count, Meta(description="requests whose clients waited for the end")]
    http_200: Annotated[Count, Meta(description="answers with that status")]
    cut: Annotated[Count, Meta(description="requests that were given up when the run was stopped")]
    proxy: Counts
    clients: Counts
    near_limit: Annotated[
        Count, Meta(description="requests so close to a limit that two observers may differ")
    ]
    explained: Annotated[bool, Meta(description="whether that accounts for the difference, if any")]
    faults: Annotated[
        dict[str, int], Meta(description="failures on purpose, by the cause they should have")
    ]
    faults_found: Annotated[
        dict[str, int], Meta(description="errors that the proxy counted for these causes")
    ]


class Course(msgspec.Struct, frozen=True):
    """How a rate went; averages over a third of the run."""

    peak_rps: Rate
    final_rps: Rate


class Story(msgspec.Struct, frozen=True):
    """What was played."""

    scenario: str
    story: str
    seed: int
    objective: Ratio
    limits: Promise
    version: Annotated[str, Meta(description="of goodput-proxy")]


class Run(msgspec.Struct, frozen=True, tag_field="kind", tag="run"):
    """A scenario, row by row."""

    story: Story
    rows: list[Row]
    settled: Annotated[
        Row | None, Meta(description="all from the warm-up on; null where nothing settles")
    ]
    throughput: Course
    goodput: Course
    totals: Comparison


class Band(msgspec.Struct, frozen=True):
    """What the proxy itself counted by load, in `goodput_load_requests_total`."""

    in_flight: Annotated[Count, Meta(description="upper end of the band")]
    requests: Count
    good: Count


class Sweep(msgspec.Struct, frozen=True, tag_field="kind", tag="sweep"):
    """A sweep over levels of load."""

    story: Story
    levels: list[Row]
    knee: Annotated[
        Count,
        Meta(description="the largest level that, as all below it, keeps the objective; 0: none"),
    ]
    bands: list[Band]
    proxys_knee: Annotated[Count, Meta(description="the largest band that does")]
    totals: Comparison


def describe_run(scenario: Scenario, seed: int, finished: Outcome) -> Run:
    """Return the document of a run."""
    return Run(
        story=_story(scenario, seed),
        rows=[_row(sample) for sample in finished.samples],
        settled=None if finished.settled is None else _row(finished.settled),
        throughput=_course(finished.throughput),
        goodput=_course(finished.goodput),
        totals=_totals(finished.totals),
    )


def describe_sweep(scenario: Scenario, seed: int, sweep: Climb) -> Sweep:
    """Return the document of a sweep."""
    return Sweep(
        story=_story(scenario, seed),
        levels=[_row(level) for level in sweep.levels],
        knee=sweep.knee,
        bands=[Band(band.in_flight, band.requests, band.good) for band in sweep.bands],
        proxys_knee=sweep.proxys_knee,
        totals=_totals(sweep.totals),
    )


def encode(document: Run | Sweep) -> bytes:
    """Return the text of a document, for people and for programs."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _story(scenario: Scenario, seed: int) -> Story:
    return Story(
        scenario=scenario.name,
        story=scenario.story,
        seed=seed,
        objective=OBJECTIVE,
        limits=_promise(scenario.limits),
        version=__version__,
    )


def _promise(limits: Limits) -> Promise:
    stall_ms = None if limits.stall_ns is None else _ms(limits.stall_ns)
    return Promise(_ms(limits.ttft_ns), _ms(limits.itl_ns), stall_ms)


def _row(sample: Sample) -> Row:
    return Row(
        at_s=round(sample.at_s, 3),
        seconds=round(sample.seconds, 3),
        users=sample.users,
        throughput_rps=round(sample.throughput_rps, 4),
        goodput_rps=round(sample.goodput_rps, 4),
        ratio=sample.verdicts.ratio,
        causes=sample.verdicts.causes,
        ttft=_percentiles(sample.ttft),
        itl=_percentiles(sample.itl),
        stall=_percentiles(sample.stall),
    )


def _percentiles(spread: Spread | None) -> Percentiles | None:
    return None if spread is None else Percentiles(_ms(spread.p50_ns), _ms(spread.p95_ns))


def _course(course: outcome.Course) -> Course:
    return Course(round(course.peak_rps, 4), round(course.final_rps, 4))


def _totals(totals: Totals) -> Comparison:
    theirs = totals.recount
    return Comparison(
        answers=len(totals.answers),
        http_200=totals.http_200,
        cut=totals.cut,
        proxy=_counts(totals.verdicts),
        clients=Counts(theirs.good, theirs.slow, theirs.failed),
        near_limit=totals.near_limit,
        explained=totals.explained,
        faults=dict(totals.faults),
        faults_found=dict(totals.errors),
    )


def _counts(verdicts: Verdicts) -> Counts:
    return Counts(verdicts.good, verdicts.slow, verdicts.failed)


def _ms(duration_ns: float) -> float:
    return round(duration_ns / 1e6, 3)
