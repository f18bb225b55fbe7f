"""The summary, made of what the history has counted; pure."""

from __future__ import annotations

from itertools import accumulate, takewhile
from typing import TYPE_CHECKING

from goodput_proxy import __version__

from . import documents
from .distribution import describe_limits, distribution, to_ms
from .tally import GOOD, JUDGED, PLACES, total

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from goodput_proxy.policy import SloClass

    from .history import Counts
    from .tally import Layout

# What "now" means: long enough for a rate of single requests, short enough to see a change.
NOW_S = 10
# A band with fewer says nothing about the objective: with 20, one request is 5 %.
KNEE_REQUESTS = 20

_ANSWERED = frozenset(p for (verdict, _), p in PLACES.items() if verdict == "slow") | GOOD


def summarize(
    counts: Counts, *, unix_s: float, proxy_url: str, in_flight: int, seconds: int | None = None
) -> documents.Summary:
    """Return the summary of a moment.

    Args:
        counts: what had been counted then.
        unix_s: the moment.
        proxy_url: where clients connect.
        in_flight: requests under way.
        seconds: how many of the last seconds are listed; None for all.
    """
    good, slow, error = counts.series
    listed = min(len(good), len(good) if seconds is None else seconds)
    now_s = min(NOW_S, len(good))
    begin = counts.second - listed
    present_s = counts.now_ns / 10**9 - counts.second
    window_s = counts.now_ns / 10**9 - max(counts.models.since, counts.start_ns / 10**9)
    window = _sum(counts.models.grown.values())
    ever = _sum(counts.models_ever.values())
    return documents.Summary(
        api=documents.API,
        version=__version__,
        unix_s=unix_s,
        uptime_s=(counts.now_ns - counts.start_ns) / 10**9,
        proxy_url=proxy_url,
        in_flight=in_flight,
        requests=sum(ever),
        now=_rates(now_s, *(sum(series[len(series) - now_s :]) for series in counts.series)),
        window=_rates_of(window_s, window),
        verdicts=[
            documents.VerdictCount(verdict.value, str(cause), window[place], ever[place])
            for (verdict, cause), place in PLACES.items()
            if ever[place]
        ],
        classes=[
            _describe_class(slo, counts.layout, counts.classes.grown.get(slo.name), counts)
            for slo in counts.policy.classes
        ],
        models=sorted(
            (
                documents.Model(name, sum(row), _rates_of(window_s, row))
                for name, row in counts.models.grown.items()
            ),
            key=lambda model: (-model.requests, model.name),
        ),
        series=documents.Series(
            begin=begin,
            begin_unix_s=unix_s - present_s - listed,
            good=good[len(good) - listed :],
            slow=slow[len(slow) - listed :],
            error=error[len(error) - listed :],
        ),
    )


def _describe_class(
    slo: SloClass, layout: Layout, grown: list[int] | None, counts: Counts
) -> documents.SloClass:
    row = grown or [0] * layout.size
    limits, edges = slo.limits, layout.edges
    ttft, itl, stall = layout.latencies(row)
    load = _describe_load(layout.load(row))
    seconds = counts.now_ns / 10**9 - max(counts.classes.since, counts.start_ns / 10**9)
    return documents.SloClass(
        name=slo.name,
        objective=slo.objective,
        limits=describe_limits(limits),
        rates=_rates_of(seconds, row),
        requests=sum(row[: len(PLACES)]),
        ttft=distribution(edges.ttft_ns, ttft, limits.ttft_ns),
        itl=distribution(edges.itl_ns, itl, limits.itl_ns),
        stall=distribution(edges.stall_ns, stall, limits.stall_ns),
        load=load,
        knee_in_flight=_find_knee(load, slo.objective),
        frontier=_describe_frontier(layout, row),
    )


def _describe_load(load: Sequence[tuple[int, int]]) -> list[documents.Band]:
    return [
        documents.Band(1 << band, bad + good, good / (bad + good))
        for band, (bad, good) in enumerate(load)
        if bad + good
    ]


def _find_knee(load: Sequence[documents.Band], objective: float) -> int | None:
    asked = (band for band in load if band.requests >= KNEE_REQUESTS)
    kept = list(takewhile(lambda band: band.ratio >= objective, asked))
    return kept[-1].in_flight if kept else None


def _describe_frontier(layout: Layout, row: Sequence[int]) -> documents.Frontier:
    judged = total(row, JUDGED)
    below = [0] * (len(layout.edges.frontier_itl_ns) + 1)
    ratios = []
    for cells in layout.frontier(row) if judged else ():
        below = [a + b for a, b in zip(below, accumulate(cells), strict=True)]
        ratios.append([round(requests / judged, 4) for requests in below])
    return documents.Frontier(
        ttft_le_ms=[*map(to_ms, layout.edges.frontier_ttft_ns), None],
        itl_le_ms=[*map(to_ms, layout.edges.frontier_itl_ns), None],
        ratios=ratios,
    )


def _rates_of(seconds: float, row: Sequence[int]) -> documents.Rates:
    good, judged = total(row, GOOD), total(row, JUDGED)
    answered = total(row, _ANSWERED)
    return _rates(seconds, good, answered - good, judged - answered)


def _rates(seconds: float, good: int, slow: int, error: int) -> documents.Rates:
    judged = good + slow + error
    span = max(seconds, 1.0)  # the first second would multiply what little it has
    return documents.Rates(
        seconds=round(float(seconds), 3),
        throughput_rps=round((good + slow) / span, 3),
        goodput_rps=round(good / span, 3),
        error_rps=round(error / span, 3),
        ratio=good / judged if judged else None,
    )


def _sum(rows: Collection[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)] or [0] * len(PLACES)
