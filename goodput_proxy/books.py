"""What workers have counted, entered into the metrics of the process that supervises them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .classify import Passthrough
from .faults import ClientFault, MeterFault, SloHeaderFault, UpstreamFault
from .guard import Guarded
from .policy import SloClass
from .slo import Limits

if TYPE_CHECKING:
    from .judged import Observer
    from .messages import Admission, Report
    from .metrics import Metrics


class Books(Guarded):
    """Enters what workers report into the metrics.

    Args:
        metrics: of the proxy.
    """

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(metrics)
        self._book = metrics
        self.observers: tuple[Observer, ...] = ()
        self._by_name = {
            "passthrough": lambda label: metrics.passthrough(Passthrough(label)),
            "upstream_error": lambda label: metrics.upstream_error(UpstreamFault(label)),
            "client_fault": lambda label: metrics.client_fault(ClientFault(label)),
            "tap_error": lambda label: metrics.tap_error(MeterFault(label)),
            "slo_header_error": lambda label: metrics.slo_header_errors([SloHeaderFault(label)]),
        }

    def enter(self, worker: int, report: Report) -> None:
        """Count all that a report tells; one bad entry spoils no other."""
        for admission in report.admitted:
            self._guard(self._admit, admission)
        for ending in report.ended:
            judged = ending.judged()
            self._guard(self._book.observe, judged)
            for observe in self.observers:
                self._guard(observe, judged)
        for what, label, times in report.counts:
            for _ in range(times):
                self._guard(self._by_name[what], label)
        for timing in report.timings:
            self._guard(self._book.timings, timing.stage, timing.counts, timing.sum_ns)
        self._guard(self._book.workforce.used, worker, report.cpu_ns)
        if report.lost:
            self._guard(self._book.workforce.lost, report.lost)

    def _admit(self, told: Admission) -> None:
        slo = SloClass(told.slo, Limits(), 0.0)  # what counts of it is its name
        self._book.admit(told.api, told.model, slo, told.in_flight)

    def _give_up(self) -> None:
        """Go on with what comes next."""
