"""Every metric of the proxy, and the only way from the data path to Prometheus.

What is counted of inference requests stands in `series.py`; this file has what concerns the
proxy itself, and holds all of it together.
"""

from __future__ import annotations

import platform
from time import time
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from . import __version__
from .buckets import BulkHistogram
from .classify import Passthrough
from .edges import OVERHEAD_NS
from .faults import ClientFault, MeterFault, SloHeaderFault, UpstreamFault
from .series import RequestSeries
from .thresholds import Thresholds
from .workforce import Workforce

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .judged import JudgedRequest
    from .policy import Policy, SloClass
    from .stream import Api


class Metrics:
    """The registry and what the data path may tell it.

    Args:
        policy: its limits become bucket edges, its classes label values.
        max_models: distinct values of the label `model`.
    """

    def __init__(self, policy: Policy, max_models: int) -> None:
        # Otherwise every child has a second, useless series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._in_flight = 0
        self._requests = RequestSeries(self.registry, policy, max_models)
        self._thresholds = Thresholds(policy)
        self.registry.register(self._thresholds)
        self._define_proxy()
        self.workforce = Workforce(self.registry)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _define_proxy(self) -> None:
        in_flight = Gauge(
            "goodput_requests_in_flight",
            "Inference requests that have begun and not ended.",
            registry=self.registry,
        )
        in_flight.set_function(lambda: self.in_flight)
        self._passthrough = self._counter(
            "goodput_passthrough_requests", "Requests that are not judged.", ("kind",)
        )
        self._by_kind = {kind: self._passthrough.labels(kind) for kind in Passthrough}
        self._upstream_errors = self._counter(
            "goodput_upstream_errors", "Exchanges that the upstream broke.", ("reason",)
        )
        self._tap_errors = self._counter(
            "goodput_tap_errors",
            "Responses or records that the meter could not read; the bytes were forwarded.",
            ("reason",),
        )
        self._slo_header_errors = self._counter(
            "goodput_slo_header_errors", "Values of x-slo-* headers that were ignored.", ("reason",)
        )
        for doubt in SloHeaderFault:
            self._slo_header_errors.labels(doubt)
        self._client_faults = self._counter(
            "goodput_client_faults", "Clients' connections that were closed on them.", ("reason",)
        )
        for fault in UpstreamFault:
            self._upstream_errors.labels(fault)
        for cut in ClientFault:
            self._client_faults.labels(cut)
        for gap in MeterFault:
            self._tap_errors.labels(gap)
        self._overhead = self._histogram(
            "goodput_proxy_overhead_seconds",
            "Time spent in the proxy: request = head read to head sent upstream, token = read"
            " to handed to the kernel, upload = head read to body sent upstream.",
            ("stage",),
        )
        stages = ("request", "token", "upload")
        self._stages = {stage: self._overhead.child(stage) for stage in stages}
        self._stages["lag"] = self._histogram(
            "goodput_event_loop_lag_seconds", "How late a timer of the event loop fires.", ()
        ).child()
        self._reload_ok = Gauge(
            "goodput_config_last_reload_successful",
            "1 when the configuration that was read last is the one in force.",
            registry=self.registry,
        )
        self._reload_time = Gauge(
            "goodput_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read, in Unix time.",
            registry=self.registry,
        )
        self.reloaded(successful=True)
        self._tls_reloads = self._counter(
            "goodput_tls_reloads",
            "Changed TLS files that were read again; after `failed` the old ones stay in force.",
            ("use", "result"),
        )
        self._tls_ends = Gauge(
            "goodput_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in force ends, by the group of settings that names it.",
            ("use",),
            registry=self.registry,
        )
        build = Info("goodput_build", "Versions in use.", registry=self.registry)
        build.info(
            {
                "version": __version__,
                "python": platform.python_version(),
                "aiohttp": aiohttp.__version__,
            }
        )

    @property
    def in_flight(self) -> int:
        """How many inference requests have begun and not ended."""
        return self.workforce.in_flight(self._in_flight)

    @property
    def icl_edges_ns(self) -> tuple[int, ...]:
        """The edges into which a timeline counts its gaps."""
        return self._requests.icl_edges_ns

    def apply(self, policy: Policy) -> None:
        """Go on with another policy; nothing that was counted is lost."""
        self._requests.apply(policy)
        self._thresholds.policy = policy

    def reloaded(self, *, successful: bool) -> None:
        """Take note of an attempt to read the configuration."""
        self._reload_ok.set(int(successful))
        if successful:
            self._reload_time.set(time())

    def begin(self) -> int:
        """Count an inference request in; return how many are in flight, itself included."""
        self._in_flight += 1
        return self._in_flight

    def end(self) -> None:
        """Count an inference request out."""
        self._in_flight -= 1

    def admit(self, api: Api, model: str, slo: SloClass, in_flight: int = 1) -> None:
        """Create all children of a model that the server answers, at zero."""
        self._requests.admit(api, model, slo, in_flight)

    def label_of(self, model: str) -> str:
        """Return the value of the label `model` for a request that names this one."""
        return self._requests.label_of(model)

    def observe(self, judged: JudgedRequest) -> None:
        """Count one inference request that has ended."""
        # First, as it must not undo what is counted: a request is counted once or not at all.
        for reason, times in judged.record.unclassified.items():
            self._tap_errors.labels(reason).inc(times)
        self._requests.observe(judged)

    def passthrough(self, kind: Passthrough) -> None:
        """Count a request that is not judged."""
        self._by_kind[kind].inc()

    def upstream_error(self, reason: UpstreamFault) -> None:
        """Count an exchange that the upstream broke."""
        self._upstream_errors.labels(reason).inc()

    def client_fault(self, reason: ClientFault) -> None:
        """Count a client's connection that was closed on it."""
        self._client_faults.labels(reason).inc()

    def tap_error(self, reason: MeterFault) -> None:
        """Count something that the meter could not read."""
        self._tap_errors.labels(reason).inc()

    def slo_header_errors(self, reasons: Iterable[SloHeaderFault]) -> None:
        """Count what was ignored of a request's own SLO."""
        for reason in reasons:
            self._slo_header_errors.labels(reason).inc()

    def overhead(self, stage: str, value_ns: int, times: int = 1) -> None:
        """Count time that a request or a token spent in the proxy."""
        self._stages[stage].observe(value_ns, times)

    def loop_lag(self, value_ns: int) -> None:
        """Count how late the event loop was."""
        self._stages["lag"].observe(value_ns)

    def timings(self, stage: str, counts: Sequence[int], sum_ns: int) -> None:
        """Count a worker's times of a stage, or its lag: they lie between `OVERHEAD_NS`."""
        self._stages[stage].add(counts, sum_ns, OVERHEAD_NS)

    def tls_certificate_ends(self, use: str, ends_s: int) -> None:
        """Show when a certificate that is in force now ends."""
        for result in ("ok", "failed"):
            self._tls_reloads.labels(use, result)
        self._tls_ends.labels(use).set(ends_s)

    def tls_reload(self, use: str, *, succeeded: bool) -> None:
        """Count files that had changed and were read again."""
        self._tls_reloads.labels(use, "ok" if succeeded else "failed").inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type; meant to be called in a thread."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _counter(self, name: str, documentation: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, labels: tuple[str, ...]) -> BulkHistogram:
        histogram = BulkHistogram(name, documentation, labels, OVERHEAD_NS)
        self.registry.register(histogram)
        return histogram
