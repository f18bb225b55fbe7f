"""What does not grow: with the number of streams, the length of a stream, the age of a process."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench import process
from bench.load import Load
from bench.pacer import Paced
from bench.peers import NGINX
from bench.report import Check, spread_of

from .part import OURS, Context, Data, Part, show, table

if TYPE_CHECKING:
    from bench.rig import Rig
    from bench.running import Running

# The same tokens per second by few streams and by many: the number of streams alone differs.
_FEW = Paced(0, 50, 100, 300)
_MANY = Paced(0, 2000, 2.5, 8)
_LONG = Paced(0, 1, 10_000, 100_000)
_QUICK_LONG = Paced(0, 1, 5000, 5000)
_TENTHS = 10
_REQUESTS = Load(connections=50, requests=200, tokens=0, interval_us=0)  # ten times: 100,000
_QUICK_REQUESTS = Load(connections=10, requests=10, tokens=0, interval_us=0)
# Allocators and caches fill for a while; what leaks does not stop.
_MUST, _AIM = 1.15, 1.05


@dataclass(frozen=True, slots=True)
class Growth:
    """What one peer showed; costs in microseconds of CPU."""

    peer: str
    few_us: list[float]
    many_us: list[float]
    tenths_us: list[float]
    """CPU per token in each tenth of the long stream."""
    long_mb: list[float]
    """Memory before the long stream, and after it."""
    requests_us: list[float]
    """CPU per small request in each tenth of all."""
    requests_mb: list[float]
    """Memory after each tenth."""


def _measure(context: Context) -> Data:
    found = []
    with context.rig() as rig:
        for peer in [*context.named(NGINX), *context.judged()]:
            with context.losing(peer.name), rig.running(peer) as proxy:
                rig.warm_up(proxy)
                found.append(_measure_peer(context, rig, proxy))
    return {"growth": [asdict(growth) for growth in found]}


def _measure_peer(context: Context, rig: Rig, proxy: Running) -> Growth:
    few_us: list[float] = []
    many_us: list[float] = []
    for _ in context.repeats():
        few_us.append(rig.measure(proxy, _FEW).cpu_us_per_token)
        if not context.quick:
            many_us.append(rig.measure(proxy, _MANY).cpu_us_per_token)
    context.say(f"{proxy.peer.name}: {few_us} us/token with few streams, {many_us} with many")
    before_mb = proxy.rss_mb()
    tenths_us = _long_stream(rig, proxy, _QUICK_LONG if context.quick else _LONG)
    context.say(f"{proxy.peer.name}: {[round(t, 1) for t in tenths_us]} us/token in a long stream")
    long_mb = [before_mb, proxy.rss_mb()]
    requests_us: list[float] = []
    requests_mb: list[float] = []
    load = _QUICK_REQUESTS if context.quick else _REQUESTS
    rig.exchange(proxy, _QUICK_REQUESTS)
    for _ in range(_TENTHS):
        requests_us.append(rig.exchange(proxy, load).cpu_us_per_request)
        requests_mb.append(proxy.rss_mb())
    context.say(f"{proxy.peer.name}: {[round(t) for t in requests_us]} us/request")
    return Growth(proxy.peer.name, few_us, many_us, tenths_us, long_mb, requests_us, requests_mb)


def _long_stream(rig: Rig, proxy: Running, load: Paced) -> list[float]:
    """Return the CPU per token of each tenth: the pace is even, so a tenth of time is one."""
    clocks_ns: list[int] = []

    def look() -> None:
        workers, begin_s = proxy.workers(), time.monotonic()
        for tenth in range(_TENTHS + 1):
            due_s = begin_s + load.ideal_s * tenth / _TENTHS
            time.sleep(max(due_s - time.monotonic(), 0))
            clocks_ns.append(sum(map(process.cpu_ns, workers)))

    rig.measure(proxy, load, while_paced=look)
    tokens = load.tokens / _TENTHS
    return [(after - before) / 1000 / tokens for before, after in itertools.pairwise(clocks_ns)]


def _growths_of(data: Data) -> list[Growth]:
    return [Growth(**growth) for growth in data["growth"]]


def _section(data: Data) -> str:
    rows = [
        [
            growth.peer,
            show(spread_of(growth.few_us)),
            show(spread_of(growth.many_us)),
            f"{growth.tenths_us[0]:.1f}",
            f"{growth.tenths_us[-1]:.1f}",
            " / ".join(f"{value:.0f}" for value in growth.long_mb),
            f"{growth.requests_us[0]:.0f}",
            f"{growth.requests_us[-1]:.0f}",
            f"{growth.requests_mb[0]:.0f} / {growth.requests_mb[-1]:.0f}",
        ]
        for growth in _growths_of(data)
    ]
    head = [
        "proxy",
        f"us/token, {_FEW.streams} streams",
        f"{_MANY.streams:,} streams",
        "us/token, first tenth",
        "last tenth",
        "RSS MB before / after",
        "us/request, first tenth",
        "last tenth",
        "RSS MB",
    ]
    return (
        f"{_FEW.total_rate:,.0f} tokens/s by {_FEW.streams} streams and by {_MANY.streams:,}; one "
        f"stream of {_LONG.tokens:,} tokens, {_LONG.rate:,.0f} a second; "
        f"{_TENTHS * _REQUESTS.total_requests:,} small requests, as fast as they go by "
        f"{_REQUESTS.connections} connections.\n\n" + table(head, rows)
    )


def _checks(data: Data) -> list[Check]:
    (ours,) = [growth for growth in _growths_of(data) if growth.peer in OURS][-1:] or (None,)

    def ratio(after: list[float], before: list[float]) -> float | None:
        late, early = spread_of(after), spread_of(before)
        return late.median / early.median if late and early else None

    return [
        Check(
            f"CPU per token, {_MANY.streams:,} streams / {_FEW.streams}",
            ratio(ours.many_us, ours.few_us) if ours else None,
            _MUST,
            _AIM,
        ),
        Check(
            f"CPU per token, last tenth of {_LONG.tokens:,} / first",
            ratio(ours.tenths_us[-1:], ours.tenths_us[:1]) if ours else None,
            _MUST,
            _AIM,
        ),
        Check(
            "CPU per small request, last tenth of 100,000 / first",
            ratio(ours.requests_us[-1:], ours.requests_us[:1]) if ours else None,
            _MUST,
            _AIM,
        ),
        Check(
            "resident memory, last tenth of 100,000 requests / first",
            ratio(ours.requests_mb[-1:], ours.requests_mb[:1]) if ours else None,
            _MUST,
            _AIM,
        ),
    ]


PART = Part("growth", "What does not grow", _measure, _section, _checks, minutes=1)
