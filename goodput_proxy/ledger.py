"""What the data path may tell of what it has seen; who keeps the books is no concern of its own.

In a process alone it is `metrics`; in one of several workers it is `remote`, which passes
everything on to the process that has the metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .classify import Passthrough
    from .faults import ClientFault, MeterFault, SloHeaderFault, UpstreamFault
    from .judged import JudgedRequest
    from .policy import SloClass
    from .stream import Api


class Ledger(Protocol):
    """Whoever counts."""

    @property
    def in_flight(self) -> int:
        """How many inference requests are in flight, in all workers."""

    @property
    def icl_edges_ns(self) -> tuple[int, ...]:
        """The edges into which a timeline counts its gaps."""

    def begin(self) -> int:
        """Count an inference request in; return how many are in flight, itself included."""

    def end(self) -> None:
        """Count an inference request out."""

    def admit(self, api: Api, model: str, slo: SloClass, in_flight: int = 1) -> None:
        """Create all children of a model that the server answers, at zero."""

    def observe(self, judged: JudgedRequest) -> None:
        """Count one inference request that has ended."""

    def passthrough(self, kind: Passthrough) -> None:
        """Count a request that is not judged."""

    def upstream_error(self, reason: UpstreamFault) -> None:
        """Count an exchange that the upstream broke."""

    def client_fault(self, reason: ClientFault) -> None:
        """Count a client's connection that was closed on it."""

    def tap_error(self, reason: MeterFault) -> None:
        """Count something that the meter could not read."""

    def slo_header_errors(self, reasons: Iterable[SloHeaderFault]) -> None:
        """Count what was ignored of a request's own SLO."""

    def overhead(self, stage: str, value_ns: int, times: int = 1) -> None:
        """Count time that a request or a token spent in the proxy."""

    def loop_lag(self, value_ns: int) -> None:
        """Count how late the event loop was."""

    def tls_certificate_ends(self, use: str, ends_s: int) -> None:
        """Show when a certificate that is in force now ends."""

    def tls_reload(self, use: str, *, succeeded: bool) -> None:
        """Count files that had changed and were read again."""
