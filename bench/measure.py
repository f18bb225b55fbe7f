"""One measurement of one proxy, and the rounds that interleave them.

The proxy under test has one core to itself, upstream and client share another. Each
measurement starts a fresh process, warms it up, offers the streams and then the small
requests, and takes the CPU clock of the proxy around each. Rounds go A B C, A B C, ...,
so that a machine that turns slow turns slow for all; ratios are taken within a round.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench import process
from bench.clocks import SETTLE_S, Clocks
from bench.load import Load
from bench.running import READY_TIMEOUT_S, BenchError, Client, Cores, read_line, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.peers import Peer

# Enough for the interpreter to specialise its bytecode and for pools to fill.
_WARM_UP_STREAM = Load(connections=50, requests=1, tokens=40, interval_us=10_000)
_WARM_UP_SMALL = Load(connections=20, requests=10, tokens=0, interval_us=5_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """What each proxy has to carry, and how often."""

    stream: Load
    small: Load
    rounds: int


@dataclass(frozen=True, slots=True)
class Use:
    """What one load cost and how it went."""

    cpu_us_per_unit: float
    """CPU time of the proxy per token, or per small request."""
    system_share: float
    """Roughly: how much of it was spent in the kernel."""
    wall_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    proxy_core_share: float
    harness_core_share: float
    """Upstream and client: at 1 the bench would measure itself."""
    stranger_share: float
    """The larger share of either core that was used by anybody else."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One proxy in one round."""

    peer: str
    round: int
    stream: Use
    small: Use
    rss_idle_mb: float
    rss_peak_mb: float


class Harness:
    """The upstream, and the cores that everything is pinned to."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        command = [sys.executable, "-m", "bench.upstream"]
        self.upstream = process.start(command, cores.harness)
        self.upstream_port = int(read_line(self.upstream, READY_TIMEOUT_S))

    def close(self) -> None:
        """End the upstream."""
        process.stop(self.upstream)

    def measure(self, peer: Peer, plan: Plan, round_number: int) -> Sample:
        """Start `peer`, offer both loads of `plan`, end it."""
        with running(peer, self.cores, self.upstream_port) as proxy:
            client = Client(self.cores.harness, proxy.port)
            workers = proxy.workers
            try:
                rss_idle = sum(map(process.rss_bytes, workers()))
                client.offer(_at_most(_WARM_UP_STREAM, plan.stream))
                stream = self._use(plan.stream, client, workers())
                client.offer(_at_most(_WARM_UP_SMALL, plan.small))
                small = self._use(plan.small, client, workers())
                rss_peak = sum(map(process.peak_rss_bytes, workers()))
            finally:
                process.stop(client.process)
        return Sample(
            peer=peer.name,
            round=round_number,
            stream=stream,
            small=small,
            rss_idle_mb=rss_idle / 1e6,
            rss_peak_mb=rss_peak / 1e6,
        )

    def _use(self, load: Load, client: Client, workers: Sequence[int]) -> Use:
        """Offer `load` and read every clock before and after."""
        ticks = [process.user_system_ticks(pid) for pid in workers]
        clocks = Clocks(self.cores, workers, (self.upstream.pid, client.process.pid))
        result = client.offer(load)
        time.sleep(SETTLE_S)
        spent = clocks.spent()
        user = system = 0
        for pid, (user_before, system_before) in zip(workers, ticks, strict=True):
            user_now, system_now = process.user_system_ticks(pid)
            user += user_now - user_before
            system += system_now - system_before
        return Use(
            cpu_us_per_unit=spent.proxy_ns / 1e3 / result.samples,
            system_share=system / max(user + system, 1),
            wall_s=result.wall_ns / 1e9,
            p50_ms=result.p50_ns / 1e6,
            p99_ms=result.p99_ns / 1e6,
            p999_ms=result.p999_ns / 1e6,
            max_ms=result.max_ns / 1e6,
            proxy_core_share=spent.proxy_ns / result.wall_ns,
            harness_core_share=spent.harness_ns / result.wall_ns,
            stranger_share=spent.strangers_ns / spent.span_ns,
        )


def _at_most(warm_up: Load, load: Load) -> Load:
    """Return `warm_up`, or `load` itself where that is smaller."""
    if warm_up.connections * warm_up.requests >= load.total_requests:
        return load
    return replace(warm_up, tokens=min(warm_up.tokens, load.tokens))


def choose_cores() -> Cores:
    """Return the core for the proxy and the core for upstream and client."""
    if not hasattr(os, "sched_getaffinity"):
        msg = "the bench needs Linux: it reads /proc and pins processes to cores"
        raise BenchError(msg)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        msg = "the bench needs two cores: one for the proxy, one for the load"
        raise BenchError(msg)
    return Cores(cores[0], cores[1])


def run_rounds(
    peers: Sequence[Peer],
    plan: Plan,
    progress: Callable[[str], None],
    lose: Callable[[str, BenchError], None] | None = None,
    numbers: Iterable[int] | None = None,
) -> list[Sample]:
    """Measure all `peers` in turn, `plan.rounds` times, or in rounds of these `numbers`.

    Without `lose`, which is told of them, a proxy that cannot be measured ends it all.
    """
    harness = Harness(choose_cores())
    samples = []
    try:
        for number in range(plan.rounds) if numbers is None else numbers:
            for peer in peers:
                try:
                    sample = harness.measure(peer, plan, number)
                except BenchError as error:
                    if lose is None:
                        raise
                    lose(peer.name, error)
                    continue
                samples.append(sample)
                progress(
                    f"round {number + 1}/{plan.rounds} {peer.name}: "
                    f"{sample.stream.cpu_us_per_unit:.1f} us/token, "
                    f"p50 {sample.stream.p50_ms:.2f} ms, "
                    f"{sample.small.cpu_us_per_unit:.0f} us/small request"
                )
    finally:
        harness.close()
    return samples
