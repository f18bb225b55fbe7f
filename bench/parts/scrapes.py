"""The longest delay of a token while somebody scrapes: ten times a second, 5,000 series."""

from __future__ import annotations

import json
import sys
import urllib.request
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from bench import process
from bench.load import CHAT_PATH
from bench.pacer import Paced
from bench.report import Check, spread_of
from bench.running import BenchError, read_line

from .part import Context, Data, Part, show, table

if TYPE_CHECKING:
    from bench.peers import Peer, Site
    from bench.rig import Flow, Rig
    from bench.running import Running

_SERIES = 5000
_QUICK_SERIES = 500
_MOST_MODELS = 256
_LOAD = Paced(0, 50, 50, 300)  # six seconds
_QUICK_LOAD = Paced(0, 50, 50, 50)
_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Delay:
    """One run of the streams, with scrapes or without."""

    scraped: bool
    p999_ms: float
    max_ms: float
    stranger_share: float


def _measure(context: Context) -> Data:
    found: list[Delay] = []
    series = size = 0
    slowest_ms: list[float] = []
    with context.rig() as rig:
        for peer in context.judged():
            with context.losing(peer.name), rig.running(_with_models(peer)) as proxy:
                rig.warm_up(proxy)
                series, size = _fill(proxy, _QUICK_SERIES if context.quick else _SERIES)
                context.say(f"{peer.name}: {series} series, {size / 1000:.0f} kB a scrape")
                load = _QUICK_LOAD if context.quick else _LOAD
                for _ in context.repeats():
                    for scraped in (False, True):
                        flow, took_ms = _run(rig, proxy, load, scraped=scraped)
                        slowest_ms += took_ms
                        found.append(Delay(scraped, flow.p999_ms, flow.max_ms, flow.stranger_share))
                        context.say(f"scraped {scraped}: longest {flow.max_ms:.2f} ms")
    return {
        "series": series,
        "bytes": size,
        "scrape_ms": median(slowest_ms) if slowest_ms else None,
        "delays": [asdict(delay) for delay in found],
    }


def _with_models(peer: Peer) -> Peer:
    """Return the proxy with room for as many models as it takes."""
    command = peer.command
    if command is None:
        raise BenchError("nothing to scrape")

    def with_models(site: Site) -> list[str]:
        return [*command(site), f"--limits.models={_MOST_MODELS}"]

    return replace(peer, command=with_models)


def scrape(proxy: Running) -> str:
    """Return what a Prometheus would read."""
    url = f"http://127.0.0.1:{proxy.admin_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def count_series(text: str) -> int:
    """Return how many series a scrape holds."""
    return sum(1 for line in text.splitlines() if line and not line.startswith("#"))


def ask(proxy: Running, model: str) -> None:
    """Send a small request for a model."""
    body = json.dumps({"model": model, "messages": [], "stream": False}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{proxy.port}{CHAT_PATH}",
        body,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        answer.read()


def _fill(proxy: Running, series: int) -> tuple[int, int]:
    """Ask for other models until a scrape has so many series; return them, and its bytes."""
    for number in range(_MOST_MODELS):
        ask(proxy, f"model-{number}")
        text = scrape(proxy)
        if (count := count_series(text)) >= series:
            break
    return count, len(text)


def _run(rig: Rig, proxy: Running, load: Paced, *, scraped: bool) -> tuple[Flow, list[float]]:
    if not scraped:
        return rig.measure(proxy, load), []
    command = [sys.executable, "-m", "bench.scraper", str(proxy.admin_port), str(_EVERY_S)]
    scraper = process.start(command, rig.cores.harness)
    try:
        flow = rig.measure(proxy, load)
        process.pipe(scraper.stdin).close()
        return flow, list(json.loads(read_line(scraper, 10.0)))
    finally:
        process.stop(scraper)


def _delays_of(data: Data) -> list[Delay]:
    return [Delay(**delay) for delay in data["delays"]]


def _section(data: Data) -> str:
    delays = _delays_of(data)
    rows = [
        [
            name,
            show(spread_of([d.p999_ms for d in delays if d.scraped is scraped]), 2),
            show(spread_of([d.max_ms for d in delays if d.scraped is scraped]), 2),
        ]
        for name, scraped in (("without scrapes", False), ("with scrapes", True))
    ]
    took = f", {data['scrape_ms']:.0f} ms each" if data["scrape_ms"] else ""
    return (
        f"{_LOAD.streams} streams at {_LOAD.rate:g} tokens/s each, and /metrics every "
        f"{_EVERY_S * 1000:g} ms: {data['series']:,} series, {data['bytes'] / 1000:,.0f} kB{took}. "
        "Upstream to client, the scraper beside them on their core.\n\n"
        + table(["", "p99.9 ms", "longest ms"], rows)
    )


def _checks(data: Data) -> list[Check]:
    longest = [d.max_ms for d in _delays_of(data) if d.scraped]
    return [
        Check(
            "longest token delay while scraped, ms",
            median(longest) if longest else None,
            20,
            5,
        )
    ]


PART = Part("scrapes", "While somebody scrapes", _measure, _section, _checks, minutes=1)
