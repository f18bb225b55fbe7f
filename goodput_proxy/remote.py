"""A ledger in a worker: it keeps what it is told, and reports it after each turn of the loop.

A request costs a few appends here, a token nothing. Everything that one turn of the event loop has
brought goes in one message. When the supervisor does not read, nothing waits for it: counts add up
in place, and of requests that have ended so many are held; those beyond are counted as lost.
"""

from __future__ import annotations

from bisect import bisect_left
from time import process_time_ns
from typing import TYPE_CHECKING, Final

from .edges import OVERHEAD_NS
from .messages import Admission, Ending, Report, Timing, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .channel import Channel
    from .classify import Passthrough
    from .faults import ClientFault, MeterFault, SloHeaderFault, UpstreamFault
    from .headcount import Headcount
    from .judged import JudgedRequest
    from .policy import SloClass
    from .stream import Api

# About 2 KB each: some seconds of a busy worker.
_MAX_HELD: Final = 8192
# Names of models come from clients: what has been admitted is forgotten, and told again.
_MAX_ADMITTED: Final = 4096


class RemoteLedger:
    """The ledger of a worker.

    Args:
        channel: to the supervisor.
        headcount: requests in flight in all workers.
        worker: which of them this one is.
        call_soon: the event loop's.
    """

    def __init__(
        self,
        channel: Channel,
        headcount: Headcount,
        worker: int,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._channel = channel
        self._headcount = headcount
        self._worker = worker
        self._call_soon = call_soon
        self._due = False  # a report will be sent in this turn
        self._known: set[tuple[Api, str, str, int]] = set()
        self._admitted: list[Admission] = []
        self._ended: list[Ending] = []
        self._counts: dict[tuple[str, str], int] = {}
        self._timings: dict[str, Timing] = {}
        self._lost = 0
        self._cpu_ns = 0  # that has been reported
        self.icl_edges_ns: tuple[int, ...] = ()

    @property
    def in_flight(self) -> int:
        """How many inference requests are in flight, in all workers."""
        return self._headcount.total()

    def begin(self) -> int:
        """Count an inference request in; return how many are in flight, itself included."""
        self._headcount.add(self._worker, 1)
        return self._headcount.total()

    def end(self) -> None:
        """Count an inference request out."""
        self._headcount.add(self._worker, -1)

    def admit(self, api: Api, model: str, slo: SloClass, in_flight: int = 1) -> None:
        """Have all children created of a model that the server answers, at zero."""
        band = (in_flight - 1).bit_length()  # as metrics count: by powers of two
        key = (api, model, slo.name, band)
        if key in self._known:
            return
        if len(self._known) >= _MAX_ADMITTED:
            self._known.clear()
        self._known.add(key)
        self._admitted.append(Admission(api, model, slo.name, in_flight))
        self._report_soon()

    def observe(self, judged: JudgedRequest) -> None:
        """Count one inference request that has ended."""
        if len(self._ended) < _MAX_HELD:
            self._ended.append(Ending.of(judged))
        else:
            self._lost += 1
        self._report_soon()

    def passthrough(self, kind: Passthrough) -> None:
        """Count a request that is not judged."""
        self._count("passthrough", kind)

    def upstream_error(self, reason: UpstreamFault) -> None:
        """Count an exchange that the upstream broke."""
        self._count("upstream_error", reason)

    def client_fault(self, reason: ClientFault) -> None:
        """Count a client's connection that was closed on it."""
        self._count("client_fault", reason)

    def tap_error(self, reason: MeterFault) -> None:
        """Count something that the meter could not read."""
        self._count("tap_error", reason)

    def slo_header_errors(self, reasons: Iterable[SloHeaderFault]) -> None:
        """Count what was ignored of a request's own SLO."""
        for reason in reasons:
            self._count("slo_header_error", reason)

    def overhead(self, stage: str, value_ns: int, times: int = 1) -> None:
        """Count time that a request or a token spent in the proxy; it goes with the next report."""
        timing = self._timings.get(stage)
        if timing is None:
            timing = self._timings[stage] = Timing(stage, [0] * (len(OVERHEAD_NS) + 1), 0)
        timing.counts[bisect_left(OVERHEAD_NS, value_ns)] += times
        timing.sum_ns += value_ns * times

    def loop_lag(self, value_ns: int) -> None:
        """Count how late the event loop was; four times a second, so nothing waits for longer."""
        self.overhead("lag", value_ns)
        self._report_soon()

    def tls_certificate_ends(self, use: str, ends_s: int) -> None:
        """Leave that to the supervisor, which looks at the same files."""

    def tls_reload(self, use: str, *, succeeded: bool) -> None:
        """Leave that to the supervisor, too."""

    def report(self) -> None:
        """Send what is to be told, unless the supervisor is behind."""
        self._due = False
        if self._channel.full:
            return
        cpu_ns = process_time_ns()
        report = Report(
            self._admitted,
            self._ended,
            [(what, label, times) for (what, label), times in self._counts.items()],
            list(self._timings.values()),
            self._lost,
            cpu_ns - self._cpu_ns,
        )
        self._channel.send(encode(report))
        self._admitted, self._ended, self._counts, self._timings = [], [], {}, {}
        self._lost, self._cpu_ns = 0, cpu_ns

    def _count(self, what: str, label: str) -> None:
        self._counts[what, label] = self._counts.get((what, label), 0) + 1
        self._report_soon()

    def _report_soon(self) -> None:
        if not self._due and not self._channel.full:
            self._due = True
            self._call_soon(self.report)
