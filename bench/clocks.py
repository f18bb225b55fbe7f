"""What a proxy, the harness and anybody else have used of their cores between two moments."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.running import Cores

SETTLE_S = 0.1  # after the last byte a proxy may still be counting


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor time of a span, and how long that was."""

    span_ns: int
    proxy_ns: int
    harness_ns: int
    """Of upstream and client: at the whole span the bench would measure itself."""
    strangers_ns: float
    """Of anybody else, on the core where that was more."""


class Clocks:
    """The clocks as they stand when this is made.

    Args:
        cores: of the proxy and of the harness.
        proxy: the processes of the proxy.
        harness: those of upstream and client.
    """

    def __init__(self, cores: Cores, proxy: Sequence[int], harness: Sequence[int]) -> None:
        self._cores = (cores.proxy, cores.harness)
        self._processes = (proxy, harness)
        self._span_ns, self._own_ns, self._busy_s = self._read()

    def spent(self) -> Spent:
        """Return what they have moved on by."""
        now_ns, own_ns, busy_s = self._read()
        proxy_ns, harness_ns = (b - a for a, b in zip(self._own_ns, own_ns, strict=True))
        strangers_ns = (
            (after_s - before_s) * 1e9 - used_ns
            for before_s, after_s, used_ns in zip(
                self._busy_s, busy_s, (proxy_ns, harness_ns), strict=True
            )
        )
        return Spent(now_ns - self._span_ns, proxy_ns, harness_ns, max(0.0, *strangers_ns))

    def _read(self) -> tuple[int, list[int], list[float]]:
        return (
            time.monotonic_ns(),
            [sum(map(process.cpu_ns, pids)) for pids in self._processes],
            [process.core_busy_s(core) for core in self._cores],
        )
