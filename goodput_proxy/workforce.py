"""What is shown of the worker processes themselves; in a process alone it is the only one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

if TYPE_CHECKING:
    from collections.abc import Callable


class Workforce:
    """The metrics of workers.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._in_flight: Callable[[], int] | None = None
        self._alive = Gauge(
            "goodput_workers", "Processes that take requests at present.", registry=registry
        )
        self._alive.set(1)
        self._restarts = Counter(
            "goodput_worker_restarts",
            "Worker processes that ended unasked and were replaced.",
            registry=registry,
        )
        self._lost = Counter(
            "goodput_worker_lost_requests",
            "Requests missing in all other counts, as their worker had no room to tell of them.",
            registry=registry,
        )
        self._cpu = Counter(
            "goodput_worker_cpu_seconds",
            "Processor time of each worker, its predecessors' included; none with one process.",
            ("worker",),
            registry=registry,
        )

    def follow(self, alive: Callable[[], int], in_flight: Callable[[], int]) -> None:
        """Show these numbers from now on."""
        self._alive.set_function(alive)
        self._in_flight = in_flight

    def in_flight(self, own: int) -> int:
        """Return how many requests are in flight; `own` are those of this process."""
        return own if self._in_flight is None else self._in_flight()

    def restarted(self) -> None:
        """Count a worker that ended unasked."""
        self._restarts.inc()

    def lost(self, times: int) -> None:
        """Count requests that could not be counted otherwise."""
        self._lost.inc(times)

    def used(self, worker: int, cpu_ns: int) -> None:
        """Count processor time of a worker."""
        self._cpu.labels(str(worker)).inc(cpu_ns / 10**9)
