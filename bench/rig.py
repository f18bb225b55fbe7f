"""Drives the pacer: a proxy's clocks before and after the tokens, and what the clients saw."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bench import process
from bench.clocks import SETTLE_S, Clocks
from bench.pacer import Paced, PacedResult
from bench.running import (
    READY_TIMEOUT_S,
    BenchError,
    Client,
    Cores,
    Running,
    read_line,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bench.load import Load
    from bench.peers import Peer

_OPEN_TIMEOUT_S = 90.0
WARM_UP = Paced(port=0, streams=50, rate=50, tokens=40)


@dataclass(frozen=True, slots=True)
class Flow:
    """What the tokens of one load cost the proxy, and how they went."""

    cpu_us_per_token: float
    """Between the first token and the last: what a request costs is another figure."""
    offered_per_s: float
    sent_per_s: float
    """Less than offered where the pacer could not send more."""
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    proxy_core_share: float
    harness_core_share: float
    stranger_share: float
    """The larger share of either core that was used by anybody else."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What small requests cost the proxy, and how long they took."""

    cpu_us_per_request: float
    p50_ms: float
    p99_ms: float


class Rig:
    """The pacer process, and the cores that everything is pinned to."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self._start()

    def _start(self) -> None:
        self.pacer = process.start([sys.executable, "-m", "bench.pacer"], self.cores.harness)
        self._words = process.pipe(self.pacer.stdin)
        self.port = int(read_line(self.pacer, READY_TIMEOUT_S))

    def close(self) -> None:
        """End the pacer."""
        process.stop(self.pacer)

    def running(self, peer: Peer) -> AbstractContextManager[Running]:
        """Keep `peer` up in front of the pacer."""
        return running(peer, self.cores, self.port)

    def warm_up(self, proxy: Running) -> None:
        """Let an interpreter specialise its bytecode, and pools fill."""
        self.measure(proxy, WARM_UP)

    def measure(
        self,
        proxy: Running,
        load: Paced,
        *,
        while_open: Callable[[], object] | None = None,
        while_paced: Callable[[], object] | None = None,
    ) -> Flow:
        """Offer `load` through `proxy`.

        Args:
            proxy: a running one; `load.port` is set to its.
            load: what to offer.
            while_open: called when each stream has its first token, before the others.
            while_paced: called while the tokens flow; must end before they do.
        """
        self._say(json.dumps(asdict(replace(load, port=proxy.port))))
        self._hear(_OPEN_TIMEOUT_S)
        time.sleep(SETTLE_S)
        if while_open is not None:
            while_open()
        clocks = Clocks(self.cores, proxy.workers(), [self.pacer.pid])
        self._say("go")
        if while_paced is not None:
            while_paced()
        self._hear(load.ideal_s * 3 + load.patience_s + 10)
        time.sleep(SETTLE_S)
        spent = clocks.spent()
        self._say("end")
        result = PacedResult(**self._hear(_OPEN_TIMEOUT_S))
        return Flow(
            cpu_us_per_token=spent.proxy_ns / 1e3 / result.tokens,
            offered_per_s=load.total_rate,
            sent_per_s=result.tokens / result.sent_s,
            p50_ms=result.p50_ms,
            p99_ms=result.p99_ms,
            p999_ms=result.p999_ms,
            max_ms=result.max_ms,
            proxy_core_share=spent.proxy_ns / spent.span_ns,
            harness_core_share=spent.harness_ns / spent.span_ns,
            stranger_share=spent.strangers_ns / spent.span_ns,
        )

    def exchange(self, proxy: Running, load: Load) -> Exchange:
        """Offer small requests."""
        client = Client(self.cores.harness, proxy.port)
        try:
            clocks = Clocks(self.cores, proxy.workers(), [client.process.pid])
            result = client.offer(load)
            time.sleep(SETTLE_S)
            cpu_ns = clocks.spent().proxy_ns
        finally:
            process.stop(client.process)
        return Exchange(cpu_ns / 1e3 / result.samples, result.p50_ns / 1e6, result.p99_ns / 1e6)

    def _say(self, line: str) -> None:
        self._words.write(line.encode() + b"\n")
        self._words.flush()

    def _hear(self, timeout_s: float) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(read_line(self.pacer, timeout_s))
        except BenchError:
            self.restart()  # it may stand anywhere
            raise
        if "failed" in answer:
            raise BenchError(str(answer["failed"]))
        return answer

    def restart(self) -> None:
        """Begin with a new pacer, at another port."""
        process.stop(self.pacer)
        self._start()


def added(flow: Flow, direct: Flow) -> tuple[float, float, float]:
    """Return p50, p99 and p99.9 in milliseconds, less those without a proxy."""
    return (
        flow.p50_ms - direct.p50_ms,
        flow.p99_ms - direct.p99_ms,
        flow.p999_ms - direct.p999_ms,
    )
