"""Every metric of the proxy, and the only way from the data path to Prometheus.

Work is done once per request, never per token. Label children are looked up once per
(api, model, class) and kept; all children of a model exist at zero from the moment that the
model is first answered, for a counter that is born at 1 loses its first increment.

`model` comes from a request body, so it is bounded: the first `max_models` distinct values,
then `other`. Only a model that the server has answered (2xx) takes one of these places, so that
invented names cannot fill them. Models that a class names are always kept.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
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
from .buckets import BulkHistogram, Child
from .classify import UNKNOWN_MODEL, Passthrough
from .faults import MeterFault, UpstreamFault
from .record import CancelPhase, Outcome, RequestRecord
from .slo import Dimension, Judgement, Policy, SloClass, Verdict
from .stream import Api
from .stream.events import TokenSource

if TYPE_CHECKING:
    from collections.abc import Iterable

OTHER_MODEL = "other"

# Default edges in seconds; each configured limit is added as an edge of its own.
# TTFT: vLLM's own list. ITL and ICL: vLLM's with a low end, since its 10 ms is useless for a
# 15 ms limit (MLPerf interactive). E2E: OpenTelemetry's list, continued.
_TTFT_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_ITL_S = (
    *(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075),
    *(0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
_E2E_S = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    *(163.84, 327.68, 655.36),
)
# A stall is an ICL that went wrong: the same low end, reaching as far as a queue can hold.
_STALL_S = (*_ITL_S, 5.0, 10.0, 20.0, 40.0)
_OVERHEAD_S = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 5.0),
)

_CAUSES: tuple[tuple[Verdict, str], ...] = (
    (Verdict.GOOD, ""),
    (Verdict.GOOD_PARTIAL, ""),
    *((Verdict.SLOW, dimension.value) for dimension in Dimension),
    (Verdict.ERROR, Outcome.HTTP_5XX),
    (Verdict.ERROR, Outcome.HTTP_429),
    (Verdict.ERROR, Outcome.HTTP_408),
    (Verdict.ERROR, Outcome.STREAM_ERROR),
    (Verdict.ERROR, Outcome.TRUNCATED),
    (Verdict.ERROR, Outcome.EMPTY),
    (Verdict.ERROR, Outcome.CONNECT),
    (Verdict.ERROR, Outcome.TIMEOUT),
    (Verdict.CLIENT_ERROR, Outcome.HTTP_4XX),
    (Verdict.CANCELLED, Outcome.CLIENT),
)


@dataclass(frozen=True, slots=True)
class _Series:
    """The label children of one (api, model, class)."""

    requests: dict[tuple[str, str], Counter]
    compliant: Counter
    violations: dict[Dimension, Counter]
    output_tokens: dict[Verdict, Counter]
    input_tokens: dict[Verdict, Counter]
    cancels: dict[CancelPhase, Counter]
    ttft: Child
    itl: Child
    icl: Child
    stall: Child
    duration: Child


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
        self._policy = policy
        self._models = {UNKNOWN_MODEL, *policy.pinned_models}
        self._max_models = max(max_models, len(self._models))
        self._series: dict[tuple[Api, str, str], _Series] = {}
        self._define_requests()
        self._define_latencies(policy)
        self._define_proxy()
        self._describe_policy(policy)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        for slo in policy.classes:
            for model in policy.pinned_models or (UNKNOWN_MODEL,):
                for api in (Api.CHAT, Api.COMPLETIONS):
                    self._children(api, model, slo.name)

    def _define_requests(self) -> None:
        self._requests = self._counter(
            "goodput_requests",
            "Inference requests by verdict; disjoint, so the sum is every request.",
            ("api", "model", "slo", "verdict", "cause"),
        )
        self._compliant = self._counter(
            "goodput_slo_compliant_requests",
            "Inference requests that met all limits of their class: good and good_partial.",
            ("api", "model", "slo"),
        )
        self._violations = self._counter(
            "goodput_slo_violations",
            "Limits missed; overlapping, since one request may miss several.",
            ("model", "slo", "dimension"),
        )
        self._output_tokens = self._counter(
            "goodput_output_tokens", "Generated tokens.", ("model", "slo", "verdict")
        )
        self._input_tokens = self._counter(
            "goodput_input_tokens", "Prompt tokens, as far as told.", ("model", "slo", "verdict")
        )
        self._cancels = self._counter(
            "goodput_client_cancels",
            "Requests whose client left early, by phase and whatever the verdict.",
            ("model", "slo", "phase"),
        )
        self._token_sources = self._counter(
            "goodput_token_count_source",
            "Requests by where their number of output tokens came from.",
            ("source",),
        )
        self._by_source = {s: self._token_sources.labels(s) for s in TokenSource}

    def _define_latencies(self, policy: Policy) -> None:
        limits = [slo.limits for slo in policy.classes]
        labels = ("model", "slo")
        ttft = _edges(_TTFT_S, (limit.ttft_ns for limit in limits))
        itl = _edges(_ITL_S, (limit.itl_ns for limit in limits))
        icl = _edges(_ITL_S, (ns for limit in limits for ns in (limit.itl_ns, limit.stall_ns)))
        stall = _edges(_STALL_S, (limit.stall_ns for limit in limits))
        e2e = _edges(_E2E_S, (limit.e2e_ns for limit in limits))
        self._ttft = self._bulk(
            "goodput_time_to_first_token_seconds",
            "Request head read to first token of any choice.",
            labels,
            ttft,
        )
        self._itl = self._bulk(
            "goodput_inter_token_latency_seconds",
            "Mean time per output token after the first, one value per request (TPOT).",
            labels,
            itl,
        )
        self._stall = self._bulk(
            "goodput_stall_seconds", "Longest pause between tokens of a request.", labels, stall
        )
        self._duration = self._bulk(
            "goodput_request_duration_seconds",
            "Request head read to last token, or to the last byte of an unstreamed answer.",
            labels,
            e2e,
        )
        self._icl = self._bulk(
            "goodput_inter_chunk_latency_seconds",
            "Every pause between consecutive token records.",
            labels,
            icl,
        )

    def _define_proxy(self) -> None:
        self.in_flight = Gauge(
            "goodput_requests_in_flight",
            "Inference requests that have begun and not ended.",
            registry=self.registry,
        )
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
        for fault in UpstreamFault:
            self._upstream_errors.labels(fault)
        for gap in MeterFault:
            self._tap_errors.labels(gap)
        self._overhead = self._bulk(
            "goodput_proxy_overhead_seconds",
            "Time spent in the proxy: request = head read to head sent upstream, token = read"
            " to handed to the kernel, upload = head read to body sent upstream.",
            ("stage",),
            _to_ns(_OVERHEAD_S),
        )
        stages = ("request", "token", "upload")
        self._stages = {stage: self._overhead.child(stage) for stage in stages}
        self._loop_lag = self._bulk(
            "goodput_event_loop_lag_seconds",
            "How late a timer of the event loop fires.",
            (),
            _to_ns(_OVERHEAD_S),
        )
        reload_ok = Gauge(
            "goodput_config_last_reload_successful",
            "1 when the configuration that was read last is the one in force.",
            registry=self.registry,
        )
        reload_ok.set(1)
        build = Info("goodput_build", "Versions in use.", registry=self.registry)
        build.info(
            {
                "version": __version__,
                "python": platform.python_version(),
                "aiohttp": aiohttp.__version__,
            }
        )

    def _describe_policy(self, policy: Policy) -> None:
        threshold = Gauge(
            "goodput_slo_threshold_seconds",
            "Configured limits.",
            ("slo", "dimension"),
            registry=self.registry,
        )
        objective = Gauge(
            "goodput_slo_objective_ratio",
            "Configured share of requests that must meet all limits.",
            ("slo",),
            registry=self.registry,
        )
        for slo in policy.classes:
            objective.labels(slo.name).set(slo.objective)
            for dimension, limit_ns in slo.limits.items():
                threshold.labels(slo.name, dimension).set(limit_ns / 10**9)

    @property
    def icl_edges_ns(self) -> tuple[int, ...]:
        """The edges into which a timeline counts its gaps."""
        return self._icl.edges_ns

    def admit(self, api: Api, model: str, slo: SloClass) -> None:
        """Create all children of a model that the server answers, at zero."""
        self._children(api, self._bound(model, admit=True), slo.name)

    def observe(
        self, api: Api, model: str, slo: SloClass, record: RequestRecord, judgement: Judgement
    ) -> None:
        """Count one inference request that has ended."""
        verdict = judgement.verdict
        series = self._children(api, self._bound(model, admit=False), slo.name)
        self._observe_latencies(series, record)
        for reason, times in record.unclassified.items():
            self._tap_errors.labels(reason).inc(times)
        if record.cancel_phase is not None:
            series.cancels[record.cancel_phase].inc()
        if record.input_tokens:
            series.input_tokens[verdict].inc(record.input_tokens)
        if record.output_tokens:
            series.output_tokens[verdict].inc(record.output_tokens)
            self._by_source[record.token_source].inc()
        for dimension in judgement.missed:
            series.violations[dimension].inc()
        # Last, so that a failure above leaves the request uncounted and not half-counted.
        series.requests[verdict, judgement.cause].inc()
        if judgement.compliant:
            series.compliant.inc()

    def _observe_latencies(self, series: _Series, record: RequestRecord) -> None:
        if record.ttft_ns is not None:
            series.ttft.observe(record.ttft_ns)
        if record.itl_ns is not None:
            series.itl.observe(record.itl_ns)
        if record.stall_ns is not None:
            series.stall.observe(record.stall_ns)
            series.icl.add(record.gaps.counts, record.gaps.sum_ns)
        if record.e2e_ns is not None and record.outcome is Outcome.OK:
            series.duration.observe(record.e2e_ns)

    def passthrough(self, kind: Passthrough) -> None:
        """Count a request that is not judged."""
        self._by_kind[kind].inc()

    def upstream_error(self, reason: UpstreamFault) -> None:
        """Count an exchange that the upstream broke."""
        self._upstream_errors.labels(reason).inc()

    def tap_error(self, reason: MeterFault) -> None:
        """Count something that the meter could not read."""
        self._tap_errors.labels(reason).inc()

    def overhead(self, stage: str, value_ns: int, times: int = 1) -> None:
        """Count time that a request or a token spent in the proxy."""
        self._stages[stage].observe(value_ns, times)

    def loop_lag(self, value_ns: int) -> None:
        """Count how late the event loop was."""
        self._loop_lag.observe(value_ns)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type; meant to be called in a thread."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _bound(self, model: str, *, admit: bool) -> str:
        if model in self._models:
            return model
        if not admit or len(self._models) >= self._max_models:
            return OTHER_MODEL
        self._models.add(model)
        return model

    def _children(self, api: Api, model: str, slo: str) -> _Series:
        key = (api, model, slo)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._make_series(api, model, slo)
        return series

    def _make_series(self, api: Api, model: str, slo: str) -> _Series:
        return _Series(
            requests={
                (verdict, cause): self._requests.labels(api, model, slo, verdict, cause)
                for verdict, cause in _CAUSES
            },
            compliant=self._compliant.labels(api, model, slo),
            violations={d: self._violations.labels(model, slo, d) for d in Dimension},
            output_tokens={v: self._output_tokens.labels(model, slo, v) for v in Verdict},
            input_tokens={v: self._input_tokens.labels(model, slo, v) for v in Verdict},
            cancels={p: self._cancels.labels(model, slo, p) for p in CancelPhase},
            ttft=self._ttft.child(model, slo),
            itl=self._itl.child(model, slo),
            icl=self._icl.child(model, slo),
            stall=self._stall.child(model, slo),
            duration=self._duration.child(model, slo),
        )

    def _counter(self, name: str, documentation: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _bulk(
        self, name: str, documentation: str, labels: tuple[str, ...], edges_ns: tuple[int, ...]
    ) -> BulkHistogram:
        histogram = BulkHistogram(name, documentation, labels, edges_ns)
        self.registry.register(histogram)
        return histogram


def _to_ns(edges_s: Iterable[float]) -> tuple[int, ...]:
    return tuple(round(edge * 10**9) for edge in edges_s)


def _edges(defaults_s: Iterable[float], limits_ns: Iterable[int | None]) -> tuple[int, ...]:
    """Return default edges and limits, ascending and without repeats."""
    limits = {limit for limit in limits_ns if limit is not None}
    return tuple(sorted({*_to_ns(defaults_s), *limits}))
